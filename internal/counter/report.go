package counter

import (
	"iter"
	"slices"
	"time"
)

// Report is what a set of sums stood at when it was collected. It does not change afterwards.
type Report[K Key[K]] struct {
	// Time of the collection. It is later than that of every earlier collection of the same set.
	Time time.Time
	// Changed are the slots of series that the collection changed.
	Changed []int

	sums     *Sums[K]
	since    time.Time
	readings []reading[K]
}

// reading is one series as it stood.
type reading[K Key[K]] struct {
	series *series[K]
	value  int64
	taken  int64
	zeroed time.Time
	// fresh: nothing but the zero is due yet. withZero: no report with the zero was taken yet.
	fresh, withZero, stale bool
}

// Point is one data point of a sum.
type Point[K Key[K]] struct {
	// Key of the series; the zero value in the overflow series.
	Key      K
	Overflow bool
	// Start of the time that Value covers, and its end. Start is before Time.
	Start, Time time.Time
	Value       int64
	// Ended says that the series is forgotten and that the point carries no value.
	Ended bool
}

// Points yields the report's points: those of one series one after the other, in order of time, the series in order of their creation.
func (r *Report[K]) Points() iter.Seq[Point[K]] {
	if r.sums.options.Temporality == Delta {
		return r.deltas
	}
	return r.totals
}

// Len returns the number of points.
func (r *Report[K]) Len() int {
	n := 0
	for range r.Points() {
		n++
	}
	return n
}

func (r *Report[K]) totals(yield func(Point[K]) bool) {
	for i := range r.readings {
		entry := &r.readings[i]
		point := Point[K]{Key: entry.series.key, Overflow: entry.series.overflow, Start: entry.series.start}
		if entry.withZero {
			point.Time = entry.zeroed
			if !yield(point) {
				return
			}
		}
		if entry.fresh {
			continue
		}
		point.Time, point.Value, point.Ended = r.Time, entry.value, entry.stale
		if point.Ended {
			point.Value = 0
		}
		if !yield(point) {
			return
		}
	}
}

func (r *Report[K]) deltas(yield func(Point[K]) bool) {
	for i := range r.readings {
		entry := &r.readings[i]
		if entry.value == entry.taken {
			continue
		}
		point := Point[K]{
			Key: entry.series.key, Overflow: entry.series.overflow,
			Start: r.since, Time: r.Time, Value: entry.value - entry.taken,
		}
		if entry.series.start.After(point.Start) {
			point.Start = entry.series.start
		}
		if !yield(point) {
			return
		}
	}
}

// Taken records that the receiving side has the report: deltas begin anew after it, zeros are not repeated, and a series whose end
// was reported is forgotten unless it was counted meanwhile. Reports are taken in the order in which they were collected;
// a report that was refused is not taken at all. It returns the slots of the series that have to be kept anew: in a cumulative set those
// of which the zero was taken or that are gone, because the rest shows by itself in the next total.
func (r *Report[K]) Taken() (changed []int) {
	s := r.sums
	s.reporting.Lock()
	defer s.reporting.Unlock()

	s.mu.Lock()
	s.taken = r.Time
	s.mu.Unlock()
	ended := false
	s.each(len(r.readings), func(i int) {
		entry := &r.readings[i]
		one := entry.series
		if !entry.fresh {
			if s.options.Temporality == Delta && one.taken != entry.value {
				changed = append(changed, one.slot)
			}
			one.taken = entry.value
		}
		if entry.withZero && !one.zeroTaken {
			one.zeroTaken = true
			changed = append(changed, one.slot)
		}
		if entry.stale && one.value == entry.value && !one.gone {
			s.unlink(one)
			ended = true
			changed = append(changed, one.slot)
		}
	})
	if ended {
		s.forget()
	}
	return changed
}

// Withhold takes series out of the report whose zero was not taken yet and could not be kept: those in the slots for which unkept is true.
// A run after this one would not know of the zero, and begin with another one after the total had gone out.
func (r *Report[K]) Withhold(unkept func(slot int) bool) {
	r.sums.reporting.Lock()
	defer r.sums.reporting.Unlock()
	r.sums.mu.Lock()
	defer r.sums.mu.Unlock()
	r.readings = slices.DeleteFunc(r.readings, func(entry reading[K]) bool {
		if !entry.withZero || !unkept(entry.series.slot) {
			return false
		}
		if entry.fresh {
			entry.series.zeroed = time.Time{}
		}
		return true
	})
}
