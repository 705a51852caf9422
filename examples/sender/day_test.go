package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDayIsMadeBySeed(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	bodies := func(seed uint64, number int) []string {
		var all []string
		for _, r := range makeDay(seed, "run", number, 300, 0.1) {
			all = append(all, r.at.String()+" "+string(r.body(now)))
		}
		return all
	}
	first := bodies(1, 1)
	assert.Equal(t, first, bodies(1, 1), "the same seed")
	assert.NotEqual(t, first, bodies(2, 1), "another seed")
	assert.NotEqual(t, first, bodies(1, 2), "another day")
}

func TestDayHasAsManyReportsAsAskedFor(t *testing.T) {
	for _, reports := range []int{1, 2, 3, 10, 499, 5000} {
		day := makeDay(1, "run", 1, reports, 0)
		assert.Len(t, day, reports)

		ids := map[string]bool{}
		for _, r := range day {
			ids[r.id] = true
			require.True(t, r.at >= 0 && r.at < dayLength, "%s is in the day", r.at)
			require.True(t, strings.HasPrefix(r.id, "run-1-"), r.id)
		}
		assert.Len(t, ids, reports, "every report has an id of its own")
		assert.True(t, slices.IsSortedFunc(day, func(a, b *report) int { return int(a.at - b.at) }), "in the order of time")
	}
}

func TestRunAndDayTellIDsApart(t *testing.T) {
	first := makeDay(1, "a", 1, 1, 0)[0]
	for _, other := range []*report{makeDay(1, "b", 1, 1, 0)[0], makeDay(1, "a", 2, 1, 0)[0]} {
		assert.NotEqual(t, first.id, other.id)
	}
}

// between counts the reports of a stretch of the day that fit.
func between(day []*report, from, to time.Duration, fits func(*report) bool) int {
	n := 0
	for _, r := range day {
		if r.at >= from && r.at < to && fits(r) {
			n++
		}
	}
	return n
}

func TestDayHasItsCurveAndItsIncidents(t *testing.T) {
	const hour = time.Hour
	day := makeDay(1, "run", 1, 5000, 0.02)
	all := func(*report) bool { return true }

	night, morning := between(day, 2*hour, 4*hour, all), between(day, 11*hour, 13*hour, all)
	assert.Greater(t, morning, 3*night, "more at eleven than at two")

	reputation := func(r *report) bool {
		return strings.HasSuffix(r.recipient, "@"+refusing) && (r.extended == "5.7.1" || r.extended == "5.7.26")
	}
	assert.Greater(t, between(day, 9*hour, 10*hour+hour/2, reputation), 50*between(day, 7*hour, 8*hour+hour/2, reputation)/3)
	tagged := func(r *report) bool { return slices.Contains(r.tags, blocked) }
	assert.Greater(t, between(day, 9*hour, 10*hour, tagged), 5*between(day, 12*hour, 13*hour, tagged), "one tag fails far more")

	outage := func(r *report) bool {
		return strings.HasSuffix(r.recipient, "@"+failing) && strings.HasPrefix(r.extended, "4.")
	}
	assert.Greater(t, between(day, 14*hour, 15*hour+hour/4, outage), 5*between(day, 12*hour, 13*hour+hour/4, outage))

	news := func(r *report) bool { return r.extended == "5.7.20" }
	assert.Zero(t, between(day, 0, 20*hour, news), "not seen before")
	assert.Equal(t, 1, between(day, 20*hour, 20*hour+time.Second, news), "the first one is on the hour")
	assert.Equal(t, 10, between(day, 0, dayLength, news))
}

func TestDayHasEveryKindProviderAndTag(t *testing.T) {
	day := makeDay(1, "run", 1, 5000, 0.02)
	seen := map[string]int{}
	for _, r := range day {
		seen["state "+r.state]++
		seen["status "+r.code+" "+r.extended]++
		_, domain, _ := strings.Cut(r.recipient, "@")
		require.True(t, strings.HasSuffix(domain, ".example"), "%s is nobody's", domain)
		seen["domain "+domain]++
		for _, tag := range r.tags {
			seen["tag "+tag]++
		}
		if len(r.tags) == 0 {
			seen["untagged"]++
		}
		if len(r.repeats) > 0 {
			seen["repeated"]++
		}
		seen["dialect "+r.dialect.name]++
		seen["type "+r.encoding.contentType]++
	}
	for _, story := range stories {
		for _, k := range story.kinds {
			assert.Positive(t, seen["state "+k.state], "%+v", k)
			assert.Positive(t, seen["status "+k.code+" "+k.extended], "%+v", k)
		}
		for _, f := range story.flows {
			for _, tag := range f.tags {
				assert.Positive(t, seen["tag "+tag], tag)
			}
		}
	}
	for _, p := range providers {
		assert.Positive(t, seen["domain "+p.domain], p.domain)
	}
	for _, d := range dialects {
		assert.Positive(t, seen["dialect "+d.name], d.name)
	}
	assert.Positive(t, seen["untagged"])
	assert.Positive(t, seen["type "+jsonType])
	assert.Greater(t, seen["type "+formType], seen["type "+jsonType])
	assert.InDelta(t, 100, seen["repeated"], 40)
}

func TestNoRepeatIsBeforeItsReportOrAfterTheDay(t *testing.T) {
	late := 0
	for _, r := range makeDay(1, "run", 1, 500, 1) {
		require.Len(t, r.repeats, 1)
		require.True(t, r.repeats[0] >= r.at && r.repeats[0] < dayLength)
		if r.repeats[0] > r.at {
			late++
		}
	}
	assert.InDelta(t, 250, late, 60, "about half come at once")
}
