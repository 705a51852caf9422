package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/test/otlpsink"
)

const (
	// phaseTime is longer than the timeout in configs/backend.yaml.
	phaseTime = 5 * time.Second
	// recoveryTime is how soon a report must be accepted once the backend works again.
	recoveryTime = time.Second
	// backlog is how much more memory may be held than with a backend that works, in MiB.
	backlog = 64
)

// runBackpressure has the backend fail in each way in turn, while more is sent than it could take.
func (b *bench) runBackpressure(ctx context.Context) {
	sink := must(otlpsink.Start("127.0.0.1:0", nil))
	defer sink.Close()
	s := start(ctx, "ours", b.ours, []string{"BENCH_BACKEND=" + sink.URL}, "ours", "backend")
	defer s.stop()

	fmt.Printf("\n64 connections, each phase %s:\n\n", phaseTime)
	fmt.Print("| backend | 200 | 503 | others | p50 | p99 | memory held | peak | first 200 after it works again |\n" +
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	var wrong []error
	accepted, healthy := 0, 0.0 // healthy is the peak of the first phase
	next := numbered(failureBodies())
	works := phase{"works", otlpsink.Accept, http.StatusOK}
	for _, p := range []phase{
		works,
		{"refuses connections", otlpsink.Down, http.StatusServiceUnavailable},
		works,
		{"takes them and hangs", otlpsink.Stall, http.StatusServiceUnavailable},
		works,
		{fmt.Sprintf("takes %s for each record", otlpsink.SlowDelay), otlpsink.Slow, http.StatusOK},
		works,
	} {
		check(sink.SetMode(p.mode))
		var recovered, first atomic.Int64
		recovering := make(chan error, 1)
		time.AfterFunc(phaseTime, func() {
			recovering <- sink.SetMode(otlpsink.Accept)
			recovered.Store(time.Now().UnixNano())
		})
		statuses := make(map[int]int) // during the phase
		o := (&load{address: s.address, connections: 64, next: next, onResponse: func(status int) {
			if recovered.Load() == 0 {
				statuses[status]++
			} else if status == http.StatusOK {
				first.CompareAndSwap(0, time.Now().UnixNano())
			}
		}}).run(phaseTime + 2*recoveryTime)
		check(<-recovering)

		accepted += o.statuses[http.StatusOK]
		others := len(o.latencies) - o.statuses[http.StatusOK] - o.statuses[http.StatusServiceUnavailable]
		took := time.Duration(first.Load() - recovered.Load())
		peak := s.status("VmHWM") / 1024
		if healthy == 0 {
			healthy = peak
		}
		fmt.Printf("| %s | %d | %d | %d | %.0f µs | %.0f µs | %.0f MiB | %.0f MiB | %s |\n", p.name, statuses[http.StatusOK],
			statuses[http.StatusServiceUnavailable], others, o.percentile(0.50), o.percentile(0.99),
			s.status("VmRSS")/1024, peak, took.Round(10*time.Microsecond))
		if took < 0 || took > recoveryTime || others > 0 || statuses[p.status] == 0 || peak > healthy+backlog {
			wrong = append(wrong, fmt.Errorf("a backend that %s: %v, recovered in %s, %.0f MiB", p.name, o.statuses, took, peak))
		}
	}
	check(append(wrong, s.wrong(failuresCounter, accepted))...)
}

// phase is a way in which the backend fails.
type phase struct {
	name   string
	mode   otlpsink.Mode
	status int // that some responses must have
}
