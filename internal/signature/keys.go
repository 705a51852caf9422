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

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// Bounds of the cache.
const (
	maxKnown   = 16  // names of keys that verified a call
	maxUnknown = 256 // other names, most of which have no key

	freshFor  = 10 * time.Minute // how long a key is used without a lookup
	renewFrom = 8 * time.Minute  // from when on it is looked up in the background
	lastGood  = 24 * time.Hour   // how long a key is used, or a name counts as good, while lookups fail

	retryEvery   = 30 * time.Second // between lookups of a key in use that fail
	recheckEvery = time.Second / 4  // between lookups of a key because signatures do not match
	absentFor    = 15 * time.Second // how long a name without a key is not looked up
	failedFor    = 2 * time.Second  // how long a name is not looked up after that failed

	// Bounds of lookups of unknown names, which anyone can make up.
	unknownPerSecond = 200
	unknownAtOnce    = 64
	unknownTimeout   = 5 * time.Second // how long one waits for its turn
)

// nameState is what is cached of a name. The zero value is for a name that was not looked up yet.
type nameState struct {
	keys       []*rsa.PublicKey
	err        error         // why there are none: a Refusal, or wraps ErrKeyUnavailable
	asked      time.Time     // when the last lookup began
	found      time.Time     // when the lookup that found the keys began
	validFor   time.Duration // since asked
	renewAfter time.Duration // since asked
	verified   time.Time     // when a call was last verified; zero: the name is unknown
}

func (s *nameState) known() bool {
	return !s.verified.IsZero()
}

func (s *nameState) verifies(sum, signature []byte) bool {
	return slices.ContainsFunc(s.keys, func(key *rsa.PublicKey) bool {
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum, signature) == nil
	})
}

// afterLookup returns the state after a lookup that began at asked.
func (s *nameState) afterLookup(asked time.Time, keys []*rsa.PublicKey, outcome string) nameState {
	next := nameState{asked: asked, verified: s.verified}
	failed := outcome == LookupTimeout || outcome == LookupFailed
	switch {
	case outcome == LookupFound:
		next.keys, next.found, next.validFor, next.renewAfter = keys, asked, freshFor, renewFrom
	case failed && s.keys != nil && within(asked, s.found, lastGood):
		next.keys, next.found = s.keys, s.found
		next.validFor, next.renewAfter = min(freshFor, lastGood-asked.Sub(s.found)), retryEvery
	case failed:
		next.err, next.validFor = unavailable(outcome), failedFor
	case outcome != LookupRevoked && within(asked, s.verified, lastGood):
		// The sender does not remove a key that it has just used, unless by mistake or for a new one.
		next.err, next.validFor = unavailable(outcome), absentFor
	default:
		next.err, next.validFor, next.verified = refuse(noKeyReasons[outcome]), absentFor, time.Time{}
	}
	return next
}

// noKeyReasons are the reasons of a Refusal by the outcome of the lookup.
var noKeyReasons = map[string]string{
	LookupAbsent:   ReasonNoKey,
	LookupRevoked:  ReasonRevokedKey,
	LookupUnusable: ReasonUnusableKey,
}

// within reports whether now is less than d after since. It is not if the clock was set back.
func within(now, since time.Time, d time.Duration) bool {
	elapsed := now.Sub(since)
	return 0 <= elapsed && elapsed < d
}

// keyCache looks up keys and caches them by name.
//
// Names that have verified a call are known. Unknown names, which may be made up, neither evict
// them nor delay their lookups.
type keyCache struct {
	options  Options
	start    func(name string) <-chan singleflight.Result // a lookup, or joins the one under way
	cancel   context.CancelFunc                           // ends all lookups
	lookups  sync.WaitGroup
	limiter  *rate.Limiter
	unknowns *semaphore.Weighted // for lookups of unknown names

	notifying sync.Mutex // held while OnKnownKeys is called, so that the last call has the latest names

	mu      sync.Mutex
	known   *simplelru.LRU[string, nameState]
	unknown *simplelru.LRU[string, nameState]
}

func newKeyCache(o Options) *keyCache {
	ctx, cancel := context.WithCancel(context.Background())
	c := &keyCache{
		options:  o,
		cancel:   cancel,
		limiter:  rate.NewLimiter(unknownPerSecond, unknownPerSecond),
		unknowns: semaphore.NewWeighted(unknownAtOnce),
	}
	var lookups singleflight.Group
	c.start = func(name string) <-chan singleflight.Result {
		return lookups.DoChan(name, func() (any, error) { return c.lookUp(ctx, name) })
	}
	// They fail for sizes below 1 only.
	c.known, _ = simplelru.NewLRU[string, nameState](maxKnown, nil)
	c.unknown, _ = simplelru.NewLRU[string, nameState](maxUnknown, nil)
	for _, name := range o.KnownKeys {
		c.known.Add(name, nameState{verified: c.options.Now()})
	}
	return c
}

// verify checks a signature with the keys of a name. Where it does not match, the key may have been
// changed since it was looked up, which only a lookup from now on can show.
func (c *keyCache) verify(ctx context.Context, name string, sum, signature []byte) error {
	began := c.options.Now()
	for _, since := range []time.Time{{}, began} {
		s, err := c.get(ctx, name, since)
		switch {
		case err != nil:
			return err
		case s.verifies(sum, signature):
			c.confirm(name, s)
			return nil
		case !s.found.Before(began):
			return refuse(ReasonSignatureMismatch)
		}
	}
	return unavailable(LookupFailed)
}

func unavailable(why string) error {
	return fmt.Errorf("%w: %s", ErrKeyUnavailable, why)
}

// get returns the result of a lookup of a name that began at since or later, and makes the lookup
// if need be.
func (c *keyCache) get(ctx context.Context, name string, since time.Time) (nameState, error) {
	c.mu.Lock()
	s := c.find(name)
	c.mu.Unlock()
	now := c.options.Now()
	if within(now, s.asked, s.validFor) && !s.asked.Before(since) {
		if s.err == nil && !within(now, s.asked, s.renewAfter) {
			c.start(name) // Nobody waits for it.
		}
		return s, s.err
	}
	for {
		select {
		case result := <-c.start(name):
			if result.Err != nil {
				return nameState{}, result.Err
			}
			// A lookup that was under way already may have begun too early.
			if s = result.Val.(nameState); !s.asked.Before(since) {
				return s, s.err
			}
		case <-ctx.Done():
			// The lookup goes on, for others and for the next call.
			return nameState{}, fmt.Errorf("%w: %w", ErrKeyUnavailable, ctx.Err())
		}
	}
}

// find returns the state of a name and marks it as used. It needs mu.
func (c *keyCache) find(name string) nameState {
	s, known := c.known.Get(name)
	if !known {
		s, _ = c.unknown.Get(name)
	}
	return s
}

// lookUp looks up a name and stores the result, unless ctx ends first.
func (c *keyCache) lookUp(ctx context.Context, name string) (nameState, error) {
	c.mu.Lock()
	if ctx.Err() != nil {
		c.mu.Unlock()
		return nameState{}, unavailable("closed")
	}
	c.lookups.Add(1)
	defer c.lookups.Done()
	s := c.find(name)
	c.mu.Unlock()

	// A clock that was set back must not make the pause longer.
	pause := min(recheckEvery-c.options.Now().Sub(s.asked), recheckEvery)
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return nameState{}, unavailable("closed")
	}
	if !s.known() {
		if err := c.waitForTurn(ctx); err != nil {
			return nameState{}, err
		}
		defer c.unknowns.Release(1)
	}
	asked := c.options.Now()
	keys, outcome := lookUpKeys(ctx, c.options.Resolver, name)
	if ctx.Err() != nil {
		return nameState{}, unavailable("closed")
	}
	c.options.Observe(outcome)
	return c.update(name, func(s nameState) nameState { return s.afterLookup(asked, keys, outcome) }), nil
}

// waitForTurn waits until one more unknown name may be looked up, which then takes a place in
// unknowns.
func (c *keyCache) waitForTurn(ctx context.Context) error {
	timeout, cancel := context.WithTimeout(ctx, unknownTimeout)
	defer cancel()
	err := c.limiter.Wait(timeout)
	if err == nil {
		err = c.unknowns.Acquire(timeout, 1)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return unavailable("closed")
	}
	c.options.Observe(LookupLimited)
	return unavailable(LookupLimited)
}

// confirm records that a call was verified with the keys of a name.
func (c *keyCache) confirm(name string, s nameState) {
	c.update(name, func(latest nameState) nameState {
		if latest.asked.IsZero() {
			latest = s // It was evicted meanwhile.
		}
		if !errors.As(latest.err, new(*Refusal)) { // It was not revoked meanwhile.
			latest.verified = c.options.Now()
		}
		return latest
	})
}

// update changes the state of a name and returns it. It calls OnKnownKeys if the name becomes known
// or unknown.
func (c *keyCache) update(name string, change func(nameState) nameState) nameState {
	c.mu.Lock()
	old := c.find(name)
	s := change(old)
	if s.known() {
		c.unknown.Remove(name)
		c.known.Add(name, s)
	} else {
		c.known.Remove(name)
		c.unknown.Add(name, s)
	}
	c.mu.Unlock()
	if s.known() == old.known() {
		return s
	}

	c.notifying.Lock()
	defer c.notifying.Unlock()
	c.mu.Lock()
	names := c.known.Keys()
	c.mu.Unlock()
	c.options.OnKnownKeys(names)
	return s
}

// close ends the lookups that are under way and waits for them.
func (c *keyCache) close() {
	c.mu.Lock() // No lookup may be added while they are waited for.
	c.cancel()
	c.mu.Unlock()
	c.lookups.Wait()
}
