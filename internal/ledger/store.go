package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

// What a store holds: under "journal/N" what the N-th write committed, the reports and what they count; under "sum/METRIC/N" the series in slot
// N of a metric; under "meta" what there is besides. Most writes are one record of the journal and nothing else. Now and then one also folds: it
// writes the series that have changed as they are, says in meta from which record on the journal is not in them yet, and removes records of which no
// report has to be remembered any more. Version 1 had "seen/N" in place of the journal, with reports only, and wrote the series each time.
const (
	metaKey       = "meta"
	journalPrefix = "journal/"
	seenPrefix    = "seen/"
	sumPrefix     = "sum/"
	// format and version are how a store is told from that of something else, or of another release.
	format  = "smtp_failure ledger"
	version = 2
)

const (
	// maxGroup is the number of reports that one write may commit.
	maxGroup = 512
	// maxReads is the number of records that one read fetches: a batch is held in memory whole.
	maxReads = 1000
)

// bounds say when a commit folds though nobody asked for it.
type bounds struct {
	// records is how many records may be in the journal that are not in the series, which is what a start has to catch up with.
	records uint64
	// series is how many may have changed, which is what one fold has to write, besides those of one group.
	series int
	// deletes is how many records one fold removes, because a batch is held in memory whole. A commit folds when half of that can be removed.
	deletes uint64
}

var usual = bounds{records: 1024, series: 1024, deletes: 1000}

// meta is the record under metaKey.
type meta struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	// Instance is the instance id.
	Instance string `json:"instance"`
	// Random are random bytes that were made once, the secret of the receiver.
	Random []byte `json:"random"`
	// Records are those from First on. All before Next are there, and those after it that were written since, up to the first that is not.
	First uint64 `json:"first"`
	Next  uint64 `json:"next"`
	// Journal is the first record that is one of the journal; those before it are of version 1.
	Journal uint64 `json:"journal"`
	// Folded is the first record whose counts are not in the series yet.
	Folded uint64 `json:"folded"`
	// Metrics are the names of those that records from Folded on count in, by index.
	Metrics []string `json:"metrics"`
	// Slots says for each metric by name that its series are in slots below that, but for those that are in the journal only. Metrics that are
	// disabled keep theirs.
	Slots map[string]int `json:"slots"`
	// Times say for each metric by name until when it was reported.
	Times map[string]times `json:"times"`
}

// times are those of counter.Sums.Times.
type times struct {
	Collected time.Time `json:"collected"`
	Taken     time.Time `json:"taken"`
}

// place is where a series is kept.
type place struct {
	// metric is the index of a metric.
	metric, slot int
}

func appendSums(places []place, metric int, slots []int) []place {
	for _, slot := range slots {
		places = append(places, place{metric, slot})
	}
	return places
}

// marks are slots of a metric.
type marks struct {
	slots  []int
	marked []bool // by slot
}

func (m *marks) mark(slot int) {
	if missing := slot + 1 - len(m.marked); missing > 0 {
		m.marked = append(m.marked, make([]bool, missing)...)
	}
	if !m.marked[slot] {
		m.marked[slot] = true
		m.slots = append(m.slots, slot)
	}
}

func (m *marks) clear() {
	for _, slot := range m.slots {
		m.marked[slot] = false
	}
	m.slots = m.slots[:0]
}

// store keeps a ledger in a storage extension.
type store[K counter.Key[K]] struct {
	ledger   *Ledger[K]
	client   storage.Client
	bounds   bounds
	instance string
	secret   []byte

	queue   sync.Mutex
	waiting []*pending[K]
	writing bool
	// spare is what the last group was in, and idle are pendings, to be used again.
	spare []*pending[K]
	idle  sync.Pool

	failing atomic.Bool
	// failures is how many writes failed.
	failures atomic.Uint64
	// lock is held by whoever changes sums or writes: a channel, because waiting for it has to end with a context. It guards what follows.
	lock chan struct{}
	// meta is what the last fold wrote, but for Next.
	meta meta
	// changes are empty changes of the metrics.
	changes []*counter.Change[K]
	// dirty are the series, by metric, that may be other than the store has them: it has them in the journal only, or nobody knows.
	dirty []marks
	// unkept are those of which not even the journal knows all.
	unkept map[place]bool
	// unsettled says that the last write did not work, and may have come through all the same. The next one folds and so puts right whatever it
	// touched, and takes back or replaces its record, so that what was not committed never shows up after a restart.
	unsettled bool
}

// recordKey is where the record with that number is.
func (s *store[K]) recordKey(number uint64) string {
	if number < s.meta.Journal {
		return numbered(seenPrefix, number, 16)
	}
	return numbered(journalPrefix, number, 16)
}

func sumKey(metric string, slot int) string {
	return numbered(sumPrefix+metric+"/", uint64(slot), 8)
}

// numbered is a key with a number in hexadecimal. All have the same digits, to keep their order in stores that sort.
func numbered(prefix string, number uint64, digits int) string {
	const zeros = "0000000000000000"
	text := strconv.FormatUint(number, 16)
	return prefix + zeros[:max(digits-len(text), 0)] + text
}

// truth is the operation that makes a place hold what it should: a series that is there, and nothing else.
func (s *store[K]) truth(p place) *storage.Operation {
	options := &s.ledger.options
	metric := options.Metrics[p.metric]
	key := sumKey(metric.Name, p.slot)
	r, ok := metric.Sums.Record(p.slot)
	if !ok {
		return storage.DeleteOperation(key)
	}
	return storage.SetOperation(key, seal(appendSeries(nil, kept(&r, options.Encode, options.Temporality))))
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
	return s.write(context.WithoutCancel(ctx), 0, nil, true)
}

var errStillFailing = fmt.Errorf("%w: it still fails", ErrStore)

// change makes a change to the sums and keeps it. That the store fails is known to Options.Health, and made up for by the next write.
func (s *store[K]) change(ctx context.Context, change func() (changed []place), failed func(unkept func(place) bool)) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()

	for _, p := range change() {
		s.dirty[p.metric].mark(p.slot)
		s.unkept[p] = true
	}
	if s.changed() == 0 && s.removable() == 0 && !s.unsettled {
		return nil
	}
	if err := s.write(context.WithoutCancel(ctx), 0, nil, true); err != nil {
		failed(func(p place) bool { return s.unkept[p] })
	}
	return nil
}

// changed returns how many series a fold would write.
func (s *store[K]) changed() (n int) {
	for i := range s.dirty {
		n += len(s.dirty[i].slots)
	}
	return n
}

// removable returns how many records are not needed any more, once they are folded.
func (s *store[K]) removable() uint64 { return s.ledger.oldestRecord(s.meta.Next) - s.meta.First }

// due says whether it is time for a fold.
func (s *store[K]) due() bool {
	return s.meta.Next-s.meta.Folded >= s.bounds.records || s.changed() >= s.bounds.series || 2*s.removable() >= s.bounds.deletes
}

// write puts a record of the journal, unless it is nil, into the store, and at once with it what a fold writes. The record is not among what is
// folded: what it counts is not in the sums yet. also are more operations of a fold. The lock is held.
func (s *store[K]) write(ctx context.Context, reports int, record []byte, fold bool, also ...*storage.Operation) error {
	fold = fold || s.unsettled
	next, ops := s.meta, also
	if record != nil {
		ops = append(ops, storage.SetOperation(s.recordKey(next.Next), record))
		next.Next++
	}
	if fold {
		if record == nil && s.unsettled {
			ops = append(ops, storage.DeleteOperation(s.recordKey(next.Next)))
		}
		var err error
		if ops, err = s.fold(&next, ops); err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
	}

	s.unsettled = true
	err := s.client.Batch(ctx, ops...)
	s.observe(reports, err)
	if err != nil {
		s.failures.Add(1)
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	s.unsettled = false
	s.meta = next
	if fold {
		for i := range s.dirty {
			s.dirty[i].clear()
		}
		clear(s.unkept)
	}
	return nil
}

// fold appends what brings the series up to all records that were committed so far, and relieves the store of what expired. next becomes the
// meta record of that.
func (s *store[K]) fold(next *meta, ops []*storage.Operation) ([]*storage.Operation, error) {
	next.Folded = s.meta.Next
	for until := min(s.ledger.oldestRecord(s.meta.Next), s.meta.First+s.bounds.deletes); next.First < until; next.First++ {
		ops = append(ops, storage.DeleteOperation(s.recordKey(next.First)))
	}
	next.Metrics, next.Slots, next.Times = nil, maps.Clone(s.meta.Slots), maps.Clone(s.meta.Times)
	for m, metric := range s.ledger.options.Metrics {
		for _, slot := range s.dirty[m].slots {
			ops = append(ops, s.truth(place{m, slot}))
		}
		collected, taken := metric.Sums.Times()
		next.Metrics = append(next.Metrics, metric.Name)
		next.Slots[metric.Name] = metric.Sums.Slots()
		next.Times[metric.Name] = times{collected, taken}
	}
	content, err := json.Marshal(next)
	return append(ops, storage.SetOperation(metaKey, seal(content))), err
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
