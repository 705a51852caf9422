package e2e

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// checkAllArrived waits until every report has its record, and checks that it has one only and that
// the counters look as if there had never been a restart.
func checkAllArrived(t *testing.T, c *collector, s *sink, reports []*report) {
	t.Helper()
	ids, want := idsOf(reports), wanted(reports)
	waitUntilHas(t, c, s, ids, want)
	c.stop(t)
	s.checkArrived(t, ids, want)
	s.checkRecords(t, ids)
	s.checkSeries(t)
	byReceiver, _ := s.repeats()
	assert.Zero(t, byReceiver, "records exported again")
}

// TestStorageRestart restarts the collector: counters continue, and repeats of reports of earlier
// runs are recognized.
func TestStorageRestart(t *testing.T) {
	reports := newReports(rand.New(rand.NewPCG(1, 2)), "restart-", 150)
	before := reports[:100]
	s := startSink(t)
	c := newStoring(t, s)
	sender := newSender(c.url(), 8, 1)
	for _, run := range []struct{ send, total []*report }{{before, before}, {reports, reports}, {before, reports}} {
		c.start(t)
		require.NoError(t, sender.send(t.Context(), run.send))
		// The last totals go out at the stop, and what is in the queue then, or after the next
		// start.
		c.stop(t)
		s.checkArrived(t, nil, wanted(run.total))
	}
	checkAllArrived(t, c.start(t), s, reports)
}

// TestTwoProcesses starts a second collector on the store of one that runs. file_storage locks it,
// so the second ends with a message that names the store, and the first goes on. A test of
// internal/ledger has a store without locks.
func TestTwoProcesses(t *testing.T) {
	s := startSink(t)
	first := newStoring(t, s).start(t)
	second := newStoring(t, s)
	second.environment = append(second.environment, "STORE="+first.directory+"/data/store")
	reports := newReports(rand.New(rand.NewPCG(5, 6)), "both-", 100)
	sender := newSender(first.url(), 4, 5)
	require.NoError(t, sender.send(t.Context(), reports[:50]))
	require.NoError(t, second.launch())
	<-second.exited
	assert.Regexp(t, `the extension \\?"file_storage\\?" cannot open what it keeps`, second.output.String())
	require.NoError(t, sender.send(t.Context(), reports))
	checkAllArrived(t, first, s, reports)
}

// TestTwoInstances starts two collectors with the same configuration, whose series must differ.
func TestTwoInstances(t *testing.T) {
	s := startSink(t)
	reports := newReports(rand.New(rand.NewPCG(3, 4)), "two-", 20)
	for range 2 {
		c := newStoring(t, s).start(t)
		require.NoError(t, newSender(c.url(), 4, 5).send(t.Context(), reports))
		c.stop(t)
	}
	s.checkArrived(t, nil, wanted(slices.Concat(reports, reports)))
	assert.Len(t, s.instances(), 2)
}
