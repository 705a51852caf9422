package ledger

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

var seeds = flag.Int("ledger.seeds", 300, "how many random histories TestModel plays")

// seedVariable names the environment variable that repeats one history.
const seedVariable = "LEDGER_TEST_SEED"

// TestModel plays random histories of a receiver: reports that come once and again, alone and at once, logs pipelines that accept, refuse for
// good and refuse for now, stores that fail with and without effect, crashes at any write and between any two steps, restarts, some with metrics
// disabled meanwhile, metrics pipelines that take and refuse, clocks that leap. What is written when is as random: the bounds are. It compares what
// the ledger does to what it promises:
//
//   - what was acknowledged is counted once, over all restarts, and known to be so for as long as ttl and max_entries say;
//   - what was not is counted at most once: only where a write had taken effect whose success nobody lived to see;
//   - a record is handed to the logs pipelines once, and once more for each restart that its commit was still owed at;
//   - a backend of totals never sees a value go back or a series that does not begin with zero, and its sum is exact;
//   - a backend of deltas is exact, but for the deltas that it had taken when the process died before the ledger could keep that. Those may
//     come twice. A store that fails when they are taken makes that gap longer: it ends with the next write that works.
//
// In the end the sender has sent everything again until it was acknowledged, and all sums are those of the distinct reports.
func TestModel(t *testing.T) {
	if value := os.Getenv(seedVariable); value != "" {
		seed, err := strconv.ParseUint(value, 10, 64)
		require.NoError(t, err)
		play(t, seed)
		return
	}
	n := *seeds
	if testing.Short() {
		n = min(n, 100)
	}
	var all tally
	for seed := range uint64(n) {
		all.add(play(t, seed))
	}
	t.Logf("%d histories: %+v", n, all)
	if n >= 100 {
		require.NotZero(t, all.Doubled, "the one gap that there is was never hit: the test does not look where it should")
		require.NotZero(t, all.Surfaced)
		require.NotZero(t, all.Partial)
		require.NotZero(t, all.Replayed)
	}
}

// play plays the history of a seed; if it fails, it looks for the shortest beginning of it that fails too.
func play(t *testing.T, seed uint64) tally {
	const steps = 150
	all, err := history(seed, steps, nil)
	if err == nil {
		return all
	}
	for n := range steps {
		var log []string
		if _, shorter := history(seed, n, &log); shorter != nil {
			t.Fatalf("seed %d, %d steps: %v\n%s\nrepeat with %s=%d", seed, n, shorter, strings.Join(log, "\n"), seedVariable, seed)
		}
	}
	t.Fatalf("seed %d, %d steps: %v\nrepeat with %s=%d", seed, steps, err, seedVariable, seed)
	return all
}

// tally says what the histories were made of.
type tally struct {
	Reports, Sent, Acknowledged, Repeats, Crashes, Restarts, WritesFailed, Flushes int
	// Surfaced reports were counted though nobody was told; Doubled deltas came twice.
	Surfaced, Doubled int
	// Partial runs had metrics disabled; Replayed records were folded by a start.
	Partial, Replayed int
}

func (a *tally) add(b tally) {
	a.Reports += b.Reports
	a.Sent += b.Sent
	a.Acknowledged += b.Acknowledged
	a.Repeats += b.Repeats
	a.Crashes += b.Crashes
	a.Restarts += b.Restarts
	a.WritesFailed += b.WritesFailed
	a.Flushes += b.Flushes
	a.Surfaced += b.Surfaced
	a.Doubled += b.Doubled
	a.Partial += b.Partial
	a.Replayed += b.Replayed
}

// modeled is what the model knows of a report.
type modeled struct {
	outcome Outcome // what the logs pipelines say to it
	acked   bool    // the last answer was an acknowledgment, and it is not forgotten
	counted int64   // times that it is counted for sure
	open    bool    // a commit of it failed, and the store may have it all the same
	handed  int     // times that it was handed over
	allowed int     // and how often that may be
	owed    bool    // handed over, not committed
	// commits is the number of all commits when this one was, and at the time: from then on it is to be remembered.
	commits   int
	tried, at time.Time
}

type model struct {
	*setup
	random *rand.Rand
	log    *[]string
	disk   *disk
	client *fakeClient
	ledger *Ledger[kind]
	tally  tally

	reports []*modeled
	commits int       // commits that took effect, or may have
	latest  time.Time // the latest that the clock ever showed
	pressed bool      // more was owed than the ledger remembers
	back    *backend
	// bounds are small, so that commits fold at any moment, or large, so that they never do.
	bounds bounds
	// unkept is what the metrics pipelines have taken of each series and the ledger has not kept.
	unkept map[string]int64
}

var errModel = errors.New("a promise is broken")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errModel}, args...)...)
}

// The metrics: one has a series for each report, which says of each how often it was counted; the other has few and overflows.
const byReport, byFew = 0, 1

func history(seed uint64, steps int, log *[]string) (tally, error) {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &model{setup: newSetup(), random: r, log: log, disk: newDisk(), unkept: make(map[string]int64)}
	m.metrics, m.limit, m.instance = []string{"by_report", "few"}, 100_000, "first"
	m.temporality = counter.Temporality(r.IntN(2))
	m.patience = 0
	if r.IntN(2) == 0 {
		m.ttl, m.maxEntries = time.Duration(10+r.IntN(60))*time.Second, 1+r.IntN(20)
	} else {
		m.ttl, m.maxEntries = 1000*time.Hour, 100_000
	}
	m.bounds = bounds{records: 1 << r.IntN(9), series: 1 << r.IntN(9), deletes: 1 << (1 + r.IntN(9))}
	m.observe = func(_ int, err error) {
		if err != nil {
			m.tally.WritesFailed++
			return
		}
		// A write that works puts right whatever the earlier ones left unsure.
		clear(m.unkept)
		for _, report := range m.reports {
			report.open = false
		}
	}
	m.latest = m.Now()
	m.back = &backend{temporality: m.temporality, series: make(map[string]*line)}
	m.note("%v, ttl %s, max_entries %d, bounds %+v", map[counter.Temporality]string{counter.Cumulative: "cumulative", counter.Delta: "delta"}[m.temporality], m.ttl, m.maxEntries, m.bounds)
	if err := m.start(); err != nil {
		return m.tally, err
	}
	for step := range steps {
		if err := m.step(); err != nil {
			return m.tally, fmt.Errorf("step %d: %w", step, err)
		}
	}
	m.tally.Reports = len(m.reports)
	return m.tally, m.finish()
}

func (m *model) note(format string, args ...any) {
	if m.log != nil {
		*m.log = append(*m.log, fmt.Sprintf(format, args...))
	}
}

// options gives the second metric a limit of its own, and staleness.
func (m *model) options() Options[kind] {
	o := m.setup.options()
	o.Metrics[byFew].Sums = counter.New[kind](counter.Options{Temporality: m.temporality, Limit: 3, MaxStale: 40 * time.Second}, m.Now())
	return o
}

// start is the start of a process.
func (m *model) start() error {
	m.client = m.disk.client()
	l, err := openBounded[kind](canceledNever, m.client, m.options(), m.bounds)
	if err != nil {
		return broken("the store does not open: %w", err)
	}
	m.ledger = l
	if l.Instance() != "first" {
		return broken("the instance is %q", l.Instance())
	}
	m.instance = "another"
	return m.compare()
}

// end is the end of a process: what was unsure in the store shows now.
func (m *model) end(clean bool) error {
	if clean {
		m.note("restart")
		m.tally.Restarts++
		m.client.set(func(c *fakeClient) { c.nth, c.full, c.crashIn = 0, false, 0 })
		if err := m.ledger.Close(canceledNever); err != nil {
			return err
		}
	} else {
		m.note("crash")
		m.tally.Crashes++
		m.client.kill()
	}
	for _, report := range m.reports {
		if report.owed {
			report.allowed++
		}
	}
	// The clock is not set back over a restart here: what the ledger knows of the time before is written down in a test of its own.
	m.catchUp()
	m.move(time.Duration(1+m.random.IntN(3)*10) * time.Second)
	m.latest = m.Now()
	open := make(map[*modeled]bool)
	for _, report := range m.reports {
		open[report] = report.open
	}
	slack := maps.Clone(m.unkept)
	m.tally.Replayed += m.unfolded()
	if m.random.IntN(4) == 0 {
		if err := m.without(m.random.IntN(3)); err != nil {
			return err
		}
	}
	m.client = m.disk.client()
	l, err := openBounded[kind](canceledNever, m.client, m.options(), m.bounds)
	if err != nil {
		return broken("the store does not open: %w", err)
	}
	m.ledger = l
	counted, base := totals(l, byReport), m.commits
	for n, report := range m.reports {
		have := counted[name(n)]
		if open[report] && have == report.counted+1 {
			m.tally.Surfaced++
			m.committed(report)
			report.commits = base + 1 // their order is not known
			report.acked = false      // nobody was told: the sender sends it again
		}
		if have != report.counted {
			return broken("after the restart report %d is counted %d times, not %d", n, have, report.counted)
		}
	}
	for series, value := range slack {
		m.back.slack(series, value)
	}
	if l.Instance() != "first" {
		return broken("the instance is %q", l.Instance())
	}
	return m.compare()
}

// unfolded returns how many records the next start has to fold.
func (m *model) unfolded() (n int) {
	kept, err := readMeta([]byte(m.disk.snapshot()[metaKey]))
	if err != nil {
		return 0
	}
	for number := kept.Folded; m.disk.keys(numbered(journalPrefix, number, 16)) > 0; number++ {
		n++
	}
	return n
}

// without is a run in between that has some of the metrics disabled, and counts nothing. It ends as it likes.
func (m *model) without(metrics int) error {
	o := m.options()
	o.Metrics = [][]Metric[kind]{nil, o.Metrics[:byReport+1], o.Metrics[byFew:]}[metrics]
	client := m.disk.client()
	l, err := openBounded[kind](canceledNever, client, o, m.bounds)
	if err != nil {
		return broken("the store does not open without all metrics: %w", err)
	}
	m.note("a run with %d metrics in between", len(o.Metrics))
	m.tally.Partial++
	if m.random.IntN(2) == 0 {
		client.kill()
		return nil
	}
	return l.Close(canceledNever)
}

func name(n int) string { return fmt.Sprintf("report %d", n) }

func (m *model) committed(report *modeled) {
	m.commits++
	report.counted++
	report.open, report.owed = false, false
	report.commits, report.at = m.commits, report.tried
}

// remembered says whether the ledger has to know the report.
func (m *model) remembered(report *modeled) bool {
	return report.counted > 0 && m.commits-report.commits < m.maxEntries && m.latest.Sub(report.at) < m.ttl
}

func (m *model) leap() {
	d := time.Duration(m.random.IntN(40)) * time.Second
	if m.random.IntN(4) == 0 {
		d = -d / 4
	}
	m.move(d)
	if m.Now().After(m.latest) {
		m.latest = m.Now()
	}
	m.note("clock %s", d)
}

func (m *model) step() error {
	var err error
	switch dice := m.random.IntN(100); {
	case dice < 35:
		err = m.deliver(m.next())
	case dice < 45:
		err = m.burst()
	case dice < 60:
		err = m.flush()
	case dice < 70:
		m.leap()
	case dice < 82:
		m.faults()
	case dice < 86:
		err = m.end(false)
	case dice < 90:
		err = m.end(true)
	default:
		return m.compare()
	}
	if err == nil && m.client.isDead() {
		err = m.end(false)
	}
	if err != nil {
		return err
	}
	return m.compare()
}

// catchUp sets the clock to where it was at most.
func (m *model) catchUp() { m.move(m.latest.Sub(m.Now())) }

// faults changes what the store does from now on.
func (m *model) faults() {
	dice := m.random.IntN(8)
	nth, ambiguous, in, after := 1+m.random.IntN(4), m.random.IntN(2) == 0, 1+m.random.IntN(3), m.random.IntN(2) == 0
	m.client.set(func(c *fakeClient) {
		c.full, c.nth = false, 0
		switch dice {
		case 0, 1:
			c.nth, c.ambiguous = nth, ambiguous
		case 2:
			c.full = true
		case 3, 4:
			c.crashIn, c.crashAfter = in, after
		}
	})
	m.note("store: %s", []string{
		fmt.Sprintf("every %d. write fails, taking effect: %t", nth, ambiguous), fmt.Sprintf("every %d. write fails, taking effect: %t", nth, ambiguous), "full",
		fmt.Sprintf("dies at the %d. write, after it: %t", in, after), fmt.Sprintf("dies at the %d. write, after it: %t", in, after), "well", "well", "well",
	}[dice])
}

// next returns a new report or one that came before.
func (m *model) next() int {
	if len(m.reports) > 0 && m.random.IntN(2) == 0 {
		// Rather a late one: senders try again soon.
		return len(m.reports) - 1 - m.random.IntN(min(len(m.reports), 1+m.random.IntN(40)))
	}
	m.reports = append(m.reports, &modeled{outcome: Outcome(1 + m.random.IntN(2)), allowed: 1})
	return len(m.reports) - 1
}

func (m *model) counts(n int) Counts[kind] {
	few := []kind{{fmt.Sprintf("few %d", n%5)}}
	if n%3 == 0 {
		few = append(few, kind{"few of all"})
	}
	return Counts[kind]{{{name(n)}}, few}
}

// begin is the first half of a delivery: until the logs pipelines have had their say. attempt is nil when that is all.
func (m *model) begin(n int) (*Attempt[kind], error) {
	report := m.reports[n]
	m.tally.Sent++
	attempt, known, err := m.ledger.Begin(canceledNever, id(n))
	switch {
	case m.client.isDead():
		return nil, nil
	case err != nil:
		m.note("report %d: %v", n, err)
		if !errors.Is(err, ErrStore) {
			return nil, broken("report %d: %w", n, err)
		}
		if m.remembered(report) {
			return nil, broken("report %d is known, but answered with %w", n, err)
		}
		return nil, nil
	case known != 0:
		m.note("report %d: known", n)
		m.tally.Repeats++
		if report.counted == 0 {
			return nil, broken("report %d is known, but was never counted", n)
		}
		if known != report.outcome {
			return nil, broken("report %d is known as %d, not %d", n, known, report.outcome)
		}
		report.acked = true
		return nil, nil
	case attempt == nil:
		return nil, broken("report %d: neither an attempt nor an outcome nor an error", n)
	case m.remembered(report):
		return nil, broken("report %d is not known any more, though only %d commits and %s have passed", n, m.commits-report.commits, m.Now().Sub(report.at))
	}
	if report.counted > 0 && !report.owed {
		// Forgotten, which the sender cannot know: it begins anew.
		report.allowed = report.handed + 1
		report.acked = false
	}
	if attempt.HandedOver != 0 {
		if !report.owed || attempt.HandedOver != report.outcome {
			return nil, broken("report %d was said to be handed over as %d", n, attempt.HandedOver)
		}
		return attempt, nil
	}
	if m.random.IntN(4) == 0 {
		m.note("report %d: refused for now", n)
		attempt.Release()
		return nil, nil
	}
	report.handed++
	if report.handed > report.allowed && !m.pressed {
		return nil, broken("report %d was handed over %d times, %d would be explained", n, report.handed, report.allowed)
	}
	report.owed = true
	if owed := len(slices.DeleteFunc(slices.Clone(m.reports), func(r *modeled) bool { return !r.owed })); owed > m.maxEntries {
		m.pressed = true
	}
	return attempt, nil
}

// commit is the second half, when Commit has returned in a process that is alive.
func (m *model) commit(n int, over Overflows, err error) error {
	report := m.reports[n]
	if err != nil {
		m.note("report %d: %v", n, err)
		if !errors.Is(err, ErrStore) {
			return broken("report %d: %w", n, err)
		}
		return nil
	}
	m.note("report %d: acknowledged", n)
	m.tally.Acknowledged++
	m.committed(report)
	report.acked = true
	if len(over) != 2 || over[byReport] != 0 {
		return broken("report %d overflows %v", n, over)
	}
	return nil
}

func (m *model) deliver(n int) error {
	attempt, err := m.begin(n)
	if attempt == nil || err != nil {
		return err
	}
	if m.random.IntN(25) == 0 {
		m.note("report %d: handed over, then", n)
		m.client.kill()
		return nil
	}
	wasOpen := m.reports[n].open
	m.reports[n].tried = m.Now()
	over, err := attempt.Commit(canceledNever, m.reports[n].outcome, m.counts(n))
	if err != nil {
		m.reports[n].open = true
		m.note("report %d: %v, open before: %t", n, err, wasOpen)
	}
	if m.client.isDead() {
		return nil // whatever it says now, nobody hears it
	}
	return m.commit(n, over, err)
}

// burst delivers several reports at once: the first is written alone, the others together, in an order that is always the same.
func (m *model) burst() error {
	var ns []int
	var attempts []*Attempt[kind]
	for range 2 + m.random.IntN(8) {
		n := m.next()
		if slices.Contains(ns, n) {
			continue
		}
		attempt, err := m.begin(n)
		if err != nil {
			return err
		}
		if m.client.isDead() {
			return nil
		}
		if attempt != nil {
			ns, attempts = append(ns, n), append(attempts, attempt)
		}
	}
	m.note("at once: %v", ns)
	if len(ns) == 0 {
		return nil
	}
	type answer struct {
		over Overflows
		err  error
		dead bool
	}
	answers := make([]answer, len(ns))
	gate, entered := make(chan struct{}), make(chan struct{})
	first := true
	m.client.before = func([]*storage.Operation) {
		if first {
			first = false
			close(entered)
			<-gate
		}
	}
	var all sync.WaitGroup
	queue := m.ledger.store
	for i, attempt := range attempts {
		m.reports[ns[i]].tried = m.Now()
		all.Go(func() {
			over, err := attempt.Commit(canceledNever, m.reports[ns[i]].outcome, m.counts(ns[i]))
			answers[i] = answer{over, err, m.client.isDead()}
		})
		if i == 0 {
			<-entered
			continue
		}
		for waiting := 0; waiting < i; runtime.Gosched() {
			queue.queue.Lock()
			waiting = len(queue.waiting)
			queue.queue.Unlock()
		}
	}
	close(gate)
	all.Wait()
	m.client.before = nil
	// Those that failed first: a later success has put them right, and Observe has said so already, unless it was the last to be written.
	for i, n := range ns {
		a := answers[i]
		if a.err != nil && (i > 0 || len(ns) == 1 || answers[1].err != nil) {
			m.reports[n].open = true
		}
		if m.client.isDead() && a.err == nil {
			// The sender may have heard it or not.
			m.committed(m.reports[n])
			continue
		}
		if a.dead {
			continue
		}
		if err := m.commit(n, a.over, a.err); err != nil {
			return err
		}
	}
	return nil
}

// flush is what happens each interval.
func (m *model) flush() error {
	c, err := m.ledger.Collect(canceledNever)
	if err != nil {
		return broken("collect: %w", err)
	}
	if m.client.isDead() {
		return nil
	}
	if m.random.IntN(3) == 0 {
		m.note("flush: refused")
		return nil
	}
	m.tally.Flushes++
	for i, report := range c.Reports {
		for p := range report.Points() {
			series := m.metrics[i] + "/" + p.Key.name
			if p.Overflow {
				series = m.metrics[i] + "/overflow"
			}
			if err := m.back.take(series, p); err != nil {
				return err
			}
			if m.temporality == counter.Delta {
				m.unkept[series] += p.Value
			}
		}
	}
	if m.random.IntN(10) == 0 {
		m.note("flush: taken, then")
		m.client.kill()
		return nil
	}
	m.note("flush: taken")
	if err := c.Taken(canceledNever); err != nil {
		return broken("taken: %w", err)
	}
	if m.temporality == counter.Delta && m.client.isDead() {
		return nil
	}
	return nil
}

// compare holds the ledger to what is known at any time.
func (m *model) compare() error {
	counted := totals(m.ledger, byReport)
	for n, report := range m.reports {
		if counted[name(n)] != report.counted {
			return broken("report %d is counted %d times, not %d", n, counted[name(n)], report.counted)
		}
	}
	if n := m.ledger.Remembered(); n > m.maxEntries {
		return broken("%d are remembered", n)
	}
	// What is remembered, what is not folded yet, and what could not be removed or was not worth it.
	if n := m.disk.keys(journalPrefix); n > m.maxEntries+int(m.bounds.records+m.bounds.deletes)+1 && !m.ledger.store.unsettled {
		return broken("%d records are on the disk", n)
	}
	if n := m.unfolded(); n > int(m.bounds.records) && !m.ledger.store.unsettled {
		return broken("%d records are not folded", n)
	}
	return nil
}

// finish has the sender send everything until it is acknowledged, and everything reported, and adds up.
func (m *model) finish() error {
	m.note("finish")
	m.catchUp()
	for range 3 {
		m.client.set(func(c *fakeClient) { c.full, c.nth, c.crashIn = false, 0, 0 })
		for n, report := range m.reports {
			for !report.acked {
				if err := m.deliver(n); err != nil {
					return err
				}
				if m.client.isDead() {
					if err := m.end(false); err != nil {
						return err
					}
				}
			}
		}
		if err := m.compare(); err != nil {
			return err
		}
		m.move(time.Second)
		m.latest = m.Now()
		for tries := 0; m.ledger.Untaken() || tries < 2; tries++ {
			if err := m.flush(); err != nil {
				return err
			}
			if m.client.isDead() {
				if err := m.end(false); err != nil {
					return err
				}
			}
		}
		if err := m.end(true); err != nil {
			return err
		}
	}
	var wantReports, wantFew int64
	for n, report := range m.reports {
		if report.counted == 0 {
			return broken("report %d was acknowledged, but never counted", n)
		}
		if m.maxEntries > len(m.reports)*3 && report.counted != 1 {
			return broken("report %d was counted %d times", n, report.counted)
		}
		if err := m.back.exactly(&m.tally, "by_report/"+name(n), report.counted); err != nil {
			return err
		}
		wantReports += report.counted
		wantFew += report.counted * int64(len(m.counts(n)[byFew]))
	}
	if err := m.back.exactly(&m.tally, "few/", wantFew); err != nil {
		return err
	}
	return m.back.exactly(&m.tally, "by_report/", wantReports)
}

// backend adds up points like a reader of differences does. It lives on when the collector is restarted.
type backend struct {
	temporality counter.Temporality
	series      map[string]*line
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
	zero  time.Time
	last  time.Time
	value int64
}

func (b *backend) of(series string) *line {
	l, ok := b.series[series]
	if !ok {
		l = &line{starts: make(map[int64]*run)}
		b.series[series] = l
	}
	return l
}

func (b *backend) slack(series string, value int64) { b.of(series).may += value }

func (b *backend) take(series string, p counter.Point[kind]) error {
	l := b.of(series)
	if !p.Start.Before(p.Time) {
		return broken("%s starts at %s and ends at %s", series, p.Start, p.Time)
	}
	if b.temporality == counter.Delta {
		if p.Ended || p.Value <= 0 {
			return broken("%s: a delta of %d, ended: %t", series, p.Value, p.Ended)
		}
		if !p.Time.After(l.last) {
			return broken("%s: time went back from %s to %s", series, l.last, p.Time)
		}
		// What may have come twice may overlap too.
		if p.Start.Before(l.last) && l.may == 0 {
			return broken("%s: deltas overlap, from %s on until %s was covered", series, p.Start, l.last)
		}
		l.last = p.Time
		l.sum += p.Value
		return nil
	}
	r, ok := l.starts[p.Start.UnixNano()]
	switch {
	case !ok && p.Value == 0 && !p.Ended:
		if p.Start.Before(l.last) && len(l.starts) > 0 {
			return broken("%s begins anew at %s, before the time of its last point, %s", series, p.Start, l.last)
		}
		l.starts[p.Start.UnixNano()] = &run{zero: p.Time, last: p.Time}
	case !ok:
		return broken("%s begins with %d, not zero", series, p.Value)
	case p.Time.Equal(r.zero) && p.Value == 0:
		return nil // the same zero once more: the backend has it
	case !p.Time.After(r.last):
		return broken("%s: time went back from %s to %s", series, r.last, p.Time)
	case p.Ended:
		r.last = p.Time
	case p.Value < r.value:
		return broken("%s went back from %d to %d at %s, with the same start", series, r.value, p.Value, p.Time)
	default:
		r.value, r.last = p.Value, p.Time
	}
	l.last = p.Time
	return nil
}

// exactly compares the sum of all series whose names begin so with what was counted.
func (b *backend) exactly(all *tally, prefix string, want int64) error {
	var have, may int64
	for series, l := range b.series {
		if series != prefix && (!strings.HasSuffix(prefix, "/") || !strings.HasPrefix(series, prefix)) {
			continue
		}
		have += l.sum
		may += l.may
		for _, r := range l.starts {
			have += r.value
		}
	}
	if have < want || have > want+may {
		return broken("%s: the backend has %d, %d were counted, %d deltas may have come twice", prefix, have, want, may)
	}
	if strings.HasSuffix(prefix, "/") {
		all.Doubled += int(have - want)
	}
	return nil
}
