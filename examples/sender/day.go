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
	latestNews  = time.Minute // how long ago a failure happened when it is reported, at most
	repeatAfter = time.Hour   // of the played day, at most
)

// story is a cause of reports: of what kinds, where, in which mail and when.
type story struct {
	kinds     []kind
	providers []provider
	flows     []flow
	curve     func(minute float64) float64
}

// stories are mail that fails as on every day, and three incidents at 9, 14 and 20 hours.
var stories = []story{
	{everyday, providers, flows, everydayCurve},
	{refused, []provider{{1, refusing}}, blockedFlows, window(9*60, 10*60+30)},
	{deferred, []provider{{1, failing}}, flows, window(14*60, 15*60+15)},
	{unsigned, providers, unsignedFlows, window(20*60, 23*60)},
}

// shares returns how many of the reports belong to each of the stories. The last has few, because
// the alert must see the first of them, but always one.
func shares(reports int) []int {
	unsigned := max(1, reports/500)
	rest := float64(reports - unsigned)
	refused, deferred := int(0.14*rest), int(0.10*rest)
	return []int{reports - unsigned - refused - deferred, refused, deferred, unsigned}
}

// everydayCurve is low at night, has its peak with the newsletters in the morning, a second one in
// the afternoon and a lower one in the evening.
func everydayCurve(minute float64) float64 {
	return 0.12 + bell(minute, 10*60, 95) + 0.75*bell(minute, 15*60, 120) + 0.45*bell(minute, 20*60+15, 80)
}

// bell is 1 at its middle, and 0.6 a width away from it.
func bell(minute, middle, width float64) float64 {
	return math.Exp(-(minute - middle) * (minute - middle) / (2 * width * width))
}

// window begins suddenly, as incidents do, and falls towards its end.
func window(from, to float64) func(float64) float64 {
	return func(minute float64) float64 {
		if minute < from || minute >= to {
			return 0
		}
		return 1 - 0.7*(minute-from)/(to-from)
	}
}

// makeDay makes the failures of a day in the order of time. They depend on the seed and the number
// of the day only; run and number are in the ids, so that no run repeats another's.
func makeDay(seed uint64, run string, number, reports int, repeats float64) []*report {
	random := rand.New(rand.NewPCG(seed, uint64(number))) //nolint:gosec // two runs with one seed are to be the same
	var day []*report
	for i, count := range shares(reports) {
		for _, at := range stories[i].times(random, count) {
			day = append(day, stories[i].report(random, at))
		}
	}
	slices.SortStableFunc(day, func(a, b *report) int { return cmp.Compare(a.at, b.at) })
	for i, r := range day {
		r.ID = fmt.Sprintf("%s-%d-%06d", run, number, i+1)
		if random.Float64() < repeats {
			// Half of them come at once, as from a sender that did not wait for the response.
			after := time.Duration(0)
			if random.IntN(2) == 0 {
				after = below(random, repeatAfter)
			}
			r.repeats = append(r.repeats, min(r.at+after, dayLength-1))
		}
	}
	return day
}

// makeDeliveries makes at least count deliveries for a day of failures, not in the order of time. A
// message that bounced was delivered before, with the same id.
func makeDeliveries(seed uint64, run string, number int, failures []*report, count int) []*report {
	random := rand.New(rand.NewPCG(seed, ^uint64(number))) //nolint:gosec // two runs with one seed are to be the same
	var all []*report
	for _, failure := range failures {
		if failure.State == bounce {
			message := *failure
			message.repeats = nil
			message.at = max(failure.at-below(random, repeatAfter), 0)
			all = append(all, &message)
			message.deliver(random)
		}
	}
	delivered := story{[]kind{{weight: 1}}, providers, deliveredFlows, everydayCurve}
	for i, at := range delivered.times(random, max(0, count-len(all))) {
		message := delivered.report(random, at)
		message.ID = fmt.Sprintf("%s-%d-d%06d", run, number, i+1)
		message.deliver(random)
		all = append(all, message)
	}
	return all
}

// deliver makes a report of a failure one of a delivery. In half of them, as SMTPeter sends them,
// is the response of the receiving server.
func (r *report) deliver(random *rand.Rand) {
	r.Type, r.Action, r.State, r.Code, r.Extended, r.Description = "delivery", "", "", "", "", ""
	if random.IntN(100) >= 50 {
		r.Code, r.Extended, r.Description = "250", "2.0.0", inWords("250 2.0.0 Ok: queued by HOST", r.Recipient)
	}
	r.dialect = dialects[0]
	r.encoding = pick(random, encodings, func(e encoding) int { return e.weight })
}

// times spreads count moments over the day by the story's curve. The first is at the very start.
func (s *story) times(random *rand.Rand, count int) []time.Duration {
	sums := make([]float64, dayMinutes+1)
	for minute := range dayMinutes {
		sums[minute+1] = sums[minute] + s.curve(float64(minute))
	}
	times := make([]time.Duration, count)
	minute := 0
	for i := range times {
		position := float64(i)
		if i > 0 {
			position += random.Float64()
		}
		target := position / float64(count) * sums[dayMinutes]
		for minute < dayMinutes-1 && sums[minute+1] <= target {
			minute++
		}
		part := (target - sums[minute]) / (sums[minute+1] - sums[minute])
		times[i] = min(time.Duration((float64(minute)+part)*float64(time.Minute)), dayLength-1)
	}
	return times
}

func (s *story) report(random *rand.Rand, at time.Duration) *report {
	kind := pick(random, s.kinds, func(k kind) int { return k.weight })
	provider := pick(random, s.providers, func(p provider) int { return p.weight })
	flow := pick(random, s.flows, func(f flow) int { return f.weight })
	dialect := pick(random, dialects, func(d dialect) int { return d.weight })

	recipient := fmt.Sprintf("%s.%s%d@%s",
		firstNames[random.IntN(len(firstNames))], lastNames[random.IntN(len(lastNames))], random.IntN(1000), provider.domain)
	r := &report{
		Recipient:   recipient,
		Tags:        []string{},
		State:       kind.state,
		Code:        kind.code,
		Extended:    kind.extended,
		Description: inWords(kind.text, recipient),
		at:          at,
		dialect:     dialect,
		encoding:    pick(random, dialect.encodings, func(e encoding) int { return e.weight }),
		age:         below(random, latestNews),
	}
	if dialect.tagged {
		r.Tags = append(r.Tags, flow.tags...)
	}
	if dialect.typed {
		r.Type, r.Action = "failure", "failed"
		if kind.state == bounce {
			r.Action = "failure"
		}
	}
	return r
}

// inWords fills in the text of a kind for a recipient.
func inWords(text, recipient string) string {
	_, domain, _ := strings.Cut(recipient, "@")
	return strings.NewReplacer("RCPT", recipient, "HOST", "mx1."+domain).Replace(text)
}

// below returns a random duration shorter than the limit.
func below(random *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(limit)))
}

// pick chooses one of the list by weight.
func pick[T any](random *rand.Rand, list []T, weight func(T) int) T {
	total := 0
	for _, element := range list {
		total += weight(element)
	}
	i := 0
	for n := random.IntN(total); n >= weight(list[i]); i++ {
		n -= weight(list[i])
	}
	return list[i]
}
