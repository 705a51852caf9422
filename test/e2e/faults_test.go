package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	faultsLong = flag.Bool("faults.long", false, "run the long form of TestFaults")
	faultsSeed = flag.Uint64("faults.seed", 0, "repeat TestFaults with the seed that it printed")
)

// plan is how much happens in a run.
type plan struct {
	reports     int
	deliveries  int // sent among them
	connections int
	kills       int // at the least
	stops       int
	outages     int
	timeout     time.Duration
}

var (
	shortPlan = plan{reports: 3000, deliveries: 3000, connections: 32, kills: 4, stops: 1, outages: 4, timeout: 3 * time.Minute}
	longPlan  = plan{reports: 2000, deliveries: 60_000, connections: 48, kills: 30, stops: 5, outages: 20, timeout: 20 * time.Minute}
)

// TestFaults sends reports while the collector is killed again and again and the sink fails again and again, and checks that nothing is lost,
// nothing is counted twice, and what arrives twice is no more than the kills explain.
func TestFaults(t *testing.T) {
	p := shortPlan
	if *faultsLong {
		p = longPlan
	}
	seed := *faultsSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -faults.seed=%d: the same reports and faults, though the processes will not run quite the same", seed)
	ctx, cancel := context.WithTimeoutCause(t.Context(), p.timeout, fmt.Errorf("not done after %s", p.timeout))
	defer cancel()

	random := rand.New(rand.NewPCG(seed, 0))
	reports := newReports(random, "fault-", p.reports)
	all := slices.Concat(reports, newDeliveries(random, "delivered-", p.deliveries))
	list := withCopies(random, all)
	s := startSink(t)
	d := newDeployment(t, s)
	if err := d.start(ctx); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	f := &faults{
		plan: p, sink: s, deployment: d,
		sender: newSender(d.failuresURL, p.connections, seed), sends: len(list),
	}
	if err := f.run(ctx, list, seed); err != nil {
		t.Fatal(err)
	}
	// All works again. What is still under way now has to arrive.
	want := wanted(all)
	ids := idsOf(reports)
	err := d.wait(ctx, "the sink has everything", func() bool {
		if len(s.missing(ids)) > 0 {
			return false
		}
		lines, _ := s.totals().difference(want)
		return len(lines) == 0
	})
	if err != nil {
		// What is missing is listed below.
		t.Error(err)
	}
	// With an empty queue nothing can arrive any more either.
	err = d.wait(ctx, "the queue is empty", func() bool {
		samples := scrape(t, d.telemetryURL)
		return len(samples) > 0 && sum(samples, "otelcol_exporter_queue_size") == 0
	})
	if err != nil {
		t.Error(err)
	}
	if err := d.terminate(ctx); err != nil {
		t.Errorf("after SIGTERM: %v, want exit code 0", err)
	}
	f.took = time.Since(began)

	missing := s.missing(ids)
	for _, id := range missing[:min(len(missing), 10)] {
		t.Errorf("%s was acknowledged, and its record is lost", id)
	}
	lines, miscounted := s.totals().difference(want)
	for _, line := range lines {
		t.Error(line)
	}
	s.checkRecords(t, ids)
	s.checkSeries(t)
	unexplained := 0
	for id, n := range s.handedOverAgain() {
		// A report that is handed over again was under way when the collector was killed, and so was a request with it.
		if cut := f.sender.cut[id]; n > cut {
			t.Errorf("%s was handed over again %d times, and %d of its requests were cut off", id, n, cut)
			unexplained += n - cut
		}
	}
	extra, handedOver, resent := s.surplus(), f.explainedHandedOver(), f.explainedResent()
	if extra.handedOver > handedOver {
		t.Errorf("%d records were handed over again, the kills explain %d", extra.handedOver, handedOver)
	}
	if extra.resent > resent {
		t.Errorf("%d records were sent again, the kills and outages explain %d", extra.resent, resent)
	}
	f.print(t.Output(), len(missing), miscounted, extra, unexplained)
}

// faults is a run: a sender, a sink that fails and a collector that is killed.
type faults struct {
	plan       plan
	sink       *sink
	deployment *deployment
	sender     *sender
	sends      int

	kills, startKills, stops int
	outages                  map[outage]int
	restarts                 []time.Duration
	took                     time.Duration
}

// run returns when everything was acknowledged and everything works again.
func (f *faults) run(ctx context.Context, list []*failure, seed uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	for stream, part := range []func(context.Context, *rand.Rand) error{f.killAgainAndAgain, f.failAgainAndAgain} {
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

// moments spreads n moments over the run, each at random in its share: numbers of acknowledged sends. Progress and not time, so that on a slow machine as on
// a fast one all of them fall into the run.
func (f *faults) moments(random *rand.Rand, n int) []int64 {
	moments := make([]int64, n)
	for i := range moments {
		moments[i] = int64((float64(i) + random.Float64()) / float64(n) * float64(f.sends))
	}
	return moments
}

// reached waits until so many sends were acknowledged.
func (f *faults) reached(ctx context.Context, acknowledged int64) error {
	for f.sender.acknowledged.Load() < acknowledged {
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// killAgainAndAgain kills the collector, or now and then stops it, and starts it again.
func (f *faults) killAgainAndAgain(ctx context.Context, random *rand.Rand) error {
	n := f.plan.kills + f.plan.stops
	gently := make([]bool, n)
	for i := range f.plan.stops {
		gently[i] = true
	}
	random.Shuffle(n, func(i, j int) { gently[i], gently[j] = gently[j], gently[i] })
	for i, moment := range f.moments(random, n) {
		if err := f.reached(ctx, moment); err != nil {
			return err
		}
		jitter, again, later := upTo(random, 50*time.Millisecond), random.IntN(4) == 0, upTo(random, 40*time.Millisecond)
		select {
		case <-time.After(jitter):
		case <-f.deployment.current.exited:
			return fmt.Errorf("the collector exited by itself: %w", f.deployment.current.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		began := time.Now()
		if gently[i] {
			// With the sink down the last totals cannot be sent, and the exit code says so. They are sent after the restart.
			var exit *exec.ExitError
			if err := f.deployment.terminate(ctx); err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
				return err
			}
			f.stops++
		} else {
			f.deployment.current.kill()
			f.kills++
		}
		if err := f.restart(ctx, again, later); err != nil {
			return err
		}
		f.restarts = append(f.restarts, time.Since(began))
	}
	return nil
}

// restart starts the collector, and kills it once more while it starts if it is to.
func (f *faults) restart(ctx context.Context, again bool, later time.Duration) error {
	if again {
		if err := f.deployment.launch(); err != nil {
			return err
		}
		// Not before the exporter has opened its queue: the exporter (v0.158) takes what was in flight out of the queue and then puts it back in,
		// in separate writes, so that a kill in between loses records that it had accepted. That is not this receiver's to mend.
		// From here on the kill falls into the start of the receiver, which comes last.
		err := f.deployment.wait(ctx, "the exporter's queue is open", func() bool {
			output := f.deployment.current.output.String()
			return strings.Contains(output, "Moved items for dispatching back to queue") || strings.Contains(output, `"dispatchedItems": 0`)
		})
		if err != nil {
			return err
		}
		if err := sleep(ctx, later); err != nil {
			return err
		}
		f.deployment.current.kill()
		f.kills++
		f.startKills++
	}
	return f.deployment.start(ctx)
}

// failAgainAndAgain takes the sink down in one way after the other.
func (f *faults) failAgainAndAgain(ctx context.Context, random *rand.Rand) error {
	f.outages = make(map[outage]int)
	ways := []outage{refuses, stalls, mute, dead}
	for i, moment := range f.moments(random, f.plan.outages) {
		if i%len(ways) == 0 {
			random.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
		}
		way, length := ways[i%len(ways)], 200*time.Millisecond+upTo(random, 1300*time.Millisecond)
		if err := f.reached(ctx, moment); err != nil {
			return err
		}
		f.sink.down(way)
		f.outages[way]++
		err := sleep(ctx, length)
		if err := errors.Join(err, f.sink.up()); err != nil {
			return err
		}
	}
	return nil
}

// explainedHandedOver is how many records the receiver may have handed to the pipeline twice: those of the reports that were under way when the
// collector was killed, after the exporter's queue took the record and before the store took the report. Each needs a request in
// flight, of which there is one for each connection, and one more for each that the sender gave up on while it was answered.
func (f *faults) explainedHandedOver() int {
	return f.kills*f.plan.connections + f.sender.answers[timedOut]
}

// explainedResent is how many records the exporter may have sent twice, which no receiver can help: those that the sink took without an answer that
// came through, as far as the sink itself noticed, and at most all in flight whenever it cannot have: when the collector is killed after an
// answer and before the record is off the queue, when the sink dies with answers in its buffers, and when it answers again just as the
// exporter gives up.
func (f *faults) explainedResent() int {
	// A batch has a record for each connection at most.
	return f.sink.unanswered + (f.kills+f.outages[dead]+f.outages[mute])*consumers*f.plan.connections
}

// print writes the figures as a table in Markdown.
func (f *faults) print(w io.Writer, lost int, miscounted int64, extra surplus, unexplained int) {
	var answers []string
	for _, answer := range slices.Sorted(maps.Keys(f.sender.answers)) {
		answers = append(answers, fmt.Sprintf("%s: %d", answer, f.sender.answers[answer]))
	}
	var restarting time.Duration
	for _, took := range f.restarts {
		restarting += took
	}
	outages := 0
	for _, n := range f.outages {
		outages += n
	}
	restarts := max(len(f.restarts), 1)
	fmt.Fprintf(w, "| Figure | Value |\n|---|---|\n")
	for _, row := range []struct {
		name  string
		value any
	}{
		{"distinct failures, and deliveries", fmt.Sprintf("%d, %d", f.plan.reports, f.plan.deliveries)},
		{"sent, copies included", f.sends},
		{"connections", f.plan.connections},
		{"requests", f.sender.requests},
		{"answers", strings.Join(answers, ", ")},
		{"SIGKILLs", fmt.Sprintf("%d, of these during start-up: %d", f.kills, f.startKills)},
		{"SIGTERMs under load", f.stops},
		{"sink outages", fmt.Sprintf("%d: refused %d, stalled %d, took and did not answer %d, died %d", outages, f.outages[refuses], f.outages[stalls], f.outages[mute], f.outages[dead])},
		{"acknowledged and lost", lost},
		{"miscounted", miscounted},
		{"surplus records handed over by the receiver", fmt.Sprintf("%d; without a request that was cut off: %d; the kills explain up to %d", extra.handedOver, unexplained, f.explainedHandedOver())},
		{"surplus records sent by the exporter", fmt.Sprintf("%d; kills and outages explain up to %d", extra.resent, f.explainedResent())},
		{"duration", f.took.Round(100 * time.Millisecond)},
		{"mean time from a SIGKILL or SIGTERM until it answers again", (restarting / time.Duration(restarts)).Round(time.Millisecond)},
	} {
		fmt.Fprintf(w, "| %s | %v |\n", row.name, row.value)
	}
}
