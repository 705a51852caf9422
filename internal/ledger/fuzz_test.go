package ledger

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

// FuzzOpen opens a store in which one value of each kind is anything. Either the ledger says that it cannot use the store and leaves it as it is,
// or it is open, and what it holds is there again after the next start.
func FuzzOpen(f *testing.F) {
	first := counter.Record[kind]{Key: kind{"a"}, Start: began, Value: 3, Counted: began, Zeroed: began, ZeroTaken: true, Taken: 2}
	sums := counter.New[kind](counter.Options{Limit: 1}, began)
	change := sums.Stage()
	change.Add([]kind{{"b"}, {"c"}, {"c"}}, began)
	record := appendReports(appendHead(nil, counter.Cumulative, began), []*pending[kind]{{id: id(2), outcome: Refused, at: began}}, began)
	record = appendCounts(record, 0, change.Updates(), began, encode)
	for _, m := range []string{
		`{"format":"smtp_failure ledger","version":2,"instance":"a","random":"eA==","next":1,"journal":1,"folded":1,"metrics":["failures"],"slots":{"failures":0}}`,
		`{"format":"smtp_failure ledger","version":2,"next":2,"journal":1,"folded":1,"metrics":["by_tag"],"slots":{"failures":1,"by_tag":0}}`,
		`{"format":"smtp_failure ledger","version":1,"instance":"a","random":"eA==","first":0,"next":1,"slots":{"failures":1},"times":{"failures":{"collected":"2026-11-21T10:00:00Z","taken":"2026-11-21T10:00:00Z"}}}`,
		`{"format":"smtp_failure ledger","version":1,"next":3,"slots":{"failures":2}}`,
		`{"format":"smtp_failure ledger","version":1,"next":1,"slots":{"failures":1,"by_tag":7}}`,
	} {
		f.Add([]byte(m), legacySeen(pending[kind]{id: id(1), outcome: Accepted, at: began}), appendSeries(nil, kept(&first, encode, counter.Cumulative)), record)
	}
	f.Fuzz(func(t *testing.T, meta, seen, series, record []byte) {
		// What may be read at once is bounded by what was written before, which the number in the meta record is trusted for.
		var sizes struct {
			First   uint64         `json:"first"`
			Next    uint64         `json:"next"`
			Journal uint64         `json:"journal"`
			Folded  uint64         `json:"folded"`
			Slots   map[string]int `json:"slots"`
		}
		if err := json.Unmarshal(meta, &sizes); err == nil {
			for _, slots := range sizes.Slots {
				if slots > 1000 {
					return
				}
			}
			if sizes.Next-sizes.First > 1000 {
				return
			}
		}
		disk := newDisk()
		disk.data[metaKey] = string(seal(bytes.Clone(meta)))
		disk.data[numbered(seenPrefix, sizes.First, 16)] = string(seal(bytes.Clone(seen)))
		disk.data[numbered(journalPrefix, max(sizes.Folded, sizes.Journal), 16)] = string(seal(bytes.Clone(record)))
		disk.data["sum/failures/00000000"] = string(seal(bytes.Clone(series)))
		before := disk.snapshot()

		s := newSetup()
		l, err := Open(t.Context(), disk.client(), s.options())
		if err != nil {
			require.ErrorIs(t, err, ErrStore)
			require.ErrorIs(t, err, errLeftAlone)
			require.Equal(t, before, disk.snapshot())
			return
		}
		s.count(t, l, 1<<40, "new")
		counted, remembered := totals(l, 0), l.Remembered()
		flush(t, l)
		require.NoError(t, l.Close(t.Context()))

		again := s.open(t, disk.client())
		require.Equal(t, counted, totals(again, 0))
		require.Equal(t, remembered, again.Remembered())
		require.Equal(t, l.Instance(), again.Instance())
		require.Equal(t, l.Secret(), again.Secret())
	})
}
