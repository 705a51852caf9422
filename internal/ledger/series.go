package ledger

import (
	"slices"
	"time"
)

const (
	// step is the least time between two points of a series. Backends keep milliseconds and drop a point whose time does
	// not advance, so a clock that stands still or is set back a little must not show in the points.
	step = int64(time.Millisecond)

	// maxAhead is how far the time of the last point may be ahead of the clock. A clock that was set back by less, as
	// the correction of a clock that drifted does, is waited for in steps. One that was set back by more was wrong before,
	// and what it left is moved to the present: else every point would have the wrong time until the clock arrives there.
	maxAhead = int64(10 * time.Minute)
)

// metric is one counter: a monotonic sum for each set of attributes.
type metric struct {
	series map[string]*series
	// order has the same series in the order of their making.
	order []*series
	// made is how many series the record that is being committed makes.
	made int
	// overflowed is how many events were counted in the overflow series.
	overflowed int64
}

type series struct {
	attributes string
	// gone reports whether it is forgotten.
	gone bool
	// staged is one more than the place, in the record that is being committed, of what is added to the series; else 0.
	staged int
	seriesState
}

// owed reports whether the metrics pipelines lack something of the series.
func (s *series) owed() bool { return s.acknowledged != s.value }

// stagedKey names a series that is about to be made.
type stagedKey struct {
	metric     int
	attributes string
}

// stage adds what the entries commit to a record, without applying it. unstage is to be called before the record is applied
// or given up.
func (l *Ledger) stage(r *record, entries []Entry, now time.Time) {
	l.rewind(now)
	at := l.steady(now)
	for i := range entries {
		e := &entries[i]
		if l.options.Deduplicate {
			r.seen = append(r.seen, seen{e.Attempt.kind, e.Attempt.id, e.Outcome, at})
		}
		for _, count := range e.Counts {
			l.stageCount(r, count, now, at)
		}
	}
}

func (l *Ledger) stageCount(r *record, c Count, now time.Time, at int64) {
	name := l.options.Metrics[c.Metric]
	m := l.metrics[name]
	o := seriesOp{op: opAdd, metric: name, state: seriesState{value: 1, counted: at}}
	if one, ok := m.series[string(c.Attributes)]; ok {
		if one.staged > 0 {
			r.series[one.staged-1].state.value++
			return
		}
		one.staged = len(r.series) + 1
		l.touched = append(l.touched, one)
		o.attributes, o.state.start, o.state.zero = one.attributes, one.start, one.zero
	} else {
		if i, ok := l.made[stagedKey{c.Metric, string(c.Attributes)}]; ok {
			r.series[i].state.value++
			return
		}
		overflows := string(c.Attributes) == l.options.Overflow
		if !overflows && m.own(l.options.Overflow)+m.made >= l.options.Limit {
			l.stageCount(r, Count{c.Metric, []byte(l.options.Overflow)}, now, at)
			return
		}
		if !overflows {
			m.made++
		}
		// When the last collection was made it was certainly zero.
		o.attributes, o.state.start = string(c.Attributes), l.collected
		o.state.zero = max(now.UnixNano(), l.collected+step)
		l.made[stagedKey{c.Metric, o.attributes}] = len(r.series)
	}
	r.series = append(r.series, o)
}

// unstage ends the use of what stage has noted.
func (l *Ledger) unstage() {
	for _, one := range l.touched {
		one.staged = 0
	}
	clear(l.touched)
	l.touched = l.touched[:0]
	if len(l.made) > 0 {
		clear(l.made)
		for _, m := range l.metrics {
			m.made = 0
		}
	}
}

// own returns the number of series with attributes of their own.
func (m *metric) own(overflow string) int {
	if _, ok := m.series[overflow]; ok {
		return len(m.series) - 1
	}
	return len(m.series)
}

// apply makes the change that a record is, whether it was just committed or comes from a store.
func (l *Ledger) apply(r *record) {
	for _, v := range r.values {
		l.values[v.name] = v.content
	}
	for _, s := range r.seen {
		l.remember(s)
	}
	ended := false
	for i := range r.series {
		o := &r.series[i]
		m, ok := l.metrics[o.metric]
		if !ok {
			m = &metric{series: make(map[string]*series)}
			l.metrics[o.metric] = m
		}
		m.apply(o)
		if o.op == opAdd && o.attributes == l.options.Overflow {
			m.overflowed += o.state.value
		}
		l.latest = max(l.latest, o.state.zero)
		ended = ended || o.op == opEnd
	}
	if ended {
		for _, m := range l.metrics {
			m.order = slices.DeleteFunc(m.order, func(s *series) bool { return s.gone })
		}
	}
	l.collected = max(l.collected, r.collected)
	l.latest = max(l.latest, l.collected)
	if r.acknowledged != 0 {
		l.acknowledged = r.acknowledged
	}
}

func (m *metric) apply(o *seriesOp) {
	one, ok := m.series[o.attributes]
	if !ok {
		if o.op != opAdd && o.op != opSet {
			return
		}
		one = &series{attributes: o.attributes}
		one.start, one.zero = o.state.start, o.state.zero
		m.series[one.attributes] = one
		m.order = append(m.order, one)
	}
	switch o.op {
	case opAdd:
		one.value += o.state.value
		one.counted = o.state.counted
	case opSet:
		one.seriesState = o.state
	case opAcknowledge:
		one.acknowledged, one.zeroAcknowledged = o.state.acknowledged, o.state.zeroAcknowledged
	case opEnd:
		delete(m.series, one.attributes)
		one.gone = true
	}
}

// rewind moves what a clock that was far ahead has left to the present.
func (l *Ledger) rewind(now time.Time) {
	t := now.UnixNano()
	if l.latest-t <= maxAhead {
		return
	}
	l.collected = min(l.collected, t-step)
	l.acknowledged = min(l.acknowledged, t-step)
	for _, m := range l.metrics {
		for _, one := range m.order {
			one.start, one.zero = min(one.start, t-2*step), min(one.zero, t-step)
		}
	}
	l.latest = t - step
	l.replace = true
}

// steady returns the time since the ledger was opened, on top of what the clock said then: what is measured by it does not
// feel that the clock is set.
func (l *Ledger) steady(now time.Time) int64 { return l.opened.UnixNano() + int64(now.Sub(l.opened)) }

// Collection is what is due of the counters.
type Collection struct {
	// Number is what Acknowledge takes.
	Number uint64
	// Metrics are in the order of Options.Metrics.
	Metrics []MetricPoints

	readings []reading
	at       int64
}

// MetricPoints are the points of one metric, in the order in which the series were made.
type MetricPoints struct {
	Name   string
	Points []Point
}

// Point is one data point of a sum.
type Point struct {
	Attributes string
	// Start of the time that Value covers, and its end. Start is before Time.
	Start, Time time.Time
	Value       int64
	// Ended reports whether the series is forgotten and the point carries no value.
	Ended bool
}

// reading is a series as it was collected.
type reading struct {
	metric int
	series *series
	value  int64
	// zero: its first point was collected and nothing else; end: its last was.
	zero, end bool
}

// collect returns the points of all series.
//
// Cumulative: the first point of a series is a zero, and its count follows once that was acknowledged, so that a reader that
// looks at differences sees the first event too. A series that is stale and not owed gets a last point without a value.
//
// Delta: a point for each series that was counted since the last collection that was acknowledged.
func (l *Ledger) collect(now time.Time) *Collection {
	l.rewind(now)
	at := max(now.UnixNano(), l.collected+step, l.latest)
	l.collected, l.latest = at, at
	l.number++
	c := &Collection{Number: l.number, at: at}
	steady := l.steady(now)
	for i, name := range l.options.Metrics {
		m := l.metrics[name]
		points := MetricPoints{Name: name, Points: make([]Point, 0, len(m.order))}
		for _, one := range m.order {
			stale := l.options.MaxStale > 0 && !one.owed() && steady-one.counted >= int64(l.options.MaxStale)
			r := reading{metric: i, series: one, value: one.value, end: stale}
			p := Point{Attributes: one.attributes, Start: time.Unix(0, one.start), Time: time.Unix(0, at), Value: one.value}
			send := true
			switch {
			case l.options.Delta:
				p.Start, p.Value = time.Unix(0, max(one.start, l.acknowledged)), one.value-one.acknowledged
				send = p.Value > 0
			case r.end:
				// What ends before its zero was taken is not known to anybody.
				p.Value, p.Ended, send = 0, true, one.zeroAcknowledged
			case !one.zeroAcknowledged:
				r.zero, p.Time, p.Value = true, time.Unix(0, one.zero), 0
			}
			if send {
				points.Points = append(points.Points, p)
			}
			c.readings = append(c.readings, r)
		}
		c.Metrics = append(c.Metrics, points)
	}
	l.collection = c
	return c
}

// acknowledge returns what it changes that the metrics pipelines have the collection.
func (l *Ledger) acknowledge(c *Collection) *record {
	r := &record{collected: c.at, acknowledged: c.at}
	for _, reading := range c.readings {
		one := reading.series
		o := seriesOp{op: opAcknowledge, metric: l.options.Metrics[reading.metric], attributes: one.attributes}
		o.state.acknowledged, o.state.zeroAcknowledged = one.acknowledged, one.zeroAcknowledged
		switch {
		case reading.end && one.value == reading.value && one.staged == 0:
			// What is about to be added to a series must find it.
			o.op = opEnd
		case reading.zero:
			o.state.zeroAcknowledged = true
		case !reading.end:
			o.state.acknowledged = reading.value
		}
		if o.op == opEnd || o.state.acknowledged != one.acknowledged || o.state.zeroAcknowledged != one.zeroAcknowledged {
			r.series = append(r.series, o)
		}
	}
	return r
}
