package signature

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// settled runs f in a bubble in which nothing goes on in the background when synctest.Wait has returned.
func settled(t *testing.T, f func(t *testing.T, s *setting)) {
	t.Helper()
	// Made outside of the bubble, because they take long and are kept.
	goodKey(t)
	testKey(t, 1024, "second")
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		f(t, s)
		s.Close()
	})
}

func TestKeysAreCached(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		for range 10 {
			require.NoError(t, s.send(t, goodName, goodKey(t)))
			require.NoError(t, s.send(t, "ONE._domainkey.copernica.com", goodKey(t)), "one key in any case")
		}
		assert.Equal(t, 1, s.dns.count(goodName))
		assert.Equal(t, 1, s.dns.total())
		assert.Equal(t, map[string]int{LookupFound: 1}, s.seen.get())
	})
}

func TestKeysAreRefreshedAhead(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.clock.advance(renewFrom - time.Second)
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		synctest.Wait()
		assert.Equal(t, 1, s.dns.total())

		s.clock.advance(time.Second)
		release := make(chan struct{})
		s.dns.setHook(func(context.Context, string) { <-release })
		for range 5 {
			require.NoError(t, s.send(t, goodName, goodKey(t)), "nobody waits for it")
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		assert.Equal(t, 2, s.dns.total(), "once")

		s.clock.advance(renewFrom - time.Second)
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		synctest.Wait()
		assert.Equal(t, 2, s.dns.total(), "it counts from the refresh")
	})
}

func TestAnIdleKeyIsLookedUpBeforeItIsUsed(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.dns.set(goodName, "v=DKIM1; p=")
		s.clock.advance(freshFor)
		assertRefused(t, ReasonRevokedKey, s.send(t, goodName, goodKey(t)))
		assert.Equal(t, map[string]int{LookupFound: 1, LookupRevoked: 1}, s.seen.get())
	})
}

func TestARevokedKeyIsGoneWithTheRefresh(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.dns.set(goodName, "v=DKIM1; p=")
		s.clock.advance(renewFrom)
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		synctest.Wait()
		assertRefused(t, ReasonRevokedKey, s.send(t, goodName, goodKey(t)))
		// It does not come back by what was known of it.
		s.dns.set(goodName)
		s.clock.advance(absentFor)
		assertRefused(t, ReasonNoKey, s.send(t, goodName, goodKey(t)))
	})
}

func TestACallThatWasUnderWayDoesNotBringARevokedKeyBack(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		set, _, err := s.keys.get(t.Context(), goodName)
		require.NoError(t, err)
		s.dns.set(goodName, "v=DKIM1; p=")
		s.clock.advance(freshFor)
		assertRefused(t, ReasonRevokedKey, s.send(t, goodName, goodKey(t)))
		s.keys.confirm(goodName, set)
		assertRefused(t, ReasonRevokedKey, s.send(t, goodName, goodKey(t)))
		again, err := s.keys.recheck(t.Context(), goodName, set)
		require.NoError(t, err)
		assert.Nil(t, again)
	})
}

func TestTheLastGoodKeyServesWhileDNSFails(t *testing.T) {
	for _, failure := range []error{errServfail, errTimedOut, errors.New("refused")} {
		settled(t, func(t *testing.T, s *setting) {
			require.NoError(t, s.send(t, goodName, goodKey(t)))
			s.dns.fail(failure)
			s.clock.advance(renewFrom)
			require.NoError(t, s.send(t, goodName, goodKey(t)))
			synctest.Wait()
			asked := s.dns.total()

			s.clock.advance(retryEvery - time.Second)
			require.NoError(t, s.send(t, goodName, goodKey(t)))
			synctest.Wait()
			assert.Equal(t, asked, s.dns.total(), "not asked again so soon")

			for at := renewFrom + retryEvery - time.Second; at < lastGood-time.Hour; at += time.Hour {
				s.clock.advance(time.Hour)
				require.NoError(t, s.send(t, goodName, goodKey(t)), at)
				synctest.Wait()
			}
			assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, testKey(t, 1024, "second")))

			s.clock.advance(time.Hour)
			assertUnavailable(t, s.send(t, goodName, goodKey(t)))
			asked = s.dns.total()
			assertUnavailable(t, s.send(t, goodName, goodKey(t)))
			assert.Equal(t, asked, s.dns.total(), "failures are remembered for a moment")

			s.dns.set(goodName, record(t, &goodKey(t).PublicKey))
			s.clock.advance(failedFor)
			require.NoError(t, s.send(t, goodName, goodKey(t)))
		})
	}
}

func TestAnIdleKeyServesWhenDNSFailsLater(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.dns.fail(errServfail)
		s.clock.advance(lastGood - time.Second)
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.clock.advance(time.Second)
		assertUnavailable(t, s.send(t, goodName, goodKey(t)))
	})
}

func TestAFailureLongAgoDoesNotMakeAnOldKeyGood(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.dns.fail(errServfail)
		assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, testKey(t, 1024, "second")))
		s.dns.set(goodName, "v=DKIM1; p=")
		s.clock.advance(freshFor)
		assertRefused(t, ReasonRevokedKey, s.send(t, goodName, goodKey(t)))
	})
}

func TestNoKeyAndNoDNS(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		s.dns.fail(errServfail)
		assertUnavailable(t, s.send(t, goodName, goodKey(t)))
		assertUnavailable(t, s.send(t, goodName, goodKey(t)))
		assert.Equal(t, 1, s.dns.total())
		assert.Equal(t, map[string]int{LookupFailed: 1}, s.seen.get())
		s.clock.advance(failedFor)
		s.dns.fail(errTimedOut)
		assertUnavailable(t, s.send(t, goodName, goodKey(t)))
		assert.Equal(t, map[string]int{LookupFailed: 1, LookupTimeout: 1}, s.seen.get())
		assert.Equal(t, 3, s.dns.total(), "what timed out is tried twice")
		s.clock.advance(failedFor)
		s.dns.set(goodName, record(t, &goodKey(t).PublicKey))
		require.NoError(t, s.send(t, goodName, goodKey(t)))
	})
}

func TestAResolverThatDoesNotAnswer(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		s.dns.setHook(func(ctx context.Context, _ string) { <-ctx.Done() })
		began := time.Now()
		assertUnavailable(t, s.send(t, goodName, goodKey(t)))
		assert.Equal(t, attempts*attemptTimeout, time.Since(began))
		assert.Equal(t, map[string]int{LookupTimeout: 1}, s.seen.get())
	})
}

func TestNoSuchName(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		const name = "none" + keyDomain
		assertRefused(t, ReasonNoKey, s.send(t, name, goodKey(t)))
		for range 10 {
			assertRefused(t, ReasonNoKey, s.send(t, name, goodKey(t)))
		}
		_, err := s.Begin(func() *call {
			c := newCall()
			c.keyID = name
			return c.sign(t, goodKey(t))
		}().request(t))
		assertRefused(t, ReasonNoKey, err)
		assert.Equal(t, 1, s.dns.count(name))

		s.clock.advance(absentFor)
		s.dns.set(name, "hello")
		assertRefused(t, ReasonUnusableKey, s.send(t, name, goodKey(t)))
		s.clock.advance(absentFor)
		s.dns.set(name, record(t, &goodKey(t).PublicKey))
		require.NoError(t, s.send(t, name, goodKey(t)), "shortly remembered")
		assert.Equal(t, map[string]int{LookupAbsent: 1, LookupUnusable: 1, LookupFound: 1}, s.seen.get())
	})
}

func TestANameThatWasGood(t *testing.T) {
	for _, records := range [][]string{nil, {"hello"}} {
		settled(t, func(t *testing.T, s *setting) {
			require.NoError(t, s.send(t, goodName, goodKey(t)))
			s.dns.set(goodName, records...)
			s.clock.advance(freshFor)
			assertUnavailable(t, s.send(t, goodName, goodKey(t)))
			asked := s.dns.total()
			assertUnavailable(t, s.send(t, goodName, goodKey(t)))
			assert.Equal(t, asked, s.dns.total())
			s.clock.advance(absentFor)
			s.dns.fail(errServfail)
			assertUnavailable(t, s.send(t, goodName, goodKey(t)))
			s.dns.set(goodName, records...)

			s.clock.advance(lastGood - freshFor - absentFor - time.Second)
			assertUnavailable(t, s.send(t, goodName, goodKey(t)))
			s.clock.advance(absentFor)
			err := s.send(t, goodName, goodKey(t))
			var r *Refusal
			require.ErrorAs(t, err, &r, "a day later")
		})
	}
	settled(t, func(t *testing.T, s *setting) {
		// Found, but nothing was ever verified with it.
		assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, testKey(t, 1024, "second")))
		s.dns.set(goodName)
		s.clock.advance(freshFor)
		assertRefused(t, ReasonNoKey, s.send(t, goodName, goodKey(t)))
	})
}

func TestRotation(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		second := testKey(t, 1024, "second")
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.dns.set(goodName, record(t, &second.PublicKey))
		require.NoError(t, s.send(t, goodName, second), "the first that does not match has the key looked up")
		assert.Equal(t, 2, s.dns.total())
		assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, goodKey(t)))
		assert.Equal(t, 2, s.dns.total())

		// Both at once.
		s.clock.advance(recheckEvery)
		s.dns.set(goodName, record(t, &second.PublicKey), record(t, &goodKey(t).PublicKey))
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		require.NoError(t, s.send(t, goodName, second))
		assert.Equal(t, 3, s.dns.total())
	})
}

func TestMismatchesDoNotFloodDNS(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		second := testKey(t, 1024, "second")
		for range 50 {
			assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, second))
		}
		assert.Equal(t, 2, s.dns.total(), "the first lookup and one for the second call")
		s.clock.advance(recheckEvery)
		for range 50 {
			assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, second))
		}
		assert.Equal(t, 3, s.dns.total())
		require.NoError(t, s.send(t, goodName, goodKey(t)))

		// What comes to light then counts.
		s.clock.advance(recheckEvery)
		s.dns.set(goodName, "v=DKIM1; p=")
		assertRefused(t, ReasonRevokedKey, s.send(t, goodName, second))
		assertRefused(t, ReasonRevokedKey, s.send(t, goodName, goodKey(t)))
	})
	settled(t, func(t *testing.T, s *setting) {
		// And when DNS fails then, the key that is there is the one that counts.
		second := testKey(t, 1024, "second")
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.dns.fail(errServfail)
		assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, second))
		require.NoError(t, s.send(t, goodName, goodKey(t)))
	})
}

func TestMismatchJoinsALookup(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		second := testKey(t, 1024, "second")
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.dns.set(goodName, record(t, &second.PublicKey))
		release := make(chan struct{})
		s.dns.setHook(func(context.Context, string) { <-release })
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { assert.NoError(t, s.send(t, goodName, second)) })
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		assert.Equal(t, 2, s.dns.total())

		// A set that was replaced meanwhile needs no lookup.
		again, err := s.keys.recheck(t.Context(), goodName, &keySet{})
		require.NoError(t, err)
		assert.NotNil(t, again)
		assert.Equal(t, 2, s.dns.total())
	})
}

func TestOneLookupForManyCalls(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		release := make(chan struct{})
		s.dns.setHook(func(context.Context, string) { <-release })
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { assert.NoError(t, s.send(t, goodName, goodKey(t))) })
		}
		synctest.Wait()
		assert.Equal(t, 1, s.dns.total())
		close(release)
		wg.Wait()
		assert.Equal(t, 1, s.dns.total())
	})
}

func TestManyNamesAtOnce(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.clock.advance(freshFor)
		release := make(chan struct{})
		s.dns.setHook(func(context.Context, string) { <-release })
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := make(map[string]int)
		for i := range 100 {
			wg.Go(func() {
				err := s.send(t, fmt.Sprintf("x%d%s", i, keyDomain), goodKey(t))
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, ErrKeyUnavailable) {
					got["unavailable"]++
				} else {
					got[reasonOf(err)]++
				}
			})
		}
		synctest.Wait()
		// A name that is held is not held up by them.
		wg.Go(func() { assert.NoError(t, s.send(t, goodName, goodKey(t))) })
		synctest.Wait()
		assert.Equal(t, maxStrangers+2, s.dns.total())
		close(release)
		wg.Wait()
		assert.Equal(t, map[string]int{ReasonNoKey: maxStrangers, "unavailable": 100 - maxStrangers}, got)
		assert.Equal(t, maxStrangers+1, s.dns.most)
		assert.Equal(t, 100-maxStrangers, s.seen.get()[LookupLimited])
	})
}

func TestManyNamesOneAfterTheOther(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		before := s.dns.total()
		for i := range 1000 {
			err := s.send(t, fmt.Sprintf("x%d%s", i, keyDomain), goodKey(t))
			require.Error(t, err)
		}
		assert.InDelta(t, strangerBurst, s.dns.total()-before, 1, "and no more")
		for i := range 400 {
			s.clock.advance(strangerEvery)
			assertRefused(t, ReasonNoKey, s.send(t, fmt.Sprintf("y%d%s", i, keyDomain), goodKey(t)))
		}
		assert.Len(t, s.keys.missing, maxMissing)
		assert.Len(t, s.keys.held, 1)
		asked := s.dns.count(goodName)
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		assert.Equal(t, asked, s.dns.count(goodName), "none of them took its place")

		s.clock.advance(-time.Hour)
		s.clock.advance(strangerBurst * strangerEvery)
		assertRefused(t, ReasonNoKey, s.send(t, "z"+keyDomain, goodKey(t)))
	})
}

func TestAtMost16Keys(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		second := testKey(t, 1024, "second")
		name := func(i int) string { return fmt.Sprintf("k%d%s", i, keyDomain) }
		for i := range 60 {
			s.dns.set(name(i), record(t, &goodKey(t).PublicKey))
		}
		// Names that exist, with signatures that are not theirs.
		for i := range 20 {
			s.clock.advance(strangerEvery)
			assertRefused(t, ReasonSignatureMismatch, s.send(t, name(i), second))
		}
		assert.Len(t, s.keys.held, maxHeld)
		assert.NotContains(t, s.keys.held, name(0), "the one used longest ago goes")
		assert.Contains(t, s.keys.held, name(19))

		// Those that verify something take their places.
		for i := 20; i < 36; i++ {
			s.clock.advance(strangerEvery)
			require.NoError(t, s.send(t, name(i), goodKey(t)))
		}
		assert.Len(t, s.keys.held, maxHeld)
		for i := 20; i < 36; i++ {
			assert.Contains(t, s.keys.held, name(i))
		}

		// And keep them.
		for i := range 20 {
			s.clock.advance(strangerEvery)
			assertRefused(t, ReasonSignatureMismatch, s.send(t, name(i), second))
			assert.NotContains(t, s.keys.held, name(i))
		}
		for i := 20; i < 36; i++ {
			assert.Equal(t, 1, s.dns.count(name(i)))
			require.NoError(t, s.send(t, name(i), goodKey(t)))
			assert.Equal(t, 1, s.dns.count(name(i)))
		}

		// Until another one verifies something. Of them the one used longest ago goes.
		require.NoError(t, s.send(t, name(20), goodKey(t)))
		s.clock.advance(strangerEvery)
		require.NoError(t, s.send(t, name(40), goodKey(t)))
		assert.Len(t, s.keys.held, maxHeld)
		assert.Contains(t, s.keys.held, name(40))
		assert.Contains(t, s.keys.held, name(20))
		assert.NotContains(t, s.keys.held, name(21))
		require.NoError(t, s.send(t, name(40), goodKey(t)))
		assert.Equal(t, 1, s.dns.count(name(40)))
	})
}

func TestClose(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		const name = "two" + keyDomain
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		// A refresh in the background, and a call that waits.
		s.clock.advance(renewFrom)
		s.dns.setHook(func(ctx context.Context, _ string) { <-ctx.Done() })
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		waited := make(chan error)
		c := newCall()
		c.keyID = name
		c.set("Date", s.clock.Now().UTC().Format(http.TimeFormat))
		r := c.sign(t, goodKey(t)).request(t)
		go func() { waited <- check(context.Background(), s.Verifier, r, c.body) }()
		synctest.Wait()
		assert.Equal(t, 3, s.dns.total())

		began := time.Now()
		closed := make(chan struct{})
		go func() {
			s.Close()
			s.Close()
			close(closed)
		}()
		assertUnavailable(t, <-waited)
		<-closed
		assert.Zero(t, time.Since(began))
		s.Close()

		assert.Equal(t, map[string]int{LookupFound: 1}, s.seen.get(), "that they were ended is no failure")
		require.NoError(t, s.send(t, goodName, goodKey(t)), "what is held is still good")
		assertUnavailable(t, s.send(t, "three"+keyDomain, goodKey(t)))
		assert.Equal(t, 3, s.dns.total())
	})
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.Close()
		assertUnavailable(t, s.send(t, goodName, testKey(t, 1024, "second")))
		assert.Equal(t, 1, s.dns.total(), "a key that may have been changed cannot be looked up any more")
	})
}

// TestAtOnce has many calls, good, bad and of unknown names, while the clock runs, DNS fails now and then and the key changes.
func TestAtOnce(t *testing.T) {
	s := newSetting(t)
	second := testKey(t, 1024, "second")
	keys := []*rsa.PrivateKey{goodKey(t), second}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 60 {
				name := goodName
				if i%7 == 0 {
					name = fmt.Sprintf("x%d%s", i*worker, keyDomain)
				}
				_ = s.send(t, name, keys[i%2])
				switch i % 20 {
				case 3:
					s.clock.advance(renewFrom)
				case 9:
					s.dns.fail(errServfail)
				case 13:
					s.dns.set(goodName, record(t, &keys[worker%2].PublicKey))
				case 17:
					s.dns.set(goodName)
				}
			}
		})
	}
	wg.Wait()
	s.dns.set(goodName, record(t, &goodKey(t).PublicKey))
	s.clock.advance(lastGood)
	require.NoError(t, s.send(t, goodName, goodKey(t)))
	s.Close()
	assert.LessOrEqual(t, len(s.keys.held), maxHeld)
	assert.LessOrEqual(t, len(s.keys.missing), maxMissing)
	assert.Empty(t, s.keys.flights)
	assert.Zero(t, s.keys.limit.strangers)
}
