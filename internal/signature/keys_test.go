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
func (f *fixture) sendGood(t *testing.T) string {
	t.Helper()
	return f.send(t, goodName, goodKey())
}

// sendForged sends a call that nobody signed.
func (f *fixture) sendForged(keyID string) string {
	r := newRequest(nil)
	r.Set("Date", f.options.Now().UTC().Format(dateLayouts[0]))
	r.Set("Signature", strings.Replace(headerText, goodName, keyID, 1))
	return f.check(unparsed(r))
}

// step is what happens to the key of goodName and what a call then gets.
type step struct {
	wait    time.Duration
	dns     any             // new records, or the error of lookups; nil: as before
	key     *rsa.PrivateKey // that signs the call
	want    string          // see outcomeOf
	lookups int             // so far, with those in the background
}

// TestKeyLifecycle plays what can happen to a key over time.
func TestKeyLifecycle(t *testing.T) {
	good, other := goodKey(), otherKey()
	goodRecord, otherRecord := []string{keyRecord(good)}, []string{keyRecord(other)}
	absent, unusable, revoked := []string{}, []string{"hello"}, []string{"v=DKIM1; p="}
	for name, steps := range map[string][]step{
		"cached, then renewed in the background": {
			{0, nil, good, accepted, 1},
			{renewFrom - time.Second, nil, good, accepted, 1},
			{time.Second, nil, good, accepted, 2},
			{renewFrom - time.Second, nil, good, accepted, 2},
			{freshFor, nil, good, accepted, 3},
		},
		"revoked while in use": {
			{0, nil, good, accepted, 1},
			{renewFrom, revoked, good, accepted, 2}, // what the renewal finds is for the next call
			{0, nil, good, ReasonRevokedKey, 2},
			{absentFor, absent, good, ReasonNoKey, 3}, // it does not count as good any more
		},
		"revoked while idle": {
			{0, nil, good, accepted, 1},
			{freshFor, revoked, good, ReasonRevokedKey, 2},
		},
		"revoked after a failure long ago": {
			{0, nil, good, accepted, 1},
			{time.Second, errServfail, other, keyUnavailable, 2},
			{freshFor, revoked, good, ReasonRevokedKey, 3},
		},
		"found by a call that does not match to be revoked": {
			{0, nil, good, accepted, 1},
			{time.Second, revoked, other, ReasonRevokedKey, 2},
			{0, nil, good, ReasonRevokedKey, 2},
		},
		"absent, then unusable, then good": {
			{0, absent, good, ReasonNoKey, 1},
			{0, nil, good, ReasonNoKey, 1},
			{absentFor, unusable, good, ReasonUnusableKey, 2},
			{absentFor, goodRecord, good, accepted, 3},
		},
		"failing, then good": {
			{0, errServfail, good, keyUnavailable, 1},
			{0, nil, good, keyUnavailable, 1},
			{failedFor, errTimedOut, good, keyUnavailable, 2},
			{failedFor, goodRecord, good, accepted, 3},
		},
		"absent but never good": {
			{0, nil, other, ReasonSignatureMismatch, 1},
			{freshFor, absent, good, ReasonNoKey, 2},
		},
		// The sender does not remove what it has just used.
		"good, then absent": {
			{0, nil, good, accepted, 1},
			{freshFor, absent, good, keyUnavailable, 2},
			{0, nil, good, keyUnavailable, 2},
			{lastGood - freshFor - time.Second, nil, good, keyUnavailable, 3},
			{absentFor, nil, good, ReasonNoKey, 4},
		},
		"good, then unusable": {
			{0, nil, good, accepted, 1},
			{freshFor, unusable, good, keyUnavailable, 2},
			{lastGood - freshFor, nil, good, ReasonUnusableKey, 3},
		},
		"rotated": {
			{0, nil, good, accepted, 1},
			{time.Minute, otherRecord, other, accepted, 2},
			{time.Millisecond, nil, good, ReasonSignatureMismatch, 3},
			{time.Minute, append(otherRecord, goodRecord...), good, accepted, 4},
			{0, nil, other, accepted, 4},
		},
		// A forged call before the rotation does not use up the lookup for the first good one.
		"rotated right after a forged call": {
			{0, nil, good, accepted, 1},
			{time.Minute, nil, other, ReasonSignatureMismatch, 2},
			{time.Millisecond, otherRecord, other, accepted, 3},
		},
		"rotated a while after a forged call": {
			{0, nil, good, accepted, 1},
			{time.Minute, nil, other, ReasonSignatureMismatch, 2},
			{5 * time.Second, otherRecord, other, accepted, 3},
		},
		"DNS fails":           failingFor(errServfail),
		"DNS does not answer": failingFor(errTimedOut),
		"no connection":       failingFor(errors.New("refused")),
	} {
		t.Run(name, func(t *testing.T) {
			withFakeTime(t, func(t *testing.T, f *fixture) {
				for i, step := range steps {
					time.Sleep(step.wait)
					switch dns := step.dns.(type) {
					case []string:
						f.dns.set(goodName, dns...)
					case error:
						f.dns.fail(dns)
					}
					began := time.Now()
					assert.Equal(t, step.want, f.send(t, goodName, step.key), "step %d", i)
					assert.LessOrEqual(t, time.Since(began), recheckEvery, "step %d", i)
					synctest.Wait()
					lookups := 0
					for _, n := range f.looked() {
						lookups += n
					}
					assert.Equal(t, step.lookups, lookups, "step %d", i)
				}
			})
		})
	}
}

// failingFor has the last good key used while lookups fail with err, for a day.
func failingFor(err error) []step {
	return []step{
		{0, nil, goodKey(), accepted, 1},
		{renewFrom, err, goodKey(), accepted, 2},
		{retryEvery - time.Second, nil, goodKey(), accepted, 2},
		{time.Second, nil, goodKey(), accepted, 3},
		{12 * time.Hour, nil, goodKey(), accepted, 4},
		{lastGood - 12*time.Hour - renewFrom - retryEvery - time.Second, nil, goodKey(), accepted, 5},
		{time.Millisecond, nil, otherKey(), keyUnavailable, 6}, // the key may have been changed
		{time.Second, nil, goodKey(), keyUnavailable, 7},
		{0, nil, goodKey(), keyUnavailable, 7},
		{failedFor, []string{keyRecord(goodKey())}, goodKey(), accepted, 8},
	}
}

func TestTimeoutsAreTriedAgain(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		f.dns.setHook(func(ctx context.Context, _ string) { <-ctx.Done() })
		began := time.Now()
		assert.Equal(t, keyUnavailable, f.sendGood(t))
		assert.Equal(t, 5*time.Second, time.Since(began))
		assert.Equal(t, 2, f.dns.count())
		assert.Equal(t, map[string]int{LookupTimeout: 1}, f.looked())
	})
}

func TestNobodyWaitsForARenewal(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		assert.Equal(t, accepted, f.sendGood(t))
		time.Sleep(renewFrom)
		f.dns.setHook(func(context.Context, string) { time.Sleep(time.Second) })
		began := time.Now()
		for range 5 {
			assert.Equal(t, accepted, f.sendGood(t))
		}
		assert.Zero(t, time.Since(began))
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, 2, f.dns.count(), "one lookup for all")
	})
}

// What happened to a key while a call was verified with it counts, unless that it was evicted.
func TestConfirm(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		assert.Equal(t, accepted, f.sendGood(t))
		state, err := f.keys.get(t.Context(), goodName, time.Time{})
		require.NoError(t, err)
		f.dns.set(goodName, "v=DKIM1; p=")
		time.Sleep(freshFor)
		assert.Equal(t, ReasonRevokedKey, f.sendGood(t))
		f.keys.confirm(goodName, state)
		f.dns.set(goodName)
		time.Sleep(absentFor)
		assert.Equal(t, ReasonNoKey, f.sendGood(t))

		state.asked = time.Now()
		f.keys.confirm(name(0), state)
		assert.Equal(t, accepted, f.send(t, name(0), goodKey()))
	})
}

// A lookup that began before the key was changed is not the one for a call after the change.
func TestRotationDuringALookup(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		assert.Equal(t, accepted, f.sendGood(t))
		time.Sleep(time.Minute)
		f.dns.setHook(func(context.Context, string) { time.Sleep(100 * time.Millisecond) })
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, ReasonSignatureMismatch, f.sendForged(goodName)) })
		time.Sleep(time.Millisecond)
		f.dns.set(goodName, keyRecord(otherKey()))
		assert.Equal(t, accepted, f.send(t, goodName, otherKey()))
		wg.Wait()
		assert.Equal(t, 3, f.dns.count())
	})
}

func TestMismatchesDoNotFloodDNS(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		assert.Equal(t, accepted, f.sendGood(t))
		var wg sync.WaitGroup
		began := time.Now()
		for range 40 {
			time.Sleep(50 * time.Millisecond)
			wg.Go(func() { assert.Equal(t, ReasonSignatureMismatch, f.sendForged(goodName)) })
		}
		wg.Wait()
		assert.LessOrEqual(t, f.dns.count(), 2+int(time.Since(began)/recheckEvery))
		assert.Equal(t, accepted, f.sendGood(t))
	})
}

func TestCallsShareALookup(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		f.dns.setHook(func(context.Context, string) { time.Sleep(time.Second) })
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { assert.Equal(t, accepted, f.sendGood(t)) })
		}
		// One whose sender gives up does not end it.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		r := newRequest(goodKey())
		r.Set("Date", time.Now().UTC().Format(dateLayouts[0]))
		assert.Equal(t, keyUnavailable, f.check(parse(t, r.Sign()).WithContext(ctx)))
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
			wg.Go(func() { assert.NotEqual(t, accepted, f.sendForged(name(1+i))) })
		}
		synctest.Wait()
		assert.Equal(t, map[string]int{LookupLimited: 50}, f.looked())
		assert.Equal(t, accepted, f.sendGood(t))
		assert.Equal(t, keyUnavailable, f.send(t, name(0), goodKey()))
		assert.Zero(t, time.Since(began))

		time.Sleep(time.Second)
		assert.Equal(t, accepted, f.send(t, name(0), goodKey()))
		assert.LessOrEqual(t, time.Since(began), time.Second+unknownTimeout+100*time.Millisecond)
		wg.Wait()
		assert.InDelta(t, inTime, f.looked()[LookupAbsent], 1, "the last one's turn comes as its time is over")
		assert.LessOrEqual(t, f.dns.peak, unknownAtOnce+1)
		assert.Equal(t, maxUnknown-1, f.keys.unknown.Len(), "one became known")
		assert.Equal(t, accepted, f.sendGood(t))
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
				assert.Equal(t, ReasonSignatureMismatch, f.sendForged(name(100+i)))
			}
		}
		forge()
		assert.Empty(t, f.known)
		for i := range maxKnown {
			assert.Equal(t, accepted, f.send(t, name(i), goodKey()))
			assert.Equal(t, accepted, f.send(t, name(i), goodKey()))
		}
		require.Len(t, f.known, maxKnown, "once for each")
		assert.Len(t, f.known[maxKnown-1], maxKnown)

		// They are not evicted by names that have not verified a call.
		forge()
		for i := range maxKnown {
			assert.Equal(t, accepted, f.send(t, name(i), goodKey()))
			assert.Equal(t, 1, f.dns.count(name(i)))
		}
		// The least recently used is evicted by one that has.
		assert.Equal(t, accepted, f.send(t, name(0), goodKey()))
		assert.Equal(t, accepted, f.send(t, name(maxKnown), goodKey()))
		require.Len(t, f.known, maxKnown+1)
		assert.Len(t, f.known[maxKnown], maxKnown)
		assert.Contains(t, f.known[maxKnown], name(maxKnown))
		assert.Contains(t, f.known[maxKnown], name(0))
		assert.NotContains(t, f.known[maxKnown], name(1))

		// A key that was revoked is not known any more.
		f.dns.set(name(maxKnown), "v=DKIM1; p=")
		time.Sleep(freshFor)
		assert.Equal(t, ReasonRevokedKey, f.send(t, name(maxKnown), goodKey()))
		require.Len(t, f.known, maxKnown+2)
		assert.NotContains(t, f.known[maxKnown+1], name(maxKnown))
	})

	// Those of an earlier run count as good from the start.
	withFakeTime(t, func(t *testing.T, f *fixture) {
		assert.Equal(t, keyUnavailable, f.send(t, name(0), goodKey()))
		time.Sleep(absentFor)
		f.dns.set(name(0), keyRecord(goodKey()))
		assert.Equal(t, accepted, f.send(t, name(0), goodKey()))
	}, func(o *Options) { o.KnownKeys = []string{name(0)} })
}

func TestClose(t *testing.T) {
	withFakeTime(t, func(t *testing.T, f *fixture) {
		assert.Equal(t, accepted, f.sendGood(t))
		// A renewal in the background, and calls that wait for a lookup, for the next one and for
		// their turn.
		time.Sleep(renewFrom)
		f.dns.setHook(func(ctx context.Context, _ string) { <-ctx.Done() })
		assert.Equal(t, accepted, f.sendGood(t))
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, keyUnavailable, f.sendForged(goodName)) })
		for i := range unknownPerSecond + 10 {
			wg.Go(func() { assert.Equal(t, keyUnavailable, f.sendForged(name(i))) })
		}
		synctest.Wait()
		assert.Equal(t, 2+unknownAtOnce, f.dns.count())

		began := time.Now()
		f.Close()
		f.Close()
		wg.Wait()
		assert.Zero(t, time.Since(began))

		assert.Equal(t, map[string]int{LookupFound: 1}, f.looked(), "that they were cancelled is no failure")
		assert.Equal(t, accepted, f.sendGood(t), "what is cached is still good")
		assert.Equal(t, keyUnavailable, f.send(t, name(0), goodKey()))
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
		assert.Equal(t, accepted, f.sendGood(t))
		assert.LessOrEqual(t, f.keys.known.Len(), maxKnown)
		assert.LessOrEqual(t, f.keys.unknown.Len(), maxUnknown)
	})
}

func TestWithin(t *testing.T) {
	assert.True(t, within(signedAt, signedAt, time.Second))
	assert.False(t, within(signedAt, signedAt.Add(-time.Second), time.Second))
	assert.False(t, within(signedAt, signedAt.Add(1), time.Second), "a clock that was set back")
}
