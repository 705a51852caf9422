package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestModel plays random histories of a receiver: reports that come once and again, in batches;
// logs pipelines that accept, and refuse for good or for now; writes that fail, with effect or
// without; crashes at any write and between any two steps; restarts; metrics pipelines that accept
// and refuse; clocks that leap; checkpoints at any time. It checks that
//
//   - what was acknowledged is counted once, and known for as long as TTL and MaxEntries say;
//   - what was not acknowledged is counted at most once;
//   - a log record is exported once, and once more for each crash before its commit was known to
//     work;
//   - a backend of totals sees no value go back and each series start with zero, and its sum is
//     exact;
//   - a backend of deltas is exact, but for those it accepted whose acknowledgement a crash lost.
//
// In the end everything is sent again until it is acknowledged.
//
// -run 'TestModel/seed=17$' repeats a history.
func TestModel(t *testing.T) {
	histories := 100
	if *exhaustive {
		histories = 4000
	}
	var stats modelStats
	played := 0
	for seed := range histories {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			newModel(t, uint64(seed), &stats).play()
			played++
		})
	}
	t.Logf("%d histories: %+v", played, stats)
	if played == histories {
		require.NotZero(t, stats.FoundCommitted)
		require.NotZero(t, stats.ExportedAgain)
		require.NotZero(t, stats.DeltasTwice)
	}
}

// modelStats shows what the histories were made of.
type modelStats struct {
	Reports, Acknowledged, Repeats, Crashes, Restarts, Flushes int
	// FoundCommitted reports had been committed by a write that had failed or by a retry.
	FoundCommitted, ExportedAgain, DeltasTwice int
}

type model struct {
	*setup
	t       *testing.T
	stats   *modelStats
	random  *rand.Rand
	disk    *disk
	client  *fakeClient
	ledger  *Ledger
	reports []*modelReport
	latest  time.Time // of all times that the clock had
	backend backend
}

// modelReport is what the model knows of a report.
type modelReport struct {
	name         string
	outcome      Outcome
	acknowledged bool
	// uncertain reports whether its commit failed, and may work yet.
	uncertain bool
	// exported is how often the pipelines accepted it, allowed how often they may.
	exported, allowed int
	committed         time.Time // or tried to be
}

func newModel(t *testing.T, seed uint64, stats *modelStats) *model {
	random := rand.New(rand.NewPCG(seed, 1))
	m := &model{setup: newSetup(), t: t, stats: stats, random: random, disk: newDisk(), latest: began}
	m.Metrics = []string{"by report", "few"}
	m.MaxEntries = []int{10, 10_000}[random.IntN(2)]
	m.TTL = time.Duration(1+random.IntN(2)) * time.Hour
	m.Delta = random.IntN(3) == 0
	m.Limit = 100_000
	m.limits = limits{journal: random.IntN(2000), chunk: 1 + random.IntN(40)}
	m.backend = backend{t: t, delta: m.Delta, series: make(map[string]*backendSeries), uncertain: make(map[string]int64)}
	return m
}

func (m *model) play() {
	m.start()
	for range 120 {
		m.step()
	}
	m.finish()
}

func (m *model) start() {
	m.client = m.disk.client()
	m.ledger = m.open(m.t, m.client)
}

func (m *model) step() {
	switch dice := m.random.IntN(100); {
	case dice < 50:
		m.send(m.pick())
	case dice < 68:
		m.flush()
	case dice < 78:
		d := time.Duration(m.random.IntN(40)) * time.Second
		if m.random.IntN(4) == 0 {
			d = -d / 4
		}
		m.t.Logf("clock: %s", d)
		m.setClock(d)
	case dice < 90:
		f := fault{every: 1 + m.random.IntN(4), applied: m.random.IntN(2) == 0}
		switch m.random.IntN(6) {
		case 0:
			f = fault{every: 1}
		case 1, 2:
		case 3:
			f.crash = true
		default:
			f = fault{}
		}
		m.t.Logf("%+v", f)
		m.client.setFault(f)
	case dice < 94:
		m.client.kill()
	default:
		m.t.Log("restart")
		m.stats.Restarts++
		m.client.setFault(fault{})
		require.NoError(m.t, m.ledger.Close(background))
		m.start()
	}
	m.restartIfDead()
	m.check()
}

func (m *model) setClock(d time.Duration) {
	m.move(d)
	if m.now().After(m.latest) {
		m.latest = m.now()
	}
}

func (m *model) restartIfDead() {
	if !m.client.isDead() {
		return
	}
	m.t.Log("crash")
	m.stats.Crashes++
	_ = m.ledger.Close(background)
	// A store that fails does not know the time of the last points, so the clock must not be back
	// then.
	m.setClock(max(m.latest.Sub(m.now()), 0) + time.Second)
	for _, r := range m.reports {
		if r.uncertain {
			r.allowed++
			r.uncertain = false
		}
	}
	for series, value := range m.backend.uncertain {
		m.backend.of(series).mayRepeat += value
	}
	clear(m.backend.uncertain)
	m.start()
}

// pick returns new reports and some that came before, rather late ones.
func (m *model) pick() (numbers []int) {
	for range 1 + m.random.IntN(1+m.random.IntN(12)) {
		n := len(m.reports)
		if n > 0 && m.random.IntN(2) == 0 {
			n -= 1 + m.random.IntN(min(n, 1+m.random.IntN(40)))
		} else {
			name := fmt.Sprintf("report %d", n)
			m.reports = append(m.reports, &modelReport{name: name, outcome: Outcome(1 + m.random.IntN(2)), allowed: 1})
			m.stats.Reports++
		}
		if !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// send sends reports that share a commit.
func (m *model) send(numbers []int) {
	m.t.Logf("send: %v", numbers)
	var entries []Entry
	var committing []*modelReport
	for _, n := range numbers {
		r := m.reports[n]
		attempt, known, err := m.ledger.Begin(background, kind, id(n))
		if m.client.isDead() {
			return
		}
		if known == 0 {
			require.False(m.t, m.isRemembered(r), "%s was forgotten: %v", r.name, err)
		}
		switch {
		case errors.Is(err, ErrStore):
		case known != 0:
			require.Equal(m.t, r.outcome, known, r.name)
			require.NotZero(m.t, r.exported, r.name)
			m.stats.Repeats++
			if r.uncertain {
				m.stats.FoundCommitted++
			}
			r.acknowledged, r.uncertain = true, false
		default:
			require.NoError(m.t, err)
			if r.acknowledged || len(m.reports) >= m.MaxEntries {
				// It was forgotten, and begins anew.
				r.allowed, r.acknowledged = r.exported+1, false
			}
			if m.random.IntN(4) == 0 {
				m.t.Logf("%s is refused for now", r.name)
				attempt.Release()
				continue
			}
			r.exported++
			require.LessOrEqual(m.t, r.exported, r.allowed, "%s was exported too often", r.name)
			if r.exported > 1 {
				m.stats.ExportedAgain++
			}
			r.uncertain, r.committed = true, m.now()
			committing = append(committing, r)
			entries = append(entries, Entry{attempt, r.outcome, m.counts(n)})
		}
	}
	if m.random.IntN(20) == 0 {
		m.client.kill()
	}
	if len(entries) == 0 {
		return
	}
	err := m.ledger.Commit(background, entries)
	if m.client.isDead() {
		return
	}
	m.t.Logf("committed: %v", err)
	if err != nil {
		require.ErrorIs(m.t, err, ErrStore)
		return
	}
	for _, r := range committing {
		r.acknowledged, r.uncertain = true, false
		m.stats.Acknowledged++
	}
}

func (m *model) counts(n int) []Count {
	counts := []Count{{0, m.reports[n].name}, {1, fmt.Sprintf("few %d", n%5)}}
	if n%3 == 0 {
		counts = append(counts, Count{1, "few of all"})
	}
	return counts
}

// isRemembered reports whether the ledger has to know the report. Of a commit that was retried the
// model does not know the time.
func (m *model) isRemembered(r *modelReport) bool {
	return r.acknowledged && len(m.reports) < m.MaxEntries && m.latest.Sub(r.committed) < m.TTL
}

// flush sends the counters to the backend.
func (m *model) flush() {
	c, err := m.ledger.Collect(background)
	if m.client.isDead() {
		return
	}
	require.NoError(m.t, err)
	if m.random.IntN(3) == 0 {
		m.t.Log("flush: refused")
		return
	}
	m.t.Log("flush: accepted")
	m.stats.Flushes++
	for _, metric := range c.Metrics {
		for _, p := range metric.Points {
			m.backend.consume(metric.Name+"/"+p.Attributes, p)
		}
	}
	if m.random.IntN(10) == 0 {
		m.client.kill()
	}
	_ = m.ledger.Acknowledge(background, c.Number)
	if m.ledger.SetValue(background, "flushes", []byte{byte(m.stats.Flushes)}) == nil {
		clear(m.backend.uncertain) // this write had the acknowledgement too
	}
}

// check checks what is true at any time.
func (m *model) check() {
	counted := totals(m.ledger, "by report")
	for _, r := range m.reports {
		least, most := int64(0), int64(r.exported)
		if r.acknowledged {
			least = 1
		}
		if len(m.reports) < m.MaxEntries && m.latest.Sub(began) < m.TTL {
			most = 1
		}
		if got := counted[r.name]; got < least || got > most {
			m.t.Fatalf("%s is counted %d times", r.name, got)
		}
	}
	require.LessOrEqual(m.t, m.ledger.Stats().Kinds[kind].Remembered, m.MaxEntries)
}

// finish sends everything until it is acknowledged and collected, and compares the sums.
func (m *model) finish() {
	m.move(m.latest.Sub(m.now()))
	for range 1000 {
		m.client.setFault(fault{})
		var unacknowledged []int
		for n, r := range m.reports {
			if !r.acknowledged && len(unacknowledged) < 20 {
				unacknowledged = append(unacknowledged, n)
			}
		}
		if len(unacknowledged) == 0 && !m.ledger.Pending() {
			break
		}
		m.send(unacknowledged)
		m.setClock(time.Second)
		m.flush()
		m.restartIfDead()
	}
	m.check()
	for _, r := range m.reports {
		require.True(m.t, r.acknowledged, r.name)
	}
	for _, metric := range m.Metrics {
		for attributes, counted := range totals(m.ledger, metric) {
			s := m.backend.of(metric + "/" + attributes)
			require.GreaterOrEqual(m.t, s.sum(), counted, attributes)
			require.LessOrEqual(m.t, s.sum(), counted+s.mayRepeat, attributes)
			m.stats.DeltasTwice += int(s.sum() - counted)
		}
	}
}

// backend adds up points as a reader of differences does. It outlives restarts of the collector.
type backend struct {
	t      *testing.T
	delta  bool
	series map[string]*backendSeries
	// uncertain are deltas that it accepted and whose acknowledgement may not be stored.
	uncertain map[string]int64
}

type backendSeries struct {
	last   time.Time
	deltas int64
	starts map[int64]*backendStart // cumulative, by start time
	// mayRepeat is how much may have come twice.
	mayRepeat int64
}

// backendStart is a cumulative series with one start time.
type backendStart struct {
	zero, last time.Time
	value      int64
}

func (s *backendSeries) sum() int64 {
	sum := s.deltas
	for _, start := range s.starts {
		sum += start.value
	}
	return sum
}

func (b *backend) of(series string) *backendSeries {
	if b.series[series] == nil {
		b.series[series] = &backendSeries{starts: make(map[int64]*backendStart)}
	}
	return b.series[series]
}

func (b *backend) consume(series string, p Point) {
	s := b.of(series)
	require.True(b.t, p.Start.Before(p.Time), "%s: %+v", series, p)
	if b.delta {
		require.True(b.t, !p.Ended && p.Value > 0 && p.Time.After(s.last), "%s: %+v after %s", series, p, s.last)
		b.uncertain[series] += p.Value
		s.last = p.Time
		s.deltas += p.Value
		return
	}
	start, ok := s.starts[p.Start.UnixNano()]
	if !ok {
		require.True(b.t, p.Value == 0 && !p.Ended, "%s does not start with zero: %+v", series, p)
		s.starts[p.Start.UnixNano()] = &backendStart{zero: p.Time, last: p.Time}
		return
	}
	if p.Value == 0 && p.Time.Equal(start.zero) {
		return // the same zero again
	}
	require.True(b.t, p.Time.After(start.last), "%s goes back in time from %s: %+v", series, start.last, p)
	start.last = p.Time
	if !p.Ended {
		require.GreaterOrEqual(b.t, p.Value, start.value, series)
		start.value = p.Value
	}
}
