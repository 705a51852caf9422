package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// outage is a way in which a sink does not work.
type outage int

const (
	none outage = iota
	// refuses: it answers that it cannot take anything now.
	refuses
	// stalls: it holds every request, takes nothing, and refuses in the end.
	stalls
	// mute: it takes what comes but holds the answer, so that the exporter gives up and sends all of it again.
	mute
	// dead: nobody listens, and all connections are cut.
	dead
)

// sink takes logs and metrics in OTLP over HTTP as JSON, and keeps what has to be known of them.
type sink struct {
	address string

	mutex    sync.Mutex
	server   *http.Server
	outage   outage
	released chan struct{} // closed when the outage ends
	failures []error       // what no sink should ever get

	records map[string]*arrival // by message id
	series  map[seriesKey][]point
	// unanswered is the number of records that were taken and whose exporter may not know it.
	unanswered int
}

// arrival is what came in for one message id.
type arrival struct {
	records int
	uids    map[string]bool
	// observed are the times at which the receiver says the report arrived. An exporter that sends a record again sends the same time; when
	// the receiver hands over a report again, it is another.
	observed map[string]bool
}

// seriesKey tells series apart as a backend does, and by start time too.
type seriesKey struct {
	instance, metric, attributes string
	start                        int64
}

type point struct{ time, value int64 }

// startSink returns a sink that works. It is closed at the end of the test.
func startSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{
		address:  fixedAddress(t),
		released: make(chan struct{}),
		records:  make(map[string]*arrival),
		series:   make(map[seriesKey][]point),
	}
	if err := s.listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.up(); err != nil {
			t.Error(err)
		}
		_ = s.server.Close()
	})
	return s
}

func (s *sink) listen() error {
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("the sink cannot listen: %w", err)
	}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func(server *http.Server) {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(err)
		}
	}(s.server)
	return nil
}

// down begins an outage.
func (s *sink) down(o outage) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.outage = o
	s.released = make(chan struct{})
	if o == dead {
		_ = s.server.Close()
	}
}

// up ends the outage, if there is one.
func (s *sink) up() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	ended := s.outage
	s.outage = none
	if ended != none {
		close(s.released)
	}
	if ended == dead {
		return s.listen()
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		// The exporter died, or the sink did.
		return
	}
	s.mutex.Lock()
	outage, released := s.outage, s.released
	records := 0
	if outage == none || outage == mute {
		records, err = s.take(r.URL.Path, body)
	}
	s.mutex.Unlock()
	if err != nil {
		s.fail(err)
	}

	if outage == stalls || outage == mute {
		select {
		case <-released:
		case <-r.Context().Done():
		}
	}
	if outage == refuses || outage == stalls || outage == dead {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = io.WriteString(w, "{}")
	if err == nil {
		err = http.NewResponseController(w).Flush()
	}
	if err != nil || r.Context().Err() != nil {
		s.mutex.Lock()
		s.unanswered += records
		s.mutex.Unlock()
	}
}

// fail notes what must not happen.
func (s *sink) fail(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.failures = append(s.failures, err)
}

// take keeps a request and returns the number of log records in it. The lock is held.
func (s *sink) take(path string, body []byte) (records int, err error) {
	switch path {
	case "/v1/logs":
		return s.takeLogs(body)
	case "/v1/metrics":
		return 0, s.takeMetrics(body)
	default:
		return 0, fmt.Errorf("a request for %s", path)
	}
}

func (s *sink) takeLogs(body []byte) (records int, err error) {
	var logs struct {
		ResourceLogs []struct {
			ScopeLogs []struct {
				LogRecords []struct {
					record
					ObservedTimeUnixNano string
				}
			}
		}
	}
	if err := json.Unmarshal(body, &logs); err != nil {
		return 0, fmt.Errorf("%w in %s", err, body)
	}
	for _, resource := range logs.ResourceLogs {
		for _, scope := range resource.ScopeLogs {
			for _, r := range scope.LogRecords {
				attributes := r.Attributes.byName()
				id, _ := attributes["email.message.id"].(string)
				uid, _ := attributes["log.record.uid"].(string)
				if id == "" || uid == "" || r.ObservedTimeUnixNano == "" {
					return records, fmt.Errorf("a record without id, uid or time of arrival: %s", body)
				}
				a := s.records[id]
				if a == nil {
					a = &arrival{uids: make(map[string]bool), observed: make(map[string]bool)}
					s.records[id] = a
				}
				a.records++
				a.uids[uid] = true
				a.observed[r.ObservedTimeUnixNano] = true
				records++
			}
		}
	}
	return records, nil
}

func (s *sink) takeMetrics(body []byte) error {
	var metrics struct {
		ResourceMetrics []struct {
			Resource     struct{ Attributes attributes }
			ScopeMetrics []struct {
				Metrics []struct {
					Name string
					Sum  struct {
						AggregationTemporality int
						IsMonotonic            bool
						DataPoints             []struct {
							Attributes        attributes
							StartTimeUnixNano int64 `json:",string"`
							TimeUnixNano      int64 `json:",string"`
							AsInt             int64 `json:",string"`
							Flags             uint32
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(body, &metrics); err != nil {
		return fmt.Errorf("%w in %s", err, body)
	}
	const cumulative = 2
	for _, resource := range metrics.ResourceMetrics {
		instance, _ := resource.Resource.Attributes.byName()["service.instance.id"].(string)
		for _, scope := range resource.ScopeMetrics {
			for _, m := range scope.Metrics {
				if instance == "" || !m.Sum.IsMonotonic || m.Sum.AggregationTemporality != cumulative {
					return fmt.Errorf("no cumulative monotonic sum of an instance: %s", body)
				}
				for _, p := range m.Sum.DataPoints {
					if p.Flags != 0 || p.TimeUnixNano <= p.StartTimeUnixNano {
						return fmt.Errorf("a point of %s that ends its series, or before it begins: %+v", m.Name, p)
					}
					key := seriesKey{instance, m.Name, seriesName(p.Attributes.byName()), p.StartTimeUnixNano}
					s.series[key] = append(s.series[key], point{p.TimeUnixNano, p.AsInt})
				}
			}
		}
	}
	return nil
}

// seriesName writes attributes out in the order of their names.
func seriesName(attributes map[string]any) string {
	return strings.TrimPrefix(fmt.Sprint(attributes), "map")
}

// The metrics.
const (
	failuresMetric = "email.delivery.failures"
	byTagMetric    = "email.delivery.failures.by_tag"

	deliveriesMetric      = "email.deliveries"
	deliveriesByTagMetric = "email.deliveries.by_tag"
)

// totals are counts by metric and attribute set.
type totals map[string]map[string]int64

// difference lists where two totals differ, and adds up by how much.
func (t totals) difference(want totals) (lines []string, miscounted int64) {
	for _, metric := range []string{failuresMetric, byTagMetric, deliveriesMetric, deliveriesByTagMetric} {
		names := make(map[string]int64)
		maps.Copy(names, want[metric])
		maps.Copy(names, t[metric])
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if got, want := t[metric][name], want[metric][name]; got != want {
				lines = append(lines, fmt.Sprintf("%s%s is %d, want %d", metric, name, got, want))
				miscounted += max(got-want, want-got)
			}
		}
	}
	return lines, miscounted
}

// totals returns the last values, added up over instances and start times as a query would.
func (s *sink) totals() totals {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	t := totals{failuresMetric: {}, byTagMetric: {}}
	for key, points := range s.series {
		last := slices.MaxFunc(points, func(a, b point) int { return cmp.Compare(a.time, b.time) })
		if t[key.metric] == nil {
			t[key.metric] = make(map[string]int64)
		}
		t[key.metric][key.attributes] += last.value
	}
	return t
}

// newest returns the time of the newest point.
func (s *sink) newest() (newest int64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, points := range s.series {
		newest = max(newest, points[len(points)-1].time)
	}
	return newest
}

// missing returns those of the ids that no record came in for.
func (s *sink) missing(ids []string) (missing []string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, id := range ids {
		if s.records[id] == nil {
			missing = append(missing, id)
		}
	}
	return missing
}

// surplus is how many records came in beyond one for each report.
type surplus struct {
	records int
	// handedOver are those that the receiver handed to the pipeline again, resent those that the exporter sent again.
	handedOver, resent int
}

func (s *sink) surplus() (sum surplus) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, a := range s.records {
		sum.records += a.records - 1
		sum.handedOver += len(a.observed) - 1
	}
	sum.resent = sum.records - sum.handedOver
	return sum
}

// handedOverAgain returns how often the receiver handed over each report beyond once.
func (s *sink) handedOverAgain() map[string]int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	again := make(map[string]int)
	for id, a := range s.records {
		if n := len(a.observed) - 1; n > 0 {
			again[id] = n
		}
	}
	return again
}

// checkRecords checks what every test expects of records: none of an unknown report, one uid for a report, and a report for a uid.
func (s *sink) checkRecords(t *testing.T, ids []string) {
	t.Helper()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, err := range s.failures {
		t.Error(err)
	}
	known, uids := make(map[string]bool), make(map[string]string)
	for _, id := range ids {
		known[id] = true
	}
	for id, a := range s.records {
		if !known[id] {
			t.Errorf("a record of %s, which was never sent", id)
		}
		if len(a.uids) != 1 {
			t.Errorf("the %d records of %s carry %d uids", a.records, id, len(a.uids))
		}
		for uid := range a.uids {
			if other, ok := uids[uid]; ok {
				t.Errorf("%s and %s share the uid %s", id, other, uid)
			}
			uids[uid] = id
		}
	}
}

// checkSeries checks that a reader of the counters never sees that the collector was ever restarted: one instance, one start for each
// series, a zero first, and values that never fall.
func (s *sink) checkSeries(t *testing.T) {
	t.Helper()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	instances := make(map[string]bool)
	starts := make(map[string]int64)
	for key, points := range s.series {
		instances[key.instance] = true
		name := key.metric + key.attributes
		if other, ok := starts[name]; ok {
			t.Errorf("%s starts at %d and at %d", name, other, key.start)
		}
		starts[name] = key.start

		points := slices.Clone(points)
		// The order of values at one time is part of what is checked, so it stays as it was.
		slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.time, b.time) })
		if points[0].value != 0 {
			t.Errorf("%s begins with %d, want 0", name, points[0].value)
		}
		for i, p := range points[1:] {
			if before := points[i]; p.value < before.value || p.time == before.time && p.value != before.value {
				t.Errorf("%s goes from %d at %d to %d at %d", name, before.value, before.time, p.value, p.time)
			}
		}
	}
	if len(instances) != 1 {
		t.Errorf("the counters are those of %d instances, want 1: %v", len(instances), slices.Sorted(maps.Keys(instances)))
	}
}
