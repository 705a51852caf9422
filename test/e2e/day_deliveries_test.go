package e2e

import (
	"math"
	"testing"
)

// testDeliveries compares the deliveries in Prometheus with what was sent, and the failure rate of each campaign with the
// one that was played.
func (d *playedDay) testDeliveries(t *testing.T) {
	delivered := countOf(d.deliveries, byTag)
	for _, w := range d.ways() {
		total := map[string]float64{"": dayDeliveries}
		compare(t, w.name, "", w.server.query(t, "sum("+w.metric(deliveriesTotal)+")", d.to), total)
		compare(t, w.name, byTag.label, w.server.query(t, "sum by (email_tag) ("+w.metric(deliveriesByTag)+")", d.to), delivered)
	}

	// A message that bounced is among the deliveries.
	var synchronous []sentReport
	for _, report := range d.reports {
		if report.State != "bounce" {
			synchronous = append(synchronous, report)
		}
	}
	failed, attempted := d.count(byTag), countOf(synchronous, byTag)
	played := map[string]float64{}
	for tag, n := range delivered {
		attempted[tag] += n
		if failed[tag] > 0 {
			played[tag] = failed[tag] / attempted[tag]
		}
	}
	if played["campaign-autumn"] < 5*played["newsletter"] {
		t.Errorf("the campaign that is refused has a rate of %v, the healthy one %v", played["campaign-autumn"], played["newsletter"])
	}

	w := d.ways()[0]
	increase := func(metric string, matchers ...string) string {
		return "sum by (email_tag) (increase(" + w.metric(metric, matchers...) + "[" + d.window() + "]))"
	}
	rate := increase(failuresByTag) + " / (" + increase(deliveriesByTag) + " + " +
		increase(failuresByTag, `email_failure_mode="synchronous"`) + ")"
	found := map[string]float64{}
	for _, one := range w.server.query(t, rate, d.to) {
		found[one.labels["email_tag"]] = one.value
	}
	// increase() stretches a series by up to 1.1 times the interval between its samples.
	const stretched = 0.05
	for tag, want := range played {
		if got := found[tag]; math.Abs(got-want) > stretched*want {
			t.Errorf("the failure rate of %q is %v, want %v", tag, got, want)
		}
	}
}
