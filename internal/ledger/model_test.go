package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestModel plays random histories of a receiver: reports that come once and again, in batches of any size, logs pipelines
// that accept, refuse some for good and some for now, stores that fail with and without effect, crashes at any write and
// between any two steps, restarts, metrics pipelines that take and refuse, clocks that leap. When a store is written anew
// is as random. It compares what the ledger does to what it promises:
//
//   - what was acknowledged is counted once, over all restarts, and known to be so for as long as ttl and max_entries say;
//   - what was not is counted once at most;
//   - a record is handed to the logs pipelines once, and once more for each crash that its commit was still owed at;
//   - a backend of totals never sees a value go back or a series that does not begin with zero, and its sum is exact;
//   - a backend of deltas is exact, but for those that it had taken and that the store could not keep before a crash.
//
// In the end the sender has sent everything again until it was acknowledged, and all sums are those of the distinct reports.
func TestModel(t *testing.T) {
	seeds := 100
	if *exhaustive {
		seeds = 4000
	}
	var all tally
	played := 0
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			m := newModel(uint64(seed), &all)
			if err := m.play(); err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(m.log, "\n"))
			}
			played++
		})
	}
	t.Logf("%d histories: %+v", played, all)
	if played == seeds {
		require.NotZero(t, all.Surfaced, "no report was counted that nobody was told of: the test does not look where it should")
		require.NotZero(t, all.Twice)
		require.NotZero(t, all.Doubled)
	}
}

// tally says what the histories were made of.
type tally struct {
	Reports, Acknowledged, Repeats, Crashes, Restarts, Flushes int
	// Surfaced reports were counted though nobody was told, records of Twice were handed over once more, Doubled deltas came
	// twice.
	Surfaced, Twice, Doubled int
}

type model struct {
	*setup
	tally   *tally
	random  *rand.Rand
	disk    *disk
	client  *fakeClient
	ledger  *Ledger
	reports []*modeled
	commits int
	latest  time.Time // the clock was never later
	back    backend
	log     []string
}

// modeled is what is known of a report.
type modeled struct {
	outcome Outcome
	acked   bool
	// owed reports whether it was handed over and its commit failed.
	owed            bool
	handed, allowed int
	// commit is its place among the commits, tried when it was committed.
	commit int
	tried  time.Time
}

func newModel(seed uint64, all *tally) *model {
	m := &model{setup: newSetup(), tally: all, random: rand.New(rand.NewPCG(seed, 1)), disk: newDisk(), latest: began}
	m.Metrics = []string{"by report", "few"}
	m.MaxEntries = []int{10, 10_000}[m.random.IntN(2)]
	m.TTL = time.Duration(1+m.random.IntN(2)) * time.Hour
	m.Delta = m.random.IntN(3) == 0
	m.Limit = 100_000
	m.limits = limits{journal: m.random.IntN(2000), chunk: 1 + m.random.IntN(40)}
	m.back = backend{delta: m.Delta, series: make(map[string]*line)}
	return m
}

func (m *model) note(format string, values ...any) {
	m.log = append(m.log, fmt.Sprintf(format, values...))
}

func (m *model) play() error {
	if err := m.start(); err != nil {
		return err
	}
	for range 120 {
		if err := m.step(); err != nil {
			return err
		}
	}
	return m.finish()
}

func (m *model) start() (err error) {
	m.client = m.disk.client()
	m.ledger, err = open(canceledNever, &clientStore{client: m.client}, m.Options, m.limits)
	return err
}

func (m *model) step() error {
	var err error
	switch dice := m.random.IntN(100); {
	case dice < 50:
		err = m.batch(m.some())
	case dice < 68:
		err = m.flush()
	case dice < 78:
		d := time.Duration(m.random.IntN(40)) * time.Second
		if m.random.IntN(4) == 0 {
			d = -d / 4
		}
		m.move(d)
		if m.now().After(m.latest) {
			m.latest = m.now()
		}
		m.note("clock %s", d)
	case dice < 90:
		m.faults()
	case dice < 94:
		m.client.kill()
	default:
		m.note("restart")
		m.tally.Restarts++
		m.client.set(func(c *fakeClient) { c.full, c.nth, c.crashIn = false, 0, 0 })
		if err = m.ledger.Close(canceledNever); err == nil {
			err = m.start()
		}
	}
	if err == nil {
		err = m.revive()
	}
	if err == nil {
		err = m.compare()
	}
	return err
}

// revive starts a process anew that is dead.
func (m *model) revive() error {
	if !m.client.isDead() {
		return nil
	}
	m.note("crash")
	m.tally.Crashes++
	_ = m.ledger.Close(canceledNever)
	// It takes a moment to start again. What the store could not keep of the time, nobody knows.
	m.move(max(m.latest.Sub(m.now()), 0) + time.Second)
	m.latest = m.now()
	for _, r := range m.reports {
		if r.owed {
			r.allowed++
			r.owed = false
		}
	}
	for series, value := range m.back.unsure {
		m.back.of(series).may += value
	}
	m.back.unsure = nil
	return m.start()
}

// faults changes what the store does from now on.
func (m *model) faults() {
	dice := m.random.IntN(6)
	nth, ambiguous, in, after := 1+m.random.IntN(4), m.random.IntN(2) == 0, 1+m.random.IntN(3), m.random.IntN(2) == 0
	m.note("store: %d, every %d. fails with effect %t, dies in %d with effect %t", dice, nth, ambiguous, in, after)
	m.client.set(func(c *fakeClient) {
		c.full, c.nth = dice == 0, 0
		switch dice {
		case 1, 2:
			c.nth, c.ambiguous = nth, ambiguous
		case 3:
			c.crashIn, c.crashAfter = in, after
		}
	})
}

// some returns reports that are new and some that came before.
func (m *model) some() (numbers []int) {
	seen := make(map[int]bool)
	for range 1 + m.random.IntN(1+m.random.IntN(12)) {
		n := len(m.reports)
		if n > 0 && m.random.IntN(2) == 0 {
			// Rather a late one: senders try again soon.
			n -= 1 + m.random.IntN(min(n, 1+m.random.IntN(40)))
		} else {
			m.reports = append(m.reports, &modeled{outcome: Outcome(1 + m.random.IntN(2)), allowed: 1})
			m.tally.Reports++
		}
		if !seen[n] {
			seen[n] = true
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func name(n int) string { return fmt.Sprintf("report %d", n) }

// batch sends reports that come together.
func (m *model) batch(numbers []int) error {
	m.note("together: %v", numbers)
	var entries []Entry
	var committed []int
	for _, n := range numbers {
		r := m.reports[n]
		attempt, known, err := m.ledger.Begin(canceledNever, kind, id(n))
		switch {
		case m.client.isDead():
			return nil
		case errors.Is(err, ErrStore):
			if m.remembered(r) {
				return fmt.Errorf("report %d is known, but answered with %w", n, err)
			}
			continue
		case err != nil:
			return err
		case known != 0:
			if known != r.outcome || r.handed == 0 {
				return fmt.Errorf("report %d is known as %d", n, known)
			}
			if !r.acked && r.owed {
				m.tally.Surfaced++
				m.settle(r)
			}
			r.acked = true
			m.tally.Repeats++
			continue
		case m.remembered(r):
			return fmt.Errorf("report %d is not known any more", n)
		}
		if r.acked || len(m.reports) >= m.MaxEntries {
			// Forgotten, which the sender cannot know: it begins anew.
			r.allowed, r.acked = r.handed+1, false
		}
		if m.random.IntN(4) == 0 {
			m.note("report %d: refused for now", n)
			attempt.Release()
			continue
		}
		if r.handed++; r.handed > r.allowed {
			return fmt.Errorf("report %d was handed over %d times, %d would be explained", n, r.handed, r.allowed)
		}
		if r.handed > 1 {
			m.tally.Twice++
		}
		r.owed, r.tried = true, m.now()
		entries = append(entries, Entry{attempt, r.outcome, m.counts(n)})
		committed = append(committed, n)
	}
	if m.random.IntN(20) == 0 {
		m.client.kill()
	}
	if len(entries) == 0 {
		return nil
	}
	err := m.ledger.Commit(canceledNever, entries)
	if m.client.isDead() {
		return nil // nobody hears what it says
	}
	m.note("committed: %v", err)
	if err != nil && !errors.Is(err, ErrStore) {
		return err
	}
	for _, n := range committed {
		if err == nil {
			m.settle(m.reports[n])
			m.reports[n].acked = true
			m.tally.Acknowledged++
		}
	}
	return nil
}

func (m *model) settle(r *modeled) {
	m.commits++
	r.owed, r.commit = false, m.commits
}

func (m *model) counts(n int) []Count {
	all := []Count{{0, name(n)}, {1, fmt.Sprintf("few %d", n%5)}}
	if n%3 == 0 {
		all = append(all, Count{1, "few of all"})
	}
	return all
}

// remembered reports whether the ledger has to know the report. Of those that are committed late nobody knows when.
func (m *model) remembered(r *modeled) bool {
	return r.acked && len(m.reports) < m.MaxEntries && m.latest.Sub(r.tried) < m.TTL
}

// flush is what happens each interval.
func (m *model) flush() error {
	c, err := m.ledger.Collect(canceledNever)
	if m.client.isDead() {
		return nil
	}
	if err != nil {
		return err
	}
	if m.random.IntN(3) == 0 {
		m.note("flush: refused")
		return nil
	}
	m.note("flush: taken")
	m.tally.Flushes++
	for _, metric := range c.Metrics {
		for _, p := range metric.Points {
			if err := m.back.take(metric.Name+"/"+p.Attributes, p); err != nil {
				return err
			}
		}
	}
	if m.random.IntN(10) == 0 {
		m.client.kill()
	}
	_ = m.ledger.Acknowledge(canceledNever, c.Number)
	if m.ledger.SetValue(canceledNever, "flushes", []byte{byte(m.tally.Flushes)}) == nil {
		m.back.unsure = nil // with a write that works nothing is owed any more
	}
	return nil
}

// compare holds the ledger to what is known at any time.
func (m *model) compare() error {
	counted := totals(m.ledger, "by report")
	for n, r := range m.reports {
		low, high := int64(0), int64(r.handed)
		if r.acked {
			low = 1
		}
		if len(m.reports) < m.MaxEntries && m.latest.Sub(began) < m.TTL {
			high = 1
		}
		if got := counted[name(n)]; got < low || got > high {
			return fmt.Errorf("report %d is counted %d times", n, got)
		}
	}
	if n := m.ledger.Stats().Kinds[kind].Remembered; n > m.MaxEntries {
		return fmt.Errorf("%d are remembered", n)
	}
	return nil
}

// finish has the sender send everything until it is acknowledged, and everything collected, and adds up.
func (m *model) finish() error {
	m.move(m.latest.Sub(m.now()))
	for range 1000 {
		m.client.set(func(c *fakeClient) { c.full, c.nth, c.crashIn = false, 0, 0 })
		var open []int
		for n, r := range m.reports {
			if !r.acked && len(open) < 20 {
				open = append(open, n)
			}
		}
		if len(open) == 0 && !m.ledger.Pending() {
			break
		}
		if err := m.batch(open); err != nil {
			return err
		}
		m.move(time.Second)
		m.latest = m.now()
		if err := m.flush(); err != nil {
			return err
		}
		if err := m.revive(); err != nil {
			return err
		}
	}
	defer m.ledger.Close(canceledNever)
	if err := m.compare(); err != nil {
		return err
	}
	for metric, name := range m.Metrics {
		for attributes, want := range totals(m.ledger, name) {
			l := m.back.of(name + "/" + attributes)
			have := l.sum
			for _, run := range l.starts {
				have += run.value
			}
			if have < want || have > want+l.may {
				return fmt.Errorf("%s/%s: the backend has %d, %d were counted, %d may have come twice", name, attributes, have, want, l.may)
			}
			m.tally.Doubled += int(have - want)
		}
		if metric == 1 {
			continue
		}
		for n, r := range m.reports {
			if !r.acked {
				return fmt.Errorf("report %d was never acknowledged", n)
			}
		}
	}
	return nil
}

// backend adds up points like a reader of differences does. It lives on when the collector is restarted.
type backend struct {
	delta  bool
	series map[string]*line
	// unsure are deltas that it has and of which the store may not know.
	unsure map[string]int64
}

// line is one series at the backend.
type line struct {
	last   time.Time
	sum    int64 // of deltas
	starts map[int64]*run
	may    int64 // so much may have come twice
}

// run is a series from one start time on.
type run struct {
	zero, last time.Time
	value      int64
}

func (b *backend) of(series string) *line {
	l, ok := b.series[series]
	if !ok {
		l = &line{starts: make(map[int64]*run)}
		b.series[series] = l
	}
	return l
}

func (b *backend) take(series string, p Point) error {
	l := b.of(series)
	if !p.Start.Before(p.Time) {
		return fmt.Errorf("%s starts at %s and ends at %s", series, p.Start, p.Time)
	}
	if b.delta {
		if p.Ended || p.Value <= 0 || !p.Time.After(l.last) {
			return fmt.Errorf("%s: a delta of %d at %s, after %s", series, p.Value, p.Time, l.last)
		}
		if b.unsure == nil {
			b.unsure = make(map[string]int64)
		}
		b.unsure[series] += p.Value
		l.last = p.Time
		l.sum += p.Value
		return nil
	}
	r, ok := l.starts[p.Start.UnixNano()]
	switch {
	case !ok && p.Value == 0 && !p.Ended:
		l.starts[p.Start.UnixNano()] = &run{zero: p.Time, last: p.Time}
	case !ok:
		return fmt.Errorf("%s begins with %d, not zero", series, p.Value)
	case p.Time.Equal(r.zero) && p.Value == 0:
		// The same zero once more: the backend has it.
	case !p.Time.After(r.last):
		return fmt.Errorf("%s: time went back from %s to %s", series, r.last, p.Time)
	case p.Ended:
		r.last = p.Time
	case p.Value < r.value:
		return fmt.Errorf("%s went back from %d to %d at %s, with the same start", series, r.value, p.Value, p.Time)
	default:
		r.value, r.last = p.Value, p.Time
	}
	return nil
}
