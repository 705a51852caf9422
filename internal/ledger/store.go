package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

// What a store holds: under "meta" what there is besides; under "seen/N" the reports of the N-th write; under "sum/METRIC/N" the
// series in slot N of a metric. Values are absolute, never increments, so that writing one again changes nothing.
const (
	metaKey = "meta"
	// format and version are how a store is told from that of something else, or of another release.
	format  = "smtp_failure ledger"
	version = 1
)

const (
	// maxGroup is the number of reports that one write may commit.
	maxGroup = 512
	// maxDeletes is the number of records that one write may remove, and maxReads the number that one read fetches: a batch is held in memory whole.
	maxDeletes = 1000
	maxReads   = 1000
)

// meta is the record under metaKey.
type meta struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	// Instance is the instance id.
	Instance string `json:"instance"`
	// Random are random bytes that were made once, the secret of the receiver.
	Random []byte `json:"random"`
	// Records with reports are those from First on and before Next.
	First uint64 `json:"first"`
	Next  uint64 `json:"next"`
	// Slots says for each metric by name that its series are in slots below that. Metrics that are disabled keep theirs.
	Slots map[string]int `json:"slots"`
	// Times say for each metric by name until when it was reported.
	Times map[string]times `json:"times"`
}

// times are those of counter.Sums.Times.
type times struct {
	Collected time.Time `json:"collected"`
	Taken     time.Time `json:"taken"`
}

// place is where something is kept: the reports of a write, or a series.
type place struct {
	// metric is the index of a metric, or seenPlace.
	metric int
	number uint64
}

const seenPlace = -1

func appendSums(places []place, metric int, slots []int) []place {
	for _, slot := range slots {
		places = append(places, place{metric, uint64(slot)})
	}
	return places
}

// store keeps a ledger in a storage extension.
type store[K counter.Key[K]] struct {
	ledger   *Ledger[K]
	client   storage.Client
	instance string
	secret   []byte

	queue   sync.Mutex
	waiting []*pending[K]
	writing bool

	failing atomic.Bool
	// failures is how many writes failed.
	failures atomic.Uint64
	// lock is held by whoever changes sums or writes: a channel, because waiting for it has to end with a context. It guards what follows.
	lock chan struct{}
	meta meta
	// unsure are the places of which nobody knows what the store holds, because a write of them failed: it may have come through all
	// the same. The next write puts them right, so that what was not committed never shows up after a restart.
	unsure map[place]bool
}

// Open returns the ledger that a storage client holds, empty when it holds nothing. The client is the ledger's from then on, but an error
// leaves it, and what it holds, to the caller.
func Open[K counter.Key[K]](ctx context.Context, client storage.Client, options Options[K]) (*Ledger[K], error) {
	l := New(options)
	s := &store[K]{ledger: l, client: client, lock: make(chan struct{}, 1), unsure: make(map[place]bool)}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	l.store = s
	// A store that cannot be written to is better known now than with the first report.
	if err := s.write(ctx, 0, nil); err != nil {
		return nil, err
	}
	return l, nil
}

func (s *store[K]) load(ctx context.Context) error {
	sealed, err := s.client.Get(ctx, metaKey)
	if err != nil {
		return fmt.Errorf("%w: reading: %w", ErrStore, err)
	}
	if sealed == nil {
		s.meta = meta{
			Format: format, Version: version, Slots: make(map[string]int), Times: make(map[string]times),
			Instance: s.ledger.options.Instance, Random: s.ledger.options.Secret,
		}
		s.instance, s.secret = s.meta.Instance, s.meta.Random
		return s.expectEmpty(ctx)
	}
	if s.meta, err = readMeta(sealed); err != nil {
		return err
	}
	s.instance, s.secret = s.meta.Instance, s.meta.Random
	if err := s.loadSeen(ctx); err != nil {
		return err
	}
	for m := range s.ledger.options.Metrics {
		if err := s.loadSums(ctx, m); err != nil {
			return err
		}
	}
	// What does not fit any more was counted as forgotten when it was.
	s.ledger.evicted = 0
	return nil
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
	case head.Version < version:
		return m, fmt.Errorf("%w: it was written by version %d, which this release cannot read; %w", ErrStore, head.Version, errLeftAlone)
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return m, corrupt(metaKey, err)
	}
	if m.First > m.Next || m.Slots == nil {
		return m, corrupt(metaKey, fmt.Errorf("first %d, next %d", m.First, m.Next))
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

func (s *store[K]) loadSeen(ctx context.Context) error {
	if !s.ledger.options.Deduplicate {
		return nil
	}
	return s.read(ctx, seenPlace, s.meta.First, s.meta.Next, func(number uint64, content []byte) error {
		if content == nil {
			return errors.New("missing")
		}
		return readSeen(content, func(id ID, outcome Outcome, at time.Time) {
			s.ledger.remember(id, outcome, at, number)
		})
	})
}

func (s *store[K]) loadSums(ctx context.Context, m int) error {
	options := &s.ledger.options
	slots := s.meta.Slots[options.Metrics[m].Name]
	records := make(map[int]counter.Record[K])
	err := s.read(ctx, m, 0, uint64(slots), func(number uint64, content []byte) error {
		if content == nil {
			return nil
		}
		r, err := readRecord(content, options.Decode)
		if err != nil {
			return err
		}
		// What a run with cumulative totals had counted, it had also reported as such.
		if content[0]&flagDelta == 0 && options.Temporality == counter.Delta {
			r.Taken = r.Value
		}
		records[int(number)] = r
		return nil
	})
	if err != nil {
		return err
	}
	inOrder := func(yield func(int, counter.Record[K]) bool) {
		for slot := range slots {
			if r, ok := records[slot]; ok && !yield(slot, r) {
				return
			}
		}
	}
	metric := options.Metrics[m]
	if err := metric.Sums.Restore(slots, inOrder); err != nil {
		return corrupt(metric.Name, err)
	}
	if at, ok := s.meta.Times[metric.Name]; ok {
		metric.Sums.Resume(at.Collected, at.Taken)
	}
	return nil
}

// read hands over what is kept in the places from first on and before next; nil where there is nothing.
func (s *store[K]) read(ctx context.Context, metric int, first, next uint64, each func(number uint64, content []byte) error) error {
	for first < next {
		until := min(first+maxReads, next)
		ops := make([]*storage.Operation, 0, until-first)
		for n := first; n < until; n++ {
			ops = append(ops, storage.GetOperation(s.key(place{metric, n})))
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
			if err != nil {
				return corrupt(op.Key, err)
			}
		}
		first = until
	}
	return nil
}

func (s *store[K]) key(p place) string {
	if p.metric == seenPlace {
		// Sixteen digits keep the order of the numbers in stores that sort.
		return fmt.Sprintf("seen/%016x", p.number)
	}
	return fmt.Sprintf("sum/%s/%08x", s.ledger.options.Metrics[p.metric].Name, p.number)
}

// truth is the operation that makes a place hold what it should: a series that is there, and nothing else. What reports a committed
// write held is known to the store only, so a place for reports is unsure only when it should be empty.
func (s *store[K]) truth(p place) *storage.Operation {
	key := s.key(p)
	if p.metric != seenPlace {
		if r, ok := s.ledger.options.Metrics[p.metric].Sums.Record(int(p.number)); ok {
			return storage.SetOperation(key, seal(appendRecord(nil, &r, s.ledger.options.Encode, s.ledger.options.Temporality)))
		}
	}
	return storage.DeleteOperation(key)
}

// acquire waits for the lock. It is released by taking from the channel.
func (s *store[K]) acquire(ctx context.Context) error {
	// A context that has ended is no reason to fail when nothing has to be waited for.
	select {
	case s.lock <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *store[K]) release() { <-s.lock }

// heal makes sure that the store works, as far as the last write tells, and writes what it owes if it did not.
func (s *store[K]) heal(ctx context.Context) error {
	if !s.failing.Load() {
		return nil
	}
	failures := s.failures.Load()
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	if !s.failing.Load() {
		return nil
	}
	// One try serves all who waited for it: a store that takes its time to fail must not take it once for each of them.
	if s.failures.Load() != failures {
		return errStillFailing
	}
	// A caller that gives up must not look like a store that fails.
	return s.write(context.WithoutCancel(ctx), 0, nil)
}

var errStillFailing = fmt.Errorf("%w: it still fails", ErrStore)

// change makes a change to the sums and keeps it. That the store fails is known to Options.Health, and made up for by the next write.
func (s *store[K]) change(ctx context.Context, change func() (changed []place), failed func(unkept func(place) bool)) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()

	changed := change()
	if len(changed) == 0 && !s.failing.Load() && s.ledger.oldestRecord(s.meta.Next) == s.meta.First {
		return nil
	}
	ops := make(map[place]*storage.Operation, len(changed))
	for _, p := range changed {
		ops[p] = s.truth(p)
	}
	if err := s.write(context.WithoutCancel(ctx), 0, ops); err != nil {
		failed(func(p place) bool { return s.unsure[p] })
	}
	return nil
}

// write puts all operations into the store at once, with those that earlier writes owe and those that relieve it of what expired. The
// lock is held.
func (s *store[K]) write(ctx context.Context, reports int, ops map[place]*storage.Operation) error {
	if ops == nil {
		ops = make(map[place]*storage.Operation)
	}
	next := s.meta
	if op := (place{seenPlace, next.Next}); ops[op] != nil {
		next.Next++
	}
	oldest := min(s.ledger.oldestRecord(s.meta.Next), s.meta.First+maxDeletes)
	for ; next.First < oldest; next.First++ {
		p := place{seenPlace, next.First}
		ops[p] = storage.DeleteOperation(s.key(p))
	}
	for p := range s.unsure {
		if ops[p] == nil {
			ops[p] = s.truth(p)
		}
	}
	next.Slots, next.Times = maps.Clone(s.meta.Slots), maps.Clone(s.meta.Times)
	for _, m := range s.ledger.options.Metrics {
		next.Slots[m.Name] = m.Sums.Slots()
		collected, taken := m.Sums.Times()
		next.Times[m.Name] = times{collected, taken}
	}
	content, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}

	batch := make([]*storage.Operation, 0, len(ops)+1)
	for _, op := range ops {
		batch = append(batch, op)
	}
	err = s.client.Batch(ctx, append(batch, storage.SetOperation(metaKey, seal(content)))...)
	s.observe(reports, err)
	if err != nil {
		s.failures.Add(1)
		for p := range ops {
			s.unsure[p] = true
		}
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	clear(s.unsure)
	s.meta = next
	return nil
}

func (s *store[K]) observe(reports int, err error) {
	if s.ledger.options.Observe != nil {
		s.ledger.options.Observe(reports, err)
	}
	// The first failure and the first success after one.
	if failed := err != nil; s.failing.Swap(failed) != failed && s.ledger.options.Health != nil {
		s.ledger.options.Health(err)
	}
}
