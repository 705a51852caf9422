// Package counter keeps monotonic sums by attribute set: how many there are at most, what becomes of those past the limit, when each
// began, which have gone stale, and what the receiving side has taken of each.
//
// A sum is state that is reported, never an event that is sent, so neither the order of events nor their timestamps, nor a report
// that fails, can change what it adds up to. The package does no I/O and starts no goroutine; what the attributes are, how a report
// travels and where sums are kept between runs is left to the caller.
package counter

import (
	"slices"
	"sync"
	"time"
)

// Step is the least time between two collections of a set. Backends keep milliseconds and drop a point whose time does not advance,
// so a clock that stands still or is set back must not show in the points.
const Step = time.Millisecond

// Temporality says what a point's value covers (OpenTelemetry metrics data model, "Temporality").
type Temporality int

const (
	// Cumulative points carry the total since the series began.
	Cumulative Temporality = iota
	// Delta points carry what came since the last point that was taken.
	Delta
)

// Key identifies a series. Equal keys are one series.
type Key[K any] interface {
	comparable
	// Clone returns an equal key that shares no memory with the text a report came in, because a series outlives the report.
	Clone() K
}

// Options bound a set of sums.
type Options struct {
	// Temporality of the points.
	Temporality Temporality
	// Limit is the number of series with attributes of their own, at least 1. What comes past it adds up in one more, the overflow series.
	Limit int
	// MaxStale is how long a series that is not counted is kept. Zero keeps it forever.
	MaxStale time.Duration
}

// Sums is a bounded set of monotonic sums, one for each key. It is safe for concurrent use.
type Sums[K Key[K]] struct {
	options Options

	// reporting is held by whoever makes a report or takes note of it, and before mu. Meanwhile series are added, but none goes away, so that
	// mu need not be held for as long as it takes to go through all of them.
	reporting sync.Mutex
	mu        sync.Mutex
	byKey     map[K]*series[K]
	overflow  *series[K]
	all       []*series[K] // in order of creation, the overflow series among them
	// slots hold the same series by number; a free one is nil and listed in free.
	slots []*series[K]
	free  []int
	// collected is the time of the last collection, which is when a series that is not there yet was certainly zero.
	collected time.Time
	// taken is the time of the last collection that was taken.
	taken time.Time
}

// series is one sum. All but key, overflow, slot and start is guarded by Sums.mu.
type series[K Key[K]] struct {
	key      K
	overflow bool
	slot     int
	start    time.Time

	value   int64
	counted time.Time // when it was last counted
	// zeroed is when its zero was first reported, zeroTaken whether that was taken.
	zeroed    time.Time
	zeroTaken bool
	// taken is the value that was last taken.
	taken int64
	gone  bool
}

// New returns an empty set that begins to count at now.
func New[K Key[K]](options Options, now time.Time) *Sums[K] {
	return &Sums[K]{
		options:   options,
		byKey:     make(map[K]*series[K]),
		collected: now.Round(0),
		taken:     now.Round(0),
	}
}

// chunk is the number of series that are gone through before those who count get their turn.
const chunk = 256

// each calls do with the numbers from 0 on and before n, with the lock held, which it lets go of from time to time.
func (s *Sums[K]) each(n int, do func(i int)) {
	for from := 0; from < n; from += chunk {
		s.mu.Lock()
		for i := from; i < min(from+chunk, n); i++ {
			do(i)
		}
		s.mu.Unlock()
	}
}

// Add counts one event of each key at now. It returns how many of them went to the overflow series.
func (s *Sums[K]) Add(keys []K, now time.Time) (overflowed int) {
	if len(keys) == 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range keys {
		one := s.of(keys[i])
		one.value++
		one.counted = now
		if one.overflow {
			overflowed++
		}
	}
	return overflowed
}

// of returns the series that an event of the key goes to.
func (s *Sums[K]) of(key K) *series[K] {
	if one, ok := s.byKey[key]; ok {
		return one
	}
	if len(s.byKey) < s.options.Limit {
		one := s.make(key.Clone(), false)
		s.link(one)
		return one
	}
	if s.overflow == nil {
		s.link(s.makeOverflow())
	}
	return s.overflow
}

// make returns a new series, in a slot of its own but not linked.
func (s *Sums[K]) make(key K, overflow bool) *series[K] {
	one := &series[K]{key: key, overflow: overflow, start: s.collected}
	if last := len(s.free) - 1; last >= 0 {
		one.slot, s.free = s.free[last], s.free[:last]
	} else {
		one.slot = len(s.slots)
		s.slots = append(s.slots, nil)
	}
	return one
}

func (s *Sums[K]) makeOverflow() *series[K] {
	var none K
	return s.make(none, true)
}

func (s *Sums[K]) link(one *series[K]) {
	s.slots[one.slot] = one
	s.all = append(s.all, one)
	if one.overflow {
		s.overflow = one
	} else {
		s.byKey[one.key] = one
	}
}

// Len returns the number of series held, the overflow series included: at most Options.Limit + 1, unless more were restored.
func (s *Sums[K]) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// Untaken reports whether anything was counted that no taken report has shown yet.
func (s *Sums[K]) Untaken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.all, func(one *series[K]) bool { return one.value != one.taken })
}

// Collect returns a report of all series that there are at now, or Step after the last collection if the clock has not moved on since.
//
// Cumulative: a series' first point is a zero, and its count follows with the next collection, so that a reader that looks at
// differences sees the first event too. The zero is repeated, with its own time, until a report with it was taken.
// A series that is stale, and whose total was taken, gets a last point without a value.
//
// Delta: a point for each series that was counted since the last report that was taken.
//
// Nothing is given up until Report.Taken is called; a report that was refused is simply followed by the next.
func (s *Sums[K]) Collect(now time.Time) *Report[K] {
	s.reporting.Lock()
	defer s.reporting.Unlock()

	r, n := s.newReport(now)
	r.readings = make([]reading[K], 0, n)
	s.each(n, func(i int) {
		one := s.all[i]
		stale := s.options.MaxStale > 0 && one.value == one.taken && now.Sub(one.counted) >= s.options.MaxStale
		entry := reading[K]{series: one, value: one.value, taken: one.taken, stale: stale}
		if s.options.Temporality == Cumulative {
			entry.fresh = one.zeroed.IsZero()
			if entry.fresh {
				one.zeroed = r.Time
				r.Changed = append(r.Changed, one.slot)
			}
			entry.withZero = !one.zeroTaken
			entry.zeroed = one.zeroed
		}
		r.readings = append(r.readings, entry)
	})
	return r
}

// newReport returns a report without its readings, and how many there will be.
func (s *Sums[K]) newReport(now time.Time) (*Report[K], int) {
	s.mu.Lock()
	defer s.mu.Unlock()

	// Without its monotonic reading, because what must advance is the time that the points carry.
	at := now.Round(0)
	if earliest := s.collected.Add(Step); at.Before(earliest) {
		at = earliest
	}
	s.collected = at

	return &Report[K]{sums: s, Time: at, since: s.taken}, len(s.all)
}

// unlink ends a series. It is left in all.
func (s *Sums[K]) unlink(one *series[K]) {
	one.gone = true
	s.slots[one.slot] = nil
	s.free = append(s.free, one.slot)
	if one.overflow {
		s.overflow = nil
	} else {
		delete(s.byKey, one.key)
	}
}

// forget drops the series that are gone. Their places are cleared so that the array behind the slice does not keep them alive.
func (s *Sums[K]) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(one *series[K]) bool { return one.gone })
}
