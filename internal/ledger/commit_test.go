package ledger

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// gated returns a ledger whose writes wait for a turn each, and what lets one through.
func gated(t *testing.T, s *setup) (l *Ledger[kind], client *fakeClient, through chan struct{}) {
	client = newDisk().client()
	l = s.open(t, client)
	through = make(chan struct{})
	client.before = func([]*storage.Operation) { <-through }
	return l, client, through
}

func TestCommitsAtOneTimeShareAWrite(t *testing.T) {
	for _, test := range []struct{ reports, writes int }{
		{1, 1},
		{2, 2},
		{64, 2}, // the first, and all that came while it was written
		{1 + maxGroup, 2},
		{2 + maxGroup, 3},
		{1500, 4},
	} {
		t.Run(fmt.Sprint(test.reports), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSetup()
				s.maxEntries = 10_000
				var largest atomic.Int64
				s.observe = func(reports int, _ error) { largest.Store(max(largest.Load(), int64(reports))) }
				l, client, through := gated(t, s)
				before := client.wrote()
				var all sync.WaitGroup
				for n := range test.reports {
					all.Go(func() { s.try(t, l, n, fmt.Sprint(n%7)) })
					if n == 0 {
						synctest.Wait()
					}
				}
				synctest.Wait()
				for range test.writes {
					through <- struct{}{}
				}
				all.Wait()
				assert.Equal(t, before+test.writes, client.wrote())
				assert.LessOrEqual(t, largest.Load(), int64(maxGroup))
				assert.Equal(t, int64(test.reports), total(l))
				assert.Equal(t, test.reports, l.Remembered())

				again := s.open(t, client.disk.client())
				assert.Equal(t, totals(l, 0), totals(again, 0))
				for n := range test.reports {
					s.repeat(t, again, n)
				}
			})
		})
	}
}

// Those who are about to commit when a write begins are in it, also when it is the first: on one processor, which nobody lets go of, each would
// write for itself.
func TestAWriteGathersThoseWhoAreAboutToCommit(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const reports = 40
	s := newSetup()
	client := newDisk().client()
	l := s.open(t, client)
	before := client.wrote()
	var all sync.WaitGroup
	for n := range reports {
		all.Go(func() { s.try(t, l, n, "a") })
	}
	all.Wait()
	assert.Less(t, client.wrote()-before, reports/4)
	assert.Equal(t, int64(reports), total(l))
}

// Whoever writes for the others is let go with its own group: it does not go on writing for those who come later.
func TestTheWriterIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		l, _, through := gated(t, s)
		done := make([]atomic.Bool, 4)
		send := func(n int) {
			go func() {
				s.try(t, l, n, "a")
				done[n].Store(true)
			}()
			synctest.Wait()
		}
		for n := range 3 {
			send(n)
		}
		through <- struct{}{}
		synctest.Wait()
		assert.True(t, done[0].Load())
		assert.False(t, done[1].Load() || done[2].Load())
		send(3)
		through <- struct{}{}
		synctest.Wait()
		assert.True(t, done[1].Load() && done[2].Load(), "and nobody waits for more than the write under way and their own")
		assert.False(t, done[3].Load())
		through <- struct{}{}
		synctest.Wait()
		assert.True(t, done[3].Load())
	})
}

func TestAnErrorReachesEveryMemberOfTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		l, client, through := gated(t, s)
		before := client.wrote()
		const reports = 50
		var all sync.WaitGroup
		var failed, acknowledged atomic.Int64
		for n := range reports {
			all.Go(func() {
				if _, err := s.send(t.Context(), l, n, "a"); err == nil {
					acknowledged.Add(1)
				} else if assert.ErrorIs(t, err, ErrStore) && assert.ErrorIs(t, err, errFull) {
					failed.Add(1)
				}
			})
			if n == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		through <- struct{}{}
		synctest.Wait()
		client.set(func(c *fakeClient) { c.full = true })
		through <- struct{}{}
		all.Wait()
		assert.Equal(t, int64(1), acknowledged.Load())
		assert.Equal(t, int64(reports-1), failed.Load())
		assert.Equal(t, int64(1), total(l))

		client.set(func(c *fakeClient) { c.full = false })
		close(through)
		repeats := 0
		for n := range reports {
			known, err := s.send(t.Context(), l, n, "a")
			require.NoError(t, err)
			if known != 0 {
				repeats++
			}
		}
		assert.Equal(t, 1, repeats)
		assert.Equal(t, int64(reports), total(l))
		assert.Greater(t, client.wrote(), before)
	})
}

// A member that has gone takes nobody along: not the others, and not its own report.
func TestAClientThatHasGoneDoesNotEndTheWrite(t *testing.T) {
	s := newSetup()
	l := s.open(t, newDisk().client())
	attempt, _, err := l.Begin(t.Context(), id(1))
	require.NoError(t, err)
	_, err = attempt.Commit(canceled(t), Accepted, s.one("a"))
	require.NoError(t, err)
	s.repeat(t, l, 1)
}

func TestBatchesNeverNameAKeyTwice(t *testing.T) {
	s := newSetup()
	s.limit, s.metrics = 2, []string{"failures", "by_tag"}
	client := newDisk().client()
	l := s.open(t, client)
	client.before = func(ops []*storage.Operation) {
		var keys []string
		for _, op := range ops {
			keys = append(keys, op.Key)
		}
		slices.Sort(keys)
		assert.Len(t, slices.Compact(keys), len(ops))
	}
	client.set(func(c *fakeClient) { c.nth, c.ambiguous = 3, true })
	for n := range 200 {
		attempt, _, err := l.Begin(t.Context(), id(n))
		if err != nil {
			continue
		}
		_, _ = attempt.Commit(t.Context(), Accepted, Counts[kind]{{{fmt.Sprint(n % 4)}}, {{"x"}, {fmt.Sprint(n % 5)}}})
		if n%10 == 0 {
			flush(t, l)
		}
	}
}

func TestCountsAreExactWhateverComesAtOnce(t *testing.T) {
	const goroutines = 64
	each := 60
	if testing.Short() {
		each = 10
	}
	for name, fault := range map[string]func(c *fakeClient){
		"well":                   func(*fakeClient) {},
		"every 5th write fails":  func(c *fakeClient) { c.nth = 5 },
		"every 5th is ambiguous": func(c *fakeClient) { c.nth, c.ambiguous = 5, true },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup()
			s.limit, s.maxEntries = 5, 100_000
			disk := newDisk()
			client := disk.client()
			l := s.open(t, client)
			client.before = func([]*storage.Operation) { runtime.Gosched() }
			client.set(fault)

			var senders sync.WaitGroup
			for g := range goroutines {
				senders.Go(func() {
					for i := range each {
						// Each report is sent by two senders, at about the same time, until it is acknowledged.
						n := (g/2)*each + i
						for {
							if _, err := s.send(t.Context(), l, n, fmt.Sprint(n%9)); err == nil {
								break
							}
						}
					}
				})
			}
			stop := make(chan struct{})
			var collector sync.WaitGroup
			collector.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					c, err := l.Collect(t.Context())
					if !assert.NoError(t, err) {
						return
					}
					assert.NoError(t, c.Taken(t.Context()))
					l.Untaken()
					l.Remembered()
					l.EvictedEarly()
				}
			})
			senders.Wait()
			close(stop)
			collector.Wait()
			assert.Equal(t, int64(goroutines/2*each), total(l))
			assert.Equal(t, goroutines/2*each, l.Remembered())

			client.set(func(c *fakeClient) { c.nth = 0 })
			flush(t, l)
			again := s.open(t, disk.client())
			assert.Equal(t, totals(l, 0), totals(again, 0))
			assert.Equal(t, goroutines/2*each, again.Remembered())
		})
	}
}
