package main

import (
	"fmt"
	"math/rand/v2"
)

// deliveryDialects are the pages of the senders' documentation about deliveries. SMTPeter tells the response of the
// receiving server too.
var deliveryDialects = []deliveryDialect{
	{50, dialect{name: "Copernica, webhooks: deliveries", typed: true, encodings: encodings}, kind{}},
	{50, dialect{name: "SMTPeter, webhooks for deliveries", typed: true, encodings: encodings}, kind{
		code: "250", extended: "2.0.0", text: "250 2.0.0 Ok: queued by HOST",
	}},
}

type deliveryDialect struct {
	weight  int
	dialect dialect
	answer  kind
}

// deliveredFlows are what is delivered: a newsletter that is large and healthy, and hardly anything of the campaign that
// is refused.
var deliveredFlows = []flow{
	{620, []string{"newsletter", "week-47"}},
	{10, []string{blocked, "week-47"}},
	{220, []string{"receipts"}},
	{60, []string{"password-reset"}},
	{40, []string{"welcome"}},
	{20, []string{"relance-été"}},
	{30, nil},
}

// delivered is the day of what is delivered: that of the failures of every day.
var delivered = story{kinds: []kind{{weight: 1}}, providers: providers, flows: deliveredFlows, curve: stories[0].curve}

// makeDeliveries makes at least count deliveries for a day of failures, not in the order of time. A message that bounced was
// delivered before, with the same id.
func makeDeliveries(seed uint64, run string, number int, failures []*report, count int) []*report {
	random := rand.New(rand.NewPCG(seed, ^uint64(number))) //nolint:gosec // two runs with one seed are to be the same
	var all []*report
	for _, failure := range failures {
		if failure.state == bounce {
			message := *failure
			message.repeats = nil
			message.at = max(failure.at-below(random, repeatAfter), 0)
			all = append(all, message.deliver(random))
		}
	}
	for i, at := range delivered.times(random, max(0, count-len(all))) {
		message := delivered.report(random, at)
		message.id = fmt.Sprintf("%s-%d-d%06d", run, number, i+1)
		all = append(all, message.deliver(random))
	}
	return all
}

// deliver makes a report one of a delivery.
func (r *report) deliver(random *rand.Rand) *report {
	said := pick(random, deliveryDialects, func(d deliveryDialect) int { return d.weight })
	r.kind, r.action, r.state = "delivery", "", ""
	r.code, r.extended = said.answer.code, said.answer.extended
	r.description = inWords(said.answer.text, r.recipient)
	r.dialect = said.dialect
	r.encoding = pick(random, said.dialect.encodings, func(e encoding) int { return e.weight })
	return r
}
