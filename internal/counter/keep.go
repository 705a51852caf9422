package counter

import (
	"fmt"
	"iter"
	"time"
)

// Record is a series as it is kept between runs. Times without a value are zero.
type Record[K Key[K]] struct {
	Key      K
	Overflow bool
	Start    time.Time
	Value    int64
	Counted  time.Time
	// Zeroed is when the series' zero was first reported, ZeroTaken whether that report was taken.
	Zeroed    time.Time
	ZeroTaken bool
	// Taken is the value that was last taken.
	Taken int64
}

func (one *series[K]) record() Record[K] {
	return Record[K]{
		Key: one.key, Overflow: one.overflow, Start: one.start, Value: one.value, Counted: one.counted,
		Zeroed: one.zeroed, ZeroTaken: one.zeroTaken, Taken: one.taken,
	}
}

// Slots returns a number that is greater than the slot of every series. A series has the same slot for as long as it is held, and
// slots are used again, so that they stay below the greatest number of series ever held at once.
func (s *Sums[K]) Slots() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots)
}

// Record returns the series in a slot, and false when there is none.
func (s *Sums[K]) Record(slot int) (Record[K], bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot >= len(s.slots) || s.slots[slot] == nil {
		return Record[K]{}, false
	}
	return s.slots[slot].record(), true
}

// Restore fills a set that is still empty with the series of an earlier run, by slot. More series than Options.Limit are all kept:
// what was counted is not lost, and no new ones are made until enough of them have gone stale.
func (s *Sums[K]) Restore(slots int, records iter.Seq2[int, Record[K]]) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if slots < 0 {
		return fmt.Errorf("there cannot be %d slots", slots)
	}
	s.slots = make([]*series[K], slots)
	for slot, r := range records {
		if slot < 0 || slot >= slots || s.slots[slot] != nil {
			return fmt.Errorf("slot %d of %d is out of range or taken", slot, slots)
		}
		one := &series[K]{
			key: r.Key, overflow: r.Overflow, slot: slot, start: r.Start, value: r.Value, counted: r.Counted,
			zeroed: r.Zeroed, zeroTaken: r.ZeroTaken, taken: r.Taken,
		}
		if _, twice := s.byKey[one.key]; !one.overflow && twice || one.overflow && s.overflow != nil {
			return fmt.Errorf("slot %d holds a series that another slot holds too", slot)
		}
		if one.value < one.taken || one.taken < 0 {
			return fmt.Errorf("slot %d holds a series of which more was taken than counted", slot)
		}
		s.link(one)
		// Time goes on from the latest that any point had, even if the clock was set back meanwhile.
		for _, at := range [...]time.Time{one.start, one.zeroed, one.counted} {
			if at.After(s.collected) {
				s.collected, s.taken = at, at
			}
		}
	}
	for slot, one := range s.slots {
		if one == nil {
			s.free = append(s.free, slot)
		}
	}
	return nil
}

// Times returns when the last report was collected, and when the last one that was taken was.
func (s *Sums[K]) Times() (collected, taken time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.collected, s.taken
}

// Resume makes time go on from that of an earlier run, as Times returned it: no point is before its last one, and deltas begin where the
// last taken one ended.
func (s *Sums[K]) Resume(collected, taken time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if collected.After(s.collected) {
		s.collected = collected
	}
	s.taken = taken
}

// Change is a number of events that were not counted yet: what they would make of the series can be kept first, and is then
// either applied or dropped. Between Stage and Apply or Drop nothing else may change the set.
type Change[K Key[K]] struct {
	// Overflowed is the number of events that go to the overflow series.
	Overflowed int64

	sums    *Sums[K]
	updates []*update[K]
	// made are the updates of series that are not there yet.
	made     map[K]*update[K]
	overflow *update[K]
	found    map[*series[K]]*update[K]
}

type update[K Key[K]] struct {
	series *series[K]
	made   bool
	add    int64
	at     time.Time
}

// Stage returns an empty change.
func (s *Sums[K]) Stage() *Change[K] {
	return &Change[K]{sums: s, made: make(map[K]*update[K]), found: make(map[*series[K]]*update[K])}
}

// Add adds one event of the key at now to the change. It reports whether the event goes to the overflow series.
func (c *Change[K]) Add(key K, now time.Time) (overflowed bool) {
	c.sums.mu.Lock()
	defer c.sums.mu.Unlock()

	u := c.find(key)
	u.add++
	u.at = now
	if u.series.overflow {
		c.Overflowed++
	}
	return u.series.overflow
}

func (c *Change[K]) find(key K) *update[K] {
	s := c.sums
	if one, ok := s.byKey[key]; ok {
		return c.of(one)
	}
	if u, ok := c.made[key]; ok {
		return u
	}
	if len(s.byKey)+len(c.made) < s.options.Limit {
		u := c.new(s.make(key.Clone(), false))
		c.made[u.series.key] = u
		return u
	}
	if s.overflow != nil {
		return c.of(s.overflow)
	}
	if c.overflow == nil {
		c.overflow = c.new(s.makeOverflow())
	}
	return c.overflow
}

func (c *Change[K]) of(one *series[K]) *update[K] {
	u, ok := c.found[one]
	if !ok {
		u = &update[K]{series: one}
		c.found[one] = u
		c.updates = append(c.updates, u)
	}
	return u
}

func (c *Change[K]) new(one *series[K]) *update[K] {
	u := &update[K]{series: one, made: true}
	c.updates = append(c.updates, u)
	return u
}

// Records yields the slots that change and what they will hold.
func (c *Change[K]) Records() iter.Seq2[int, Record[K]] {
	return func(yield func(int, Record[K]) bool) {
		for _, u := range c.updates {
			r := u.series.record()
			r.Value += u.add
			r.Counted = u.at
			if !yield(u.series.slot, r) {
				return
			}
		}
	}
}

// Apply counts the events.
func (c *Change[K]) Apply() {
	c.sums.mu.Lock()
	defer c.sums.mu.Unlock()
	for _, u := range c.updates {
		if u.made {
			c.sums.link(u.series)
		}
		u.series.value += u.add
		u.series.counted = u.at
	}
}

// Drop forgets the events.
func (c *Change[K]) Drop() {
	c.sums.mu.Lock()
	defer c.sums.mu.Unlock()
	for _, u := range c.updates {
		if u.made {
			c.sums.free = append(c.sums.free, u.series.slot)
		}
	}
}
