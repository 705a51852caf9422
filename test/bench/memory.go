package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"
)

const (
	kinds    = 1_000_000 // of tags and enhanced statuses
	longLoad = 30 * time.Minute
)

// gauges must not grow while reports come in, by more than 5 % and the slack.
var gauges = []struct {
	name  string
	slack float64
	read  func(*server) float64
}{
	// It has garbage in it.
	{"memory held, MiB", 16, func(s *server) float64 { return s.status("VmRSS") / 1024 }},
	{"live heap, MiB", 4, func(s *server) float64 {
		return numberIn(get(s.profiles+"heap?gc=1&debug=1"), `# HeapAlloc = (\d+)`) / (1 << 20)
	}},
	{"goroutines", 3, func(s *server) float64 {
		return numberIn(get(s.profiles+"goroutine?debug=1"), `^goroutine profile: total (\d+)`)
	}},
	{"open files", 3, func(s *server) float64 {
		return float64(len(must(os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid)))))
	}},
	{"threads", 3, func(s *server) float64 { return s.status("Threads") }},
}

// grew reports whether the samples of the last quarter are higher on average than the first.
func grew(samples []float64, slack float64) bool {
	var first, last float64
	n := max(1, len(samples)/4)
	for i := range n {
		first += samples[i] / float64(n)
		last += samples[len(samples)-1-i] / float64(n)
	}
	return last > first*1.05+slack
}

// limits is how much the receiver remembers.
type limits struct{ entries, series int }

func (l limits) environment() []string {
	return []string{fmt.Sprintf("BENCH_MAX_ENTRIES=%d", l.entries), fmt.Sprintf("BENCH_CARDINALITY_LIMIT=%d", l.series)}
}

// runFlat sends reports of which hardly two are alike, many more than are remembered, and looks
// whether anything grows. With a duration it sends half of what the receiver can take for so long.
func (b *bench) runFlat(ctx context.Context, duration time.Duration) {
	reports, scale := 10_000_000, 1
	if b.quick {
		reports, scale = 200_000, 50
	}
	l := limits{100_000 / scale, 2000 / scale}
	s := start(ctx, "ours", b.buildProfiled(ctx), l.environment(), "ours", "limits", "pprof")
	defer s.stop()

	next, sent, parts := distinct(kinds), 0, 10
	send := func() *outcome { return s.fill(next, reports/parts) }
	if duration > 0 {
		sent, parts = 3*l.entries, 20
		full := s.fill(next, sent).perSecond()
		fmt.Printf("\nIt takes %.0f reports/s over 64 connections. Half of that for %s:\n", full, duration)
		send = func() *outcome {
			return (&load{address: s.address, connections: 64, next: next, rate: full / 2}).run(duration / time.Duration(parts))
		}
	}

	fmt.Print("\n| reports | requests/s | CPU for each | p50 | p99 |")
	for _, gauge := range gauges {
		fmt.Printf(" %s |", gauge.name)
	}
	fmt.Println("\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	samples := make([][]float64, len(gauges))
	for range parts {
		before := s.cpu()
		o := send()
		sent += o.statuses[http.StatusOK]
		fmt.Printf("| %d | %.0f | %.0f µs | %.0f µs | %.0f µs |", sent, o.perSecond(),
			(s.cpu()-before)/float64(len(o.latencies)), o.percentile(0.50), o.percentile(0.99))
		for i, gauge := range gauges {
			value := gauge.read(s)
			samples[i] = append(samples[i], value)
			fmt.Printf(" %.1f |", value)
		}
		fmt.Println()
	}
	wrong := []error{s.wrong(failuresCounter, sent), s.wrong("email_delivery_failures_by_tag_total", sent)}
	for i, gauge := range gauges {
		if grew(samples[i], gauge.slack) {
			wrong = append(wrong, fmt.Errorf("%s: grew: %.1f", gauge.name, samples[i]))
		}
	}
	check(wrong...)
	if duration == 0 {
		b.printLimits(ctx, 400_000/scale, 100_000/scale)
	}
}

// fill sends so many reports, all of which must be accepted.
func (s *server) fill(next requests, n int) *outcome {
	o := (&load{address: s.address, connections: 64, next: limited(n, next)}).run(longLoad)
	if o.statuses[http.StatusOK] != n {
		check(fmt.Errorf("of %d reports, not all were accepted: %v", n, o.statuses))
	}
	return o
}

// printLimits prints what memory an entry and a series take at most.
func (b *bench) printLimits(ctx context.Context, entries, series int) {
	fmt.Print("\n| max_entries | cardinality_limit | peak of memory |\n|---:|---:|---:|\n")
	var peaks []float64
	for _, l := range []limits{{1, 1}, {entries, 1}, {1, series}, {entries / 2, series / 2}} {
		peaks = append(peaks, b.peak(ctx, l))
		fmt.Printf("| %d | %d | %.0f MiB |\n", l.entries, l.series, peaks[len(peaks)-1])
	}
	fmt.Printf("\npeak = %.0f MiB + max_entries × %.0f bytes + cardinality_limit × %.0f bytes (both metrics together)\n",
		peaks[0], (peaks[1]-peaks[0])*(1<<20)/float64(entries), (peaks[2]-peaks[0])*(1<<20)/float64(series))
}

// peak returns the most memory that is held, in MiB, when twice as many reports come as reach the
// limits and the counters are sent twice.
func (b *bench) peak(ctx context.Context, l limits) float64 {
	s := start(ctx, "ours", b.ours, l.environment(), "ours", "limits", "uncounted")
	defer s.stop()
	n := 2 * max(l.entries, l.series, 20_000)
	s.fill(distinct(n), n)
	flushes := func() float64 { return sum(get(s.telemetry), "otelcol_smtp_failure_flushes") }
	before := flushes()
	s.await("sends its counters twice", func() bool { return flushes() >= before+2 })
	return s.status("VmHWM") / 1024
}
