package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// board is the dashboard in the making.
type board struct {
	*names
	*dashboard.DashboardBuilder
	variables []string // that links hand on
	lastID    uint32

	failures, byTag             source
	deliveries, deliveriesByTag source
	log                         source
	all, tagged                 string    // selectors of what the variables choose
	chosen                      string    // the query for the records that they choose
	causes                      breakdown // of all
}

// What panels say that have nothing to show.
const (
	noFailures = "No failures here in this range and selection"
	noTagged   = "No tagged failures in this range and selection"
	noDomains  = "No records with a recipient's domain in this range and selection"
	noRecords  = "No records match the filters in this range. Failures counted as overflow or none have " +
		"no such value in their records: choose All"
	noneInTime = "None in this range"
	noScrape   = "No data: is the collector's own telemetry scraped (port 8888), and the right collector chosen?"
)

func build(n *names) (dashboard.Dashboard, error) {
	b := &board{names: n, lastID: rawRecords, DashboardBuilder: dashboard.NewDashboardBuilder("SMTP failures").
		Uid("smtp-failure").Tags([]string{"email", "opentelemetry", "smtp"}).Refresh("30s").Time("now-6h", "now").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Description("Emails of Copernica and SMTPeter that could not be delivered: what is failing, for whom, since when, " +
			"why, and which messages. Needs Grafana 11 or newer, Prometheus and Loki 3.")}
	b.failures, b.byTag = n.counter("email.delivery.failures"), n.counter("email.delivery.failures.by_tag")
	b.deliveries, b.deliveriesByTag = n.counter("email.deliveries"), n.counter("email.deliveries.by_tag")
	b.log = n.records("email.delivery.failed")
	b.all, b.tagged = n.selected(b.failures), n.selected(b.byTag, n.label(b.byTag, "email.tag")+`=~"$tag"`)
	b.chosen = n.chosenRecords(b.log)
	b.causes = n.by(b.failures, b.all, "error.type")
	b.variablesAtTop()
	b.rate()
	b.overview()
	b.why()
	b.forWhom()
	b.whichMessages()
	b.receiver()
	if err := n.err(); err != nil {
		return dashboard.Dashboard{}, err
	}
	d, err := b.Build()
	d.SchemaVersion = 39 // Grafana 11's; newer ones read it too
	return d, err
}

func (b *board) row(title string) {
	b.lastID++
	b.WithRow(dashboard.NewRowBuilder(title).Id(b.lastID))
}

func (b *board) variablesAtTop() {
	add := func(name string, v cog.Builder[dashboard.VariableModel]) {
		b.variables = append(b.variables, name)
		b.WithVariable(v)
	}
	for _, kind := range [][2]string{{varPrometheus, "Prometheus"}, {varLoki, "Loki"}} {
		add(kind[0], dashboard.NewDatasourceVariableBuilder(kind[0]).Label(kind[1]).Type(kind[0]))
	}
	everything := dashboard.VariableOption{
		Selected: new(true),
		Text:     dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
		Value:    dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
	}
	values := func(name, label, selector, attribute, all, text string) {
		query := "label_values(" + selector + ", " + attribute + ")"
		add(name,
			dashboard.NewQueryVariableBuilder(name).Label(label).Description(text).Definition(query).
				Query(dashboard.StringOrMap{Map: map[string]any{
					"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery",
				}}).
				Datasource(dataSource(varPrometheus)).Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
				Sort(dashboard.VariableSortAlphabeticalAsc).Multi(true).IncludeAll(true).AllValue(all).Current(everything))
	}
	ofService := func(s source) string { return s.selector + `job=~"$service"}` }
	values(varService, "Service", strings.TrimSuffix(b.failures.selector, "{"), "job", ".+",
		"service.name of the receiver's resource, job in Prometheus")
	for _, f := range filters {
		values(f.variable, f.label, ofService(b.failures), b.label(b.failures, f.attribute), ".*", f.text)
	}
	values(varTag, "Tag", ofService(b.byTag), b.label(b.byTag, "email.tag"), ".*",
		"For the rows For whom and Which messages. The rows above count each message once, whatever its tags, and "+
			"cannot be filtered by tag")
	nothing := dashboard.StringOrArrayOfString{String: new("")}
	for _, v := range [][3]string{
		{varProvider, "Provider", "Recipient's domain, or how it begins, such as gmail. For the panels made of records"},
		{varMessage, "Message", "A message's id, or a part of it. For the panels made of records"},
	} {
		add(v[0], dashboard.NewTextBoxVariableBuilder(v[0]).Label(v[1]).Description(v[2]).
			DefaultValue(dashboard.StringOrMap{String: new("")}).
			Current(dashboard.VariableOption{Text: nothing, Value: nothing}))
	}
	values(varCollector, "Collector", strings.TrimSuffix(b.own("smtp_failure_remembered").selector, "{"), "job", ".*",
		"job of the collector's own telemetry, for the row The receiver itself")
}

func (b *board) overview() {
	b.row("Overview")
	total, class := increase(b.all), b.label(b.failures, "email.failure.class")
	of := func(matcher string) string { return orZero(increase(b.selected(b.failures, class+matcher)), total) }
	number := func(title, unit, expr, none, text string, links ...link) panel {
		return panel{title, 3, 4, unit, none, now(expr), links, text}
	}
	b.number(number("Failures in the range", wholeNumber, total, "none counted",
		"All reports that the receiver counted in the chosen time, whatever their tags. Compare it with what you "+
			"sent in the row above, where deliveries are accepted. Prometheus estimates it from its scrapes, so it can "+
			"be slightly off; Matching records counts one by one. Click to see the records.",
		b.records()), 0, "text")
	b.number(number("Change", units.PercentUnit, total+" / ("+increaseBefore(b.all)+" > 0) - 1", "no earlier failures",
		"The failures in the range against the range of the same length before it. Above +50 % look at New kinds and "+
			"Top causes to see what grew. Empty when there was nothing before to compare "+
			"with."), 0, "green", growth...)
	b.number(number("Permanent", wholeNumber, of(`="permanent"`), "none counted",
		"Failures that a new message would meet too (5.x.x, 5yz). Not every one means a bad address: policy refusals "+
			"are permanent too, so look at the cause before you suppress anybody.",
		b.records([2]string{"class", "permanent"})), 0, "red")
	b.number(number("Transient", wholeNumber, of(`="transient"`), "none counted",
		"Failures whose cause may pass (4.x.x, 4yz), such as full mailboxes and deferrals. The sender has given up "+
			"on these messages; a new one may get through. Many at once mean that a provider slows you down.",
		b.records([2]string{"class", "transient"})), 0, "orange")
	b.number(number("Unknown", wholeNumber, of(`!~"permanent|transient"`), "none counted",
		"Failures without a status that says which of the two they are, as when no server was reached, and those "+
			"past the cardinality limit. See the cause or the state.",
		b.records([2]string{"class", "unknown"})), 0, "text")
	b.number(number("Share of permanent", units.PercentUnit,
		"("+of(`="permanent"`)+") / ("+total+" > 0)", "no failures",
		"Permanent failures among all failures. A jump means that something was refused for good: a bad list, a "+
			"blocked address, a failed authentication. See Top causes."), 1, "text", step{0.6, "orange"}, step{0.9, "red"})
	rate := "sum (increase(" + b.all + "[$__rate_interval]))"
	b.number(number("First failure", units.DatetimeLocalNotToday, when("min", rate), "none",
		"When the first failure of the range was counted, to within a few scrapes. With failures all the time this "+
			"is the start of the range: choose a cause, or see Since in Top causes."), 0, "text")
	b.number(number("Last failure", units.DateTimeFromNow, when("max", rate), "none",
		"When the last failure of the range was counted, to within a few scrapes. Long ago while you are sending: "+
			"either all is well, or the reports stopped. See The receiver itself."), 0, "text")

	byClass := b.by(b.failures, b.all, "email.failure.class")
	b.lines(panel{
		"Failures per second by class", 14, 9, units.CountsPerSecond, noFailures,
		graph(byClass.named(byClass.rate()), class), b.drill("class", labelled(class)),
		"How many failures are counted each second: permanent, transient, unknown. A step up shows since when; then " +
			"read the row Why. overflow is what came past the cardinality limit and has no attributes.",
	}, look{stacked: true, list: true, colors: classColors})

	kinds := b.by(b.failures, b.all, "error.type", "smtp.response.status_code", "smtp.response.enhanced_status_code")
	unlessKnown := func(expr string) string {
		known := kinds.sum("last_over_time(…[1d] offset $__range)")
		return kinds.named("(" + expr + ") unless on " + kinds.group() + " (" + known + ") > 0")
	}
	b.rows(panel{
		title: "New kinds", width: 10, height: 9, none: "No new kinds in this range",
		text: "Causes, codes and statuses that failed in the range and that no series held in the day before it: " +
			"the first failure of a kind, not the second. Something changed, on your side or on theirs. Click a " +
			"cause to see its records.",
	}, metricTable, "Since",
		column{"Cause", kinds.labels[0], "", []property{links(b.drill(varCause, cell)...)}},
		column{"Code", kinds.labels[1], "", []property{width(70)}},
		column{"Status", kinds.labels[2], "", []property{width(75)}},
		count("Failures", unlessKnown(kinds.increase()+" > 0"), 100),
		moment("Since", unlessKnown(kinds.when("min"))))
}

// perSecond adds a graph of the failures by an attribute.
func (b *board) perSecond(title string, of breakdown, width, height uint32, variable, none, text string) {
	queries := graph(of.named(of.topRate(10)), of.labels[0])
	links := b.drill(variable, labelled(of.links()))
	b.lines(panel{title, width, height, units.CountsPerSecond, none, queries, links, text}, look{})
}

func (b *board) why() {
	b.row("Why")
	causes, cause := b.causes, b.causes.labels[0]
	acts := func(expr string) string { return copied(causes.named(expr), cause, "who") }
	statuses := b.by(b.failures, b.all, "smtp.response.enhanced_status_code")
	statuses.choice = true
	b.rows(panel{
		title: "Top causes", width: 24, height: 11, none: noFailures,
		text: "Why mail failed, and who can do something about it, most frequent first, with the range of the same " +
			"length before it, the share of all failures, and when each began and was last counted. Start here: a " +
			"cause that is new or grew is your incident. Click one to see its records.",
	}, metricTable, "Failures",
		column{"Cause", cause, "", []property{width(180), links(b.drill(varCause, cell)...)}},
		column{"Who acts", "who", "", []property{{Id: "mappings", Value: b.actions()}}},
		count("Failures", acts(causes.increase()+" > 0"), 100),
		count("Before", acts(causes.before()+" > 0"), 90),
		change(acts(causes.change())),
		share("Share", acts(causes.share())),
		moment("Since", acts(causes.when("min"))),
		moment("Last", acts(causes.when("max"))))
	b.perSecond("Failures per second by cause", causes, 12, 10, varCause, noFailures,
		"The ten most frequent causes of the range over time. Look for what rises where the trouble began. All "+
			"causes are in the table above.")
	b.perSecond("Failures per second by enhanced status", statuses, 12, 10, "status", noFailures,
		"The ten most frequent enhanced statuses of the range over time. The table below says what they mean.")
	meaning := func(expr string) string { return copied(statuses.named(expr), statuses.labels[0], "meaning") }
	b.rows(panel{
		title: "Enhanced statuses", width: 24, height: 10, none: noFailures,
		text: "The enhanced statuses of the receiving servers (RFC 3463), with the meaning in words, most frequent first. " +
			"5.7.x is policy or authentication and touches your reputation; 5.1.x is the address; x.2.2 a full " +
			"mailbox. none: no enhanced status came. Click one to see its records.",
	}, metricTable, "Failures",
		column{"Status", statuses.labels[0], "", []property{width(90), links(b.drill("status",
			"${__data.fields.choice:percentencode}")...)}},
		column{"Meaning", "meaning", "", []property{{Id: "mappings", Value: meanings()}}},
		count("Failures", meaning(statuses.increase()+" > 0"), 100),
		count("Before", meaning(statuses.before()+" > 0"), 90),
		change(meaning(statuses.change())),
		column{"choice", "choice", "", []property{{Id: "custom.hidden", Value: true}}})

	for _, by := range []struct{ attribute, variable, bars, lines string }{
		{
			"smtp.response.status_code", "code",
			"The SMTP reply codes in the range. 550 is any refusal of a recipient, 421 and 451 are deferrals, 535 " +
				"and 530 ask for authentication. none: no reply code.",
			"The SMTP reply codes over time. A new code shows when a server changed its policy.",
		},
		{
			"smtp.state", "state",
			"In which step of the conversation the failures of the range happened. connect or dns: no server was " +
				"reached; rcptto: the recipient was refused; message: the content was; bounce: refused later.",
			"The steps of the conversation in which mail fails, over time. A rise of connect or dns at all " +
				"providers points at your own network.",
		},
	} {
		of := b.by(b.failures, b.all, by.attribute)
		of.choice = true
		drill, label := b.drill(by.variable, labelled("choice")), of.labels[0]
		b.bars(panel{
			"Failures by " + by.variable, 5, 9, wholeNumber, noFailures,
			bars(of.named(of.increase()+" > 0"), label), drill, by.bars,
		})
		b.lines(panel{
			"Failures per second by " + by.variable, 7, 9, units.CountsPerSecond, noFailures,
			graph(of.named(of.rate()), label), drill, by.lines,
		}, look{list: true})
	}

	modes := b.by(b.failures, b.all, "email.failure.mode")
	b.donut(panel{
		"Synchronous against asynchronous", 8, 8, wholeNumber, noFailures,
		ask(modes.named(modes.increase()+" > 0"), "{{"+modes.labels[0]+"}}", metricNow),
		[]link{b.records()},
		"Refused during the SMTP conversation (synchronous), or accepted first and bounced back later " +
			"(asynchronous). Many asynchronous failures mean that the counts run behind what you sent.",
	}, modeColors)
	b.lines(panel{
		"Failures per second, synchronous and asynchronous", 8, 8, units.CountsPerSecond, noFailures,
		graph(modes.named(modes.rate()), modes.labels[0]),
		[]link{b.records()},
		"Failures during the conversation and bounces that came back later, over time. Bounces trail the sending by " +
			"minutes to days.",
	}, look{list: true, colors: modeColors})
	classes := b.by(b.failures, b.all, "email.failure.class")
	class := classes.labels[0]
	b.bars(panel{
		"Failures by class", 8, 8, wholeNumber, noFailures,
		bars(classes.named(classes.increase()+" > 0"), class), b.drill("class", labelled(class)),
		"Permanent, transient and unknown in the range, side by side, and overflow for what came past the " +
			"cardinality limit. Records are complete even where the counters overflowed.",
	})
}

func (b *board) forWhom() {
	b.row("For whom")
	const most = 50
	tags := b.by(b.byTag, b.tagged, "email.tag")
	tag := tags.labels[0]
	tagLinks := []property{links(b.drill(varTag, cell)...)}
	b.rows(panel{
		title: "Top tags", width: 12, height: 10, none: noTagged,
		text: "The 50 tags with most failures, with the range of the same length before it. A mailing that fails " +
			"far more than the others has a list or content problem of its own. A message counts once for each of " +
			"its tags, so tags do not add up to the total; one without tags is in none. The tag filter works here. " +
			"Click a tag to see its records.",
	}, metricTable, "Failures",
		column{"Tag", tag, "", tagLinks},
		count("Failures", tags.named(tags.top(most)+" > 0"), 100),
		count("Before", tags.named(tags.among(most, tags.before()+" > 0")), 90),
		change(tags.named(tags.among(most, tags.increase()+" / ("+tags.before()+" > 0) - 1"))))
	b.perSecond("Failures per second by tag", tags, 12, 10, varTag, noTagged,
		"The ten tags with most failures in the range, over time; the tag filter works here. A peak of one tag is "+
			"its mailing going out; failures of all tags at once are not the mailing's fault.")
	pairs := b.by(b.byTag, b.tagged, "email.tag", "error.type")
	b.rows(panel{
		title: "Causes of the tags", width: 12, height: 9, none: noTagged,
		text: "The 50 most frequent pairs of tag and cause; the tag filter works here. Choose a tag to see why its " +
			"mailing fails. Click a cause to see the records of all tags with it.",
	}, metricTable, "Failures",
		column{"Tag", tag, "", tagLinks},
		column{"Cause", pairs.labels[1], "", []property{links(b.drill(varCause, cell)...)}},
		count("Failures", pairs.named(pairs.top(most)+" > 0"), 100))
	b.bars(panel{
		"Failures by tag", 12, 9, wholeNumber, noTagged,
		bars(tags.named(tags.top(10)+" > 0"), tag), b.drill(varTag, labelled(tag)),
		"The ten tags with most failures in the range; the tag filter works here. A message with two tags is in " +
			"two bars.",
	})

	domain := b.label(b.log, "email.recipient.domain")
	known := b.chosen + " | " + domain + `!=""`
	inRange := counted(domain, known, "$__range")
	before := "sum by (" + domain + ") (count_over_time(" + known + " [$__range] offset $__range))"
	top := " and on (" + domain + ") topk(50, " + inRange + ")"
	b.rows(panel{
		title: "Top mailbox providers", width: 12, height: 10, none: noDomains,
		text: "The 50 recipients' domains with most failures, from the records in Loki, with the range of the same " +
			"length before it. One provider alone: it has trouble or it blocks you; see its causes. All filters " +
			"work here, tags too. Empty when the receiver drops recipients. Click a domain to see its records.",
	}, recordsNow, "Failures",
		column{"Provider", domain, "", []property{links(b.drill(varProvider, cell)...)}},
		count("Failures", "topk(50, "+inRange+")", 100),
		count("Before", before+top, 90),
		change("("+inRange+" / "+before+" - 1)"+top))
	b.lines(panel{
		"Failures per second by mailbox provider", 12, 10, units.CountsPerSecond, noDomains,
		ask("topk(10, sum by ("+domain+") (rate("+known+" [$__auto])))", "{{"+domain+"}}", recordsGraph),
		b.drill(varProvider, labelled(domain)),
		"At each moment the ten recipients' domains with most failures, from the records in Loki; all filters work " +
			"here. Shows when a provider began to refuse you.",
	}, look{})
}

func (b *board) whichMessages() {
	b.row("Which messages")
	class := b.label(b.log, "email.failure.class")
	b.number(panel{
		"Matching records", 4, 6, wholeNumber, "no records match",
		ask("sum(count_over_time("+b.chosen+" [$__range]))", "", recordsNow),
		[]link{b.records()},
		"The exact number of records in the range that match all the filters above, tag, provider and message too. " +
			"Where it is lower than Failures in the range with the same filters, records are missing in Loki: look " +
			"at the logs exporter.",
	}, 0, "text")
	b.lines(panel{
		"Records", 20, 6, wholeNumber, "No records match the filters in this range",
		ask(counted(class, b.chosen, "$__auto"), "{{"+class+"}}", recordsGraph),
		[]link{b.records([2]string{"class", labelled(class)})},
		"How many records match all the filters above, tag, provider and message too, in each step of the graph. " +
			"Drag over a peak to see only its records below.",
	}, look{bars: true, stacked: true, list: true, colors: classColors})

	// Grafana calls the time and the text of a record Time and Line, or timestamp and body, by its
	// version.
	columns := []column{
		{title: "Time", label: "Time", properties: []property{unit(units.DatetimeDefault), width(175)}},
		{title: "Time", label: "timestamp"},
	}
	for _, c := range []struct {
		title, attribute string
		properties       []property
	}{
		{"Message", "email.message.id", []property{links(
			link{"Show only this message", b.view(toRecords, [2]string{varMessage, cell})},
			link{"Show this message, all other filters off", b.viewMessageOnly()})}},
		{"Recipient", "email.recipient.address", nil},
		{"Cause", "error.type", []property{links(b.drill(varCause, cell)...)}},
		{"Code", "smtp.response.status_code", []property{width(65)}},
		{"Status", "smtp.response.enhanced_status_code", []property{width(75)}},
		{"State", "smtp.state", []property{width(90)}},
		{"Tags", "email.tags", nil},
	} {
		columns = append(columns, column{title: c.title, label: b.label(b.log, c.attribute), properties: c.properties})
	}
	columns = append(columns, column{title: "Description", label: "Line"}, column{title: "Description", label: "body"})
	names, index, renamed := []string{}, map[string]int{}, map[string]string{}
	for i, c := range columns {
		names = append(names, c.label)
		index[c.label], renamed[c.label] = i, c.title
	}
	b.table(panel{
		title: "Messages", width: 24, height: 11, none: noRecords, queries: ask(b.chosen, "", recordsFew),
		text: "The newest 200 failures that match all the filters, one line each. Click a message's id to see all " +
			"that is recorded of it. The recipient is empty or a hash if recipient.mode is not full.",
	}, "Time", columns,
		dashboard.DataTransformerConfig{Id: "extractFields", Options: map[string]any{
			"source": "labels", "format": "auto", "keepTime": false, "replace": false,
		}},
		dashboard.DataTransformerConfig{Id: "filterFieldsByName", Options: map[string]any{
			"include": map[string]any{"names": names},
		}},
		organize(index, renamed))
	b.text(panel{
		"Raw records", 24, 14, units.String, noRecords, ask(b.chosen, "", recordsMany), nil,
		"The records themselves, newest first, that match all the filters: the receiving server's own words, and on " +
			"opening one all its attributes. Links from the panels above lead here; put a message's id, or a part " +
			"of it, in the field message to find one.",
	})
}

// viewMessageOnly returns the address of a message's records, whatever the other variables choose.
func (b *board) viewMessageOnly() string {
	set := [][2]string{{varProvider, ""}, {varTag, "All"}, {varMessage, cell}}
	for _, f := range filters[1:] {
		set = append(set, [2]string{f.variable, "All"})
	}
	return b.view(toRecords, set...)
}

func (b *board) receiver() {
	b.row("The receiver itself")
	inRange := func(s source, matchers ...string) string { return increase(collected(s, matchers...)) }
	requests, remembered, evictions := b.own("smtp_failure_requests"), b.own("smtp_failure_remembered"),
		b.own("smtp_failure_evictions")
	outcome := b.label(requests, "outcome")
	number := func(title, expr, none, text string) panel {
		return panel{title, 6, 4, wholeNumber, none, now(expr), nil, text}
	}
	b.number(number("Receivers reporting", "count(count by (job, instance) ("+collected(remembered)+"))",
		"none: nothing is scraped",
		"Collectors with this receiver whose own telemetry arrives. Fewer than you run: one is down or not scraped, "+
			"and then the figures above are too low. Nothing at all: see where the collector's port 8888 is "+
			"scraped."), 0, "text")
	b.number(number("Rejected requests", orZero(inRange(requests, outcome+`!~"accepted|duplicate|ownership_file"`),
		inRange(requests)), "no requests",
		"Requests in the range that got another response than 200: unauthorized, unreadable, too large or not "+
			"possible now. Some noise is normal on a public address. If it grows, see Requests by outcome."), 0, "green", step{1, "orange"})
	overflow := func(s source) string {
		return increase(s.selector + `job=~"$service",otel_metric_overflow="true"}`)
	}
	limit := number("Counted past the limit", overflow(b.failures), "none",
		"Failures in the range that were counted in the overflow series, without attributes, because the cardinality "+
			"limit was reached. Totals and records stay right, breakdowns do not: limit the tags that are counted, "+
			"or raise aggregation.cardinality_limit.")
	limit.queries = []query{{overflow(b.failures), "failures", metricNow}, {overflow(b.byTag), "by tag", metricNow}}
	b.number(limit, 0, "green", step{1, "red"})
	b.number(number("Forgotten early", inRange(evictions), noneInTime,
		"Reports forgotten in the range before their time, because newer ones needed the room. A repeat of one "+
			"counts again: raise deduplication.max_entries."), 0, "green", step{1, "orange"})

	rate := func(s source, by string, matchers ...string) string {
		if by != "" {
			by = " by (" + b.label(s, by) + ") "
		}
		return "sum" + by + "(rate(" + collected(s, matchers...) + "[$__rate_interval]))"
	}
	quantiles := func(name string) []query {
		of := func(q string) string { return "histogram_quantile(" + q + ", " + rate(b.own(name), "le") + ")" }
		return []query{{of("0.5"), "p50", metricGraph}, {of("0.99"), "p99", metricGraph}}
	}
	perSecond := func(name, by string, matchers ...string) []query {
		return graph(rate(b.own(name), by, matchers...), by)
	}
	series := b.own("smtp_failure_series")
	add := func(title string, width, height uint32, unit, none string, queries []query, text string) {
		b.lines(panel{title, width, height, unit, none, queries, nil, text}, look{list: true})
	}
	b.lines(panel{
		"Requests by outcome", 12, 9, units.RequestsPerSecond, noScrape,
		perSecond("smtp_failure_requests", "outcome"), nil,
		"Requests each second by outcome. accepted and duplicate are fine. unauthorized (401) is somebody without " +
			"your key, or a wrong clock; unavailable, store_unavailable and overloaded got 503 and have to be sent " +
			"again; no requests at all mean that nothing is sent.",
	}, look{stacked: true})
	add("Responses with 503", 6, 9, units.RequestsPerSecond, noneInTime,
		perSecond("smtp_failure_requests", "outcome",
			outcome+`=~"unavailable|store_unavailable|too_many_waiting|key_unavailable|in_flight|overloaded"`),
		"Requests that got 503 and have to be sent again, by what failed: a pipeline (unavailable), the store, the "+
			"DNS (key_unavailable), another copy still being processed (in_flight), or too many requests at once "+
			"(too_many_waiting, overloaded). Reports are lost if the sender does not retry, so act now: look at the "+
			"backend, the disk or the DNS.")
	add("Refusals by reason", 6, 9, units.RequestsPerSecond, noneInTime, perSecond("smtp_failure_refusals", "reason"),
		"Requests refused for their signature, by reason. Forged requests show here. If genuine ones are refused, the "+
			"reason says what to fix: the account, the host, the clock or the DNS.")
	add("Response time", 8, 8, units.Seconds, noScrape, quantiles("smtp_failure_request_duration"),
		"How long requests take: half are faster than p50, 99 % faster than p99. A slow p99 means that a pipeline or "+
			"the store is slow, and senders may time out.")
	add("Received bytes", 8, 8, units.BytesPerSecondSI, noScrape,
		ask(rate(b.own("smtp_failure_received_bytes"), ""), "bytes", metricGraph),
		"Bytes of bodies read each second, after decompression. Grows with the requests; many bytes for few requests "+
			"are worth a look.")
	add("Duplicates", 8, 8, units.CountsPerSecond, noneInTime,
		ask(rate(b.own("smtp_failure_duplicates"), ""), "duplicates", metricGraph),
		"Reports that were sent again after they had been accepted. They count nowhere else. A steady few are retries "+
			"of the sender; many mean that it does not get the responses, so look at Response time.")
	add("Anomalies by field", 8, 8, units.CountsPerSecond, noneInTime, perSecond("smtp_failure_anomalies", "field"),
		"Variables of accepted reports that could not be read and were kept as they came. The report counts all the "+
			"same. Many mean that the sender changed its format: look at the records' copernica attributes.")
	add("Active series", 8, 8, wholeNumber, noScrape,
		graph("sum by ("+b.label(series, "metric")+") ("+collected(series)+")", "metric"),
		"Series of each counter, the overflow series included. Near aggregation.cardinality_limit (2000 "+
			"unless set), further kinds are counted without attributes: limit the tags that are counted.")
	add("Failures past the limit", 8, 8, units.CountsPerSecond, "None: the limit was not reached",
		perSecond("smtp_failure_overflows", "metric"),
		"Failures that each counter put in its overflow series, each second. Anything here means that breakdowns are "+
			"incomplete from that moment on; totals are not.")
	b.lines(panel{
		"Reports remembered", 6, 8, wholeNumber, noScrape,
		[]query{
			{"sum(" + collected(remembered) + ")", "remembered", metricGraph},
			{rate(evictions, ""), forgotten, metricGraph},
		},
		nil,
		"Reports that are remembered so that a repeat is known, and those forgotten early for want of room. At " +
			"deduplication.max_entries (100000 unless set), the oldest make room.",
	}, look{list: true, rate: forgotten})
	add("Key lookups by outcome", 6, 8, units.CountsPerSecond, "None: no signatures are checked, or all keys were known",
		perSecond("smtp_failure_key_lookups", "outcome"),
		"Lookups of the senders' signing keys in the DNS. Failures here delay or reject requests: check "+
			"signature.resolver and the DNS. Nothing shows when signatures are not checked.")
	add("Flushes by outcome", 6, 8, units.CountsPerSecond, noScrape, perSecond("smtp_failure_flushes", "outcome"),
		"Times the counters were sent to the metrics pipelines. refused loses nothing, since totals go out again, "+
			"but the figures above lag until it ends: look at the metrics exporter.")
	add("Store writes by outcome", 6, 8, units.CountsPerSecond, "None: no storage is configured",
		perSecond("smtp_failure_store_writes", "outcome"),
		"Writes to the store. failed means that requests get 503: look at the disk. Nothing shows without a store, "+
			"and then counts and repeats are forgotten at a restart.")
	add("Batch size", 12, 8, wholeNumber, noScrape, quantiles("smtp_failure_batch_size"),
		"How many reports go to the logs pipelines at once. It grows under load; large batches at few requests a "+
			"second mean that a pipeline or the store is slow.")
	add("How causes were decided", 12, 8, units.CountsPerSecond, noneInTime,
		perSecond("smtp_failure_causes", "decided_by"),
		"Failures by what decided their cause: a phrase of the server's reply, the enhanced status, the code or the "+
			"state. Many none mean unknown replies: add phrases under causes.")
}

// forgotten is a rate in a graph of numbers.
const forgotten = "forgotten early, per second"
