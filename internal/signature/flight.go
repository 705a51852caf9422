package signature

import (
	"context"
	"fmt"
	"time"
)

// flight is a lookup that is under way. There is one at a time for a name.
type flight struct {
	stranger bool
	done     chan struct{}
	// What it came to; not to be read before done is closed.
	set *keySet
	err error
}

// wait returns what the lookup came to. It goes on when ctx is done: others may wait for it, and the next call can use it.
func (f *flight) wait(ctx context.Context) (*keySet, error) {
	select {
	case <-f.done:
		return f.set, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrKeyUnavailable, ctx.Err())
	}
}

var (
	errLimited = fmt.Errorf("%w: %s", ErrKeyUnavailable, LookupLimited)
	errClosed  = fmt.Errorf("%w: closed", ErrKeyUnavailable)
)

// start begins a lookup, or joins the one that is under way.
func (c *keyCache) start(name string, now time.Time) (*flight, error) {
	if f, ok := c.flights[name]; ok {
		return f, nil
	}
	if c.closed {
		return nil, errClosed
	}
	_, known := c.held[name]
	if !known && !c.limit.allows(now) {
		return nil, errLimited
	}
	f := &flight{stranger: !known, done: make(chan struct{})}
	if f.stranger {
		c.limit.strangers++
	}
	c.flights[name] = f
	c.wg.Go(func() {
		keys, outcome := c.ask(name)
		// Close ends lookups; that is no failure of theirs.
		if c.ctx.Err() == nil {
			c.observe(outcome)
		}
		c.land(name, f, keys, outcome)
	})
	return f, nil
}

// Lookups of names that are not held: how many there may be at once, at once after a pause, and after that.
const (
	maxStrangers  = 8
	strangerBurst = 32
	strangerEvery = 50 * time.Millisecond
)

// limit bounds the lookups of names that are not held, which anyone can make up. Those of held ones are at most one for each.
type limit struct {
	strangers int // under way
	next      time.Time
}

// allows says that there may be one more lookup, and counts it.
func (l *limit) allows(now time.Time) bool {
	if l.strangers >= maxStrangers {
		return false
	}
	// A clock that was set back must not keep the door shut.
	if earliest := now.Add(-strangerBurst * strangerEvery); l.next.Before(earliest) || l.next.Sub(now) > strangerEvery {
		l.next = earliest
	}
	if l.next.After(now) {
		return false
	}
	l.next = l.next.Add(strangerEvery)
	return true
}
