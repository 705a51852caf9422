package signature

import (
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// How long and how much is remembered of keys.
const (
	maxHeld = 16 // names with a key, or that had one

	freshFor  = 10 * time.Minute // how long a key is used without asking again
	renewFrom = 8 * time.Minute  // from when on it is asked for again in the background
	lastGood  = 24 * time.Hour   // how long a key serves while it cannot be looked up, and how long a name is known to have had a good one

	retryEvery   = 30 * time.Second // how often a key that serves is asked for while that fails
	recheckEvery = 10 * time.Second // how often a signature that does not match has its key asked for
	absentFor    = 15 * time.Second // how long a name without a key is not asked for
	failedFor    = 2 * time.Second  // how long a name is not asked for after that failed
)

// keySet are the keys of a name at one time. It does not change; another set is another pointer.
type keySet struct {
	keys []*rsa.PublicKey
}

func (s *keySet) verifies(sum, signature []byte) bool {
	return slices.ContainsFunc(s.keys, func(key *rsa.PublicKey) bool {
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum, signature) == nil
	})
}

func (s *keySet) equal(keys []*rsa.PublicKey) bool {
	return slices.EqualFunc(s.keys, keys, func(a, b *rsa.PublicKey) bool { return a.Equal(b) })
}

// held is a name that has a key, or that lately had one that verified a call.
type held struct {
	set      *keySet   // nil: it has no key any more
	found    time.Time // when the set was last looked up
	asked    time.Time // when the last lookup ended
	failed   bool      // that it failed
	verified time.Time // when a call was last verified; zero: never
	// rechecked is when a signature that did not match last had the set looked up.
	rechecked time.Time
	used      uint64 // greater than that of all that were used before
}

// serves says that the set may be used without waiting for a lookup: it is fresh, or to look it up has failed lately.
func (h *held) serves(now time.Time) bool {
	if h.set == nil {
		return false
	}
	return within(now, h.found, freshFor) || h.failed && within(now, h.asked, freshFor) && within(now, h.found, lastGood)
}

// due says that the set should be looked up in the background.
func (h *held) due(now time.Time) bool {
	return !within(now, h.found, renewFrom) && (!h.failed || !within(now, h.asked, retryEvery))
}

// pause is how long the last lookup stands for the next.
func (h *held) pause() time.Duration {
	if h.failed {
		return failedFor
	}
	return absentFor
}

// trusted says that a call was verified with a key of this name.
func (h *held) trusted() bool {
	return !h.verified.IsZero()
}

// within says that now is less than d after since. A clock that was set back ends it too.
func within(now, since time.Time, d time.Duration) bool {
	elapsed := now.Sub(since)
	return 0 <= elapsed && elapsed < d
}

// keyCache holds the keys of a few names and looks them up.
//
// Who can only make up names gets nothing out of it: names without a key are remembered apart and shortly, never in the place of one
// with a key; a name that has verified a call never gives way to one that has not; and lookups of names that are not held are limited.
type keyCache struct {
	resolver Resolver
	now      func() time.Time
	observe  func(string)
	timeout  time.Duration

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	held    map[string]*held
	uses    uint64
	missing missing
	flights map[string]*flight
	limit   limit
	closed  bool
}

func newKeyCache(resolver Resolver, now func() time.Time, observe func(string)) *keyCache {
	c := &keyCache{
		resolver: resolver, now: now, observe: observe, timeout: attemptTimeout,
		held: make(map[string]*held), missing: make(missing), flights: make(map[string]*flight),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// verify checks a signature with the keys of a name.
func (c *keyCache) verify(ctx context.Context, name string, sum, signature []byte) error {
	set, justAsked, err := c.get(ctx, name)
	if err != nil {
		return err
	}
	if set.verifies(sum, signature) {
		c.confirm(name, set)
		return nil
	}
	if justAsked {
		return refuse(ReasonSignatureMismatch)
	}
	// The key may have been changed since it was looked up.
	again, err := c.recheck(ctx, name, set)
	if err != nil {
		return err
	}
	if again == nil || again == set || !again.verifies(sum, signature) {
		return refuse(ReasonSignatureMismatch)
	}
	c.confirm(name, again)
	return nil
}

// refused returns a Refusal if it is known that the name has no key.
func (c *keyCache) refused(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.missing[name]; ok && m.reason != "" && within(c.now(), m.since, absentFor) {
		return refuse(m.reason)
	}
	return nil
}

// get returns the keys of a name, and whether they were looked up for it.
func (c *keyCache) get(ctx context.Context, name string) (set *keySet, justAsked bool, err error) {
	c.mu.Lock()
	now := c.now()
	if h := c.held[name]; h != nil {
		c.touch(h)
		if h.serves(now) {
			set := h.set
			if h.due(now) {
				// Nobody waits for it; what it finds is for the next call.
				_, _ = c.start(name, now)
			}
			c.mu.Unlock()
			return set, false, nil
		}
		if within(now, h.asked, h.pause()) {
			c.mu.Unlock()
			return nil, false, ErrKeyUnavailable
		}
	} else if err := c.missing.errorOf(name, now); err != nil {
		c.mu.Unlock()
		return nil, false, err
	}
	f, err := c.start(name, now)
	c.mu.Unlock()
	if errors.Is(err, errLimited) {
		c.observe(LookupLimited)
	}
	if err != nil {
		return nil, false, err
	}
	set, err = f.wait(ctx)
	return set, true, err
}

// recheck returns the keys of a name whose set did not match: other ones if there are, the same if not, nil if it is not known.
func (c *keyCache) recheck(ctx context.Context, name string, set *keySet) (*keySet, error) {
	c.mu.Lock()
	now := c.now()
	h := c.held[name]
	if h == nil {
		c.mu.Unlock()
		return nil, nil
	}
	if other := h.set; other != set {
		c.mu.Unlock()
		return other, nil
	}
	f := c.flights[name]
	if f == nil {
		if within(now, h.rechecked, recheckEvery) {
			c.mu.Unlock()
			return nil, nil
		}
		h.rechecked = now
		var err error
		if f, err = c.start(name, now); err != nil {
			c.mu.Unlock()
			return nil, err
		}
	}
	c.mu.Unlock()
	return f.wait(ctx)
}

// confirm records that a call was verified with a set of the name.
func (c *keyCache) confirm(name string, set *keySet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	h := c.held[name]
	if h == nil {
		if _, gone := c.missing[name]; gone {
			// It was revoked since.
			return
		}
		// There was no place for it before it had shown what it is worth.
		h = &held{set: set, found: now, asked: now, verified: now}
		c.admit(name, h)
	}
	h.verified = now
}

// touch makes h the last that was used.
func (c *keyCache) touch(h *held) {
	c.uses++
	h.used = c.uses
}

// admit holds a name. If there are too many, the one that was used longest ago goes, of those that never verified a call if there are
// any. One that did goes only for another one that did.
func (c *keyCache) admit(name string, h *held) {
	if len(c.held) >= maxHeld {
		var first string
		var victim *held
		for other, o := range c.held {
			if victim == nil || victim.trusted() && !o.trusted() || victim.trusted() == o.trusted() && o.used < victim.used {
				first, victim = other, o
			}
		}
		if victim.trusted() && !h.trusted() {
			return
		}
		delete(c.held, first)
	}
	c.touch(h)
	c.held[name] = h
}

// reasons are those of a Refusal, by how the lookup ended.
var reasons = map[string]string{
	LookupAbsent:   ReasonNoKey,
	LookupRevoked:  ReasonRevokedKey,
	LookupUnusable: ReasonUnusableKey,
}

// land takes in what a lookup came to, and lets those go who wait for it.
func (c *keyCache) land(name string, f *flight, keys []*rsa.PublicKey, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, name)
	if f.stranger {
		c.limit.strangers--
	}
	defer close(f.done)

	now := c.now()
	h := c.held[name]
	if h != nil {
		h.asked = now
		h.failed = false
	}
	switch outcome {
	case LookupFound:
		delete(c.missing, name)
		if h == nil {
			h = &held{asked: now}
			c.admit(name, h)
		}
		if h.set == nil || !h.set.equal(keys) {
			h.set = &keySet{keys}
		}
		h.found = now
		f.set = h.set
	case LookupTimeout, LookupFailed:
		f.err = fmt.Errorf("%w: %s", ErrKeyUnavailable, outcome)
		if h == nil {
			c.missing.add(name, "", now)
			return
		}
		h.failed = true
		if h.serves(now) {
			f.set, f.err = h.set, nil
		}
	default:
		reason := reasons[outcome]
		if h != nil && h.trusted() && outcome != LookupRevoked && within(now, h.verified, lastGood) {
			// The sender does not take a key away that it has just used, unless by mistake or for a new one.
			h.set = nil
			f.err = fmt.Errorf("%w: %s", ErrKeyUnavailable, outcome)
			return
		}
		delete(c.held, name)
		c.missing.add(name, reason, now)
		f.err = refuse(reason)
	}
}

func (c *keyCache) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}
