package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

const dashboardFile = root + "/examples/grafana/dashboard.json"

// emptyPanels are those that rightly have nothing to show of the day. With data, they are to be taken off the list.
var emptyPanels = map[string]string{
	"Counted past the limit": "the day has far fewer kinds than aggregation.cardinality_limit",
	"Refusals by reason":     "no signature is configured, so none is refused",
	"Key lookups by outcome": "no signature is configured, so no key is looked up",

	"Failure rate by mailbox provider": "email.recipient.domain is an attribute only where it is asked for",
}

// perhapsEmptyPanels may have something to show of the day or not.
var perhapsEmptyPanels = map[string]string{
	"Calls told to come again": "a copy of a report that is under way for two seconds, on a busy machine, is all that is told so",
}

// emptyVariables are those that rightly offer nothing but All.
var emptyVariables = map[string]string{
	"account": "no signature is configured, so no account is known; and the attribute is opt-in",
}

// What the panels are called whose numbers are compared with what was sent.
const (
	totalPanel     = "Failures in the range"
	providersPanel = "Top mailbox providers"
	messagesPanel  = "Messages"
	newKindsPanel  = "New kinds"
)

// compared are the panels whose numbers are compared with what was sent for each value that is chosen, but for those of the variables that
// are none of their business: the counter of all failures has no tag, address or id, and the last is about the receiver itself.
var compared = map[string][]string{
	totalPanel:     {"tag", "provider", "message", "collector"},
	providersPanel: {"collector"},
	messagesPanel:  {"collector"},
}

// Settings of Grafana's data sources: the interval that $__rate_interval is made of, twice the scrape interval because the counters change with every
// second scrape; and the lines that a log query gets.
const (
	dashboardInterval = 2 * dayScrape
	dashboardLines    = 1000
)

// dashboard is Grafana's JSON, as far as it says what is asked.
type dashboard struct {
	Panels      []panel
	Templating  struct{ List []variable }
	Annotations struct{ List []annotation }
}

type panel struct {
	Title   string
	Type    string
	Panels  []panel // of a row that is folded
	Targets []target

	Transformations json.RawMessage
	FieldConfig     struct{ Overrides json.RawMessage }
}

type target struct {
	RefID        string
	Expr         string
	Instant      bool
	QueryType    string
	Hide         bool
	MaxLines     int
	LegendFormat string
	Datasource   struct{ Type, UID string }
}

type variable struct {
	Name       string
	Type       string
	Query      variableQuery
	Regex      string
	Multi      bool
	IncludeAll bool
	AllValue   string
	Current    struct{ Value json.RawMessage }
	Datasource struct{ Type, UID string }
}

// variableQuery is a text, or an object that holds it.
type variableQuery string

func (q *variableQuery) UnmarshalJSON(text []byte) error {
	var query string
	if json.Unmarshal(text, &query) == nil {
		*q = variableQuery(query)
		return nil
	}
	var object struct{ Query string }
	err := json.Unmarshal(text, &object)
	*q = variableQuery(object.Query)
	return err
}

type annotation struct {
	Name       string
	BuiltIn    int
	Expr       string
	Target     target
	Datasource struct{ Type, UID string }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board dashboard
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatalf("%s: %v", dashboardFile, err)
	}
	return board
}

// query is something that the dashboard asks, of a panel or as an annotation.
type query struct {
	panel  string
	kind   string // type of the panel
	target target
}

// queries returns all that the dashboard asks.
func (b dashboard) queries() []query {
	var all []query
	var add func([]panel)
	add = func(panels []panel) {
		for _, p := range panels {
			for _, target := range p.Targets {
				all = append(all, query{p.Title, p.Type, target})
			}
			add(p.Panels)
		}
	}
	add(b.Panels)
	for _, a := range b.Annotations.List {
		if a.BuiltIn != 0 {
			continue // Grafana's own, which asks no server
		}
		a.Target.Datasource = a.Datasource
		if a.Target.Expr == "" {
			a.Target.Expr = a.Expr
		}
		all = append(all, query{"annotation " + a.Name, "annotation", a.Target})
	}
	return all
}

// choice is what is chosen at the top of the dashboard: the time, and values of variables. A variable without a value is on All, or empty.
type choice struct {
	from, to time.Time
	values   map[string]string
}

func (c choice) seconds() int {
	return int(math.Round(c.to.Sub(c.from).Seconds()))
}

// step is the time between two points of a graph, when it is a thousand pixels wide.
func (c choice) step() time.Duration {
	return max(dashboardInterval, time.Duration(c.seconds()/1000)*time.Second)
}

var (
	reference     = regexp.MustCompile(`\$\{(\w+)(?::(\w+))?\}|\$(\w+)|\[\[(\w+)\]\]`)
	regexpSpecial = regexp.MustCompile(`[\\^$*+?.()|\[\]{}/]`)
	doubleSpecial = regexp.MustCompile(`[$^*{}\[\]'+?.()|]`)
)

// expand puts values in place of the variables, as Grafana does.
func (b dashboard) expand(t *testing.T, text string, c choice) string {
	t.Helper()
	rateInterval := max(c.step()+dashboardInterval, 4*dashboardInterval)
	builtIn := map[string]string{
		"__range":            fmt.Sprintf("%ds", c.seconds()),
		"__range_s":          strconv.Itoa(c.seconds()),
		"__range_ms":         strconv.Itoa(c.seconds() * 1000),
		"__interval":         c.step().String(),
		"__interval_ms":      strconv.FormatInt(c.step().Milliseconds(), 10),
		"__rate_interval":    rateInterval.String(),
		"__rate_interval_ms": strconv.FormatInt(rateInterval.Milliseconds(), 10),
		"__auto":             c.step().String(),
	}
	return reference.ReplaceAllStringFunc(text, func(match string) string {
		parts := reference.FindStringSubmatch(match)
		name, format := parts[1]+parts[3]+parts[4], parts[2]
		if value, found := builtIn[name]; found {
			return value
		}
		if strings.Trim(name, "0123456789") == "" {
			return match // of a regular expression
		}
		at := slices.IndexFunc(b.Templating.List, func(v variable) bool { return v.Name == name })
		if at < 0 {
			t.Fatalf("%s is no variable of the dashboard: %s", match, text)
		}
		v := b.Templating.List[at]
		value, chosen := c.values[name]
		if !chosen && v.IncludeAll {
			if v.AllValue == "" {
				t.Fatalf("the variable %s has no value for All, which makes a query of all that there is", name)
			}
			return v.AllValue
		}
		switch format {
		case "regex":
			return regexpSpecial.ReplaceAllString(value, `\$0`)
		case "raw", "pipe", "text":
			return value
		case "":
			if v.Multi || v.IncludeAll {
				// Escaped twice, since it goes into a regular expression in a text in double quotes.
				return doubleSpecial.ReplaceAllString(strings.ReplaceAll(value, `\`, `\\\\`), `\\$0`)
			}
			return strings.ReplaceAll(strings.ReplaceAll(value, `\`, `\\`), `'`, `\\'`)
		}
		t.Fatalf("the format of %s is unknown here", match)
		return ""
	})
}

// answer is what a server said to a query.
type answer struct {
	// labels of each row, and its last value where it is a number.
	labels []map[string]string
	values []float64
}

func (a answer) rows() int { return len(a.labels) }

func (a answer) sum() float64 {
	sum := 0.0
	for _, value := range a.values {
		sum += value
	}
	return sum
}

// ask runs a query as Grafana would. A row is a series with a number in it, or a record.
func (d *playedDay) ask(t *testing.T, b dashboard, q query, c choice) answer {
	t.Helper()
	expr := b.expand(t, q.target.Expr, c)
	var s *server
	var path string
	switch q.target.Datasource.Type + " " + q.target.Datasource.UID {
	case "prometheus ${prometheus}":
		s, path = d.scraping.server, "/api/v1/query"
	case "loki ${loki}":
		s, path = d.loki.server, "/loki/api/v1/query"
	default:
		t.Fatalf("%s/%s: the data source is %v, want a variable", q.panel, q.target.RefID, q.target.Datasource)
	}
	fail := func(err error) {
		if err != nil {
			t.Errorf("%s/%s with %v: %v\n%s", q.panel, q.target.RefID, c.values, err, expr)
		}
	}
	var a answer
	add := func(labels map[string]string, value float64) {
		if !math.IsNaN(value) {
			a.labels, a.values = append(a.labels, labels), append(a.values, value)
		}
	}
	switch {
	case s == d.loki.server && strings.HasPrefix(expr, "{"):
		records, err := d.loki.find(expr, c.from, c.to.Add(time.Nanosecond), dashboardLines)
		fail(err)
		for _, record := range records {
			add(record.metadata, 0)
		}
	case q.target.Instant || q.target.QueryType == "instant":
		elements, err := s.instants(path, expr, c.to)
		fail(err)
		for _, element := range elements {
			add(element.labels, element.value)
		}
	default:
		all, err := s.matrix(path+"_range", expr, c.from, c.to, c.step())
		fail(err)
		for _, one := range all {
			value := math.NaN()
			for _, point := range one.points {
				if !math.IsNaN(point.value) {
					value = point.value
				}
			}
			add(one.labels, value)
		}
	}
	return a
}

var labelValues = regexp.MustCompile(`^label_values\((?:(.+),\s*)?([a-zA-Z_]\w*)\)$`)

// options asks for the values that a variable offers.
func (d *playedDay) options(t *testing.T, b dashboard, v variable, c choice) []string {
	t.Helper()
	parts := labelValues.FindStringSubmatch(string(v.Query))
	if parts == nil || v.Datasource.Type != "prometheus" {
		t.Fatalf("the variable %s asks %s for %q, which this test cannot", v.Name, v.Datasource.Type, v.Query)
	}
	if v.Regex != "" {
		t.Fatalf("the variable %s has a regex, which this test does not apply", v.Name)
	}
	parameters := url.Values{"start": {unix(c.from)}, "end": {unix(c.to)}}
	if parts[1] != "" {
		parameters.Set("match[]", b.expand(t, parts[1], c))
	}
	var values []string
	if err := d.scraping.api("/api/v1/label/"+parts[2]+"/values", parameters, &values); err != nil {
		t.Errorf("the variable %s: %v", v.Name, err)
	}
	return values
}

// testDashboard runs everything that the dashboard asks: for the whole day, for its second half, for which there is a period before it, for
// each variable with a value chosen, and for the day before, when there was nothing.
func (d *playedDay) testDashboard(t *testing.T) {
	began := time.Now()
	board := readDashboard(t)
	whole, half := d.choices(t)
	before := choice{from: whole.from.Add(-24 * time.Hour), to: whole.to.Add(-24 * time.Hour)}

	queries := board.queries()
	if len(queries) == 0 {
		t.Fatal("the dashboard asks nothing")
	}
	table := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PANEL\tQUERY\tSOURCE\tROWS, DAY\tROWS, 2ND HALF\tASKED")
	asked, found := 0, map[string]bool{}
	for _, q := range queries {
		ofDay, ofHalf := d.ask(t, board, q, whole), d.ask(t, board, q, half)
		d.ask(t, board, q, before)
		asked += 3
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\n", q.panel, q.target.RefID, q.target.Datasource.Type,
			ofDay.rows(), ofHalf.rows(), shortened(board.expand(t, q.target.Expr, half)))
		if ofHalf.rows() > 0 {
			found[q.panel] = true
		}
		_, empty := emptyPanels[q.panel]
		_, perhaps := perhapsEmptyPanels[q.panel]
		if !empty && !perhaps && ofHalf.rows() == 0 && q.kind != "annotation" {
			t.Errorf("%s/%s has no data", q.panel, q.target.RefID)
		}
		checkLegend(t, q, ofHalf)
		if q.panel == newKindsPanel {
			checkNewKinds(t, q, ofHalf)
		}
	}
	titles := map[string]bool{}
	for _, q := range queries {
		titles[q.panel] = true
	}
	for _, title := range slices.Sorted(maps.Keys(emptyPanels)) {
		switch {
		case !titles[title]:
			t.Errorf("there is no panel %q, of which the list says that it is empty", title)
		case found[title]:
			t.Errorf("the panel %q has data, though %s", title, emptyPanels[title])
		}
	}
	for _, title := range slices.Concat(slices.Collect(maps.Keys(perhapsEmptyPanels)), slices.Collect(maps.Keys(compared)), []string{newKindsPanel}) {
		if !titles[title] {
			t.Errorf("there is no panel %q", title)
		}
	}
	asked += d.askWithValues(t, board, queries, whole)
	if err := table.Flush(); err != nil {
		t.Error(err)
	}
	d.took["dashboard"] = time.Since(began).Round(time.Millisecond)
	t.Logf("%d queries in %d panels, asked %d times in all", len(queries), len(titles), asked)
}

// choices are the whole day, and its second half, for which there is a period before it.
func (d *playedDay) choices(t *testing.T) (whole, half choice) {
	t.Helper()
	// At the time of a scrape, increase() is exact.
	to := d.lastScrape(t)
	// Failures of the first minute happened in the minute before it.
	seconds := int(math.Ceil(to.Sub(d.from).Seconds())) + 61
	return choice{from: to.Add(-time.Duration(seconds) * time.Second), to: to},
		choice{from: to.Add(-to.Sub(d.from) / 2).Round(time.Second), to: to}
}

// lastScrape is when the counters were last scraped.
func (d *playedDay) lastScrape(t *testing.T) time.Time {
	t.Helper()
	var last time.Time
	for _, s := range d.scraping.samples(t, failuresTotal+"[1m]", d.to) {
		if s.last().at.After(last) {
			last = s.last().at
		}
	}
	return last
}

// askWithValues asks again with a value chosen in each variable in turn, and compares numbers with what was sent.
func (d *playedDay) askWithValues(t *testing.T, board dashboard, queries []query, whole choice) (asked int) {
	t.Helper()
	counted := map[string]grouping{byTag.label: byTag}
	for _, g := range groupings(t) {
		counted[g.label] = g
	}
	one := d.reports[len(d.reports)/2]
	// Another provider's domain ends with this one.
	texts := map[string]string{"provider": "mail.example", "message": one.ID}
	chosen := []choice{whole}
	for _, v := range board.Templating.List {
		c := choice{from: whole.from, to: whole.to, values: map[string]string{}}
		switch v.Type {
		case "datasource":
			continue
		case "textbox":
			if texts[v.Name] == "" {
				t.Errorf("this test has no text for the variable %s", v.Name)
			}
			c.values[v.Name] = texts[v.Name]
		case "query":
			options := d.options(t, board, v, whole)
			if _, empty := emptyVariables[v.Name]; empty || len(options) == 0 {
				if !empty || len(options) > 0 {
					t.Errorf("the variable %s offers %q", v.Name, options)
				}
				continue
			}
			c.values[v.Name] = d.mostFrequent(options, counted[labelValues.FindStringSubmatch(string(v.Query))[2]])
		default:
			t.Errorf("the variable %s is of the type %s, which this test does not know", v.Name, v.Type)
		}
		chosen = append(chosen, c)
	}

	for _, c := range chosen {
		for _, q := range queries {
			without, toCompare := compared[q.panel]
			toCompare = toCompare && q.target.RefID == "A" && !slices.ContainsFunc(without, func(name string) bool { return c.values[name] != "" })
			if !toCompare && !uses(q.target.Expr, c.values) {
				continue // it was asked already
			}
			a := d.ask(t, board, q, c)
			asked++
			if !toCompare {
				continue
			}
			got, want := a.sum(), d.countChosen(t, board, c)
			if q.panel == messagesPanel {
				got, want = float64(a.rows()), min(want, dashboardLines)
			}
			if math.Abs(got-want) > 1e-6*want {
				t.Errorf("%s with %v: %v, want %v", q.panel, c.values, got, want)
			}
		}
	}
	return asked
}

// uses tells whether a query depends on one of the variables.
func uses(expr string, variables map[string]string) bool {
	return slices.ContainsFunc(reference.FindAllStringSubmatch(expr, -1), func(parts []string) bool {
		_, found := variables[parts[1]+parts[3]+parts[4]]
		return found
	})
}

// countChosen counts the reports that have the values that are chosen.
func (d *playedDay) countChosen(t *testing.T, board dashboard, c choice) float64 {
	t.Helper()
	count := 0.0
	for _, report := range d.reports {
		if isChosen(t, board, report, c) {
			count++
		}
	}
	return count
}

func isChosen(t *testing.T, board dashboard, report sentReport, c choice) bool {
	t.Helper()
	for name, value := range c.values {
		var is bool
		switch name {
		case "service":
			is = true // there is one
		case "tag":
			is = slices.Contains(report.Tags, value)
		case "message":
			is = report.ID == value
		case "provider":
			is = report.metadata(t)["email_recipient_domain"] == value
		default:
			v := board.Templating.List[slices.IndexFunc(board.Templating.List, func(v variable) bool { return v.Name == name })]
			is = report.labels(t)[labelValues.FindStringSubmatch(string(v.Query))[2]] == value
		}
		if !is {
			return false
		}
	}
	return true
}

// mostFrequent is the option that most reports have, or the first where the label is none of theirs.
func (d *playedDay) mostFrequent(options []string, g grouping) string {
	if g.of == nil {
		return options[0]
	}
	counts := d.count(g)
	return slices.MaxFunc(options, func(a, b string) int { return cmp.Compare(counts[a], counts[b]) })
}

var legendLabel = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// checkLegend checks that what a legend shows is there to be shown.
func checkLegend(t *testing.T, q query, a answer) {
	t.Helper()
	if a.rows() == 0 {
		return
	}
	for _, match := range legendLabel.FindAllStringSubmatch(q.target.LegendFormat, -1) {
		if !slices.ContainsFunc(a.labels, func(labels map[string]string) bool { return labels[match[1]] != "" }) {
			t.Errorf("%s/%s: the legend shows %s, and no row has it: %v", q.panel, q.target.RefID, match[1], a.labels)
		}
	}
}

// checkNewKinds checks that the kinds that came up in the second half of the day are shown, and only those: the sender's news of the evening and
// the test's own.
func checkNewKinds(t *testing.T, q query, a answer) {
	t.Helper()
	var got []string
	for _, labels := range a.labels {
		got = append(got, labels["smtp_response_enhanced_status_code"])
	}
	wanted := []string{"5.7.20"}
	if q.target.RefID == "A" {
		// The others look at the time in steps, so that they may take another one to see what came just now.
		wanted = append(wanted, newKind.Extended)
	}
	for _, want := range wanted {
		if !slices.Contains(got, want) {
			t.Errorf("%s/%s shows %q, and not %s", q.panel, q.target.RefID, got, want)
		}
	}
	if slices.Contains(got, "5.1.1") {
		t.Errorf("%s/%s shows 5.1.1, which came up in the first half of the day already", q.panel, q.target.RefID)
	}
}

var (
	selectors = regexp.MustCompile(`\{[^{}]*\}`)
	pipelines = regexp.MustCompile("(\\| *\\w+ *[!=~<>]+ *(\"(\\\\.|[^\"\\\\])*\"|`[^`]*`) *)+")
)

// shortened leaves out of a query what is the same in most.
func shortened(expr string) string {
	expr = pipelines.ReplaceAllString(selectors.ReplaceAllString(expr, "{…}"), "| … ")
	expr = strings.ReplaceAll(expr, "label_replace(", "")
	if text := []rune(expr); len(text) > 110 {
		return string(text[:110]) + "…"
	}
	return expr
}
