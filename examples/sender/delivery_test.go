package main

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDeliveriesOfADay(t *testing.T) {
	failures := makeDay(1, "run", 1, 500, 0.1)
	deliveries := makeDeliveries(1, "run", 1, failures, 5000)
	assert.Len(t, deliveries, 5000)

	byID := map[string]*report{}
	for _, d := range deliveries {
		assert.Nil(t, byID[d.id], "every delivery has a message of its own")
		byID[d.id] = d
		assert.Equal(t, "delivery", d.kind)
		assert.Empty(t, d.state+d.action)
		require.True(t, d.at >= 0 && d.at < dayLength, "%s is in the day", d.at)
	}
	tagged := func(day []*report, tag string) (n int) {
		for _, r := range day {
			if r.state != bounce && slices.Contains(r.tags, tag) {
				n++
			}
		}
		return n
	}
	for _, f := range failures {
		d := byID[f.id]
		assert.Equal(t, f.state == bounce, d != nil, "only what bounced was delivered before")
		if d != nil {
			assert.Equal(t, f.recipient, d.recipient)
			assert.LessOrEqual(t, d.at, f.at)
		}
	}
	share := func(tag string) float64 {
		failed := tagged(failures, tag)
		return float64(failed) / float64(failed+tagged(deliveries, tag))
	}
	assert.Less(t, share("newsletter"), 0.1, "a large mailing that is healthy")
	assert.Greater(t, share(blocked), 0.5, "a small one that is refused")
}

func TestDeliveryBody(t *testing.T) {
	reported := time.Date(2026, 11, 22, 9, 0, 30, 0, time.UTC)
	written := map[string]bool{}
	for _, d := range makeDeliveries(1, "run", 1, nil, 300) {
		d.encoding, d.age, d.recipient, d.tags = encodings[0], 30*time.Second, "a@b.example", []string{"t"}
		d.id = "x"
		if d.description != "" {
			d.description = "queued"
		}
		written[string(d.body(reported))] = true
	}
	const variables = "id=x&type=delivery&timestamp=2026-11-22+09%3A00%3A00&time=1795338000&recipient=a%40b.example"
	assert.Equal(t, map[string]bool{
		variables + "&tags%5B%5D=t": true,
		variables + "&code=250&extended=2.0.0&description=queued&tags%5B%5D=t": true,
	}, written)
}

func TestDeliveriesArePlayed(t *testing.T) {
	s := startServer(t, nil)
	code, output, records := play(t, newClock(), s.URL, "-reports", "20", "-deliveries", "100", "-repeats", "0")
	assert.Zero(t, code)
	assert.Contains(t, output, "120 reports, 0 not accepted")
	kinds := map[string]int{}
	for _, r := range records {
		kinds[r.Type]++
	}
	assert.Equal(t, 100, kinds["delivery"])
}
