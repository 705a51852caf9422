package ledger

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

func randomTime(r *rand.Rand) time.Time {
	if r.IntN(4) == 0 {
		return time.Time{}
	}
	return time.Unix(0, 1+r.Int64N(math.MaxInt64-1))
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, r.IntN(n+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestASeriesIsReadAsItWasWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		want := counter.Record[kind]{
			Key: kind{"k" + string(randomBytes(r, 40))}, Overflow: r.IntN(2) == 0, ZeroTaken: r.IntN(2) == 0,
			Value: r.Int64(), Taken: r.Int64(), Start: randomTime(r), Counted: randomTime(r), Zeroed: randomTime(r),
		}
		prefix := randomBytes(r, 5)
		got, err := readRecord(appendRecord(bytes.Clone(prefix), &want, encode, counter.Cumulative)[len(prefix):], decode)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestReportsAreReadAsTheyWereWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var want []pending[kind]
		var group []*pending[kind]
		for range r.IntN(20) {
			p := &pending[kind]{id: id(r.Int()), outcome: Outcome(1 + r.IntN(2)), at: randomTime(r)}
			group, want = append(group, p), append(want, *p)
		}
		var got []pending[kind]
		require.NoError(t, readSeen(appendSeen(nil, group), func(id ID, outcome Outcome, at time.Time) {
			got = append(got, pending[kind]{id: id, outcome: outcome, at: at})
		}))
		require.Equal(t, want, got)
	}
}

func TestTimesKeepTheirNanoseconds(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 1), began, began.Add(1), time.Unix(0, math.MaxInt64)} {
		got := readTime(appendTime(nil, at))
		assert.True(t, at.Equal(got), "%s is read as %s", at, got)
		assert.Equal(t, at.IsZero(), got.IsZero())
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	for _, content := range []string{"", "a", "some content that is a little longer"} {
		sealed := seal([]byte(content))
		got, err := unseal(sealed)
		require.NoError(t, err)
		assert.Equal(t, content, string(got))
		assert.NotNil(t, got)
		for bit := range 8 * len(sealed) {
			spoiled := bytes.Clone(sealed)
			spoiled[bit/8] ^= 1 << (bit % 8)
			_, err := unseal(spoiled)
			require.ErrorIs(t, err, errChecksum, "%q, bit %d", content, bit)
		}
		for n := range sealed {
			_, err := unseal(sealed[:n])
			require.ErrorIs(t, err, errChecksum)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0})
	f.Add(seal([]byte("content")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if content, err := unseal(bytes.Clone(b)); err == nil {
			require.Equal(t, b, seal(bytes.Clone(content)))
		}
		content, err := unseal(seal(bytes.Clone(b)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, content))
	})
}

func FuzzReadSeen(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendSeen(nil, []*pending[kind]{{id: id(1), outcome: Accepted, at: began}, {id: id(2), outcome: Refused, at: began}}))
	f.Add(make([]byte, seenSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		var group []*pending[kind]
		err := readSeen(b, func(id ID, outcome Outcome, at time.Time) {
			group = append(group, &pending[kind]{id: id, outcome: outcome, at: at})
		})
		if err != nil {
			return
		}
		require.True(t, bytes.Equal(b, appendSeen(nil, group)))
		for _, p := range group {
			require.Contains(t, []Outcome{Accepted, Refused}, p.outcome, "there is no other")
		}
	})
}

func FuzzReadRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendRecord(nil, &counter.Record[kind]{Key: kind{"a"}, Start: began, Value: 1, Counted: began}, encode, counter.Cumulative))
	f.Add(append(make([]byte, recordSize), '!'))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readRecord(b, decode)
		if err != nil {
			return
		}
		again, err := readRecord(appendRecord(nil, &r, encode, counter.Cumulative), decode)
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

func FuzzReadMeta(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("null"))
	f.Add([]byte(`{"format":"smtp_failure ledger","version":1,"instance":"a","temporality":1,"first":1,"next":3,"slots":{"failures":2}}`))
	f.Add([]byte(`{"format":"smtp_failure ledger","version":1,"slots":{"failures":-2}}`))
	f.Add([]byte(`{"format":"smtp_failure ledger","version":2,"slots":[]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := readMeta(seal(bytes.Clone(content)))
		if err != nil {
			require.ErrorIs(t, err, ErrStore)
			require.ErrorIs(t, err, errLeftAlone)
			return
		}
		require.Equal(t, format, m.Format)
		require.Equal(t, version, m.Version)
		require.LessOrEqual(t, m.First, m.Next)
		for name, slots := range m.Slots {
			require.GreaterOrEqual(t, slots, 0, name)
		}
		again, err := json.Marshal(m)
		require.NoError(t, err)
		got, err := readMeta(seal(again))
		require.NoError(t, err)
		require.Equal(t, m, got)
	})
}
