package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

// Open returns the ledger that a storage client holds, empty when it holds nothing. The client is the ledger's from then on, but an error
// leaves it, and what it holds, to the caller.
func Open[K counter.Key[K]](ctx context.Context, client storage.Client, options Options[K]) (*Ledger[K], error) {
	return openBounded(ctx, client, options, usual)
}

func openBounded[K counter.Key[K]](ctx context.Context, client storage.Client, options Options[K], bounds bounds) (*Ledger[K], error) {
	l := New(options)
	s := &store[K]{
		ledger: l, client: client, bounds: bounds, lock: make(chan struct{}, 1),
		dirty: make([]marks, len(options.Metrics)), unkept: make(map[place]bool),
	}
	for _, metric := range options.Metrics {
		s.changes = append(s.changes, metric.Sums.Stage())
	}
	folded, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	l.store = s
	// The journal is folded, and a store that cannot be written to is better known now than with the first report.
	if err := s.write(ctx, 0, nil, true, folded...); err != nil {
		return nil, err
	}
	return l, nil
}

// load reads what the store holds. It returns the operations that fold the journal into the series, those of metrics that are disabled among them, as
// the run that wrote it would have done.
func (s *store[K]) load(ctx context.Context) (folded []*storage.Operation, err error) {
	sealed, err := s.client.Get(ctx, metaKey)
	if err != nil {
		return nil, fmt.Errorf("%w: reading: %w", ErrStore, err)
	}
	if sealed == nil {
		s.meta = meta{
			Format: format, Version: version, Slots: make(map[string]int), Times: make(map[string]times),
			Instance: s.ledger.options.Instance, Random: s.ledger.options.Secret,
		}
		s.instance, s.secret = s.meta.Instance, s.meta.Random
		return nil, s.expectEmpty(ctx)
	}
	if s.meta, err = readMeta(sealed); err != nil {
		return nil, err
	}
	s.instance, s.secret = s.meta.Instance, s.meta.Random
	found := make(map[string]*loaded)
	for _, metric := range s.ledger.options.Metrics {
		if _, err := s.loadSeries(ctx, found, metric.Name); err != nil {
			return nil, err
		}
	}
	if err := s.loadJournal(ctx, found); err != nil {
		return nil, err
	}
	// What does not fit any more was counted as forgotten when it was.
	s.ledger.evicted = 0
	for name, one := range found {
		s.meta.Slots[name] = one.slots
		for _, slot := range one.counted.slots {
			folded = append(folded, storage.SetOperation(sumKey(name, slot), seal(appendSeries(nil, one.series[slot]))))
		}
	}
	for _, metric := range s.ledger.options.Metrics {
		if err := s.restore(metric, found[metric.Name]); err != nil {
			return nil, err
		}
	}
	return folded, nil
}

// errLeftAlone ends the errors of a store that is there but cannot be used.
var errLeftAlone = errors.New("it was left as it is; move it away to begin with an empty one")

func corrupt(key string, err error) error {
	return fmt.Errorf("%w: %s is corrupt: %w; %w", ErrStore, key, err, errLeftAlone)
}

func readMeta(sealed []byte) (meta, error) {
	var (
		m meta
		// head is what every version has.
		head struct {
			Format  string `json:"format"`
			Version int    `json:"version"`
		}
	)
	content, err := unseal(sealed)
	if err == nil {
		err = json.Unmarshal(content, &head)
	}
	switch {
	case err != nil || head.Format != format:
		return m, fmt.Errorf("%w: it holds no ledger of this receiver, or a corrupt one; %w", ErrStore, errLeftAlone)
	case head.Version > version:
		return m, fmt.Errorf("%w: it was written by a newer release (version %d, this one reads %d); %w", ErrStore, head.Version, version, errLeftAlone)
	case head.Version < 1:
		return m, fmt.Errorf("%w: it was written by version %d, which this release cannot read; %w", ErrStore, head.Version, errLeftAlone)
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return m, corrupt(metaKey, err)
	}
	if m.Version == 1 {
		// It has all counts in its series.
		m.Version, m.Journal, m.Folded = version, m.Next, m.Next
	}
	if m.First > m.Folded || m.Journal > m.Folded || m.Folded > m.Next || m.Next > 1<<62 || m.Slots == nil {
		return m, corrupt(metaKey, fmt.Errorf("first %d, next %d, journal %d, folded %d", m.First, m.Next, m.Journal, m.Folded))
	}
	for name, slots := range m.Slots {
		if slots < 0 {
			return m, corrupt(metaKey, fmt.Errorf("%d slots of %s", slots, name))
		}
	}
	if m.Times == nil {
		m.Times = make(map[string]times)
	}
	return m, nil
}

// expectEmpty refuses a store that holds something but no ledger, where the extension can tell.
func (s *store[K]) expectEmpty(ctx context.Context) error {
	walker, ok := s.client.(storage.Walker)
	if !ok {
		return nil
	}
	errForeign := fmt.Errorf("%w: it holds data of something else; %w", ErrStore, errLeftAlone)
	return walker.Walk(ctx, func(string, []byte) ([]*storage.Operation, error) { return nil, errForeign })
}

// loaded is a metric as the store holds it.
type loaded struct {
	// slots is the number of slots, series are those that hold one.
	slots  int
	series map[int]*series
	// counted are those that the journal has changed.
	counted marks
}

// count adds what a record of the journal says.
func (l *loaded) count(c *count) error {
	if c.slot > uint64(l.slots) || !c.made && c.slot == uint64(l.slots) {
		return fmt.Errorf("there is no slot %d among %d", c.slot, l.slots)
	}
	slot := int(c.slot)
	one := l.series[slot]
	switch {
	case c.made && one != nil:
		return fmt.Errorf("slot %d is not free", slot)
	case c.made:
		one = &series{flags: c.flags, start: c.start, key: c.key}
		l.series[slot] = one
		l.slots = max(l.slots, slot+1)
	case one == nil:
		return fmt.Errorf("slot %d holds no series", slot)
	}
	one.count(c)
	l.counted.mark(slot)
	return nil
}

// loadSeries reads the series of a metric, unless it was read before.
func (s *store[K]) loadSeries(ctx context.Context, all map[string]*loaded, name string) (*loaded, error) {
	if one := all[name]; one != nil {
		return one, nil
	}
	one := &loaded{slots: s.meta.Slots[name], series: make(map[int]*series)}
	key := func(slot uint64) string { return sumKey(name, int(slot)) }
	err := s.read(ctx, key, 0, uint64(one.slots), func(slot uint64, content []byte) error {
		if content == nil {
			return nil
		}
		found, err := readSeries(content)
		one.series[int(slot)] = &found
		return err
	})
	all[name] = one
	return one, err
}

// loadJournal remembers the reports, and counts what is not in the series yet.
func (s *store[K]) loadJournal(ctx context.Context, all map[string]*loaded) error {
	l := s.ledger
	count := func(c count) error {
		if c.metric >= uint64(len(s.meta.Metrics)) {
			return errMetric
		}
		name := s.meta.Metrics[c.metric]
		one, err := s.loadSeries(ctx, all, name)
		if err != nil {
			return err
		}
		if err := one.count(&c); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	known, first := s.meta.Next, s.meta.First
	if !l.options.Deduplicate {
		first = s.meta.Folded
	}
	ended := false
	each := func(number uint64, content []byte) error {
		switch {
		case content == nil && number < known:
			return errMissing
		case content == nil:
			ended = true
			return nil
		case ended:
			return errGap
		}
		s.meta.Next = max(s.meta.Next, number+1)
		remember := func(id ID, outcome Outcome, at time.Time) {
			if l.options.Deduplicate {
				l.expire(l.options.Now())
				l.remember(id, outcome, at, number)
			}
		}
		switch {
		case number < s.meta.Journal:
			return readSeen(content, remember)
		case number < s.meta.Folded:
			return readRecord(content, remember, ignore)
		}
		return readRecord(content, remember, count)
	}
	if err := s.read(ctx, s.recordKey, first, known, each); err != nil {
		return err
	}
	// Where the journal ends is only known from what is not there.
	for from := known; !ended; from += maxReads {
		if err := s.read(ctx, s.recordKey, from, from+maxReads, each); err != nil {
			return err
		}
	}
	return nil
}

// ignore is for what is in the series already.
func ignore(count) error { return nil }

var (
	errMissing = errors.New("missing")
	errGap     = errors.New("the record before it is missing")
)

// restore gives a metric the series that were found.
func (s *store[K]) restore(metric Metric[K], found *loaded) error {
	options := &s.ledger.options
	records := make(map[int]counter.Record[K], len(found.series))
	for slot, one := range found.series {
		// The run that goes on with deltas after totals takes what these were.
		if one.flags&flagDelta == 0 && options.Temporality == counter.Delta {
			one.take()
		}
		r, err := restored(one, options.Decode)
		if err != nil {
			return corrupt(sumKey(metric.Name, slot), err)
		}
		records[slot] = r
	}
	var inOrder iter.Seq2[int, counter.Record[K]] = func(yield func(int, counter.Record[K]) bool) {
		for slot := range found.slots {
			if r, ok := records[slot]; ok && !yield(slot, r) {
				return
			}
		}
	}
	if err := metric.Sums.Restore(found.slots, inOrder); err != nil {
		return corrupt(metric.Name, err)
	}
	if at, ok := s.meta.Times[metric.Name]; ok {
		metric.Sums.Resume(at.Collected, at.Taken)
	}
	return nil
}

// read hands over what is kept under the keys of the numbers from first on and before next; nil where there is nothing.
func (s *store[K]) read(ctx context.Context, key func(uint64) string, first, next uint64, each func(number uint64, content []byte) error) error {
	for first < next {
		until := min(first+maxReads, next)
		ops := make([]*storage.Operation, 0, until-first)
		for n := first; n < until; n++ {
			ops = append(ops, storage.GetOperation(key(n)))
		}
		if err := s.client.Batch(ctx, ops...); err != nil {
			return fmt.Errorf("%w: reading: %w", ErrStore, err)
		}
		for i, op := range ops {
			var content []byte
			var err error
			if op.Value != nil {
				content, err = unseal(op.Value)
			}
			if err == nil {
				err = each(first+uint64(i), content)
			}
			switch {
			case errors.Is(err, ErrStore):
				return err // of something else, which was read because of this
			case err != nil:
				return corrupt(op.Key, err)
			}
		}
		first = until
	}
	return nil
}
