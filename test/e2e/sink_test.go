package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/test/otlpsink"
)

// sink is an OTLP backend that keeps what the tests compare.
type sink struct {
	*otlpsink.Sink

	mutex    sync.Mutex
	requests []sinkRequest
	records  map[string]*received // by message id
	series   map[seriesKey][]point
}

type sinkRequest struct {
	path   string
	header http.Header
}

// received is what was received for one message id.
type received struct {
	logs    plog.Logs // of the first request
	record  map[string]any
	records int
	uids    map[string]bool
	// observed are the times at which the receiver got the report. They are the same for a record
	// that an exporter sends again, and another for one that the receiver exports again.
	observed map[pcommon.Timestamp]bool
}

// seriesKey tells series apart as a backend does, and by start time and temporality too.
type seriesKey struct {
	instance, metric string // with its attributes
	start            pcommon.Timestamp
	temporality      pmetric.AggregationTemporality
}

type point struct {
	time  pcommon.Timestamp
	value int64
}

// startSink starts a sink that works. It is closed at the end of the test.
func startSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{records: make(map[string]*received), series: make(map[seriesKey][]point)}
	var err error
	s.Sink, err = otlpsink.Start(freeAddress(t), s.accept)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// recordsOf returns all the records.
func recordsOf(logs plog.Logs) iter.Seq[plog.LogRecord] {
	return func(yield func(plog.LogRecord) bool) {
		for _, resource := range logs.ResourceLogs().All() {
			for _, scope := range resource.ScopeLogs().All() {
				for _, r := range scope.LogRecords().All() {
					if !yield(r) {
						return
					}
				}
			}
		}
	}
}

// accept keeps a request.
func (s *sink) accept(r *otlpsink.Request) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.requests = append(s.requests, sinkRequest{r.Path, r.Header})
	return errors.Join(s.acceptLogs(r.Logs), s.acceptMetrics(r.Metrics))
}

func (s *sink) acceptLogs(logs plog.Logs) error {
	for r := range recordsOf(logs) {
		record := r.Attributes().AsRaw()
		id, _ := record["email.message.id"].(string)
		uid, _ := record["log.record.uid"].(string)
		if r.ObservedTimestamp() == 0 {
			return fmt.Errorf("a record without a time of arrival: %v", record)
		}
		a := s.records[id]
		if a == nil {
			a = &received{
				logs: logs, record: record, uids: make(map[string]bool),
				observed: make(map[pcommon.Timestamp]bool),
			}
			s.records[id] = a
		}
		a.records++
		a.uids[uid] = true
		a.observed[r.ObservedTimestamp()] = true
	}
	return nil
}

func (s *sink) acceptMetrics(metrics pmetric.Metrics) error {
	for _, resource := range metrics.ResourceMetrics().All() {
		instance, _ := resource.Resource().Attributes().AsRaw()["service.instance.id"].(string)
		for _, scope := range resource.ScopeMetrics().All() {
			for _, m := range scope.Metrics().All() {
				if instance == "" || m.Type() != pmetric.MetricTypeSum || !m.Sum().IsMonotonic() {
					return fmt.Errorf("%s of %q is no monotonic sum of an instance", m.Name(), instance)
				}
				for _, p := range m.Sum().DataPoints().All() {
					if p.Flags() != 0 || p.Timestamp() <= p.StartTimestamp() {
						return fmt.Errorf("a point of %s ends its series, or is before its start", m.Name())
					}
					labels := make(map[string]string)
					for name, value := range p.Attributes().All() {
						labels[strings.ReplaceAll(name, ".", "_")] = value.AsString()
					}
					key := seriesKey{
						instance, seriesName(m.Name(), labels), p.StartTimestamp(),
						m.Sum().AggregationTemporality(),
					}
					s.series[key] = append(s.series[key], point{p.Timestamp(), p.IntValue()})
				}
			}
		}
	}
	return nil
}

// got returns the requests whose path ends so.
func (s *sink) got(signal string) (requests []sinkRequest) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, r := range s.requests {
		if strings.HasSuffix(r.path, signal) {
			requests = append(requests, r)
		}
	}
	return requests
}

// of returns what came in for a message id, nil if nothing did.
func (s *sink) of(id string) *received {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.records[id]
}

// ids returns the message ids for which records came in.
func (s *sink) ids() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Sorted(maps.Keys(s.records))
}

// totals returns the last values of the series, added up over instances and start times
// as a query would.
func (s *sink) totals() totals {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	t := totals{}
	for key, points := range s.series {
		t[key.metric] += slices.MaxFunc(points, func(a, b point) int { return cmp.Compare(a.time, b.time) }).value
	}
	return t
}

// counted returns the last values of email.delivery.failures in a temporality, added up.
func (s *sink) counted(temporality pmetric.AggregationTemporality) (n int64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for key, points := range s.series {
		if key.temporality == temporality && strings.HasPrefix(key.metric, "email.delivery.failures ") {
			n += points[len(points)-1].value
		}
	}
	return n
}

// newest returns the time of the newest point.
func (s *sink) newest() (newest pcommon.Timestamp) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, points := range s.series {
		newest = max(newest, points[len(points)-1].time)
	}
	return newest
}

// instances returns those that the sink has counters of.
func (s *sink) instances() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	instances := make(map[string]bool)
	for key := range s.series {
		instances[key.instance] = true
	}
	return slices.Sorted(maps.Keys(instances))
}

// missing returns those of the ids for which no record came in.
func (s *sink) missing(ids []string) []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return s.records[id] != nil })
}

// received returns the number of records that came in.
func (s *sink) received() (n int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, a := range s.records {
		n += a.records
	}
	return n
}

// repeatsByReceiver returns how often the receiver exported each report beyond once.
func (s *sink) repeatsByReceiver() map[string]int {
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

// repeats returns how many records came in beyond one for each report: those that the receiver
// exported again, and those that an exporter sent again.
func (s *sink) repeats() (byReceiver, byExporter int) {
	for _, n := range s.repeatsByReceiver() {
		byReceiver += n
	}
	return byReceiver, s.received() - len(s.ids()) - byReceiver
}

// has reports whether every report has its record, if it makes one, and the totals are right.
func (s *sink) has(ids []string, want totals) bool {
	lines, _ := s.totals().difference(want)
	return len(lines) == 0 && len(s.missing(ids)) == 0
}

// checkArrived checks that no record is missing and the totals are right.
func (s *sink) checkArrived(t *testing.T, ids []string, want totals) {
	t.Helper()
	missing := s.missing(ids)
	assert.Empty(t, missing[:min(len(missing), 10)], "%d records are lost", len(missing))
	lines, _ := s.totals().difference(want)
	assert.Empty(t, strings.Join(lines[:min(len(lines), 10)], "\n"), "%d totals are wrong", len(lines))
}

// waitUntilHas waits until the sink has what it should have from the collector.
func waitUntilHas(t *testing.T, c *collector, s *sink, ids []string, want totals) {
	t.Helper()
	err := c.wait(t.Context(), "the sink has everything", func() bool { return s.has(ids, want) })
	s.checkArrived(t, ids, want)
	require.NoError(t, err)
}

// checkRecords checks what every test expects of records: none of an unknown report, one uid for a
// report, and a report for a uid.
func (s *sink) checkRecords(t *testing.T, ids []string) {
	t.Helper()
	assert.Empty(t, s.Errors())
	s.mutex.Lock()
	defer s.mutex.Unlock()
	uids := make(map[string]string)
	for id, a := range s.records {
		assert.Len(t, a.uids, 1, "the uids of %s", id)
		for uid := range a.uids {
			assert.Empty(t, uids[uid], "share the uid %q with %s", uid, id)
			uids[uid] = id
		}
	}
	known := make(map[string]bool)
	for _, id := range ids {
		known[id] = true
	}
	for id := range s.records {
		assert.True(t, known[id], "a record of %s, which was never sent", id)
	}
	assert.NotContains(t, uids, "")
}

// checkSeries checks that a reader of the counters never sees that the collector was restarted: one
// instance, one start for each series, a zero first, and values that never fall.
func (s *sink) checkSeries(t *testing.T) {
	t.Helper()
	assert.Len(t, s.instances(), 1)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	starts := make(map[string]pcommon.Timestamp)
	for key, points := range s.series {
		assert.Zero(t, starts[key.metric], "another start of %s", key.metric)
		starts[key.metric] = key.start
		assert.Equal(t, pmetric.AggregationTemporalityCumulative, key.temporality)

		// The order of values at one time is part of what is checked, so it stays as it was.
		points := slices.Clone(points)
		slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.time, b.time) })
		assert.Zero(t, points[0].value, "the first value of %s", key.metric)
		for i, p := range points[1:] {
			if before := points[i]; p.value < before.value || p.time == before.time && p.value != before.value {
				t.Errorf("%s goes from %d at %d to %d at %d", key.metric, before.value, before.time, p.value, p.time)
			}
		}
	}
}
