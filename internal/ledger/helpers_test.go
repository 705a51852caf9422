package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

var exhaustive = flag.Bool("exhaustive", false, "play more histories, which takes minutes")

// background is for what outlives the context of the test.
var background = context.Background()

const (
	kind     = "failure"
	overflow = "overflow"
)

var began = time.Unix(1_795_255_200, 0)

// clock is set by hand.
type clock struct {
	mu   sync.Mutex
	time time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = c.time.Add(d)
}

// setup is the configuration of a ledger.
type setup struct {
	*clock
	Options
	limits limits
}

func newSetup() *setup {
	s := &setup{clock: &clock{time: began}, limits: defaultLimits}
	s.Options = Options{
		Deduplicate: true, TTL: 24 * time.Hour, MaxEntries: 1000, WaitTimeout: time.Second,
		Metrics: []string{"failures"}, Limit: 2000, Overflow: overflow, Now: s.now,
		Health: func(error) {}, Observe: func(error) {},
	}
	return s
}

func (s *setup) inMemory() *Ledger { return New(s.Options) }

func (s *setup) open(tb testing.TB, client storage.Client) *Ledger {
	tb.Helper()
	l, err := open(tb.Context(), &clientStore{client: client}, s.Options, s.limits)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = l.Close(background) })
	return l
}

func id(n int) (id ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

// counts returns an event of the first metric for each of the attributes.
func counts(attributes ...string) (counts []Count) {
	for _, a := range attributes {
		counts = append(counts, Count{Attributes: a})
	}
	return counts
}

// send sends report n. Without an error it is acknowledged; known is not 0 if it was before.
func send(ctx context.Context, l *Ledger, n int, attributes ...string) (known Outcome, err error) {
	attempt, known, err := l.Begin(ctx, kind, id(n))
	if err != nil || known != 0 {
		return known, err
	}
	return 0, l.Commit(ctx, []Entry{{attempt, Accepted, counts(attributes...)}})
}

// count sends a new report.
func count(tb testing.TB, l *Ledger, n int, attributes ...string) {
	tb.Helper()
	known, err := send(tb.Context(), l, n, attributes...)
	require.NoError(tb, err)
	require.Zero(tb, known, "report %d is known already", n)
}

// repeat sends a report that is known.
func repeat(tb testing.TB, l *Ledger, n int) {
	tb.Helper()
	known, err := send(tb.Context(), l, n, "repeated")
	require.NoError(tb, err)
	require.Equal(tb, Accepted, known, "report %d is not known any more", n)
}

// totals returns the values of a metric by attributes.
func totals(l *Ledger, metric string) map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	values := make(map[string]int64)
	for _, s := range l.metrics[metric].order {
		values[s.attributes] = s.value
	}
	return values
}

func collect(tb testing.TB, l *Ledger) *Collection {
	tb.Helper()
	c, err := l.Collect(tb.Context())
	require.NoError(tb, err)
	return c
}

// flush collects and acknowledges, and returns the points of the first metric.
func flush(tb testing.TB, l *Ledger) []Point {
	tb.Helper()
	c := collect(tb, l)
	require.NoError(tb, l.Acknowledge(tb.Context(), c.Number))
	return c.Metrics[0].Points
}

// values returns the values of the points of the first metric.
func values(c *Collection) (values []int64) {
	for _, p := range c.Metrics[0].Points {
		values = append(values, p.Value)
	}
	return values
}

// at is a time in milliseconds after the beginning.
func at(milliseconds int) time.Time { return began.Add(time.Duration(milliseconds) * time.Millisecond) }

func point(attributes string, start, end int, value int64) Point {
	return Point{Attributes: attributes, Start: at(start), Time: at(end), Value: value}
}

// disk is what a storage extension keeps. It outlives its clients, and the processes that they are
// in.
type disk struct {
	mu   sync.Mutex
	data map[string]string
}

func newDisk() *disk { return &disk{data: make(map[string]string)} }

func (d *disk) client() *fakeClient { return &fakeClient{disk: d} }

func (d *disk) snapshot() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.data)
}

// apply does all operations at once. Two changes of a key would depend on their order, and are not
// accepted.
func (d *disk) apply(ops []*storage.Operation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := make(map[string]bool, len(ops))
	for _, op := range ops {
		if op.Type == storage.Get {
			op.Value = nil
			if value, ok := d.data[op.Key]; ok {
				op.Value = []byte(value)
			}
			continue
		}
		if changed[op.Key] {
			panic(fmt.Sprintf("two operations of one batch change %q", op.Key))
		}
		changed[op.Key] = true
		if op.Type == storage.Set {
			d.data[op.Key] = string(op.Value)
		} else {
			delete(d.data, op.Key)
		}
	}
}

var (
	errFault = errors.New("no space left on device")
	errDead  = errors.New("the process is dead")
)

// fault is what happens to writes. None fails if every is 0.
type fault struct {
	every   int  // every so many writes one fails
	larger  int  // only those of more bytes than this fail
	applied bool // they take effect all the same
	crash   bool // the process dies
}

// fakeClient is a storage client with atomic batches and faults.
type fakeClient struct {
	storage.Client // what the ledger does not use
	disk           *disk
	// before is called before each write, and may block.
	before func()

	mu           sync.Mutex
	fault        fault
	writes       int // since the fault was set
	dead, closed bool
}

var _ storage.Walker = (*fakeClient)(nil)

func (c *fakeClient) setFault(f fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault, c.writes = f, 0
}

// kill ends the process: nothing reaches the disk any more.
func (c *fakeClient) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
}

func (c *fakeClient) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

func (c *fakeClient) Batch(_ context.Context, ops ...*storage.Operation) (err error) {
	write, size := false, 0
	for _, op := range ops {
		write = write || op.Type != storage.Get
		size += len(op.Value)
	}
	if write && c.before != nil {
		c.before()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		panic("the client is used after it was closed")
	case c.dead:
		return errDead
	case write:
		c.writes++
		if f := c.fault; f.every > 0 && c.writes%f.every == 0 && size > f.larger {
			err = errFault
			if f.crash {
				c.dead, err = true, errDead
			}
			if !f.applied {
				return err
			}
		}
	}
	c.disk.apply(ops)
	return err
}

func (c *fakeClient) Walk(_ context.Context, each storage.WalkFunc) error {
	for key, value := range c.disk.snapshot() {
		if _, err := each(key, []byte(value)); err != nil {
			return err
		}
	}
	return nil
}

func (c *fakeClient) Close(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}
