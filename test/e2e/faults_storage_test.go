package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStorageRestart stops the collector and starts it again: the counters go on where they stopped, and reports of the first run are
// still known.
func TestStorageRestart(t *testing.T) {
	ctx := t.Context()
	random := rand.New(rand.NewPCG(1, 2))
	reports := newReports(random, "restart-", 150)
	before, all := reports[:100], reports
	s := startSink(t)
	d := newDeployment(t, s)
	sender := newSender(d.failuresURL, 8, 1)

	for _, run := range []struct{ send, total []*failure }{{before, before}, {all, all}, {before, all}} {
		if err := d.start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := sender.send(ctx, run.send); err != nil {
			t.Fatal(err)
		}
		// Not waited for before the stop: the last totals and what is in the queue go out, or stay in the queue, by themselves.
		if err := d.terminate(ctx); err != nil {
			t.Fatalf("after SIGTERM: %v, want exit code 0", err)
		}
		checkTotals(t, s, run.total)
	}

	if err := d.start(ctx); err != nil {
		t.Fatal(err)
	}
	checkArrivals(ctx, t, d, s, all)
}

// checkTotals compares what the counters came to.
func checkTotals(t *testing.T, s *sink, reports []*failure) {
	t.Helper()
	lines, _ := s.totals().difference(wanted(reports))
	for _, line := range lines {
		t.Error(line)
	}
}

// checkArrivals waits until every report has its record and checks that it has one only, and that the counters look as if there had
// never been a restart.
func checkArrivals(ctx context.Context, t *testing.T, d *deployment, s *sink, reports []*failure) {
	t.Helper()
	ids := idsOf(reports)
	if err := d.wait(ctx, "every record arrives", func() bool { return len(s.missing(ids)) == 0 }); err != nil {
		t.Error(err)
	}
	if err := d.terminate(ctx); err != nil {
		t.Errorf("after SIGTERM: %v, want exit code 0", err)
	}
	if missing := s.missing(ids); len(missing) > 0 {
		t.Errorf("lost %d records: %v", len(missing), missing[:min(len(missing), 10)])
	}
	if extra := s.surplus(); extra.handedOver != 0 {
		t.Errorf("%d records were handed over again", extra.handedOver)
	}
	checkTotals(t, s, reports)
	s.checkRecords(t, ids)
	s.checkSeries(t)
}

// TestTwoProcesses starts a second collector on the store of one that runs: file_storage locks it, so that the second ends with a message that
// names the store, and the first goes on. Without locks, which no extension of the distribution goes without, the second would take it over, as a
// test of internal/ledger shows.
func TestTwoProcesses(t *testing.T) {
	ctx := t.Context()
	s := startSink(t)
	first, second := newDeployment(t, s), newDeployment(t, s)
	for i, variable := range second.environment {
		if strings.HasPrefix(variable, "STORE=") {
			second.environment[i] = "STORE=" + first.store
		}
	}
	reports := newReports(rand.New(rand.NewPCG(5, 6)), "both-", 100)
	sender := newSender(first.failuresURL, 4, 5)
	if err := errors.Join(first.start(ctx), sender.send(ctx, reports[:50]), second.launch()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-second.current.exited:
	case <-time.After(deadline):
		t.Fatal("the second runs")
	}
	if output := second.current.output.String(); !strings.Contains(output, `the extension \"file_storage\" cannot open what it keeps`) &&
		!strings.Contains(output, `the extension "file_storage" cannot open what it keeps`) {
		t.Errorf("it does not say which store: %s", tail(output, 5))
	}
	if err := sender.send(ctx, reports); err != nil {
		t.Fatal(err)
	}
	checkArrivals(ctx, t, first, s, reports)
}

// TestStorageOfTwo starts two collectors with the same configuration but for what they cannot share: their counters are never those of one series.
func TestStorageOfTwo(t *testing.T) {
	ctx := t.Context()
	s := startSink(t)
	reports := newReports(rand.New(rand.NewPCG(3, 4)), "two-", 20)
	for range 2 {
		d := newDeployment(t, s)
		if err := d.start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := newSender(d.failuresURL, 4, 5).send(ctx, reports); err != nil {
			t.Fatal(err)
		}
		if err := d.terminate(ctx); err != nil {
			t.Fatalf("after SIGTERM: %v, want exit code 0", err)
		}
	}
	checkTotals(t, s, slices.Concat(reports, reports))
	s.mutex.Lock()
	defer s.mutex.Unlock()
	instances := make(map[string]bool)
	for key := range s.series {
		instances[key.instance] = true
	}
	if len(instances) != 2 {
		t.Errorf("two collectors count as %d instances: %v", len(instances), fmt.Sprint(instances))
	}
}
