package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	flatConnections = 64
	// flatTime is how long each part may take.
	flatTime = 30 * time.Minute
	// flatGrowth is how much more may be held at the end than after the first part, as a share and at least in bytes: the collector of
	// garbage runs when it likes.
	flatGrowth, flatSlack = 0.20, 24 << 20
	// liveGrowth and liveSlack are the same of the heap without garbage, which has no such excuse.
	liveGrowth, liveSlack = 0.05, 1 << 20
	mebibyte              = 1 << 20

	// times is how often the limits are reached when the memory is measured, and leastSent how many reports are sent for it at least.
	times     = 2
	leastSent = 20_000
	// quickScale is how much less is done with -quick.
	quickScale = 50
)

// limits is how much the receiver may remember.
type limits struct{ entries, series int }

var defaultLimits = limits{100_000, 2000}

func (l limits) environment() []string {
	return []string{fmt.Sprintf("BENCH_MAX_ENTRIES=%d", l.entries), fmt.Sprintf("BENCH_CARDINALITY_LIMIT=%d", l.series)}
}

// scaled returns less of both where little is to be done.
func (l limits) scaled(quick bool) limits {
	if !quick {
		return l
	}
	return limits{max(1, l.entries/quickScale), max(1, l.series/quickScale)}
}

// runFlat sends reports of which hardly two are alike, and more of them than are remembered.
func (o *options) runFlat(ctx context.Context) (err error) {
	l := defaultLimits.scaled(o.quick)
	fmt.Printf("%d reports of %d distinct tags and enhanced statuses, each with an id of its own, with max_entries %d and cardinality_limit %d:\n\n",
		o.reports, o.distinct, l.entries, l.series)
	fmt.Println("| reports | requests/s | CPU for each | p99 | memory held | peak | live heap |")
	fmt.Println("|---:|---:|---:|---:|---:|---:|---:|")
	// Only a collector that serves its profiles collects its garbage when it is asked to.
	program, err := o.profiled(ctx)
	if err != nil {
		return err
	}
	s, err := start(ctx, ours, program, l.environment(), o.config("ours", "limits", "profiling")...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	sending := newHostile(o.distinct)
	var first, last held
	part := min(1_000_000, max(1, o.reports/10))
	for sent := 0; sent < o.reports; sent += part {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		before, err := s.cpu()
		if err != nil {
			return err
		}
		got, err := s.take(sending, min(part, o.reports-sent))
		if err != nil {
			return err
		}
		after, err := s.cpu()
		if err != nil {
			return err
		}
		if last, err = s.look(); err != nil {
			return err
		}
		if last.live, err = s.liveHeap(); err != nil {
			return err
		}
		if first == (held{}) {
			first = last
		}
		fmt.Printf("| %d | %.0f | %s | %s | %.0f MiB | %.0f MiB | %.0f MiB |\n", sending.sent, got.perSecond(),
			microseconds(float64(after-before)/float64(got.answers())), microseconds(float64(got.percentile(0.99))),
			last.held/mebibyte, last.peak/mebibyte, last.live/mebibyte)
	}
	counted, err := s.counted(failuresCounter, o.reports)
	if err != nil {
		return err
	}
	byTag, err := sum(s.counters, "email_delivery_failures_by_tag_total")
	if err != nil {
		return err
	}
	fmt.Printf("\nCounted: %d, and %.0f by tag.\n", counted, byTag)
	if counted != o.reports || int(byTag) != o.reports {
		return errors.New("the counters are wrong")
	}
	if last.held > first.held*(1+flatGrowth) && last.held > first.held+flatSlack {
		return fmt.Errorf("it holds %.0f MiB after the first part and %.0f MiB at the end", first.held/mebibyte, last.held/mebibyte)
	}
	if last.live > first.live*(1+liveGrowth)+liveSlack {
		return fmt.Errorf("%.1f MiB of heap are in use after the first part and %.1f MiB at the end", first.live/mebibyte, last.live/mebibyte)
	}
	return o.fit(ctx)
}

// take sends so many reports, all of which have to be accepted.
func (s *server) take(sending requests, n int) (*outcome, error) {
	got, err := (&load{address: s.address, connections: flatConnections, requests: &limited{sending, n}}).run(flatTime)
	if err == nil && got.statuses[http.StatusOK] != n {
		err = fmt.Errorf("of %d reports, not all were accepted: %v", n, got.statuses)
	}
	return got, err
}

// held is what memory a process has: what is held of the machine's, the most that was, and the heap with its garbage and without.
type held struct {
	held, peak, heap, live float64
}

func (s *server) look() (held, error) {
	var (
		m    held
		errs [3]error
	)
	m.held, errs[0] = s.memory("VmRSS")
	m.peak, errs[1] = s.memory("VmHWM")
	m.heap, errs[2] = sum(s.telemetry, "otelcol_process_runtime_heap_alloc_bytes")
	return m, errors.Join(errs[:]...)
}

// liveHeap returns what is left of the heap when its garbage has been collected, which it asks for. Only a collector that serves its profiles
// tells.
func (s *server) liveHeap() (float64, error) {
	text, err := get(s.profiles + "heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "# HeapAlloc = "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, errors.New("the profile of the heap does not say how large it is")
}

// fit finds how the peak of memory follows from the limits.
func (o *options) fit(ctx context.Context) error {
	fmt.Printf("\nPeak of memory with other limits, each reached %d times over:\n\n| max_entries | cardinality_limit | memory held | peak |\n|---:|---:|---:|---:|\n", times)
	var (
		tried []limits
		peaks []float64
	)
	for _, l := range []limits{
		{1, 1}, {100_000, 1}, {400_000, 1}, {1, 50_000}, {1, 100_000}, {200_000, 50_000},
	} {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		l = l.scaled(o.quick)
		m, err := o.peak(ctx, l)
		if err != nil {
			return err
		}
		fmt.Printf("| %d | %d | %.0f MiB | %.0f MiB |\n", l.entries, l.series, m.held/mebibyte, m.peak/mebibyte)
		tried, peaks = append(tried, l), append(peaks, m.peak)
	}
	base, entry, series := leastSquares(tried, peaks)
	fmt.Printf("\npeak = %.0f MiB + max_entries × %.0f bytes + cardinality_limit × %.0f bytes (both metrics together)\n", base/mebibyte, entry, series)
	return nil
}

// peak returns what memory it takes to send some times as many reports as reach the limits, and then the counters.
func (o *options) peak(ctx context.Context, l limits) (m held, err error) {
	s, err := start(ctx, ours, o.ours, l.environment(), o.config("ours", "limits", "uncounted")...)
	if err != nil {
		return held{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	n := times * max(l.entries, l.series, leastSent)
	if _, err := s.take(newHostile(n), n); err != nil {
		return held{}, err
	}
	if err := s.flushes(ctx, 2); err != nil {
		return held{}, err
	}
	return s.look()
}

// leastSquares solves peak = base + entries × entry + series × oneSeries for what fits best.
func leastSquares(tried []limits, peaks []float64) (base, entry, series float64) {
	// The normal equations, by Gauss.
	var m [3][4]float64
	for i, l := range tried {
		row := [3]float64{1, float64(l.entries), float64(l.series)}
		for j := range row {
			for k := range row {
				m[j][k] += row[j] * row[k]
			}
			m[j][3] += row[j] * peaks[i]
		}
	}
	for i := range m {
		for j := range m {
			if j == i {
				continue
			}
			factor := m[j][i] / m[i][i]
			for k := range m[j] {
				m[j][k] -= factor * m[i][k]
			}
		}
	}
	return m[0][3] / m[0][0], m[1][3] / m[1][1], m[2][3] / m[2][2]
}
