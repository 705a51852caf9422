package ledger

import (
	"cmp"
	"slices"
	"time"
)

const (
	// minPointInterval is the least time between two points of a series. Backends keep milliseconds
	// and drop a point whose time does not advance.
	minPointInterval = int64(time.Millisecond)

	// maxClockLag is how far the clock may be behind the last point. If it was set back by less,
	// points advance by minPointInterval until it has caught up. If by more, it was wrong before,
	// and what it left is moved to the present.
	maxClockLag = int64(10 * time.Minute)
)

// metric is one counter: a monotonic sum for each set of attributes.
type metric struct {
	series     map[string]*series // by their attributes, those that are staged only included
	order      []*series          // those that are committed, in the order of their creation
	overflowed int64              // events that were counted in the overflow series
}

func newMetric() *metric { return &metric{series: make(map[string]*series)} }

type series struct {
	attributes string
	committed  bool    // whether it is in metric.order
	staged     int     // one more than its index in Ledger.staged, and 0 if it is not in there
	sent       reading // what the last collection has of it
	seriesState
}

// reading is what a collection has of a series: its value, or if zero or ended only its first or
// last point. That of a series that came after the collection is empty.
type reading struct {
	value       int64
	zero, ended bool
}

// pending reports whether the metrics pipelines lack counts of the series.
func (s *series) pending() bool { return s.acknowledged != s.value }

// stage makes l.staged the record that commits the entries. Either commit or unstage has to follow.
func (l *Ledger) stage(entries []Entry, now time.Time) {
	l.correctClock(now)
	committed := l.monotonic(now)
	l.staged = record{reports: l.staged.reports[:0], series: l.staged.series[:0]}
	for i := range entries {
		if l.options.Deduplicate {
			a := entries[i].Attempt
			l.staged.reports = append(l.staged.reports, report{a.kind, a.id, entries[i].Outcome, committed})
		}
		for _, count := range entries[i].Counts {
			l.stageCount(count, now, committed)
		}
	}
}

func (l *Ledger) stageCount(count Count, now time.Time, committed int64) {
	name := l.options.Metrics[count.Metric]
	m := l.metrics[name]
	s, ok := m.series[count.Attributes]
	if !ok && l.full(m) {
		count.Attributes = l.options.Overflow
		s, ok = m.series[count.Attributes]
	}
	if !ok {
		s = &series{attributes: count.Attributes}
		// It was certainly zero at the last collection.
		s.start = l.collected
		s.zeroTime = max(now.UnixNano(), l.collected+minPointInterval)
		m.series[count.Attributes] = s
	}
	if s.staged == 0 {
		state := seriesState{start: s.start, zeroTime: s.zeroTime, counted: committed}
		l.staged.series = append(l.staged.series, seriesOp{opAdd, name, s.attributes, state})
		s.staged = len(l.staged.series)
	}
	l.staged.series[s.staged-1].state.value++
}

// full reports whether the metric may have no more series but the overflow series.
func (l *Ledger) full(m *metric) bool {
	limit := l.options.Limit
	if _, ok := m.series[l.options.Overflow]; ok {
		limit++
	}
	return len(m.series) >= limit
}

// commit applies the staged record of the entries.
func (l *Ledger) commit(entries []Entry, now time.Time) {
	l.expire(now)
	l.apply(&l.staged)
	for i := range entries {
		entries[i].Attempt.finish()
	}
}

// unstage drops the staged record. Its new series stay, and are committed once the entries are
// staged again.
func (l *Ledger) unstage() {
	for i := range l.staged.series {
		op := &l.staged.series[i]
		if s, ok := l.metrics[op.metric].series[op.attributes]; ok {
			s.staged = 0
		}
	}
}

// apply makes the change that a record describes.
func (l *Ledger) apply(r *record) {
	for _, v := range r.values {
		l.values[v.name] = v.content
	}
	for i := range r.reports {
		l.remember(&r.reports[i])
	}
	ended := false
	for i := range r.series {
		op := &r.series[i]
		m, ok := l.metrics[op.metric]
		if !ok {
			m = newMetric()
			l.metrics[op.metric] = m
		}
		m.apply(op)
		if op.op == opAdd && op.attributes == l.options.Overflow {
			m.overflowed += op.state.value
		}
		l.latest = max(l.latest, op.state.zeroTime)
		ended = ended || op.op == opEnd
	}
	if ended {
		for _, m := range l.metrics {
			m.order = slices.DeleteFunc(m.order, func(s *series) bool { return !s.committed })
		}
	}
	l.collected = max(l.collected, r.collected)
	l.latest = max(l.latest, l.collected)
	l.acknowledged = cmp.Or(r.acknowledged, l.acknowledged)
}

func (m *metric) apply(op *seriesOp) {
	s, ok := m.series[op.attributes]
	if !ok {
		if op.op != opAdd && op.op != opSet {
			return
		}
		s = &series{attributes: op.attributes}
		s.start, s.zeroTime = op.state.start, op.state.zeroTime
		m.series[s.attributes] = s
	}
	if !s.committed {
		s.committed = true
		m.order = append(m.order, s)
	}
	switch op.op {
	case opAdd:
		s.value += op.state.value
		s.counted = op.state.counted
		s.staged = 0
	case opSet:
		s.seriesState = op.state
	case opAcknowledge:
		s.acknowledged, s.zeroAcknowledged = op.state.acknowledged, op.state.zeroAcknowledged
	case opEnd:
		delete(m.series, s.attributes)
		s.committed = false
	}
}

// correctClock moves the times that a clock far ahead has left to the present.
func (l *Ledger) correctClock(now time.Time) {
	t := now.UnixNano()
	if l.latest-t <= maxClockLag {
		return
	}
	l.latest = t - minPointInterval
	l.collected = min(l.collected, l.latest)
	l.acknowledged = min(l.acknowledged, l.latest)
	for _, m := range l.metrics {
		for _, s := range m.series {
			s.zeroTime = min(s.zeroTime, l.latest)
			s.start = min(s.start, l.latest-minPointInterval)
		}
	}
	l.checkpointDue = true
}

// monotonic returns the time in nanoseconds since 1970 as if the clock had not been set since the
// ledger was opened.
func (l *Ledger) monotonic(now time.Time) int64 {
	return l.opened.UnixNano() + int64(now.Sub(l.opened))
}

// Collection has the points to send. Its number is for Acknowledge.
type Collection struct {
	Number  uint64
	Metrics []MetricPoints // in the order of Options.Metrics
}

// MetricPoints are the points of one metric, in the order in which the series were created.
type MetricPoints struct {
	Name   string
	Points []Point
}

// Point is a data point of a sum. Start is before Time. If the series has Ended, it has no value.
type Point struct {
	Attributes  string
	Start, Time time.Time
	Value       int64
	Ended       bool
}

// collect returns the points to send now.
//
// Cumulative: the first point of a series is a zero, and its value follows once that was
// acknowledged, so that a reader of differences sees the first count too. A stale series that is
// not pending gets a last point without a value.
//
// Delta: a point for each series that was counted since the last acknowledged collection.
func (l *Ledger) collect(now time.Time) *Collection {
	l.correctClock(now)
	at := max(now.UnixNano(), l.collected+minPointInterval, l.latest)
	l.collected, l.latest = at, at
	l.number++
	c := &Collection{Number: l.number}
	for _, name := range l.options.Metrics {
		m := l.metrics[name]
		points := make([]Point, 0, len(m.order))
		for _, s := range m.order {
			s.sent = reading{value: s.value}
			p := Point{Attributes: s.attributes, Start: time.Unix(0, s.start), Time: time.Unix(0, at), Value: s.value}
			switch {
			case l.stale(s, now):
				s.sent.ended = true
				p.Value, p.Ended = 0, true
				if l.options.Delta || !s.zeroAcknowledged {
					continue // it is not known to the backend
				}
			case l.options.Delta:
				p.Start = time.Unix(0, max(s.start, l.acknowledged))
				p.Value -= s.acknowledged
				if p.Value == 0 {
					continue
				}
			case !s.zeroAcknowledged:
				s.sent.zero = true
				p.Time, p.Value = time.Unix(0, s.zeroTime), 0
			}
			points = append(points, p)
		}
		c.Metrics = append(c.Metrics, MetricPoints{name, points})
	}
	return c
}

// stale reports whether the series was not counted for long, and nothing of it is pending.
func (l *Ledger) stale(s *series, now time.Time) bool {
	return l.options.MaxStale > 0 && !s.pending() && l.monotonic(now)-s.counted >= int64(l.options.MaxStale)
}

// acknowledge returns the change that the acknowledgement of a collection makes: none unless it is
// the last.
func (l *Ledger) acknowledge(number uint64) *record {
	r := new(record)
	if number != l.number {
		return r
	}
	for _, name := range l.options.Metrics {
		for _, s := range l.metrics[name].order {
			op := seriesOp{opAcknowledge, name, s.attributes, s.seriesState}
			switch {
			case s.sent.zero:
				op.state.zeroAcknowledged = true
			case !s.sent.ended:
				op.state.acknowledged = s.sent.value
			case s.value == s.sent.value && s.staged == 0:
				op.op = opEnd
			}
			if op.op == opEnd || op.state != s.seriesState {
				r.series = append(r.series, op)
				r.collected, r.acknowledged = l.collected, l.collected
			}
		}
	}
	return r
}
