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
		got, err := readKept(appendSeries(bytes.Clone(prefix), kept(&want, encode, counter.Cumulative))[len(prefix):])
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// readKept reads a series.
func readKept(b []byte) (counter.Record[kind], error) {
	s, err := readSeries(b)
	if err != nil {
		return counter.Record[kind]{}, err
	}
	return restored(&s, decode)
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
	f.Add(legacySeen(pending[kind]{id: id(1), outcome: Accepted, at: began}, pending[kind]{id: id(2), outcome: Refused, at: began}))
	f.Add(make([]byte, seenSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		var reports []pending[kind]
		err := readSeen(b, func(id ID, outcome Outcome, at time.Time) {
			reports = append(reports, pending[kind]{id: id, outcome: outcome, at: at})
		})
		if err != nil {
			return
		}
		require.True(t, bytes.Equal(b, legacySeen(reports...)))
		for _, p := range reports {
			require.Contains(t, []Outcome{Accepted, Refused}, p.outcome, "there is no other")
		}
	})
}

// events is what a record of the journal holds.
type events struct {
	reports []pending[kind]
	counts  []count
}

func readEvents(b []byte) (e events, err error) {
	err = readRecord(b, func(id ID, outcome Outcome, at time.Time) {
		e.reports = append(e.reports, pending[kind]{id: id, outcome: outcome, at: at})
	}, func(c count) error {
		e.counts = append(e.counts, c)
		return nil
	})
	return e, err
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for seed := range 500 {
		temporality := counter.Temporality(r.IntN(2))
		base := time.Unix(0, 1+r.Int64N(math.MaxInt64-1))
		b := appendHead(nil, temporality, base)
		var want events
		var group []*pending[kind]
		for range r.IntN(20) {
			p := &pending[kind]{id: id(r.Int()), outcome: Outcome(1 + r.IntN(2)), at: randomTime(r)}
			group, want.reports = append(group, p), append(want.reports, *p)
		}
		b = appendReports(b, group, base)
		for m := range r.IntN(4) {
			sums := counter.New[kind](counter.Options{Temporality: temporality, Limit: 5}, randomTime(r))
			change := sums.Stage()
			for range r.IntN(3) {
				for range r.IntN(10) {
					change.Add([]kind{{string(randomBytes(r, 2))}}, randomTime(r))
				}
				b = appendCounts(b, m, change.Updates(), base, encode)
				for _, u := range change.Updates() {
					c := count{metric: uint64(m), slot: uint64(u.Slot()), add: u.Add, counted: u.Counted, made: u.Made, flags: temporalityFlag(temporality)}
					if u.Made {
						key, overflow, start := u.Series()
						if overflow {
							c.flags |= flagOverflow
						}
						c.start, c.key = start, encode(key)
					}
					if !c.start.IsZero() {
						c.start = time.Unix(0, c.start.UnixNano())
					}
					want.counts = append(want.counts, c)
				}
				change.Apply()
			}
		}
		got, err := readEvents(b)
		require.NoError(t, err)
		require.Equal(t, want, got, seed)
	}
}

func TestARecordThatIsCutOffIsNoticed(t *testing.T) {
	sums := counter.New[kind](counter.Options{Limit: 1}, began)
	change := sums.Stage()
	change.Add([]kind{{"a"}, {"b"}, {"b"}}, began.Add(time.Minute))
	b := appendReports(appendHead(nil, counter.Delta, began), []*pending[kind]{{id: id(1), outcome: Refused, at: began.Add(time.Second)}}, began)
	whole := len(b)
	b = appendCounts(b, 0, change.Updates(), began, encode)
	_, err := readEvents(b)
	require.NoError(t, err)
	for n := range b {
		_, err := readEvents(b[:n])
		if n == whole {
			require.NoError(t, err, "it counts nothing")
			continue
		}
		require.ErrorIs(t, err, errLength, "%d of %d bytes", n, len(b))
	}
}

// FuzzReadRecord reads what is said to be a record of the journal, whole or not at all.
func FuzzReadRecord(f *testing.F) {
	sums := counter.New[kind](counter.Options{Limit: 1}, began)
	change := sums.Stage()
	change.Add([]kind{{"a"}, {"b"}, {"b"}}, began.Add(time.Minute))
	b := appendReports(appendHead(nil, counter.Delta, began), []*pending[kind]{{id: id(1), outcome: Refused, at: began.Add(time.Second)}}, began)
	f.Add(b)
	f.Add(appendCounts(bytes.Clone(b), 1, change.Updates(), began, encode))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := readEvents(b)
		if err != nil {
			require.Contains(t, []error{errLength, errOutcome}, err)
			return
		}
		for _, p := range e.reports {
			require.Contains(t, []Outcome{Accepted, Refused}, p.outcome, "there is no other")
		}
		for _, c := range e.counts {
			require.GreaterOrEqual(t, c.add, int64(0), "nothing is taken away")
		}
		require.LessOrEqual(t, len(e.reports)*(len(ID{})+2)+len(e.counts)*3, len(b), "nothing comes out that is not there")
	})
}

func FuzzReadSeries(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendSeries(nil, kept(&counter.Record[kind]{Key: kind{"a"}, Start: began, Value: 1, Counted: began}, encode, counter.Cumulative)))
	f.Add(append(make([]byte, seriesSize), '!'))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readKept(b)
		if err != nil {
			return
		}
		again, err := readKept(appendSeries(nil, kept(&r, encode, counter.Cumulative)))
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

func FuzzReadMeta(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("null"))
	f.Add([]byte(`{"format":"smtp_failure ledger","version":1,"instance":"a","temporality":1,"first":1,"next":3,"slots":{"failures":2}}`))
	f.Add([]byte(`{"format":"smtp_failure ledger","version":1,"slots":{"failures":-2}}`))
	f.Add([]byte(`{"format":"smtp_failure ledger","version":2,"first":1,"next":5,"journal":2,"folded":3,"metrics":["failures"],"slots":{"failures":2}}`))
	f.Add([]byte(`{"format":"smtp_failure ledger","version":3,"slots":[]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := readMeta(seal(bytes.Clone(content)))
		if err != nil {
			require.ErrorIs(t, err, ErrStore)
			require.ErrorIs(t, err, errLeftAlone)
			return
		}
		require.Equal(t, format, m.Format)
		require.Equal(t, version, m.Version)
		require.LessOrEqual(t, max(m.First, m.Journal), m.Folded)
		require.LessOrEqual(t, m.Folded, m.Next)
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
