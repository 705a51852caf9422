package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/test/otlpsink"
)

var (
	faultsLong = flag.Bool("faults.long", false, "run the long form of TestFaults")
	faultsSeed = flag.Uint64("faults.seed", 0, "repeat TestFaults with the seed that it printed")
)

// plan is how much happens in a run.
type plan struct {
	reports     int // of failures
	deliveries  int
	connections int
	kills       int // at the least
	stops       int
	outages     int
	timeout     time.Duration
}

var (
	shortPlan = plan{3000, 3000, 32, 4, 1, 4, 3 * time.Minute}
	longPlan  = plan{2000, 60_000, 48, 30, 5, 20, 20 * time.Minute}
)

// newStoring returns a collector that keeps reports, counters and unsent records in stores and
// sends to the sink.
func newStoring(t *testing.T, s *sink, settings ...string) *collector {
	t.Helper()
	return newCollector(t, []string{"SINK=" + s.URL}, "testdata/faults.yaml").set(settings...)
}

// TestFaults sends reports while the collector is killed and the sink fails, repeatedly. Nothing
// may be lost or counted twice, and no more may arrive twice than the kills explain.
func TestFaults(t *testing.T) {
	p := shortPlan
	if *faultsLong {
		p = longPlan
	}
	seed := *faultsSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -faults.seed=%d: the same reports and faults, though not at quite the same times", seed)
	ctx, cancel := context.WithTimeoutCause(t.Context(), p.timeout, fmt.Errorf("not done after %s", p.timeout))
	defer cancel()

	random := rand.New(rand.NewPCG(seed, 0))
	reports := newReports(random, "fault-", p.reports)
	all := slices.Concat(reports, newDeliveries(random, "delivered-", p.deliveries))
	list := withCopies(random, all)
	s := startSink(t)
	c := newStoring(t, s).start(t)

	began := time.Now()
	f := &faults{plan: p, sink: s, collector: c, sender: newSender(c.url(), p.connections, seed), sends: len(list)}
	require.NoError(t, f.run(ctx, list, seed))
	// With an empty queue nothing more can arrive.
	ids, want := idsOf(reports), wanted(all)
	waitUntilHas(t, c, s, ids, want)
	c.eventually(t, "the queue is empty", func() bool {
		return sum(scrape(t, c.telemetry), "otelcol_exporter_queue_size") == 0
	})
	c.stop(t)
	f.took = time.Since(began)

	s.checkArrived(t, ids, want)
	s.checkRecords(t, ids)
	s.checkSeries(t)
	unexplained := 0
	for id, n := range s.repeatsByReceiver() {
		// A report is exported again only if one of its requests was cut off by a kill.
		if cut := f.sender.cut[id]; n > cut {
			t.Errorf("%s was exported again %d times, and %d of its requests were cut off", id, n, cut)
			unexplained += n - cut
		}
	}
	byReceiver, byExporter := s.repeats()
	assert.LessOrEqual(t, byReceiver, f.explainedByReceiver(), "records exported again")
	assert.LessOrEqual(t, byExporter, f.explainedByExporter(), "records sent again")
	f.print(t, unexplained, ids, want)
}

// faults is a run: a sender, a sink that fails and a collector that is killed.
type faults struct {
	plan      plan
	sink      *sink
	collector *collector
	sender    *sender
	sends     int

	kills, startKills, stops int
	outages                  map[otlpsink.Mode]int
	restarting, took         time.Duration
}

// run returns when everything was accepted and everything works again.
func (f *faults) run(ctx context.Context, list []*report, seed uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	for stream, part := range []func(context.Context, *rand.Rand) error{f.killRepeatedly, f.failRepeatedly} {
		parts.Go(func() {
			if err := part(ctx, rand.New(rand.NewPCG(seed, 1000+uint64(stream)))); err != nil {
				cancel(err)
			}
		})
	}
	if err := f.sender.send(ctx, list); err != nil {
		cancel(err)
	}
	parts.Wait()
	return context.Cause(ctx)
}

// moments returns n random numbers of accepted sends, spread over the run, so that they do not
// depend on the speed of the machine.
func (f *faults) moments(random *rand.Rand, n int) []int64 {
	moments := make([]int64, n)
	for i := range moments {
		moments[i] = int64((float64(i) + random.Float64()) / float64(n) * float64(f.sends))
	}
	return moments
}

// reached waits until so many sends were accepted.
func (f *faults) reached(ctx context.Context, accepted int64) error {
	for f.sender.accepted.Load() < accepted {
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// killRepeatedly kills the collector, or sometimes stops it, and starts it again.
func (f *faults) killRepeatedly(ctx context.Context, random *rand.Rand) error {
	stop := make([]bool, f.plan.kills+f.plan.stops)
	for i := range f.plan.stops {
		stop[i] = true
	}
	random.Shuffle(len(stop), func(i, j int) { stop[i], stop[j] = stop[j], stop[i] })
	for i, moment := range f.moments(random, len(stop)) {
		if err := f.reached(ctx, moment); err != nil {
			return err
		}
		again, later := random.IntN(4) == 0, upTo(random, 40*time.Millisecond)
		select {
		case <-time.After(upTo(random, 50*time.Millisecond)):
		case <-f.collector.exited:
			return fmt.Errorf("the collector exited by itself: %w", f.collector.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		began := time.Now()
		if stop[i] {
			// With the sink down the last totals cannot be sent, and the exit code says so.
			var exit *exec.ExitError
			if err := f.collector.terminate(); err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
				return err
			}
			f.stops++
		} else {
			f.collector.kill()
			f.kills++
		}
		if err := f.restart(ctx, again, later); err != nil {
			return err
		}
		f.restarting += time.Since(began)
	}
	return nil
}

// restart starts the collector, and if again is set kills it once while it starts.
func (f *faults) restart(ctx context.Context, again bool, later time.Duration) error {
	if again {
		if err := f.collector.launch(); err != nil {
			return err
		}
		// Not before the exporter has opened its queue: it (v0.158) takes what was in flight out of
		// the queue and puts it back in separate writes, so that a kill in between loses records
		// that it had accepted. The receiver starts last.
		err := f.collector.wait(ctx, "the exporter's queue is open", func() bool {
			output := f.collector.output.String()
			return strings.Contains(output, "Moved items for dispatching back to queue") ||
				strings.Contains(output, `"dispatchedItems": 0`)
		})
		if err := errors.Join(err, sleep(ctx, later)); err != nil {
			return err
		}
		f.collector.kill()
		f.kills++
		f.startKills++
	}
	return f.collector.restart(ctx)
}

// failRepeatedly takes the sink down in one way after the other.
func (f *faults) failRepeatedly(ctx context.Context, random *rand.Rand) error {
	f.outages = make(map[otlpsink.Mode]int)
	modes := []otlpsink.Mode{otlpsink.Refuse, otlpsink.Stall, otlpsink.HoldResponse, otlpsink.Down}
	for i, moment := range f.moments(random, f.plan.outages) {
		if i%len(modes) == 0 {
			random.Shuffle(len(modes), func(i, j int) { modes[i], modes[j] = modes[j], modes[i] })
		}
		mode, length := modes[i%len(modes)], 200*time.Millisecond+upTo(random, 1300*time.Millisecond)
		if err := f.reached(ctx, moment); err != nil {
			return err
		}
		f.outages[mode]++
		if err := errors.Join(f.sink.SetMode(mode), sleep(ctx, length), f.sink.SetMode(otlpsink.Accept)); err != nil {
			return err
		}
	}
	return nil
}

// explainedByReceiver returns how many records the receiver may have exported twice: those of
// reports in flight at a kill, one for each connection and for each request that timed out.
func (f *faults) explainedByReceiver() int {
	return f.kills*f.plan.connections + f.sender.responses[timedOut]
}

// explainedByExporter returns how many records the exporter may have sent twice: those that the
// sink took without being able to respond, and all in flight when the collector is killed, the sink
// dies or the exporter times out. At most 10 requests are in flight, each with a record for each
// connection.
func (f *faults) explainedByExporter() int {
	return f.sink.Unacknowledged() +
		(f.kills+f.outages[otlpsink.Down]+f.outages[otlpsink.HoldResponse])*10*f.plan.connections
}

// print writes the figures as a table in Markdown.
func (f *faults) print(t *testing.T, unexplained int, ids []string, want totals) {
	t.Helper()
	var responses []string
	for _, response := range slices.Sorted(maps.Keys(f.sender.responses)) {
		responses = append(responses, fmt.Sprintf("%s: %d", response, f.sender.responses[response]))
	}
	_, miscounted := f.sink.totals().difference(want)
	byReceiver, byExporter := f.sink.repeats()
	printTable(t, [][2]any{
		{"distinct failures, and deliveries", fmt.Sprintf("%d, %d", f.plan.reports, f.plan.deliveries)},
		{"sent, copies included", f.sends},
		{"connections", f.plan.connections},
		{"requests", f.sender.requests},
		{"responses", strings.Join(responses, ", ")},
		{"SIGKILLs", fmt.Sprintf("%d, of these during start-up: %d", f.kills, f.startKills)},
		{"SIGTERMs under load", f.stops},
		{"sink outages", fmt.Sprintf("%d: refused %d, stalled %d, took and did not answer %d, died %d",
			f.plan.outages, f.outages[otlpsink.Refuse], f.outages[otlpsink.Stall], f.outages[otlpsink.HoldResponse],
			f.outages[otlpsink.Down])},
		{"accepted and lost", len(f.sink.missing(ids))},
		{"miscounted", miscounted},
		{
			"surplus records exported by the receiver",
			fmt.Sprintf("%d; without a request that was cut off: %d; the kills explain up to %d",
				byReceiver, unexplained, f.explainedByReceiver()),
		},
		{
			"surplus records sent by the exporter",
			fmt.Sprintf("%d; kills and outages explain up to %d", byExporter, f.explainedByExporter()),
		},
		{"duration", f.took.Round(100 * time.Millisecond)},
		{
			"mean time from a kill or stop until it answers again",
			(f.restarting / time.Duration(f.plan.kills+f.plan.stops)).Round(time.Millisecond),
		},
	})
}

// printTable writes figures as a table in Markdown.
func printTable(t *testing.T, rows [][2]any) {
	t.Helper()
	fmt.Fprintf(t.Output(), "| Figure | Value |\n|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(t.Output(), "| %v | %v |\n", row[0], row[1])
	}
}
