package main

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// What panels say where deliveries are not accepted.
const (
	switchOn = "No deliveries: enable the metrics email.deliveries and email.deliveries.by_tag in the receiver, and add " +
		"the sender's webhook for deliveries at the same URL"
	switchOnProvider = "No deliveries by provider: enable the metric email.deliveries in the receiver, and " +
		"email.recipient.domain among its attributes and those of email.delivery.failures"
)

// rate is of the failures among the messages attempted: those delivered and those that failed at
// once. A bounce is of a message that was delivered before. The fields are selectors.
type rate struct{ failures, atOnce, delivered string }

// rateOf returns the rate of the failures that the variables choose. Service and account choose
// deliveries too.
func (b *board) rateOf(failures, deliveries source, chosen string, more ...string) rate {
	of := func(s source, matchers ...string) string {
		matchers = append([]string{`job=~"$service"`, filters[0].is(b.label(s, filters[0].attribute))}, matchers...)
		return s.selector + strings.Join(append(matchers, more...), ",") + "}"
	}
	return rate{chosen, of(failures, b.label(failures, "email.failure.mode")+`!="asynchronous"`), of(deliveries)}
}

// increase returns what a selector counts in a time, of services that report deliveries. Others
// have no rate.
func (r rate) increase(selector, over string) string {
	return fmt.Sprintf("increase(%s[%s]) and on (job) present_over_time(%s[%s])", selector, over, r.delivered, over)
}

func (r rate) failed(over, by string) string {
	return "sum" + by + "(" + r.increase(r.failures, over) + ")"
}

// messages returns how many were attempted. The label keeps deliveries apart from failures with the
// same labels.
func (r rate) messages(over, by string) string {
	return fmt.Sprintf(`sum%s(label_replace(increase(%s[%s]), "delivered", "yes", "", "") or %s)`,
		by, r.delivered, over, r.increase(r.atOnce, over))
}

// share returns the failures among the messages, where there are as many as a comparison says.
func (r rate) share(over, by, many string) string {
	messages := r.messages(over, by)
	return fmt.Sprintf("(%s or 0 * %s) / (%s %s)", r.failed(over, by), messages, messages, many)
}

func (b *board) rate() {
	b.row("How bad it is")
	r, cause := b.rateOf(b.failures, b.deliveries, b.all), b.causes.labels[0]
	number := func(title, unit, expr, text string) panel {
		return panel{title, 4, 4, unit, "no deliveries", now(expr), nil, text}
	}
	b.number(number("Failure rate", units.PercentUnit, r.share("$__range", "", "> 0"),
		"Failures among the messages attempted in the range: those delivered, and those that failed at once. Under 2 % is "+
			"healthy, at 5 % senders warn, at 10 % they stop you. Without deliveries: "+switchOn+"; docs/webhook.md has the "+
			"steps.",
	), 2, "green", step{0.02, "orange"}, step{0.05, "red"})
	byCause := r.failed("$__rate_interval", " by "+b.causes.group()+" ")
	b.lines(panel{
		"Failure rate by cause", 12, 9, units.PercentUnit, switchOn,
		graph(b.causes.named(byCause+" / on () group_left () ("+r.messages("$__rate_interval", "")+" > 0)"), cause),
		b.drill(varCause, labelled(cause)),
		"What the rate is made of, over time: of all messages attempted, the share that failed for each cause. The " +
			"cause that grows is what to act on; Top causes says who does.",
	}, look{stacked: true})
	b.lines(panel{
		"Messages attempted", 8, 9, units.CountsPerSecond, switchOn,
		[]query{
			{"sum(rate(" + r.delivered + "[$__rate_interval]))", "delivered", metricGraph},
			{"sum(rate(" + r.failures + "[$__rate_interval]) and on (job) present_over_time(" + r.delivered +
				"[$__rate_interval]))", "failed", metricGraph},
		},
		nil,
		"Messages each second: delivered, and failed at once or bounced later. A rate says little while few are " +
			"sent, and too much when deliveries stop arriving though failures come.",
	}, look{list: true, colors: []named{{"delivered", "green"}, {"failed", "red"}}})

	tag := b.label(b.byTag, "email.tag")
	has := []string{tag + `=~"$tag"`, b.label(b.deliveriesByTag, "email.tag") + `!=""`}
	byTag := b.rateOf(b.byTag, b.deliveriesByTag, b.selected(b.byTag, has...), has...)
	b.rates("tag", tag, varTag, "Tag", switchOn, byTag,
		"The tags with 20 messages or more in the range, the highest rate first. A mailing that fails far more than "+
			"the others has a list or content problem of its own. Click a tag to see its records.")
	domain := b.label(b.failures, "email.recipient.domain")
	has = []string{b.label(b.deliveries, "email.recipient.domain") + `!=""`}
	byProvider := b.rateOf(b.failures, b.deliveries, b.selected(b.failures, has...), has...)
	b.rates("mailbox provider", domain, varProvider, "Provider", switchOnProvider, byProvider,
		"The recipients' domains with 20 messages or more in the range, the highest rate first. One that refuses a "+
			"large part blocks you or has trouble. Click a domain to see its records.")
}

// rates adds a table of the rates by a label.
func (b *board) rates(what, label, variable, title, none string, r rate, text string) {
	const enough = ">= 20"
	by := " by (" + label + ") "
	messages := r.messages("$__range", by) + " " + enough
	b.rows(panel{title: "Failure rate by " + what, width: 12, height: 9, none: none, text: text}, metricTable, "Rate",
		column{title, label, "", []property{links(b.drill(variable, cell)...)}},
		share("Rate", r.share("$__range", by, enough)),
		count("Messages", messages, 100),
		count("Failures", r.failed("$__range", by)+" and on ("+label+") "+messages, 100))
}
