package signature

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	errServfail = &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	errTimedOut = &net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true}
)

// withFakeTime calls test with a fixture whose clock is that of synctest.
func withFakeTime(t *testing.T, test func(t *testing.T, f *fixture), options ...func(*Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, append(options, func(o *Options) { o.Now = time.Now })...)
		test(t, f)
		f.Close()
	})
}

// name is one of many names of keys.
func name(i int) string {
	return fmt.Sprintf("x%d%s", i, keyDomain)
}

// sendGood sends a call that goodKey signed.
func (f *fixture) sendGood(t *testing.T) error {
	t.Helper()
	return f.send(t, goodName, goodKey())
}

// sendForged sends a call that nobody signed.
func (f *fixture) sendForged(keyID string) error {
	r := newRequest(nil)
	r.Set("Date", f.now().UTC().Format(dateLayouts[0]))
	r.Set("Signature", strings.Replace(headerText, goodName, keyID, 1))
	return f.check(unparsed(r))
}

func TestKeysAreCached(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		for range 3 {
			require.NoError(t, f.sendGood(t))
			require.NoError(t, f.send(t, strings.ToUpper(goodName), goodKey()), "one key in any case")
		}
		assert.Equal(t, 1, f.dns.count())
		assert.Equal(t, map[string]int{LookupFound: 1}, f.looked())
	})
}

func TestKeysAreRenewedAhead(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		require.NoError(t, f.sendGood(t))
		time.Sleep(renewFrom - time.Second)
		require.NoError(t, f.sendGood(t))
		synctest.Wait()
		assert.Equal(t, 1, f.dns.count())

		time.Sleep(time.Second)
		release := make(chan struct{})
		f.dns.setHook(func(context.Context, string) { <-release })
		for range 5 {
			require.NoError(t, f.sendGood(t), "nobody waits for it")
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		assert.Equal(t, 2, f.dns.count(), "once")

		time.Sleep(renewFrom - time.Second)
		require.NoError(t, f.sendGood(t))
		synctest.Wait()
		assert.Equal(t, 2, f.dns.count(), "time counts from the renewal")
	})
}

func TestRevokedKeys(t *testing.T) {
	const revoked = "v=DKIM1; p="
	withFakeTime(t, func(t *testing.T, f *fixture) {
		require.NoError(t, f.sendGood(t))
		f.dns.set(goodName, revoked)
		time.Sleep(renewFrom)
		require.NoError(t, f.sendGood(t), "what the renewal finds is for the next call")
		synctest.Wait()
		assertRefused(t, ReasonRevokedKey, f.sendGood(t))
		// It does not count as good any more.
		f.dns.set(goodName)
		time.Sleep(absentFor)
		assertRefused(t, ReasonNoKey, f.sendGood(t))
	})
	withFakeTime(t, func(t *testing.T, f *fixture) {
		require.NoError(t, f.sendGood(t))
		state, err := f.keys.get(t.Context(), goodName, time.Time{})
		require.NoError(t, err)
		f.dns.set(goodName, revoked)
		time.Sleep(freshFor)
		assertRefused(t, ReasonRevokedKey, f.sendGood(t), "an idle key is looked up before it is used")
		assert.Equal(t, map[string]int{LookupFound: 1, LookupRevoked: 1}, f.looked())
		// A call that was under way does not bring it back.
		f.keys.confirm(goodName, state)
		assertRefused(t, ReasonRevokedKey, f.sendGood(t))
	})
}

func TestTheLastGoodKeyIsUsedWhileDNSFails(t *testing.T) {
	for _, failure := range []error{errServfail, errTimedOut, errors.New("refused")} {
		withFakeTime(t, func(t *testing.T, f *fixture) {
			require.NoError(t, f.sendGood(t))
			f.dns.fail(failure)
			time.Sleep(renewFrom)
			require.NoError(t, f.sendGood(t))
			synctest.Wait()
			asked := f.dns.count()

			time.Sleep(retryEvery - time.Second)
			require.NoError(t, f.sendGood(t))
			synctest.Wait()
			assert.Equal(t, asked, f.dns.count(), "not asked again so soon")
			time.Sleep(time.Second)
			require.NoError(t, f.sendGood(t))
			synctest.Wait()
			assert.Greater(t, f.dns.count(), asked)

			for at := renewFrom + retryEvery; at < lastGood-time.Hour; at += time.Hour {
				time.Sleep(time.Hour)
				require.NoError(t, f.sendGood(t), at)
				synctest.Wait()
			}
			assertUnavailable(t, f.send(t, goodName, otherKey()), "the key may have been changed")

			time.Sleep(time.Hour)
			assertUnavailable(t, f.sendGood(t))
			asked = f.dns.count()
			assertUnavailable(t, f.sendGood(t))
			assert.Equal(t, asked, f.dns.count(), "failures are cached for a moment")

			f.dns.set(goodName, keyRecord(goodKey()))
			time.Sleep(failedFor)
			require.NoError(t, f.sendGood(t))
		})
	}
	withFakeTime(t, func(t *testing.T, f *fixture) {
		require.NoError(t, f.sendGood(t))
		f.dns.fail(errServfail)
		time.Sleep(lastGood - time.Second)
		require.NoError(t, f.sendGood(t), "an idle one too")
		time.Sleep(time.Second)
		assertUnavailable(t, f.sendGood(t))
	})
	withFakeTime(t, func(t *testing.T, f *fixture) {
		require.NoError(t, f.sendGood(t))
		f.dns.fail(errServfail)
		time.Sleep(time.Second)
		assertUnavailable(t, f.send(t, goodName, otherKey()))
		f.dns.set(goodName, "v=DKIM1; p=")
		time.Sleep(freshFor)
		assertRefused(t, ReasonRevokedKey, f.sendGood(t), "a failure long ago does not make an old key good")
	})
}

func TestFailedLookups(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		f.dns.fail(errServfail)
		assertUnavailable(t, f.sendGood(t))
		assertUnavailable(t, f.sendGood(t))
		assert.Equal(t, map[string]int{LookupFailed: 1}, f.looked())
		time.Sleep(failedFor)
		f.dns.fail(errTimedOut)
		assertUnavailable(t, f.sendGood(t))
		assert.Equal(t, map[string]int{LookupFailed: 1, LookupTimeout: 1}, f.looked())
		assert.Equal(t, 3, f.dns.count(), "what timed out is tried twice")
		time.Sleep(failedFor)
		f.dns.setHook(func(ctx context.Context, _ string) { <-ctx.Done() })
		began := time.Now()
		assertUnavailable(t, f.sendGood(t))
		assert.Equal(t, attempts*attemptTimeout, time.Since(began))
		f.dns.setHook(nil)
		f.dns.set(goodName, keyRecord(goodKey()))
		time.Sleep(failedFor)
		require.NoError(t, f.sendGood(t))
	})
}

func TestAbsentKeys(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		f.dns.set(goodName)
		for range 3 {
			assertRefused(t, ReasonNoKey, f.sendGood(t))
		}
		assert.Equal(t, 1, f.dns.count())

		time.Sleep(absentFor)
		f.dns.set(goodName, "hello")
		assertRefused(t, ReasonUnusableKey, f.sendGood(t))
		time.Sleep(absentFor)
		f.dns.set(goodName, keyRecord(goodKey()))
		require.NoError(t, f.sendGood(t), "cached for a short time")
		assert.Equal(t, map[string]int{LookupAbsent: 1, LookupUnusable: 1, LookupFound: 1}, f.looked())
	})
}

func TestAGoodKeyThatDisappears(t *testing.T) {
	for _, records := range [][]string{nil, {"hello"}} {
		withFakeTime(t, func(t *testing.T, f *fixture) {
			require.NoError(t, f.sendGood(t))
			f.dns.set(goodName, records...)
			time.Sleep(freshFor)
			assertUnavailable(t, f.sendGood(t), "the sender does not remove what it has just used")
			asked := f.dns.count()
			assertUnavailable(t, f.sendGood(t))
			assert.Equal(t, asked, f.dns.count())

			time.Sleep(lastGood - freshFor - time.Second)
			assertUnavailable(t, f.sendGood(t))
			time.Sleep(absentFor)
			require.ErrorAs(t, f.sendGood(t), new(*Refusal), "a day later")
		})
	}
	withFakeTime(t, func(t *testing.T, f *fixture) {
		// Found, but nothing was ever verified with it.
		assertRefused(t, ReasonSignatureMismatch, f.send(t, goodName, otherKey()))
		f.dns.set(goodName)
		time.Sleep(freshFor)
		assertRefused(t, ReasonNoKey, f.sendGood(t))
	})
}

func TestRotation(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		require.NoError(t, f.sendGood(t))
		time.Sleep(time.Minute)
		f.dns.set(goodName, keyRecord(otherKey()))
		require.NoError(t, f.send(t, goodName, otherKey()), "a signature that does not match causes a lookup")
		assert.Equal(t, 2, f.dns.count())
		assertRefused(t, ReasonSignatureMismatch, f.sendGood(t))

		time.Sleep(time.Minute)
		f.dns.set(goodName, keyRecord(otherKey()), keyRecord(goodKey()))
		require.NoError(t, f.sendGood(t), "both at once")
		require.NoError(t, f.send(t, goodName, otherKey()))
	})
}

// A forged call right before the key is changed does not use up the lookup for the first good one.
func TestForgedCallsDoNotDisturbARotation(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, recheckEvery / 2, 5 * time.Second} {
		withFakeTime(t, func(t *testing.T, f *fixture) {
			require.NoError(t, f.sendGood(t))
			time.Sleep(time.Minute)
			assertRefused(t, ReasonSignatureMismatch, f.sendForged(goodName))
			f.dns.set(goodName, keyRecord(otherKey()))
			time.Sleep(after)
			began := time.Now()
			require.NoError(t, f.send(t, goodName, otherKey()))
			assert.LessOrEqual(t, time.Since(began), recheckEvery)
		})
	}
	withFakeTime(t, func(t *testing.T, f *fixture) {
		// Nor does one whose lookup began before the change and is still under way.
		require.NoError(t, f.sendGood(t))
		time.Sleep(time.Minute)
		changed := make(chan struct{})
		f.dns.setHook(func(context.Context, string) { <-changed })
		var wg sync.WaitGroup
		wg.Go(func() { assert.Error(t, f.sendForged(goodName)) })
		synctest.Wait()
		time.Sleep(time.Millisecond)
		wg.Go(func() { assert.NoError(t, f.send(t, goodName, otherKey())) })
		synctest.Wait()
		assert.Equal(t, 2, f.dns.count())
		// The old record is what the lookup under way finds.
		f.dns.setHook(func(context.Context, string) { f.dns.set(goodName, keyRecord(otherKey())) })
		close(changed)
		wg.Wait()
		assert.Equal(t, 3, f.dns.count())
	})
}

func TestMismatchesDoNotFloodDNS(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		require.NoError(t, f.sendGood(t))
		var wg sync.WaitGroup
		began := time.Now()
		for range 40 {
			time.Sleep(50 * time.Millisecond)
			wg.Go(func() { assertRefused(t, ReasonSignatureMismatch, f.sendForged(goodName)) })
		}
		wg.Wait()
		assert.LessOrEqual(t, f.dns.count(), 2+int(time.Since(began)/recheckEvery))
		require.NoError(t, f.sendGood(t))

		// What such a lookup finds counts.
		time.Sleep(time.Second)
		f.dns.set(goodName, "v=DKIM1; p=")
		assertRefused(t, ReasonRevokedKey, f.sendForged(goodName))
		assertRefused(t, ReasonRevokedKey, f.sendGood(t))
	})
}

func TestCallsShareALookup(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		f.dns.setHook(func(context.Context, string) { time.Sleep(time.Second) })
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { assert.NoError(t, f.sendGood(t)) })
		}
		// One whose sender gives up does not end it.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		r := newRequest(goodKey())
		r.Set("Date", time.Now().UTC().Format(dateLayouts[0]))
		assertUnavailable(t, f.check(parse(t, r.Sign()).WithContext(ctx)))
		wg.Wait()
		assert.Equal(t, 1, f.dns.count())
	})
}

// A flood of made-up names does not delay calls with a known key, not even right after a start, and
// delays those with another key by unknownTimeout at most.
func TestFloodOfUnknownNames(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		f.dns.set(name(0), keyRecord(goodKey()))
		f.dns.setHook(func(_ context.Context, asked string) {
			if asked != goodName {
				time.Sleep(100 * time.Millisecond)
			}
		})
		const inTime = unknownPerSecond * int(1+unknownTimeout/time.Second)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range inTime + 50 {
			wg.Go(func() { assert.Error(t, f.sendForged(name(1+i))) })
		}
		synctest.Wait()
		assert.Equal(t, map[string]int{LookupLimited: 50}, f.looked())
		require.NoError(t, f.sendGood(t))
		assertUnavailable(t, f.send(t, name(0), goodKey()))
		assert.Zero(t, time.Since(began))

		time.Sleep(time.Second)
		require.NoError(t, f.send(t, name(0), goodKey()))
		assert.LessOrEqual(t, time.Since(began), time.Second+unknownTimeout+100*time.Millisecond)
		wg.Wait()
		assert.InDelta(t, inTime, f.looked()[LookupAbsent], 1, "the last one's turn comes as its time is over")
		assert.LessOrEqual(t, f.dns.most, unknownAtOnce+1)
		assert.Equal(t, maxUnknown-1, f.keys.unknown.Len(), "one became known")
		require.NoError(t, f.sendGood(t))
		assert.Equal(t, 1, f.dns.count(goodName), "none of them evicts it")
	}, func(o *Options) { o.KnownKeys = []string{goodName} })
}

func TestKnownKeys(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		for i := range maxKnown + 5 {
			f.dns.set(name(i), keyRecord(goodKey()))
		}
		// Names with a key are not known for it.
		forge := func() {
			for i := range maxKnown + 5 {
				f.dns.set(name(100+i), keyRecord(goodKey()))
				assertRefused(t, ReasonSignatureMismatch, f.sendForged(name(100+i)))
			}
		}
		forge()
		assert.Empty(t, f.known)
		for i := range maxKnown {
			require.NoError(t, f.send(t, name(i), goodKey()))
			require.NoError(t, f.send(t, name(i), goodKey()))
		}
		require.Len(t, f.known, maxKnown, "once for each")
		assert.Len(t, f.known[maxKnown-1], maxKnown)

		// They are not evicted by names that have not verified a call.
		forge()
		for i := range maxKnown {
			require.NoError(t, f.send(t, name(i), goodKey()))
			assert.Equal(t, 1, f.dns.count(name(i)))
		}
		// The least recently used is evicted by one that has.
		require.NoError(t, f.send(t, name(0), goodKey()))
		require.NoError(t, f.send(t, name(maxKnown), goodKey()))
		require.Len(t, f.known, maxKnown+1)
		assert.Len(t, f.known[maxKnown], maxKnown)
		assert.Contains(t, f.known[maxKnown], name(maxKnown))
		assert.Contains(t, f.known[maxKnown], name(0))
		assert.NotContains(t, f.known[maxKnown], name(1))

		// A key that was revoked is not known any more.
		f.dns.set(name(maxKnown), "v=DKIM1; p=")
		time.Sleep(freshFor)
		assertRefused(t, ReasonRevokedKey, f.send(t, name(maxKnown), goodKey()))
		require.Len(t, f.known, maxKnown+2)
		assert.NotContains(t, f.known[maxKnown+1], name(maxKnown))
	})

	// Those of an earlier run count as good from the start.
	withFakeTime(t, func(t *testing.T, f *fixture) {
		assertUnavailable(t, f.send(t, name(0), goodKey()))
		time.Sleep(absentFor)
		f.dns.set(name(0), keyRecord(goodKey()))
		require.NoError(t, f.send(t, name(0), goodKey()))
	}, func(o *Options) { o.KnownKeys = []string{name(0)} })
}

func TestClose(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		require.NoError(t, f.sendGood(t))
		// A renewal in the background, and calls that wait for a lookup, for the next one and for
		// their turn.
		time.Sleep(renewFrom)
		f.dns.setHook(func(ctx context.Context, _ string) { <-ctx.Done() })
		require.NoError(t, f.sendGood(t))
		var wg sync.WaitGroup
		wg.Go(func() { assertUnavailable(t, f.sendForged(goodName)) })
		for i := range unknownPerSecond + 10 {
			wg.Go(func() { assertUnavailable(t, f.sendForged(name(i))) })
		}
		synctest.Wait()
		assert.Equal(t, 2+unknownAtOnce, f.dns.count())

		began := time.Now()
		f.Close()
		f.Close()
		wg.Wait()
		assert.Zero(t, time.Since(began))

		assert.Equal(t, map[string]int{LookupFound: 1}, f.looked(), "that they were cancelled is no failure")
		require.NoError(t, f.sendGood(t), "what is cached is still good")
		assertUnavailable(t, f.send(t, name(0), goodKey()))
		assert.Equal(t, 2+unknownAtOnce, f.dns.count())
	})
}

// TestConcurrentCalls sends good and bad calls while time passes, DNS fails and the key changes.
func TestConcurrentCalls(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		keys := []*rsa.PrivateKey{goodKey(), otherKey()}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range 40 {
					key := goodName
					if i%7 == 0 {
						key = name(i * worker)
					}
					_ = f.send(t, key, keys[i%2])
					switch i % 20 {
					case 3:
						time.Sleep(renewFrom)
					case 9:
						f.dns.fail(errServfail)
					case 13:
						f.dns.set(goodName, keyRecord(keys[worker%2]))
					case 17:
						f.dns.set(goodName)
					}
				}
			})
		}
		wg.Wait()
		f.dns.set(goodName, keyRecord(goodKey()))
		time.Sleep(lastGood)
		require.NoError(t, f.sendGood(t))
		assert.LessOrEqual(t, f.keys.known.Len(), maxKnown)
		assert.LessOrEqual(t, f.keys.unknown.Len(), maxUnknown)
	})
}

func TestWithin(t *testing.T) {
	assert.True(t, within(signedAt, signedAt, time.Second))
	assert.False(t, within(signedAt, signedAt.Add(-time.Second), time.Second))
	assert.False(t, within(signedAt, signedAt.Add(1), time.Second), "a clock that was set back")
}
