package main

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder answers as it is told, and keeps what it was sent.
type recorder struct {
	mutex  sync.Mutex
	forms  []url.Values
	answer func(n int, w http.ResponseWriter)
}

// ServeHTTP implements http.Handler.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mutex.Lock()
	r.forms = append(r.forms, form)
	n := len(r.forms)
	r.mutex.Unlock()
	r.answer(n, w)
}

func record(t *testing.T, answer func(n int, w http.ResponseWriter)) (*recorder, netip.AddrPort) {
	t.Helper()
	r := &recorder{answer: answer}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	address, err := netip.ParseAddrPort(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return r, address
}

// Every request is answered once and is counted under its status, over any number of connections.
func TestLoad(t *testing.T) {
	for _, connections := range []int{1, 7} {
		t.Run(fmt.Sprint(connections), func(t *testing.T) {
			const n = 500
			r, address := record(t, func(n int, w http.ResponseWriter) {
				if n%5 == 0 {
					w.WriteHeader(http.StatusServiceUnavailable)
					_, _ = io.WriteString(w, "some text")
				}
			})
			got, err := (&load{address: address, connections: connections, requests: &limited{newTypical(), n}}).run(time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if got.statuses[http.StatusOK] != n-n/5 || got.statuses[http.StatusServiceUnavailable] != n/5 || len(got.statuses) != 2 {
				t.Errorf("answers: %v", got.statuses)
			}
			if got.answers() != n || got.reconnects != 0 {
				t.Errorf("%d answers, %d new connections", got.answers(), got.reconnects)
			}
			if p50, p99 := got.percentile(0.50), got.percentile(0.99); p50 <= 0 || p99 < p50 {
				t.Errorf("p50 %s, p99 %s", p50, p99)
			}
			ids := make(map[string]bool)
			for _, form := range r.forms {
				ids[form.Get("id")] = true
			}
			if len(ids) != n {
				t.Errorf("%d ids in %d requests", len(ids), n)
			}
		})
	}
}

// A server that closes connections is told from one that keeps them.
func TestLoadReconnects(t *testing.T) {
	const n, every = 100, 10
	_, address := record(t, func(n int, w http.ResponseWriter) {
		if n%every == 0 {
			w.Header().Set("Connection", "close")
		}
	})
	got, err := (&load{address: address, connections: 1, requests: &limited{newTypical(), n}}).run(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	// What was sent before the connection was seen to be closed has no answer.
	if got.statuses[http.StatusOK]+got.statuses[unanswered] != n || got.reconnects < n/every-2 {
		t.Errorf("answers: %v, new connections: %d", got.statuses, got.reconnects)
	}
}

// A rate is kept, and a server that does not keep up does not lower what is asked of it.
func TestLoadAtRate(t *testing.T) {
	_, address := record(t, func(int, http.ResponseWriter) {})
	const rate = 500.0
	got, err := (&load{address: address, connections: 4, requests: newTypical(), rate: rate}).run(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if n := float64(got.answers()); n > rate+1 || n < rate/2 {
		t.Errorf("%.0f answers", n)
	}
}

func TestTypicalReports(t *testing.T) {
	series := make(map[string]bool)
	for _, body := range typicalBodies() {
		form, err := url.ParseQuery(body)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"id", "type", "time", "recipient", "action", "state", "code", "extended", "description", "tags[0]", "tags[1]"} {
			if form.Get(name) == "" {
				t.Errorf("no %s in %s", name, body)
			}
		}
		series[form.Get("state")+form.Get("code")+form.Get("extended")] = true
	}
	if len(series) != len(kinds) {
		t.Errorf("%d kinds", len(series))
	}
}

// All of them are valid, and as many are distinct as were asked for.
func TestHostileReports(t *testing.T) {
	// From where the first part of the status changes, to where they begin again.
	const distinct, n, again = threeDigits*threeDigits + 50, 110, 10
	h := newHostile(distinct)
	h.sent = distinct - (n - again)
	ids, tags, statuses := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for range n {
		_, body, _ := strings.Cut(string(h.next()), "\r\n\r\n")
		value := func(name string) string {
			_, after, ok := strings.Cut("&"+body, "&"+name+"=")
			if !ok {
				t.Fatalf("no %s in %s", name, body)
			}
			value, _, _ := strings.Cut(after, "&")
			return value
		}
		ids[value("id")] = true
		tags[value("tags%5B0%5D")] = true
		status := value("extended")
		if len(status) != len("5.100.100") || status[0] != '5' && status[0] != '4' || status[2] == '0' || status[6] == '0' {
			t.Fatalf("%q is no enhanced status", status)
		}
		statuses[status] = true
	}
	if len(ids) != n || len(tags) != n || len(statuses) != n {
		t.Errorf("%d ids, %d tags, %d statuses", len(ids), len(tags), len(statuses))
	}
}

func TestSum(t *testing.T) {
	_, address := record(t, func(_ int, w http.ResponseWriter) {
		_, _ = io.WriteString(w, "# TYPE failures_total counter\nfailures_total{tag=\"a b\"} 3\nfailures_total{tag=\"c\"} 4\nfailures_total_other 5\nfailures_total 1e2\n")
	})
	got, err := sum("http://"+address.String(), "failures_total")
	if err != nil || got != 107 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1, 4}, 4},
		{[]float64{9, 1, 4, 5}, 4.5},
	} {
		if got := median(c.of); got != c.want {
			t.Errorf("median of %v: %v", c.of, got)
		}
	}
}

func TestLeastSquares(t *testing.T) {
	const base, entry, series = 50 << 20, 700.0, 1500.0
	tried := []limits{{1, 1}, {1000, 1}, {1, 500}, {2000, 700}}
	var peaks []float64
	for _, l := range tried {
		peaks = append(peaks, base+entry*float64(l.entries)+series*float64(l.series))
	}
	gotBase, gotEntry, gotSeries := leastSquares(tried, peaks)
	for _, c := range [][2]float64{{gotBase, base}, {gotEntry, entry}, {gotSeries, series}} {
		if math.Abs(c[0]-c[1]) > 1e-3*c[1] {
			t.Errorf("%v instead of %v", c[0], c[1])
		}
	}
}

// What grows is told from what does not.
func TestSoakVerdict(t *testing.T) {
	samples := func(growth, live float64) []sample {
		var all []sample
		for i := range 40 {
			m := held{held: mebibyte * (100 + growth*float64(i) + float64(i%3)), heap: 50 * mebibyte, live: mebibyte * (20 + live*float64(i))}
			all = append(all, sample{time.Duration(i) * time.Minute, m, 30, 20, 8})
		}
		return all
	}
	if err := printSoak(samples(0, 0)); err != nil {
		t.Errorf("nothing grew, but: %v", err)
	}
	if err := printSoak(samples(0.5, 0)); err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("the memory grew, but: %v", err)
	}
	if err := printSoak(samples(0, 0.1)); err == nil || !strings.Contains(err.Error(), "live heap") {
		t.Errorf("what is in use grew, but: %v", err)
	}
	if got := slope(samples(0.5, 0), func(s sample) float64 { return s.memory.held }) / mebibyte; math.Abs(got-30) > 2 {
		t.Errorf("half a MiB a minute is %.1f an hour", got)
	}
}
