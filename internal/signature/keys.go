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
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// How long and how much is remembered of keys.
const (
	maxKnown   = 16  // names of keys that verified a call
	maxUnknown = 256 // other names, most of which have no key

	freshFor  = 10 * time.Minute // how long a key is used without asking again
	renewFrom = 8 * time.Minute  // from when on it is asked for again in the background
	lastGood  = 24 * time.Hour   // how long a key serves, or a name is known to have had one, while there is no answer

	retryEvery   = 30 * time.Second // how often a key that serves is asked for while that fails
	recheckEvery = time.Second / 4  // how often a key is asked for because signatures do not match
	absentFor    = 15 * time.Second // how long a name without a key is not asked for
	failedFor    = 2 * time.Second  // how long a name is not asked for after that failed
)

// Lookups of unknown names, which anyone can make up: how many there may be in a second and at
// once, and how long one waits for its turn.
const (
	unknownEverySecond = 200
	unknownAtOnce      = 64
	unknownTimeout     = 5 * time.Second
)

// nameState is what the last lookup of a name came to. The zero value is that of a name that was
// not looked up yet.
type nameState struct {
	keys       []*rsa.PublicKey
	err        error         // why there are none: a Refusal, or wraps ErrKeyUnavailable
	asked      time.Time     // when the lookup began
	found      time.Time     // when the lookup that found the keys began
	validFor   time.Duration // since asked
	renewAfter time.Duration // since asked
	verified   time.Time     // when a call was last verified; zero: never
}

func (s *nameState) valid(now time.Time) bool {
	return within(now, s.asked, s.validFor)
}

func (s *nameState) verifies(sum, signature []byte) bool {
	return slices.ContainsFunc(s.keys, func(key *rsa.PublicKey) bool {
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum, signature) == nil
	})
}

// within reports whether now is less than d after since. A clock that was set back ends it too.
func within(now, since time.Time, d time.Duration) bool {
	elapsed := now.Sub(since)
	return 0 <= elapsed && elapsed < d
}

// keyCache caches the keys of a few names and looks them up.
//
// Who can only make up names gets nothing out of it: a name that has verified a call is known,
// never makes room for one that has not, and is looked up without waiting for those.
type keyCache struct {
	ask         func(name string) ([]*rsa.PublicKey, string)
	now         func() time.Time
	observe     func(string)
	onKnownKeys func([]string)

	closing  chan struct{}
	cancel   context.CancelFunc
	lookups  sync.WaitGroup
	flights  singleflight.Group
	limiter  *rate.Limiter
	unknowns chan struct{} // lookups of unknown names that are under way

	telling sync.Mutex // held while onKnownKeys is called, so that the last it is told is the latest

	mu      sync.Mutex
	closed  bool
	known   *simplelru.LRU[string, nameState]
	unknown *simplelru.LRU[string, nameState]
}

func newKeyCache(o Options) *keyCache {
	ctx, cancel := context.WithCancel(context.Background())
	c := &keyCache{
		ask:         func(name string) ([]*rsa.PublicKey, string) { return lookUp(ctx, o.Resolver, name) },
		now:         o.Now,
		observe:     o.Observe,
		onKnownKeys: o.OnKnownKeys,
		closing:     make(chan struct{}),
		cancel:      cancel,
		limiter:     rate.NewLimiter(unknownEverySecond, unknownEverySecond),
		unknowns:    make(chan struct{}, unknownAtOnce),
	}
	// They fail for sizes below 1 only.
	c.known, _ = simplelru.NewLRU[string, nameState](maxKnown, nil)
	c.unknown, _ = simplelru.NewLRU[string, nameState](maxUnknown, nil)
	for _, name := range o.KnownKeys {
		c.known.Add(name, nameState{verified: c.now()})
	}
	return c
}

// verify checks a signature with the keys of a name.
func (c *keyCache) verify(ctx context.Context, name string, sum, signature []byte) error {
	began := c.now()
	s, err := c.get(ctx, name, time.Time{})
	if err != nil {
		return err
	}
	if !s.verifies(sum, signature) {
		if !s.found.Before(began) {
			return refuse(ReasonSignatureMismatch)
		}
		// The key may have been changed since it was looked up. Only a lookup that begins now can
		// tell.
		if s, err = c.get(ctx, name, began); err != nil {
			return err
		}
		switch {
		case s.verifies(sum, signature):
		case s.found.Before(began):
			return errFailed
		default:
			return refuse(ReasonSignatureMismatch)
		}
	}
	c.confirm(name, s)
	return nil
}

var (
	errFailed  = fmt.Errorf("%w: %s", ErrKeyUnavailable, LookupFailed)
	errLimited = fmt.Errorf("%w: %s", ErrKeyUnavailable, LookupLimited)
	errClosed  = fmt.Errorf("%w: closed", ErrKeyUnavailable)
)

// get returns what is known of a name by a lookup that did not begin before since, and makes one if
// there is none.
func (c *keyCache) get(ctx context.Context, name string, since time.Time) (nameState, error) {
	c.mu.Lock()
	s, _ := c.find(name)
	c.mu.Unlock()
	now := c.now()
	if s.valid(now) && !s.asked.Before(since) {
		if s.err == nil && !within(now, s.asked, s.renewAfter) {
			// Nobody waits for it: what it finds is for the next call.
			c.lookUp(name)
		}
		return s, s.err
	}
	for {
		select {
		case result := <-c.lookUp(name):
			if result.Err != nil {
				return nameState{}, result.Err
			}
			// A lookup that was under way already may have begun too early.
			if s = result.Val.(nameState); !s.asked.Before(since) {
				return s, s.err
			}
		case <-ctx.Done():
			// The lookup goes on: others may wait for it, and the next call can use it.
			return nameState{}, fmt.Errorf("%w: %w", ErrKeyUnavailable, ctx.Err())
		}
	}
}

// find returns the state of a name and whether it is known, and makes it the last that was used.
func (c *keyCache) find(name string) (s nameState, known bool) {
	if s, known = c.known.Get(name); !known {
		s, _ = c.unknown.Get(name)
	}
	return s, known
}

// lookUp looks a name up, or joins the lookup that is under way.
func (c *keyCache) lookUp(name string) <-chan singleflight.Result {
	return c.flights.DoChan(name, func() (any, error) {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, errClosed
		}
		c.lookups.Add(1)
		defer c.lookups.Done()
		s, known := c.find(name)
		c.mu.Unlock()

		// A clock that was set back must not make it longer.
		if err := c.wait(min(s.asked.Add(recheckEvery).Sub(c.now()), recheckEvery)); err != nil {
			return nil, err
		}
		if !known {
			done, err := c.waitForTurn()
			if err != nil {
				if errors.Is(err, errLimited) {
					c.observe(LookupLimited)
				}
				return nil, err
			}
			defer done()
		}
		asked := c.now()
		keys, outcome := c.ask(name)
		select {
		case <-c.closing:
			// That it was ended is no failure of the lookup's.
			return nil, errClosed
		default:
		}
		c.observe(outcome)
		return c.store(name, asked, keys, outcome), nil
	})
}

func (c *keyCache) wait(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.closing:
		return errClosed
	}
}

// waitForTurn waits until one more unknown name may be looked up. When it has been, done has to be
// called.
func (c *keyCache) waitForTurn() (done func(), err error) {
	timer := time.NewTimer(unknownTimeout)
	defer timer.Stop()
	turn := c.limiter.Reserve()
	if turn.Delay() > unknownTimeout {
		turn.Cancel()
		return nil, errLimited
	}
	if err := c.wait(turn.Delay()); err != nil {
		return nil, err
	}
	select {
	case c.unknowns <- struct{}{}:
		return func() { <-c.unknowns }, nil
	case <-timer.C:
		return nil, errLimited
	case <-c.closing:
		return nil, errClosed
	}
}

// reasons are those of a Refusal, by how the lookup ended.
var reasons = map[string]string{
	LookupAbsent:   ReasonNoKey,
	LookupRevoked:  ReasonRevokedKey,
	LookupUnusable: ReasonUnusableKey,
}

// store remembers what a lookup came to, and returns it.
func (c *keyCache) store(name string, asked time.Time, keys []*rsa.PublicKey, outcome string) nameState {
	c.mu.Lock()
	old, known := c.find(name)
	s := nameState{asked: asked, verified: old.verified}
	switch {
	case outcome == LookupFound:
		s.keys, s.found, s.validFor, s.renewAfter = keys, asked, freshFor, renewFrom
	case outcome != LookupTimeout && outcome != LookupFailed:
		s.err, s.validFor = refuse(reasons[outcome]), absentFor
		if outcome == LookupRevoked || !within(asked, old.verified, lastGood) {
			known, s.verified = false, time.Time{}
			break
		}
		// The sender does not take a key away that it has just used, unless by mistake or for a new
		// one.
		s.err = fmt.Errorf("%w: %s", ErrKeyUnavailable, outcome)
	case old.keys != nil && within(asked, old.found, lastGood):
		s.keys, s.found = old.keys, old.found
		s.validFor, s.renewAfter = min(freshFor, lastGood-asked.Sub(old.found)), retryEvery
	default:
		s.err, s.validFor = fmt.Errorf("%w: %s", ErrKeyUnavailable, outcome), failedFor
	}
	if known {
		c.known.Add(name, s)
		c.mu.Unlock()
		return s
	}
	c.unknown.Add(name, s)
	forgotten := c.known.Remove(name)
	c.mu.Unlock()
	if forgotten {
		c.tellKnownKeys()
	}
	return s
}

// confirm records that a call was verified with the keys of a name.
func (c *keyCache) confirm(name string, s nameState) {
	c.mu.Lock()
	latest, known := c.find(name)
	if errors.As(latest.err, new(*Refusal)) {
		// It was revoked meanwhile.
		c.mu.Unlock()
		return
	}
	if latest.asked.IsZero() {
		// It made room for others meanwhile.
		latest = s
	}
	latest.verified = c.now()
	c.known.Add(name, latest)
	c.unknown.Remove(name)
	c.mu.Unlock()
	if !known {
		c.tellKnownKeys()
	}
}

func (c *keyCache) tellKnownKeys() {
	c.telling.Lock()
	defer c.telling.Unlock()
	c.mu.Lock()
	names := c.known.Keys()
	c.mu.Unlock()
	c.onKnownKeys(names)
}

// close ends the lookups that are under way and waits for them.
func (c *keyCache) close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.closing)
		c.cancel()
	}
	c.mu.Unlock()
	c.lookups.Wait()
}
