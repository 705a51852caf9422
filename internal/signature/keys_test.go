package signature

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// settled runs f in a bubble with a clock of its own, which moves when everybody sleeps.
func settled(t *testing.T, f func(t *testing.T, s *setting), options ...func(*Options)) {
	t.Helper()
	// Made outside of the bubble, because they take long and are kept.
	goodKey(t)
	second(t)
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t, append(options, func(o *Options) { o.Now = time.Now })...)
		f(t, s)
		s.Close()
	})
}

func second(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	return testKey(t, 1024, "second")
}

// name is one of many names of keys.
func name(i int) string {
	return fmt.Sprintf("x%d%s", i, keyDomain)
}

func (s *setting) good(t *testing.T) error {
	t.Helper()
	return s.send(t, goodName, goodKey(t))
}

// forge checks a call that nobody signed.
func (s *setting) forge(t *testing.T, keyID string) error {
	t.Helper()
	c := newCall()
	c.set("Date", s.now().UTC().Format(http.TimeFormat))
	c.set("Signature", strings.Replace(headerText, goodName, keyID, 1))
	return check(s.Verifier, c.request(t))
}

func TestKeysAreCached(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		for range 10 {
			require.NoError(t, s.good(t))
			require.NoError(t, s.send(t, "ONE._domainkey.copernica.com", goodKey(t)), "one key in any case")
		}
		assert.Equal(t, 1, s.dns.total())
		assert.Equal(t, map[string]int{LookupFound: 1}, s.seen.get())
	})
}

func TestKeysAreRefreshedAhead(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.good(t))
		time.Sleep(renewFrom - time.Second)
		require.NoError(t, s.good(t))
		synctest.Wait()
		assert.Equal(t, 1, s.dns.total())

		time.Sleep(time.Second)
		release := make(chan struct{})
		s.dns.setHook(func(context.Context, string) { <-release })
		for range 5 {
			require.NoError(t, s.good(t), "nobody waits for it")
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		assert.Equal(t, 2, s.dns.total(), "once")

		time.Sleep(renewFrom - time.Second)
		require.NoError(t, s.good(t))
		synctest.Wait()
		assert.Equal(t, 2, s.dns.total(), "it counts from the refresh")
	})
}

func TestRevokedKeys(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.good(t))
		s.dns.set(goodName, "v=DKIM1; p=")
		time.Sleep(renewFrom)
		require.NoError(t, s.good(t), "what the refresh finds is for the next call")
		synctest.Wait()
		assertRefused(t, ReasonRevokedKey, s.good(t))
		// It does not come back by what was known of it.
		s.dns.set(goodName)
		time.Sleep(absentFor)
		assertRefused(t, ReasonNoKey, s.good(t))
	})
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.good(t))
		s.dns.set(goodName, "v=DKIM1; p=")
		time.Sleep(freshFor)
		assertRefused(t, ReasonRevokedKey, s.good(t), "an idle key is looked up before it is used")
		assert.Equal(t, map[string]int{LookupFound: 1, LookupRevoked: 1}, s.seen.get())
	})
	settled(t, func(t *testing.T, s *setting) {
		// Nor by a call that was under way when it was revoked.
		require.NoError(t, s.good(t))
		state, err := s.keys.get(t.Context(), goodName, time.Time{})
		require.NoError(t, err)
		s.dns.set(goodName, "v=DKIM1; p=")
		time.Sleep(freshFor)
		assertRefused(t, ReasonRevokedKey, s.good(t))
		s.keys.confirm(goodName, state)
		assertRefused(t, ReasonRevokedKey, s.good(t))
	})
}

func TestTheLastGoodKeyServesWhileDNSFails(t *testing.T) {
	for _, failure := range []error{errServfail, errTimedOut, errors.New("refused")} {
		settled(t, func(t *testing.T, s *setting) {
			require.NoError(t, s.good(t))
			s.dns.fail(failure)
			time.Sleep(renewFrom)
			require.NoError(t, s.good(t))
			synctest.Wait()
			asked := s.dns.total()

			time.Sleep(retryEvery - time.Second)
			require.NoError(t, s.good(t))
			synctest.Wait()
			assert.Equal(t, asked, s.dns.total(), "not asked again so soon")
			time.Sleep(time.Second)
			require.NoError(t, s.good(t))
			synctest.Wait()
			assert.Greater(t, s.dns.total(), asked)

			for at := renewFrom + retryEvery; at < lastGood-time.Hour; at += time.Hour {
				time.Sleep(time.Hour)
				require.NoError(t, s.good(t), at)
				synctest.Wait()
			}
			assertUnavailable(t, s.send(t, goodName, second(t)), "the key may have been changed")

			time.Sleep(time.Hour)
			assertUnavailable(t, s.good(t))
			asked = s.dns.total()
			assertUnavailable(t, s.good(t))
			assert.Equal(t, asked, s.dns.total(), "failures are remembered for a moment")

			s.dns.set(goodName, record(t, &goodKey(t).PublicKey))
			time.Sleep(failedFor)
			require.NoError(t, s.good(t))
		})
	}
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.good(t))
		s.dns.fail(errServfail)
		time.Sleep(lastGood - time.Second)
		require.NoError(t, s.good(t), "an idle one too")
		time.Sleep(time.Second)
		assertUnavailable(t, s.good(t))
	})
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.good(t))
		s.dns.fail(errServfail)
		time.Sleep(time.Second)
		assertUnavailable(t, s.send(t, goodName, second(t)))
		s.dns.set(goodName, "v=DKIM1; p=")
		time.Sleep(freshFor)
		assertRefused(t, ReasonRevokedKey, s.good(t), "a failure long ago does not make an old key good")
	})
}

func TestNoKeyAndNoDNS(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		s.dns.fail(errServfail)
		assertUnavailable(t, s.good(t))
		assertUnavailable(t, s.good(t))
		assert.Equal(t, map[string]int{LookupFailed: 1}, s.seen.get())
		time.Sleep(failedFor)
		s.dns.fail(errTimedOut)
		assertUnavailable(t, s.good(t))
		assert.Equal(t, map[string]int{LookupFailed: 1, LookupTimeout: 1}, s.seen.get())
		assert.Equal(t, 3, s.dns.total(), "what timed out is tried twice")
		time.Sleep(failedFor)
		s.dns.setHook(func(ctx context.Context, _ string) { <-ctx.Done() })
		began := time.Now()
		assertUnavailable(t, s.good(t))
		assert.Equal(t, attempts*attemptTimeout, time.Since(began))
		s.dns.setHook(nil)
		s.dns.set(goodName, record(t, &goodKey(t).PublicKey))
		time.Sleep(failedFor)
		require.NoError(t, s.good(t))
	})
}

func TestNoSuchName(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		for range 10 {
			assertRefused(t, ReasonNoKey, s.send(t, name(0), goodKey(t)))
		}
		assert.Equal(t, 1, s.dns.total())

		time.Sleep(absentFor)
		s.dns.set(name(0), "hello")
		assertRefused(t, ReasonUnusableKey, s.send(t, name(0), goodKey(t)))
		time.Sleep(absentFor)
		s.dns.set(name(0), record(t, &goodKey(t).PublicKey))
		require.NoError(t, s.send(t, name(0), goodKey(t)), "shortly remembered")
		assert.Equal(t, map[string]int{LookupAbsent: 1, LookupUnusable: 1, LookupFound: 1}, s.seen.get())
	})
}

func TestANameThatWasGood(t *testing.T) {
	for _, records := range [][]string{nil, {"hello"}} {
		settled(t, func(t *testing.T, s *setting) {
			require.NoError(t, s.good(t))
			s.dns.set(goodName, records...)
			time.Sleep(freshFor)
			assertUnavailable(t, s.good(t), "not a refusal: the sender does not take away what it has just used")
			asked := s.dns.total()
			assertUnavailable(t, s.good(t))
			assert.Equal(t, asked, s.dns.total())

			time.Sleep(lastGood - freshFor - time.Second)
			assertUnavailable(t, s.good(t))
			time.Sleep(absentFor)
			assert.ErrorAs(t, s.good(t), new(*Refusal), "a day later")
		})
	}
	settled(t, func(t *testing.T, s *setting) {
		// Found, but nothing was ever verified with it.
		assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, second(t)))
		s.dns.set(goodName)
		time.Sleep(freshFor)
		assertRefused(t, ReasonNoKey, s.good(t))
	})
}

func TestRotation(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.good(t))
		time.Sleep(time.Minute)
		s.dns.set(goodName, record(t, &second(t).PublicKey))
		require.NoError(t, s.send(t, goodName, second(t)), "the first that does not match has the key looked up")
		assert.Equal(t, 2, s.dns.total())
		assertRefused(t, ReasonSignatureMismatch, s.good(t))

		// Both at once.
		time.Sleep(time.Minute)
		s.dns.set(goodName, record(t, &second(t).PublicKey), record(t, &goodKey(t).PublicKey))
		require.NoError(t, s.good(t))
		require.NoError(t, s.send(t, goodName, second(t)))
	})
}

// Whoever forges a call right before the key is changed must not have the first good one refused.
func TestAForgedCallDoesNotUseUpTheLookupOfARotation(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, recheckEvery / 2, 5 * time.Second} {
		settled(t, func(t *testing.T, s *setting) {
			require.NoError(t, s.good(t))
			time.Sleep(time.Minute)
			assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, second(t)))
			s.dns.set(goodName, record(t, &second(t).PublicKey))
			time.Sleep(after)
			began := time.Now()
			require.NoError(t, s.send(t, goodName, second(t)))
			assert.LessOrEqual(t, time.Since(began), recheckEvery)
		})
	}
	settled(t, func(t *testing.T, s *setting) {
		// Nor right after the lookup for it began.
		require.NoError(t, s.good(t))
		time.Sleep(time.Minute)
		s.dns.setHook(func(context.Context, string) { time.Sleep(100 * time.Millisecond) })
		var wg sync.WaitGroup
		wg.Go(func() { assert.Error(t, s.forge(t, goodName)) })
		time.Sleep(99 * time.Millisecond)
		old := s.dns.answers(goodName)
		s.dns.setHook(func(context.Context, string) {})
		s.dns.set(goodName, record(t, &second(t).PublicKey))
		require.NotEqual(t, old, s.dns.answers(goodName))
		require.NoError(t, s.send(t, goodName, second(t)))
		wg.Wait()
	})
}

func TestMismatchesDoNotFloodDNS(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.good(t))
		var wg sync.WaitGroup
		began := time.Now()
		for range 100 {
			time.Sleep(50 * time.Millisecond)
			wg.Go(func() { assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, second(t))) })
		}
		wg.Wait()
		assert.LessOrEqual(t, s.dns.total(), 2+int(time.Since(began)/recheckEvery))
		require.NoError(t, s.good(t))

		// What comes to light then counts.
		time.Sleep(time.Second)
		s.dns.set(goodName, "v=DKIM1; p=")
		assertRefused(t, ReasonRevokedKey, s.send(t, goodName, second(t)))
		assertRefused(t, ReasonRevokedKey, s.good(t))
	})
}

func TestOneLookupForManyCalls(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		s.dns.setHook(func(context.Context, string) { time.Sleep(time.Second) })
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { assert.NoError(t, s.good(t)) })
		}
		wg.Wait()
		assert.Equal(t, 1, s.dns.total())
	})
}

func TestUnknownNamesWaitForTheirTurn(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.good(t))
		const many = 4 * unknownEverySecond
		s.dns.setHook(func(context.Context, string) { time.Sleep(time.Millisecond) })
		began := time.Now()
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() { assertRefused(t, ReasonNoKey, s.forge(t, name(i))) })
		}
		wg.Wait()
		assert.Greater(t, time.Since(began), 2900*time.Millisecond)
		assert.Less(t, time.Since(began), 4*time.Second)
		assert.Equal(t, many, s.seen.get()[LookupAbsent])
		assert.LessOrEqual(t, s.dns.most, unknownAtOnce)
		assert.Equal(t, maxUnknown, s.keys.unknown.Len())
		require.NoError(t, s.good(t))
		assert.Equal(t, 1, s.dns.count(goodName), "none of them took its place")
	})
}

// A flood of made-up names holds up nobody whose key is known, not even right after a start, and no
// longer than unknownTimeout who has another one.
func TestAFloodOfUnknownNames(t *testing.T) {
	flood := func(t *testing.T, s *setting) (stop func()) {
		s.dns.setHook(func(_ context.Context, asked string) {
			if asked != goodName+"." {
				time.Sleep(100 * time.Millisecond)
			}
		})
		var wg sync.WaitGroup
		over := make(chan struct{})
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				case <-time.After(2 * time.Millisecond):
					wg.Go(func() { assert.Error(t, s.forge(t, name(i))) })
				}
			}
		})
		return func() {
			close(over)
			wg.Wait()
		}
	}
	settled(t, func(t *testing.T, s *setting) {
		stop := flood(t, s)
		time.Sleep(5 * time.Second)
		assert.Positive(t, s.seen.get()[LookupLimited])
		began := time.Now()
		require.NoError(t, s.good(t))
		assert.Zero(t, time.Since(began))
		stop()
	}, func(o *Options) { o.KnownKeys = []string{goodName} })
	settled(t, func(t *testing.T, s *setting) {
		stop := flood(t, s)
		time.Sleep(5 * time.Second)
		began := time.Now()
		err := s.good(t)
		assert.LessOrEqual(t, time.Since(began), unknownTimeout)
		if err != nil {
			assertUnavailable(t, err)
		}
		stop()
	})
}

func TestKnownKeys(t *testing.T) {
	var told [][]string
	settled(t, func(t *testing.T, s *setting) {
		for i := range 60 {
			s.dns.set(name(i), record(t, &goodKey(t).PublicKey))
		}
		// Names that exist, with signatures that are not theirs, are not known for it.
		for i := range 20 {
			assertRefused(t, ReasonSignatureMismatch, s.send(t, name(i), second(t)))
		}
		assert.Empty(t, told)
		for i := 20; i < 20+maxKnown; i++ {
			require.NoError(t, s.send(t, name(i), goodKey(t)))
			require.NoError(t, s.send(t, name(i), goodKey(t)))
		}
		require.Len(t, told, maxKnown, "once for each")
		assert.Len(t, told[maxKnown-1], maxKnown)

		// They make room for none that has not verified a call.
		for i := range 20 {
			assertRefused(t, ReasonSignatureMismatch, s.send(t, name(i), second(t)))
		}
		for i := 20; i < 20+maxKnown; i++ {
			require.NoError(t, s.send(t, name(i), goodKey(t)))
			assert.Equal(t, 1, s.dns.count(name(i)))
		}
		// Of them the one used longest ago makes room for one more.
		require.NoError(t, s.send(t, name(20), goodKey(t)))
		require.NoError(t, s.send(t, name(50), goodKey(t)))
		require.Len(t, told, maxKnown+1)
		assert.Len(t, told[maxKnown], maxKnown)
		assert.Contains(t, told[maxKnown], name(50))
		assert.Contains(t, told[maxKnown], name(20))
		assert.NotContains(t, told[maxKnown], name(21))

		// A key that was revoked is not known any more.
		s.dns.set(name(50), "v=DKIM1; p=")
		time.Sleep(freshFor)
		assertRefused(t, ReasonRevokedKey, s.send(t, name(50), goodKey(t)))
		require.Len(t, told, maxKnown+2)
		assert.NotContains(t, told[maxKnown+1], name(50))
	}, func(o *Options) { o.OnKnownKeys = func(names []string) { told = append(told, names) } })

	// Those of an earlier run are known from the start, and as names that were good.
	settled(t, func(t *testing.T, s *setting) {
		assertUnavailable(t, s.send(t, name(0), goodKey(t)))
		time.Sleep(absentFor)
		s.dns.set(name(0), record(t, &goodKey(t).PublicKey))
		require.NoError(t, s.send(t, name(0), goodKey(t)))
	}, func(o *Options) { o.KnownKeys = []string{name(0)} })
}

func TestClose(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.good(t))
		// A refresh in the background, and calls that wait for a lookup, for another one and for
		// their turn.
		time.Sleep(renewFrom)
		s.dns.setHook(func(ctx context.Context, _ string) { <-ctx.Done() })
		require.NoError(t, s.good(t))
		var wg sync.WaitGroup
		wg.Go(func() { assertUnavailable(t, s.send(t, goodName, second(t))) })
		for i := range unknownEverySecond + 10 {
			wg.Go(func() { assertUnavailable(t, s.forge(t, name(i))) })
		}
		synctest.Wait()
		assert.Equal(t, 2+unknownAtOnce, s.dns.total())

		began := time.Now()
		s.Close()
		s.Close()
		wg.Wait()
		assert.Zero(t, time.Since(began))

		assert.Equal(t, map[string]int{LookupFound: 1}, s.seen.get(), "that they were ended is no failure")
		require.NoError(t, s.good(t), "what is cached is still good")
		assertUnavailable(t, s.send(t, name(0), goodKey(t)))
		assert.Equal(t, 2+unknownAtOnce, s.dns.total())
	})
}

// TestAtOnce has many calls, good, bad and of unknown names, while time passes, DNS fails now and
// then and the key changes.
func TestAtOnce(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		keys := []*rsa.PrivateKey{goodKey(t), second(t)}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range 60 {
					key := goodName
					if i%7 == 0 {
						key = name(i * worker)
					}
					_ = s.send(t, key, keys[i%2])
					switch i % 20 {
					case 3:
						time.Sleep(renewFrom)
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
		time.Sleep(lastGood)
		require.NoError(t, s.good(t))
		assert.LessOrEqual(t, s.keys.known.Len(), maxKnown)
		assert.LessOrEqual(t, s.keys.unknown.Len(), maxUnknown)
	})
}

func TestWithin(t *testing.T) {
	now := signedAt
	assert.True(t, within(now, now, time.Second))
	assert.False(t, within(now, now.Add(-time.Second), time.Second))
	assert.False(t, within(now, now.Add(1), time.Second), "a clock that was set back")
}

// check has a context that ends with the request's.
func TestACallThatIsGivenUpLeavesItsLookupToOthers(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		s.dns.setHook(func(context.Context, string) { time.Sleep(time.Second) })
		c := newCall()
		c.set("Date", time.Now().UTC().Format(http.TimeFormat))
		r := c.sign(t, goodKey(t)).request(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		assertUnavailable(t, check(s.Verifier, r.WithContext(ctx)))
		require.NoError(t, s.good(t))
		assert.Equal(t, 1, s.dns.total())
	})
}
