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
)

// A store does not grow with the number of writes and starts.
func TestKillLosesNothing(t *testing.T) {
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
		client.kill()
		if start < 10 {
			most = max(most, len(d.snapshot()))
		}
		assert.LessOrEqual(t, len(d.snapshot()), most+10, "after %d starts", start)
	}
	l := s.open(t, d.client())
	assert.Equal(t, KindStats{Remembered: 100}, l.Stats().Kinds[kind])
	all := totals(l, "failures")
	assert.Len(t, all, 40)
	for attributes, value := range all {
		assert.Equal(t, int64(125), value, attributes)
	}
}

// What a failed checkpoint has left is not read after a smaller one.
func TestCheckpointShrinks(t *testing.T) {
	s, d := newSetup(), newDisk()
	s.limits.chunk = 1
	client := d.client()
	l := s.open(t, client)
	for n := range 10 {
		count(t, l, n, "a")
	}
	client.setFault(fault{every: 1, applied: true})
	l.mu.Lock()
	l.checkpointDue = true
	l.mu.Unlock()
	_, err := send(t.Context(), l, 10, "a")
	require.ErrorIs(t, err, errFault)
	client.setFault(fault{})
	s.move(s.TTL)
	require.Zero(t, l.Stats().Kinds[kind].Remembered)
	count(t, l, 11, "a")
	count(t, l, 12, "a")
	client.kill()
	l = s.open(t, d.client())
	assert.Equal(t, 3, l.Stats().Kinds[kind].Remembered)
	assert.Equal(t, map[string]int64{"a": 13}, totals(l, "failures"))
}

func TestDisabledMetricKeepsItsTotals(t *testing.T) {
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

// A report whose write failed is committed by the next write that works. Until then nothing new
// begins, though a disk that is nearly full would take small writes, and totals are sent.
func TestFailedWrite(t *testing.T) {
	for _, f := range []fault{{every: 1}, {every: 1, applied: true}, {every: 1, larger: 500}} {
		t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
			s, d := newSetup(), newDisk()
			var health []error
			s.Health = func(err error) { health = append(health, err) }
			client := d.client()
			l := s.open(t, client)
			count(t, l, 1, "old")
			flush(t, l)
			count(t, l, 2, "new")

			client.setFault(f)
			large := strings.Repeat("large", 100)
			_, err := send(t.Context(), l, 3, large)
			require.ErrorIs(t, err, ErrStore)
			for n := range 5 {
				_, err := send(t.Context(), l, 3+n, "a")
				require.ErrorIs(t, err, errFault)
			}
			repeat(t, l, 1)
			c := collect(t, l)
			require.ErrorIs(t, l.Acknowledge(t.Context(), c.Number), ErrStore)
			assert.Equal(t, []int64{1, 0}, values(c))
			assert.Equal(t, []int64{1, 1}, values(collect(t, l)))
			require.Len(t, health, 1)
			require.ErrorIs(t, health[0], errFault)

			client.setFault(fault{})
			count(t, l, 4, "a")
			repeat(t, l, 3)
			want := map[string]int64{"old": 1, "new": 1, large: 1, "a": 1}
			assert.Equal(t, want, totals(l, "failures"))
			assert.Equal(t, []error{health[0], nil}, health)
			client.kill()
			l = s.open(t, d.client())
			assert.Equal(t, want, totals(l, "failures"))
			assert.Equal(t, []int64{1, 1, 0, 0}, values(collect(t, l)), "the zero acknowledged meanwhile is known")
		})
	}
}

func TestCommitsShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSetup(), newDisk()
		client := d.client()
		l := s.open(t, client)
		gate := make(chan struct{})
		client.before = func() { <-gate }
		client.setFault(fault{})
		var sending sync.WaitGroup
		for n := range 100 {
			sending.Go(func() { count(t, l, n, "a") })
			synctest.Wait()
		}
		close(gate)
		sending.Wait()
		assert.Equal(t, 2, client.writes)
		client.kill()
		assert.Equal(t, map[string]int64{"a": 100}, totals(s.open(t, d.client()), "failures"))
		_ = l.Close(t.Context())
	})
}

func TestStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSetup(), newDisk()
		var health []error
		s.Health = func(err error) { health = append(health, err) }
		client := d.client()
		l := s.open(t, client)
		count(t, l, 1, "a")
		gate := make(chan struct{})
		client.before = func() { <-gate }

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := send(ctx, l, 2, "a")
		require.ErrorIs(t, err, ErrStore)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(stallTimeout)
		synctest.Wait()
		require.Equal(t, []error{errStalled}, health)
		start := time.Now()
		_, err = send(t.Context(), l, 3, "a")
		require.ErrorIs(t, err, errStalled)
		assert.Equal(t, s.WaitTimeout, time.Since(start))
		assert.Equal(t, []int64{0}, values(collect(t, l)))

		queued := make(chan error)
		go func() { queued <- l.SetValue(t.Context(), "name", nil) }()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, l.Close(ctx), context.DeadlineExceeded)
		_, err = send(t.Context(), l, 4, "a")
		require.ErrorIs(t, err, ErrStore)
		close(gate)
		require.NoError(t, <-queued, "Close writes what is queued")
		synctest.Wait()
		require.NoError(t, l.Close(t.Context()))
		assert.Equal(t, map[string]int64{"a": 2}, totals(s.open(t, d.client()), "failures"))
	})
}

func TestCloseDuringCommits(t *testing.T) {
	rounds := 300
	if *exhaustive {
		rounds = 10_000
	}
	for range rounds {
		s, d := newSetup(), newDisk()
		l := s.open(t, d.client())
		var sending sync.WaitGroup
		var acknowledged [4]int64
		for i := range acknowledged {
			sending.Go(func() {
				_, err := send(t.Context(), l, i, "a")
				if err == nil {
					acknowledged[i] = 1
				}
				assert.True(t, err == nil || errors.Is(err, errClosed), err)
			})
		}
		sending.Go(func() { assert.NoError(t, l.Close(t.Context())) })
		sending.Wait()
		want := acknowledged[0] + acknowledged[1] + acknowledged[2] + acknowledged[3]
		require.Equal(t, want, totals(s.open(t, d.client()), "failures")["a"])
	}
}

// A run that was replaced stops committing, and what it wrote meanwhile is not read.
func TestReplacedRun(t *testing.T) {
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
	require.ErrorIs(t, err, ErrReplaced)
	count(t, second, 3, "a")
	_ = first.Close(t.Context())
	require.NoError(t, second.Close(t.Context()))
	assert.Equal(t, map[string]int64{"a": 3}, totals(s.open(t, d.client()), "failures"))
}

// Of runs that claim a store at the same time one gets it, with all that is there. One that dies
// before it has a copy does no harm.
func TestConcurrentClaims(t *testing.T) {
	s, d := newSetup(), newDisk()
	count(t, s.open(t, d.client()), 1, "a")
	dying := d.client()
	dying.setFault(fault{every: 2, crash: true})
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

func TestUnusableStoreIsLeftAlone(t *testing.T) {
	s := newSetup()
	otherVersion := string(withChecksum([]byte(`{"format":"smtp_failure ledger","version":2}`)))
	for name, tc := range map[string]struct {
		key     string // the end of the key of what is changed
		change  func(value string) string
		message string
	}{
		"other version":  {ownerKey, func(string) string { return otherVersion }, "another release (version 2, this one reads 1)"},
		"something else": {ownerKey, func(string) string { return "hello" }, "no ledger of this receiver"},
		"no owner":       {ownerKey, nil, "data of something else"},
		"bit of a record": {"/00000000", func(value string) string {
			last := len(value) - 1
			return value[:last] + string(value[last]^1)
		}, "is corrupt: the checksum is wrong"},
		"something else with a checksum": {"/00000000", func(string) string {
			return string(withChecksum([]byte("hello")))
		}, "is corrupt: it is no record"},
		"no record": {"/00000000", nil, "is corrupt: it is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			l := s.open(t, d.client())
			count(t, l, 1, "a")
			require.NoError(t, l.Close(t.Context()))
			for key, value := range d.snapshot() {
				if !strings.HasSuffix(key, tc.key) {
					continue
				}
				delete(d.data, key)
				if tc.change != nil {
					d.data[key] = tc.change(value)
				}
			}
			_, err := Open(t.Context(), d.client(), s.Options)
			require.ErrorContains(t, err, tc.message)
			require.ErrorContains(t, err, "move it away to begin with an empty one")
		})
	}
	client := newDisk().client()
	client.setFault(fault{every: 1})
	_, err := Open(t.Context(), client, s.Options)
	require.ErrorIs(t, err, errFault)
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
