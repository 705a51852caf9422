package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDayDependsOnSeedAndNumber(t *testing.T) {
	first := makeDay(1, "run", 1, 300, 0.1)
	assert.Equal(t, texts(first), texts(makeDay(1, "run", 1, 300, 0.1)))
	assert.NotEqual(t, texts(first), texts(makeDay(2, "run", 1, 300, 0.1)))
	assert.NotEqual(t, texts(first), texts(makeDay(1, "run", 2, 300, 0.1)))
	assert.NotEqual(t, first[0].ID, makeDay(1, "other", 1, 300, 0.1)[0].ID)
}

// texts returns what is sent of reports but for the ids, and when.
func texts(day []*report) (all []string) {
	for _, r := range day {
		r.write(time.Unix(0, 0))
		_, rest, _ := strings.Cut(string(r.body), "&")
		all = append(all, r.at.String()+" "+rest)
	}
	return all
}

func TestDayHasAsManyReportsAsAskedFor(t *testing.T) {
	for _, reports := range []int{1, 2, 3, 10, 499, 5000} {
		day := makeDay(1, "run", 1, reports, 1)
		assert.Len(t, day, reports)
		assert.True(t, slices.IsSortedFunc(day, func(a, b *report) int { return int(a.at - b.at) }))
		ids, late := map[string]bool{}, 0
		for _, r := range day {
			ids[r.ID] = true
			require.True(t, r.at >= 0 && r.at < dayLength, r.at)
			require.True(t, strings.HasSuffix(r.Recipient, ".example"), r.Recipient)
			require.Len(t, r.repeats, 1)
			require.True(t, r.repeats[0] >= r.at && r.repeats[0] < dayLength, r.repeats[0])
			if r.repeats[0] > r.at {
				late++
			}
		}
		assert.Len(t, ids, reports)
		assert.InDelta(t, reports/2, late, float64(reports)/10+2, "half of the repeats come at once")
	}
}

func TestDayHasItsCurveAndIncidents(t *testing.T) {
	day := makeDay(1, "run", 1, 5000, 0.02)
	between := func(from, to float64, matches func(*report) bool) (n int) {
		for _, r := range day {
			if hour := r.at.Hours(); from <= hour && hour < to && matches(r) {
				n++
			}
		}
		return n
	}
	at := func(r *report, domain string) bool { return strings.HasSuffix(r.Recipient, "@"+domain) }
	all := func(*report) bool { return true }
	reputation := func(r *report) bool { return at(r, refusing) && (r.Extended == "5.7.1" || r.Extended == "5.7.26") }
	campaign := func(r *report) bool { return slices.Contains(r.Tags, blocked) }
	outage := func(r *report) bool { return at(r, failing) && strings.HasPrefix(r.Extended, "4.") }
	unsigned := func(r *report) bool { return r.Extended == "5.7.20" }

	assert.Greater(t, between(11, 13, all), 3*between(2, 4, all))
	assert.Greater(t, between(9, 10.5, reputation), 16*between(7, 8.5, reputation))
	assert.Greater(t, between(9, 10, campaign), 5*between(12, 13, campaign))
	assert.Greater(t, between(14, 15.25, outage), 5*between(12, 13.25, outage))
	assert.Equal(t, 10, between(20, 24, unsigned))
	assert.Zero(t, between(0, 20, unsigned))
	assert.Equal(t, 1, between(20, 20+1.0/3600, unsigned), "the first is on the hour")
}

func TestDeliveriesOfADay(t *testing.T) {
	failures := makeDay(1, "run", 1, 500, 0.1)
	deliveries := makeDeliveries(1, "run", 1, failures, 5000)
	assert.Len(t, deliveries, 5000)
	byID := map[string]*report{}
	for _, d := range deliveries {
		byID[d.ID] = d
		require.Equal(t, "delivery", d.Type)
		require.Empty(t, d.State+d.Action)
		require.True(t, d.at >= 0 && d.at < dayLength, d.at)
	}
	assert.Len(t, byID, 5000)
	for _, f := range failures {
		d := byID[f.ID]
		assert.Equal(t, f.State == bounce, d != nil, "only what bounced was delivered before")
		if d != nil {
			assert.Equal(t, f.Recipient, d.Recipient)
			assert.LessOrEqual(t, d.at, f.at)
		}
	}
	failed := func(tag string) float64 {
		count := func(day []*report) (n float64) {
			for _, r := range day {
				if r.State != bounce && slices.Contains(r.Tags, tag) {
					n++
				}
			}
			return n
		}
		return count(failures) / (count(failures) + count(deliveries))
	}
	assert.Less(t, failed("newsletter"), 0.1, "a large mailing that is healthy")
	assert.Greater(t, failed(blocked), 0.5, "a small one that is refused")
}
