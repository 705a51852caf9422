package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

const (
	dayLength   = 24 * time.Hour
	dayMinutes  = 24 * 60
	latestNews  = time.Minute // how long ago a failure happened when it is reported
	repeatAfter = time.Hour   // of the played day, at most
)

// report is one failure, or one delivery. What a dialect does not have is empty.
type report struct {
	// at is when it happens in the played day.
	at time.Duration

	id          string
	recipient   string
	tags        []string
	state       string
	code        string
	extended    string
	kind        string // the variable `type`
	action      string
	description string

	dialect  dialect
	encoding encoding
	// age is how long before it is reported the failure happened.
	age time.Duration
	// repeats are the times in the played day at which the same call is made again.
	repeats []time.Duration
}

// story is a cause of failures: how many of the day's, when, of what kinds, where and in which mail.
type story struct {
	share     float64
	curve     func(minute float64) float64
	kinds     []kind
	providers []provider
	flows     []flow
}

// stories are the day: mail that fails as on every day, and three incidents at 9, 14 and 20 hours.
var stories = []story{
	{
		share: 0.76, kinds: everyday, providers: providers, flows: flows,
		// Quiet at night, the newsletters in the morning, a second wave in the afternoon and a lower one in the evening.
		curve: func(minute float64) float64 {
			return 0.12 + bell(minute, 10*60, 95) + 0.75*bell(minute, 15*60, 120) + 0.45*bell(minute, 20*60+15, 80)
		},
	},
	{
		share: 0.14, kinds: refused, providers: []provider{{1, refusing}}, flows: blockedFlows,
		curve: window(9*60, 10*60+30),
	},
	{
		share: 0.10, kinds: deferred, providers: []provider{{1, failing}}, flows: flows,
		curve: window(14*60, 15*60+15),
	},
	{
		// Few, for the alert has to see the first. Their share is what makeDay gives them.
		kinds: unsigned, providers: providers, flows: unsignedFlows,
		curve: window(20*60, 23*60),
	},
}

// bell is 1 at its middle, and 0.6 a width away from it.
func bell(minute, middle, width float64) float64 {
	return math.Exp(-(minute - middle) * (minute - middle) / (2 * width * width))
}

// window is sudden at its start, as incidents are, and dies down towards its end.
func window(from, to float64) func(float64) float64 {
	return func(minute float64) float64 {
		if minute < from || minute >= to {
			return 0
		}
		return 1 - 0.7*(minute-from)/(to-from)
	}
}

// shares says how many of the reports belong to each story. They add up to the reports, and the news of the evening is always
// among them.
func shares(reports int) []int {
	counts := make([]int, len(stories))
	news := len(stories) - 1
	counts[news] = max(1, reports/500)
	rest := reports - counts[news]
	left := rest
	for i, story := range stories[1:news] {
		counts[i+1] = int(story.share * float64(rest))
		left -= counts[i+1]
	}
	counts[0] = left
	return counts
}

// makeDay makes the reports of a day in the order in which they happen. They depend on the seed and the number of the day only;
// run and number make the ids, so that no run repeats another's.
func makeDay(seed uint64, run string, number, reports int, repeats float64) []*report {
	random := rand.New(rand.NewPCG(seed, uint64(number))) //nolint:gosec // two runs with one seed are to be the same
	day := make([]*report, 0, reports)
	for i, count := range shares(reports) {
		for _, at := range stories[i].times(random, count) {
			day = append(day, stories[i].report(random, at))
		}
	}
	slices.SortStableFunc(day, func(a, b *report) int { return cmp.Compare(a.at, b.at) })
	for i, r := range day {
		r.id = fmt.Sprintf("%s-%d-%06d", run, number, i+1)
		if random.Float64() < repeats {
			// Half of them come at once, as from a sender that did not wait for the answer.
			after := time.Duration(0)
			if random.IntN(2) == 0 {
				after = below(random, repeatAfter)
			}
			r.repeats = append(r.repeats, min(r.at+after, dayLength-1))
		}
	}
	return day
}

// times spreads count moments over the day as the story's curve says. The first one of a window is at its very start.
func (s *story) times(random *rand.Rand, count int) []time.Duration {
	sums := make([]float64, dayMinutes+1)
	for minute := range dayMinutes {
		sums[minute+1] = sums[minute] + s.curve(float64(minute))
	}
	times := make([]time.Duration, count)
	for i := range times {
		position := float64(i)
		if i > 0 {
			position += random.Float64()
		}
		target := position / float64(count) * sums[dayMinutes]
		// The minute after which more than the target has happened, so that a flat stretch is never chosen.
		end, _ := slices.BinarySearchFunc(sums, target, func(sum, target float64) int {
			if sum > target {
				return 1
			}
			return -1
		})
		minute := min(end, dayMinutes) - 1
		part := (target - sums[minute]) / (sums[minute+1] - sums[minute])
		times[i] = min(time.Duration((float64(minute)+part)*float64(time.Minute)), dayLength-1)
	}
	return times
}

func (s *story) report(random *rand.Rand, at time.Duration) *report {
	what := pick(random, s.kinds, func(k kind) int { return k.weight })
	where := pick(random, s.providers, func(p provider) int { return p.weight })
	which := pick(random, s.flows, func(f flow) int { return f.weight })
	said := pick(random, dialects, func(d dialect) int { return d.weight })

	recipient := fmt.Sprintf("%s.%s%d@%s", firstNames[random.IntN(len(firstNames))], lastNames[random.IntN(len(lastNames))], random.IntN(1000), where.domain)
	r := &report{
		at:          at,
		recipient:   recipient,
		state:       what.state,
		code:        what.code,
		extended:    what.extended,
		description: inWords(what.text, recipient),
		dialect:     said,
		encoding:    pick(random, said.encodings, func(e encoding) int { return e.weight }),
		age:         below(random, latestNews),
	}
	if said.tagged {
		r.tags = which.tags
	}
	if said.typed {
		r.kind = "failure"
		r.action = "failed"
		if what.state == bounce {
			r.action = "failure"
		}
	}
	return r
}

// inWords fills in the text of a kind for a recipient.
func inWords(text, recipient string) string {
	_, domain, _ := strings.Cut(recipient, "@")
	return strings.NewReplacer("RCPT", recipient, "HOST", "mx1."+domain).Replace(text)
}

// below is a random duration shorter than the limit.
func below(random *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(limit)))
}

// pick chooses one of the list by weight.
func pick[T any](random *rand.Rand, list []T, weight func(T) int) T {
	total := 0
	for _, element := range list {
		total += weight(element)
	}
	n := random.IntN(total)
	for _, element := range list {
		if n -= weight(element); n < 0 {
			return element
		}
	}
	panic("the weights do not add up to their sum")
}
