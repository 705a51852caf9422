package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// What was committed is there after a kill, over any number of starts, and what a store holds does not grow with the number
// of writes.
func TestAKillLosesNothing(t *testing.T) {
	s, d := newSetup(), newDisk()
	s.MaxEntries = 100
	s.limits = limits{journal: 4096, chunk: 32}
	most := 0
	for start := range 100 {
		client := d.client()
		l := s.open(t, client)
		for n := 50 * start; n < 50*(start+1); n++ {
			count(t, l, n, fmt.Sprintf("a%d", n%40))
		}
		repeat(t, l, 50*start)
		assert.Equal(t, int64(50*(start+1)), total(l))
		client.kill()
		if start < 10 {
			most = max(most, d.keys(""))
		}
		assert.LessOrEqual(t, d.keys(""), most+10, "after %d starts", start)
	}
	l := s.open(t, d.client())
	assert.Equal(t, 100, l.Stats().Kinds[kind].Remembered)
	assert.Zero(t, l.Stats().Kinds[kind].Evicted)
	assert.Len(t, totals(l, "failures"), 40)
}

// Metrics and kinds that are not used keep what they have.
func TestADisabledMetricKeepsItsTotals(t *testing.T) {
	s, d := newSetup(), newDisk()
	l := s.open(t, d.client())
	count(t, l, 1, "a")
	require.NoError(t, l.Close(t.Context()))
	s.Metrics = []string{"others"}
	l = s.open(t, d.client())
	count(t, l, 2, "b")
	require.NoError(t, l.Close(t.Context()))
	s.Metrics = []string{"failures", "others"}
	l = s.open(t, d.client())
	assert.Equal(t, map[string]int64{"a": 1}, totals(l, "failures"))
	assert.Equal(t, map[string]int64{"b": 1}, totals(l, "others"))
	repeat(t, l, 1)
}

// A report whose write failed is committed by the next write that works, whether the first had taken effect or not; nothing
// new is begun until then, and totals go on.
func TestAWriteThatFails(t *testing.T) {
	for _, ambiguous := range []bool{false, true} {
		t.Run(fmt.Sprintf("with effect: %t", ambiguous), func(t *testing.T) {
			s, d := newSetup(), newDisk()
			var health []error
			s.Health = func(err error) { health = append(health, err) }
			client := d.client()
			l := s.open(t, client)
			count(t, l, 1, "old")
			flush(t, l)
			count(t, l, 2, "new")

			client.set(func(c *fakeClient) { c.nth, c.ambiguous = 1, ambiguous })
			_, err := send(t.Context(), l, 3, "a")
			require.ErrorIs(t, err, ErrStore)
			require.ErrorIs(t, err, errNth)
			for n := range 5 {
				_, err := send(t.Context(), l, 3+n, "b")
				require.ErrorIs(t, err, errNth)
			}
			repeat(t, l, 1)
			// What was stored before goes on being sent, and so does the zero of what is new.
			c, err := l.Collect(t.Context())
			require.NoError(t, err)
			require.ErrorIs(t, l.Acknowledge(t.Context(), c.Number), ErrStore)
			assert.Equal(t, []int64{1, 0}, values(c))
			c, err = l.Collect(t.Context())
			require.NoError(t, err)
			assert.Equal(t, []int64{1, 1}, values(c))
			require.Len(t, health, 1)
			require.ErrorIs(t, health[0], errNth)

			client.set(func(c *fakeClient) { c.nth = 0 })
			count(t, l, 4, "a")
			repeat(t, l, 3)
			assert.Equal(t, map[string]int64{"old": 1, "new": 1, "a": 2}, totals(l, "failures"))
			assert.Equal(t, []error{health[0], nil}, health)
			client.kill()
			l = s.open(t, d.client())
			assert.Equal(t, map[string]int64{"old": 1, "new": 1, "a": 2}, totals(l, "failures"))
			c, err = l.Collect(t.Context())
			require.NoError(t, err)
			assert.Equal(t, []int64{1, 1, 0}, values(c), "the zero that was acknowledged meanwhile is known")
		})
	}
}

func values(c *Collection) (values []int64) {
	for _, p := range c.Metrics[0].Points {
		values = append(values, p.Value)
	}
	return values
}

// After a failure, nothing is begun before a write at least as large has worked: a disk that is nearly full takes small
// ones.
func TestNothingIsBegunBeforeALargeWriteWorks(t *testing.T) {
	s := newSetup()
	client := &smallWrites{fakeClient: newDisk().client(), most: 1 << 20}
	l := s.open(t, client)
	count(t, l, 1, "a")
	client.most = 200
	names := make([]string, 20)
	for i := range names {
		names[i] = fmt.Sprintf("a long name, number %d", i)
	}
	_, err := send(t.Context(), l, 2, names...)
	require.ErrorIs(t, err, errFull)
	for n := range 10 {
		_, err := send(t.Context(), l, 3+n, "a")
		require.ErrorIs(t, err, errFull)
	}
	assert.Equal(t, int64(1), total(l))
	client.most = 1 << 20
	repeat(t, l, 2)
	assert.Equal(t, int64(21), total(l))
}

// smallWrites takes writes of few bytes only.
type smallWrites struct {
	*fakeClient
	most int
}

func (c *smallWrites) Batch(ctx context.Context, ops ...*storage.Operation) error {
	size := 0
	for _, op := range ops {
		size += len(op.Value)
	}
	if size > c.most {
		return errFull
	}
	return c.fakeClient.Batch(ctx, ops...)
}

// Reports that are committed while a write is under way share the next.
func TestCommitsShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSetup(), newDisk()
		client := d.client()
		l := s.open(t, client)
		gate := make(chan struct{})
		client.before = func([]*storage.Operation) { <-gate }
		before := client.wrote()
		var sending sync.WaitGroup
		for n := range 100 {
			sending.Go(func() { count(t, l, n, "a") })
			synctest.Wait()
		}
		close(gate)
		sending.Wait()
		assert.Equal(t, before+2, client.wrote())
		client.kill()
		assert.Equal(t, int64(100), total(s.open(t, d.client())))
		_ = l.Close(t.Context())
	})
}

// A store that hangs holds nobody who does not want to wait, and what hung is committed in the end.
func TestAStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSetup(), newDisk()
		var health []error
		s.Health = func(err error) { health = append(health, err) }
		client := d.client()
		l := s.open(t, client)
		count(t, l, 1, "a")
		gate := make(chan struct{})
		client.before = func([]*storage.Operation) { <-gate }

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := send(ctx, l, 2, "a")
		require.ErrorIs(t, err, ErrStore)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(stallTimeout)
		synctest.Wait()
		require.Len(t, health, 1, "it is known to fail")
		began := time.Now()
		_, err = send(t.Context(), l, 3, "a")
		require.ErrorIs(t, err, errStalled)
		assert.Equal(t, s.WaitTimeout, time.Since(began))
		c, err := l.Collect(t.Context())
		require.NoError(t, err, "totals go on")
		assert.Equal(t, []int64{0}, values(c))

		queued := make(chan error)
		go func() { queued <- l.SetValue(t.Context(), "name", nil) }()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, l.Close(ctx), context.DeadlineExceeded)
		_, err = send(t.Context(), l, 4, "a")
		require.ErrorIs(t, err, ErrStore)
		close(gate)
		require.NoError(t, <-queued, "what waits when it is closed is written")
		synctest.Wait()
		require.NoError(t, l.Close(t.Context()))
		assert.Equal(t, int64(2), total(s.open(t, d.client())))
	})
}

// Close comes after all writes, whatever is under way.
func TestCloseBesideCommits(t *testing.T) {
	rounds := 300
	if *exhaustive {
		rounds = 10_000
	}
	for range rounds {
		s, d := newSetup(), newDisk()
		l := s.open(t, d.client())
		var sending sync.WaitGroup
		acknowledged := make([]bool, 4)
		for i := range acknowledged {
			sending.Go(func() {
				_, err := send(t.Context(), l, i, "a")
				acknowledged[i] = err == nil
				assert.True(t, err == nil || errors.Is(err, errClosed), err)
			})
		}
		sending.Go(func() { assert.NoError(t, l.Close(t.Context())) })
		sending.Wait()
		want := int64(0)
		for _, yes := range acknowledged {
			if yes {
				want++
			}
		}
		require.Equal(t, want, total(s.open(t, d.client())))
	}
}

// A run that finds itself replaced stops committing, and what it wrote meanwhile does no harm.
func TestTwoRunsOnOneStore(t *testing.T) {
	s, d := newSetup(), newDisk()
	var health error
	s.Health = func(err error) { health = err }
	first := s.open(t, d.client())
	count(t, first, 1, "a")
	second := s.open(t, d.client())
	count(t, second, 2, "a")
	for n := range 3 {
		_, err := send(t.Context(), first, 3+n, "a")
		require.ErrorIs(t, err, ErrReplaced)
	}
	require.ErrorIs(t, health, ErrReplaced)
	repeat(t, first, 1)
	_, err := first.Collect(t.Context())
	require.ErrorIs(t, err, ErrReplaced, "its totals are not true any more")
	count(t, second, 3, "a")
	_ = first.Close(t.Context())
	require.NoError(t, second.Close(t.Context()))
	third := s.open(t, d.client())
	assert.Equal(t, map[string]int64{"a": 3}, totals(third, "failures"))
}

// Of runs that claim a store at the same time one gets it, with all that is there; one that is killed before it has copied
// that does no harm.
func TestRunsThatStartAtTheSameTime(t *testing.T) {
	s, d := newSetup(), newDisk()
	l := s.open(t, d.client())
	count(t, l, 1, "a")
	dying := d.client()
	dying.set(func(c *fakeClient) { c.crashIn = 2 })
	_, err := Open(t.Context(), dying, s.Options)
	require.ErrorIs(t, err, errDead)

	acknowledged := map[string]int64{"a": 1}
	for round := range 100 {
		var starting sync.WaitGroup
		opened := make([]*Ledger, 3)
		for i := range opened {
			starting.Go(func() { opened[i], _ = Open(t.Context(), d.client(), s.Options) })
		}
		starting.Wait()
		for i, l := range opened {
			if l == nil {
				continue
			}
			if _, err := send(t.Context(), l, 2+3*round+i, "b"); err == nil {
				acknowledged["b"]++
			}
			_ = l.Close(t.Context())
		}
	}
	assert.Equal(t, acknowledged, totals(s.open(t, d.client()), "failures"))
	assert.Positive(t, acknowledged["b"])
}

func TestAStoreThatCannotBeUsedIsLeftAlone(t *testing.T) {
	s := newSetup()
	for name, tc := range map[string]struct {
		spoil   func(d *disk)
		message string
	}{
		"another release": {func(d *disk) {
			d.set(ownerKey, string(withChecksum([]byte(`{"format":"smtp_failure ledger","version":2}`))))
		}, "another release (version 2, this one reads 1)"},
		"something else": {func(d *disk) { d.set(ownerKey, "hello") }, "no ledger of this receiver"},
		"other keys":     {func(d *disk) { d.delete(ownerKey) }, "data of something else"},
		"a bit of a record": {func(d *disk) {
			for key, value := range d.snapshot() {
				if strings.HasSuffix(key, "/00000000") {
					d.set(key, value[:len(value)-1]+string(value[len(value)-1]^1))
				}
			}
		}, "is corrupt: the checksum is wrong"},
		"a record": {func(d *disk) {
			for key := range d.snapshot() {
				if strings.HasSuffix(key, "/00000000") {
					d.delete(key)
				}
			}
		}, "is corrupt: it is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			l := s.open(t, d.client())
			count(t, l, 1, "a")
			require.NoError(t, l.Close(t.Context()))
			tc.spoil(d)
			_, err := Open(t.Context(), walkingClient{d.client()}, s.Options)
			require.ErrorContains(t, err, tc.message)
			require.ErrorContains(t, err, "move it away to begin with an empty one")
		})
	}
	client := newDisk().client()
	client.readOnly = true
	_, err := Open(t.Context(), client, s.Options)
	require.ErrorIs(t, err, errReadOnly)
}

func FuzzRecord(f *testing.F) {
	s, d := newSetup(), newDisk()
	l := s.open(f, d.client())
	require.NoError(f, l.SetValue(f.Context(), "name", []byte("value")))
	count(f, l, 1, "a", "b")
	flush(f, l)
	require.NoError(f, l.Close(f.Context()))
	s.open(f, d.client())
	for _, value := range d.snapshot() {
		content, err := withoutChecksum([]byte(value))
		require.NoError(f, err)
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := decodeRecord(content)
		if err != nil {
			return
		}
		again, err := decodeRecord(r.encode())
		require.NoError(t, err)
		require.Equal(t, r, again)
		newSetup().inMemory().apply(r)
	})
}
