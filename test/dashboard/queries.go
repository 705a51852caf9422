package main

import (
	"fmt"
	"slices"
	"strings"
)

// Names of the variables at the top of the dashboard.
const (
	varPrometheus = "prometheus"
	varLoki       = "loki"
	varService    = "service"
	varCause      = "cause"
	varTag        = "tag"
	varProvider   = "provider"
	varMessage    = "message"
	varCollector  = "collector"
)

// filter is a variable at the top that chooses failures by an attribute of theirs.
type filter struct {
	variable, attribute, label, text string
	// pattern is set where a link may choose failures without a value, by the regular expression
	// (none)?.
	pattern bool
}

var filters = []filter{
	{
		"account", "copernica.account.id", "Account",
		"Account that signed the call. Lists accounts only where the counters have this opt-in attribute; All lets " +
			"failures without an account in", false,
	},
	{"class", "email.failure.class", "Class", "Whether a new message may get through", false},
	{varCause, "error.type", "Cause", "Why it failed. Top causes says what each means", false},
	{
		"code", "smtp.response.status_code", "Code",
		"SMTP reply code; (none)? is what a link chooses for failures without one", true,
	},
	{
		"status", "smtp.response.enhanced_status_code", "Status",
		"Enhanced status code; (none)? is what a link chooses for failures without one", true,
	},
	{
		"state", "smtp.state", "State",
		"State of the SMTP conversation; (none)? is what a link chooses for failures without one", true,
	},
}

// is returns the matcher that chooses what the variable says.
func (f filter) is(label string) string {
	if f.pattern {
		return fmt.Sprintf(`%s=~"${%s:pipe}"`, label, f.variable)
	}
	return fmt.Sprintf(`%s=~"$%s"`, label, f.variable)
}

// selected returns a selector of the counter's failures that the variables choose.
func (n *names) selected(s source, more ...string) string {
	matchers := []string{`job=~"$service"`}
	for _, f := range filters {
		matchers = append(matchers, f.is(n.label(s, f.attribute)))
	}
	return s.selector + strings.Join(append(matchers, more...), ",") + "}"
}

// collected returns a selector of what the collectors that are chosen say of themselves.
func collected(s source, more ...string) string {
	return s.selector + strings.Join(append([]string{`job=~"$collector"`}, more...), ",") + "}"
}

// chosenRecords returns a query for the records that the variables choose.
func (n *names) chosenRecords(s source) string {
	class := n.label(s, "email.failure.class")
	conditions := []string{`{service_name=~"$service"}`, class + `!=""`}
	for _, f := range append(append([]filter{}, filters[1:]...), filters[0]) {
		conditions = append(conditions, f.is(n.label(s, f.attribute)))
	}
	return strings.Join(append(conditions,
		n.label(s, "email.tags")+`=~".*(^|\")($tag)(\"|$).*"`,
		n.label(s, "email.recipient.domain")+"=~`^${provider:regex}.*`",
		n.label(s, "email.message.id")+"=~`.*${message:regex}.*`"), " | ")
}

// increase returns how many failures a selector counts in the range that is chosen.
func increase(selector string) string { return "sum(increase(" + selector + "[$__range]))" }

// increaseBefore returns how many it counted in the range of the same length before.
func increaseBefore(selector string) string {
	return "sum(increase(" + selector + "[$__range] offset $__range))"
}

// orZero makes a number of nothing where the service has failures, and leaves nothing where it has
// none.
func orZero(expr, all string) string { return expr + " or 0 * " + all }

// breakdown is a counter's failures by attributes.
type breakdown struct {
	selector string
	labels   []string
	// choice is set where a label called choice is to hold what a link chooses: the value, or what
	// matches its absence.
	choice bool
}

func (n *names) by(s source, selector string, attributes ...string) breakdown {
	b := breakdown{selector: selector}
	for _, attribute := range attributes {
		b.labels = append(b.labels, n.label(s, attribute))
	}
	return b
}

// group is what the failures are added up by. The overflow series, which has no attributes, stays
// apart.
func (b breakdown) group() string {
	return "(" + strings.Join(append(slices.Clip(b.labels), "otel_metric_overflow"), ", ") + ")"
}

func (b breakdown) sum(over string) string {
	return "sum by " + b.group() + " (" + strings.Replace(over, "…", b.selector, 1) + ")"
}

func (b breakdown) increase() string { return b.sum("increase(…[$__range])") }
func (b breakdown) before() string   { return b.sum("increase(…[$__range] offset $__range)") }
func (b breakdown) rate() string     { return b.sum("rate(…[$__rate_interval])") }

// top returns those with most failures in the range.
func (b breakdown) top(n int) string { return fmt.Sprintf("topk(%d, %s)", n, b.increase()) }

// topRate returns the rate of those with most failures in the whole range.
func (b breakdown) topRate(n int) string {
	return fmt.Sprintf("%s and on %s topk(%d, %s)", b.rate(), b.group(), n, b.sum("increase(…[$__range] @ end())"))
}

// among returns what an expression has of those with most failures.
func (b breakdown) among(n int, expr string) string {
	return fmt.Sprintf("(%s) and on %s %s > 0", expr, b.group(), b.top(n))
}

// change returns by how much there are more than in the range before; nothing where there were
// none.
func (b breakdown) change() string {
	return "(" + orZero(b.increase(), b.before()) + ") / (" + b.before() + " > 0) - 1"
}

// share returns what part of all failures they are.
func (b breakdown) share() string {
	return "(" + b.increase() + " / ignoring " + b.group() + " group_left () (" + increase(b.selector) + " > 0)) > 0"
}

// when returns when in the range the first (min) or the last (max) failure was counted, in
// milliseconds.
func (b breakdown) when(minOrMax string) string {
	return when(minOrMax, b.sum("increase(…[$__rate_interval])"))
}

func when(minOrMax, expr string) string {
	return "1000 * " + minOrMax + "_over_time(timestamp(" + expr + " > 0)[$__range:$__rate_interval])"
}

// named gives a name to failures without a value, and to those in the overflow series.
func (b breakdown) named(expr string) string {
	replace := func(label, value, from, pattern string) {
		expr = fmt.Sprintf(`label_replace(%s, %q, %q, %q, %q)`, expr, label, value, from, pattern)
	}
	first := b.labels[0]
	if b.choice {
		replace("choice", "$1", first, "(.+)")
		replace("choice", "(none)?", first, "")
		replace("choice", ".*", "otel_metric_overflow", "true")
	}
	for _, label := range b.labels {
		replace(label, "none", label, "")
	}
	replace(first, "overflow", "otel_metric_overflow", "true")
	return expr
}

// links returns the label that holds what a link chooses.
func (b breakdown) links() string {
	if b.choice {
		return "choice"
	}
	return b.labels[0]
}

// counted returns the records that a query selects, counted by an attribute.
func counted(label, records, window string) string {
	return "sum by (" + label + ") (count_over_time(" + records + " [" + window + "]))"
}
