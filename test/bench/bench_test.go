package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve returns the address of a server that calls handle with each form, one at a time.
func serve(t *testing.T, handle func(w http.ResponseWriter, form url.Values)) netip.AddrPort {
	t.Helper()
	var mutex sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := req.ParseForm(); err != nil {
			t.Error(err)
		}
		mutex.Lock()
		defer mutex.Unlock()
		handle(w, req.PostForm)
	}))
	t.Cleanup(server.Close)
	return netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "http://"))
}

// Each request is sent once and its response counted, over one connection or several.
func TestLoad(t *testing.T) {
	for _, connections := range []int{1, 7} {
		const n = 500
		ids := make(map[string]bool)
		address := serve(t, func(w http.ResponseWriter, form url.Values) {
			if ids[form.Get("id")] = true; len(ids)%5 == 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(w, "a body")
			}
		})
		o := (&load{address: address, connections: connections, next: limited(n, numbered(failureBodies()))}).run(time.Minute)
		if o.statuses[http.StatusOK] != n-n/5 || o.statuses[http.StatusServiceUnavailable] != n/5 || len(o.latencies) != n || len(ids) != n {
			t.Errorf("%d requests with %d ids, responses %v", len(o.latencies), len(ids), o.statuses)
		}
		if p50, p99 := o.percentile(0.50), o.percentile(0.99); p50 <= 0 || p99 < p50 {
			t.Errorf("p50 %v, p99 %v", p50, p99)
		}
	}
}

func TestLoadKeepsRate(t *testing.T) {
	address := serve(t, func(http.ResponseWriter, url.Values) {})
	const rate = 500.0
	o := (&load{address: address, connections: 4, next: numbered(failureBodies()), rate: rate}).run(time.Second)
	if n := float64(len(o.latencies)); n > rate+1 || n < rate/2 {
		t.Errorf("%.0f responses", n)
	}
}

// Reports are complete, and as many are distinct as were asked for.
func TestRequests(t *testing.T) {
	for name, test := range map[string]struct {
		next           requests
		n, ids, states int
		fields         string
	}{
		"failures":   {numbered(failureBodies()), 40, 40, 8, "id type time recipient action state code extended description tags[0] tags[1]"},
		"deliveries": {numbered(deliveryBodies()), 10, 10, 2, "id type time recipient tags[0] tags[1]"},
		"signed":     {presigned(t.Context(), failureBodies(), 8), 8, 8, 2, "id type code"},
		"distinct":   {distinct(1000), 1100, 1100, 1000, "id type time recipient code extended description tags[0]"},
	} {
		ids, states := make(map[string]bool), make(map[string]bool)
		for range test.n {
			_, body, _ := bytes.Cut(test.next(), []byte("\r\n\r\n"))
			form, err := url.ParseQuery(string(body))
			if err != nil {
				t.Fatal(err)
			}
			for field := range strings.FieldsSeq(test.fields) {
				if form.Get(field) == "" {
					t.Errorf("%s: no %s in %s", name, field, body)
				}
			}
			ids[form.Get("id")] = true
			states[form.Get("state")+form.Get("code")+form.Get("extended")] = true
		}
		if len(ids) != test.ids || len(states) != test.states {
			t.Errorf("%s: %d ids, %d states", name, len(ids), len(states))
		}
	}
}

func TestSum(t *testing.T) {
	const text = "# TYPE failures_total counter\nfailures_total{tag=\"a b\"} 3\nfailures_total{tag=\"c\"} 4\nfailures_total_other 5\nfailures_total 1e2\n"
	if got := sum(text, "failures_total"); got != 107 {
		t.Error(got)
	}
}

// Ratios are taken round by round, and their median decides.
func TestBounds(t *testing.T) {
	ours, floor := contestant{figures: make(map[int][]figures)}, contestant{figures: make(map[int][]figures)}
	for _, round := range [][2]float64{{80, 100}, {45, 50}, {10, 100}, {90, 100}} {
		ours.figures[16] = append(ours.figures[16], figures{perSecond: round[0]})
		floor.figures[16] = append(floor.figures[16], figures{perSecond: round[1]})
	}
	got := ours.against(&floor, 16, ratio(perSecond))
	if got < 0.849 || got > 0.851 {
		t.Errorf("0.80, 0.90, 0.10 and 0.90 have the median %v", got)
	}
	values := map[int]float64{1: 0.5, 16: got, 64: 0.85}
	for _, test := range []struct {
		bound bound
		met   string
	}{
		{bound{least: 0.5}, "yes"},
		{bound{least: 0.82}, "**no**"},
		{bound{most: 0.82}, "**no**"},
		{bound{least: 0.82, connections: []int{16, 64}}, "yes"},
		{bound{least: 0.86, connections: []int{16, 64}}, "**no**"},
		{bound{least: 0.65, connections: []int{256}}, "-"},
	} {
		if met := test.bound.met(values); met != test.met {
			t.Errorf("%+v is met: %s", test.bound, met)
		}
	}
}

func TestGrew(t *testing.T) {
	for growth, want := range map[float64]bool{0: false, 0.1: false, 0.5: true} {
		var samples []float64
		for i := range 40 {
			samples = append(samples, 100+growth*float64(i)+float64(i%3))
		}
		if grew(samples, 8) != want {
			t.Errorf("%v a sample", growth)
		}
	}
}
