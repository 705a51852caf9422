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
// either applied or dropped. Between the first Add and Apply or Drop nothing else may change the set. After either the change is empty,
// and may be used again.
type Change[K Key[K]] struct {
	sums    *Sums[K]
	updates []Update[K]
	// bySlot says which update is about the series in a slot: its place in updates, plus one. Slots are few and dense, so this is a map that needs no hashing.
	bySlot []int32
	// made are the slots of series that are not there yet, overflow is that of the overflow series, plus one, if that is one of them.
	made     map[K]int
	overflow int
}

// Update is what a change does to one series.
type Update[K Key[K]] struct {
	// Made says that the series is not there yet.
	Made bool
	// Add is the number of events, Counted the time of the last.
	Add     int64
	Counted time.Time

	series *series[K]
}

// Slot returns the slot of the series.
func (u *Update[K]) Slot() int { return u.series.slot }

// Series returns what a series is made of that is not there yet.
func (u *Update[K]) Series() (key K, overflow bool, start time.Time) {
	return u.series.key, u.series.overflow, u.series.start
}

// Stage returns an empty change.
func (s *Sums[K]) Stage() *Change[K] {
	return &Change[K]{sums: s, made: make(map[K]int)}
}

// Add adds events to the change, one of each key, at now. It returns how many of them go to the overflow series.
func (c *Change[K]) Add(keys []K, now time.Time) (overflowed int) {
	c.sums.mu.Lock()
	defer c.sums.mu.Unlock()

	for _, key := range keys {
		u := c.find(key)
		u.Add++
		u.Counted = now
		if u.series.overflow {
			overflowed++
		}
	}
	return overflowed
}

// find returns the update of the series that an event of the key goes to.
func (c *Change[K]) find(key K) *Update[K] {
	s := c.sums
	if one, ok := s.byKey[key]; ok {
		return c.of(one)
	}
	if len(c.made) > 0 {
		if slot, ok := c.made[key]; ok {
			return c.in(slot)
		}
	}
	if len(s.byKey)+len(c.made) < s.options.Limit {
		one := s.make(key.Clone(), false)
		c.made[one.key] = one.slot
		return c.append(one, true)
	}
	switch {
	case s.overflow != nil:
		return c.of(s.overflow)
	case c.overflow > 0:
		return c.in(c.overflow - 1)
	}
	one := s.makeOverflow()
	c.overflow = one.slot + 1
	return c.append(one, true)
}

// of returns the update of a series that is there.
func (c *Change[K]) of(one *series[K]) *Update[K] {
	if one.slot < len(c.bySlot) && c.bySlot[one.slot] > 0 {
		return c.in(one.slot)
	}
	return c.append(one, false)
}

// in returns the update of the series in a slot, which has one.
func (c *Change[K]) in(slot int) *Update[K] { return &c.updates[c.bySlot[slot]-1] }

func (c *Change[K]) append(one *series[K], made bool) *Update[K] {
	if missing := len(c.sums.slots) - len(c.bySlot); missing > 0 {
		c.bySlot = append(c.bySlot, make([]int32, missing)...)
	}
	c.updates = append(c.updates, Update[K]{series: one, Made: made})
	c.bySlot[one.slot] = int32(len(c.updates))
	return &c.updates[len(c.updates)-1]
}

// Updates returns what changes, until the change is applied or dropped. Series whose slots are new are in the order of these.
func (c *Change[K]) Updates() []Update[K] { return c.updates }

// Apply counts the events.
func (c *Change[K]) Apply() {
	c.sums.mu.Lock()
	defer c.sums.mu.Unlock()
	for i := range c.updates {
		u := &c.updates[i]
		if u.Made {
			c.sums.link(u.series)
		}
		u.series.value += u.Add
		u.series.counted = u.Counted
	}
	c.empty()
}

// Drop forgets the events.
func (c *Change[K]) Drop() {
	c.sums.mu.Lock()
	defer c.sums.mu.Unlock()
	for i := range c.updates {
		if u := &c.updates[i]; u.Made {
			c.sums.free = append(c.sums.free, u.series.slot)
		}
	}
	c.empty()
}

// empty lets go of the series, so that the change does not keep those alive that go away.
func (c *Change[K]) empty() {
	for i := range c.updates {
		c.bySlot[c.updates[i].series.slot] = 0
	}
	clear(c.updates)
	c.updates = c.updates[:0]
	if len(c.made) > 0 {
		clear(c.made)
	}
	c.overflow = 0
}
