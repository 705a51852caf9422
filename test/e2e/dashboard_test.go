package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// emptyPanels have no data of the day, for the reasons given.
var emptyPanels = map[string]string{
	"Counted past the limit":           "the day has far fewer kinds than aggregation.cardinality_limit",
	"Refusals by reason":               "no signature is configured, so none is refused",
	"Key lookups by outcome":           "no signature is configured, so no key is looked up",
	"Failure rate by mailbox provider": "email.recipient.domain is an attribute only where it is asked for",
}

const (
	// perhapsEmptyPanel has data only if a report takes two seconds, on a busy machine.
	perhapsEmptyPanel = "Responses with 503"
	// emptyVariable offers nothing but All, since no signature is configured.
	emptyVariable = "account"

	totalPanel     = "Failures in the range"
	providersPanel = "Top mailbox providers"
	messagesPanel  = "Messages"
	newKindsPanel  = "New kinds"
)

// compared are the panels whose numbers are compared with what was sent, for each value of each
// variable except those listed: the counter of all failures has no tag, address or id, and
// collector is about the receiver's own metrics.
var compared = map[string][]string{
	totalPanel:     {"tag", "provider", "message", "collector"},
	providersPanel: {"collector"},
	messagesPanel:  {"collector"},
}

// Settings of Grafana's data sources: the interval that $__rate_interval is made of, twice the
// scrape interval because the counters change with every second scrape; and the lines that a log
// query gets.
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

type datasource struct{ Type, UID string }

type target struct {
	RefID        string
	Expr         string
	Instant      bool
	QueryType    string
	MaxLines     int
	LegendFormat string
	Datasource   datasource
}

type variable struct {
	Name       string
	Type       string
	Query      variableQuery
	Regex      string
	Multi      bool
	IncludeAll bool
	AllValue   string
	Datasource datasource
}

// variableQuery is a text, or an object that holds it.
type variableQuery string

func (q *variableQuery) UnmarshalJSON(text []byte) error {
	var object struct{ Query string }
	if json.Unmarshal(text, &object) == nil {
		*q = variableQuery(object.Query)
		return nil
	}
	return json.Unmarshal(text, (*string)(q))
}

type annotation struct {
	Name       string
	BuiltIn    int
	Expr       string
	Target     target
	Datasource datasource
}

func readDashboard(t *testing.T) (board dashboard) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(readFile(t, root+"/examples/grafana/dashboard.json")), &board))
	return board
}

// query is one of a panel or an annotation.
type query struct {
	panel      string
	annotation bool
	target     target
}

// queries returns all queries of the dashboard.
func (b dashboard) queries() (all []query) {
	var add func([]panel)
	add = func(panels []panel) {
		for _, p := range panels {
			for _, target := range p.Targets {
				all = append(all, query{p.Title, false, target})
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
		a.Target.Expr = cmp.Or(a.Target.Expr, a.Expr)
		all = append(all, query{"annotation " + a.Name, true, a.Target})
	}
	return all
}

// variable returns the variable of a name, nil if there is none.
func (b dashboard) variable(name string) *variable {
	for _, v := range b.Templating.List {
		if v.Name == name {
			return &v
		}
	}
	return nil
}

// choice is what is chosen at the top of the dashboard: the time, and values of variables. A
// variable without a value is on All, or empty.
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
		v := b.variable(name)
		require.NotNil(t, v, "%s is no variable of the dashboard: %s", match, text)
		value, chosen := c.values[name]
		if !chosen && v.IncludeAll {
			require.NotEmpty(t, v.AllValue,
				"the variable %s has no value for All, which makes a query of all that there is", name)
			return v.AllValue
		}
		switch format {
		case "regex":
			return regexpSpecial.ReplaceAllString(value, `\$0`)
		case "raw", "pipe", "text":
			return value
		case "":
			if v.Multi || v.IncludeAll {
				// Escaped twice, since it goes into a regular expression in a text in double
				// quotes.
				return doubleSpecial.ReplaceAllString(strings.ReplaceAll(value, `\`, `\\\\`), `\\$0`)
			}
			return strings.ReplaceAll(strings.ReplaceAll(value, `\`, `\\`), `'`, `\\'`)
		}
		t.Fatalf("the format of %s is unknown here", match)
		return ""
	})
}

// serverOf returns the server that a data source stands for.
func (d *playedDay) serverOf(t *testing.T, source datasource) *server {
	t.Helper()
	servers := map[datasource]*server{{"prometheus", "${prometheus}"}: d.scraping, {"loki", "${loki}"}: d.loki}
	require.Contains(t, servers, source, "the data source has to be a variable")
	return servers[source]
}

// ask runs a query as Grafana would, and returns the labels of each series with a number in it, or
// record, and the sum of the last numbers.
func (d *playedDay) ask(t *testing.T, b dashboard, q query, c choice) (rows []map[string]string, sum float64) {
	t.Helper()
	expr, s := b.expand(t, q.target.Expr, c), d.serverOf(t, q.target.Datasource)
	if s == d.loki && strings.HasPrefix(expr, "{") {
		for _, record := range d.loki.records(t, expr, c.from, c.to.Add(time.Nanosecond), dashboardLines) {
			rows = append(rows, record.metadata)
		}
		return rows, 0
	}
	add := func(labels model.Metric, value float64) {
		if math.IsNaN(value) {
			return
		}
		row := map[string]string{}
		for name, value := range labels {
			row[string(name)] = string(value)
		}
		rows, sum = append(rows, row), sum+value
	}
	if q.target.Instant || q.target.QueryType == "instant" {
		for _, element := range s.query(t, expr, c.to) {
			add(element.Metric, float64(element.Value))
		}
		return rows, sum
	}
	result, _, err := s.QueryRange(t.Context(), expr, promv1.Range{Start: c.from, End: c.to, Step: c.step()})
	require.NoError(t, err, "%s/%s with %v: %s", q.panel, q.target.RefID, c.values, expr)
	for _, series := range result.(model.Matrix) {
		last := math.NaN()
		for _, point := range series.Values {
			if !math.IsNaN(float64(point.Value)) {
				last = float64(point.Value)
			}
		}
		add(series.Metric, last)
	}
	return rows, sum
}

var labelValues = regexp.MustCompile(`^label_values\((?:(.+),\s*)?([a-zA-Z_]\w*)\)$`)

// label returns the label whose values a variable offers.
func (v *variable) label() string { return labelValues.FindStringSubmatch(string(v.Query))[2] }

// options asks for the values that a variable offers.
func (d *playedDay) options(t *testing.T, b dashboard, v *variable, c choice) (options []string) {
	t.Helper()
	parts := labelValues.FindStringSubmatch(string(v.Query))
	require.True(t, parts != nil && v.Datasource.Type == "prometheus" && v.Regex == "",
		"this test cannot ask for %+v", v)
	var matchers []string
	if parts[1] != "" {
		matchers = []string{b.expand(t, parts[1], c)}
	}
	values, _, err := d.scraping.LabelValues(t.Context(), parts[2], matchers, c.from, c.to)
	require.NoError(t, err, v.Name)
	for _, value := range values {
		options = append(options, string(value))
	}
	return options
}

// testDashboard runs all queries of the dashboard: for the whole day, for its second half, for the
// day before, which is empty, and with a value for each variable.
func (d *playedDay) testDashboard(t *testing.T) {
	board := readDashboard(t)
	whole, half := d.choices(t)
	before := choice{from: whole.from.Add(-24 * time.Hour), to: whole.to.Add(-24 * time.Hour)}
	queries := board.queries()
	table := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PANEL\tQUERY\tSOURCE\tROWS, DAY\tROWS, 2ND HALF\tASKED")
	asked, found := 0, map[string]bool{}
	for _, q := range queries {
		ofDay, _ := d.ask(t, board, q, whole)
		ofHalf, _ := d.ask(t, board, q, half)
		d.ask(t, board, q, before)
		asked += 3
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\n", q.panel, q.target.RefID, q.target.Datasource.Type,
			len(ofDay), len(ofHalf), shortened(board.expand(t, q.target.Expr, half)))
		found[q.panel] = found[q.panel] || len(ofHalf) > 0
		if emptyPanels[q.panel] == "" && q.panel != perhapsEmptyPanel && !q.annotation {
			assert.NotEmpty(t, ofHalf, "%s/%s", q.panel, q.target.RefID)
		}
		checkLegend(t, q, ofHalf)
		if q.panel == newKindsPanel {
			checkNewKinds(t, q, ofHalf)
		}
	}
	for title, reason := range emptyPanels {
		assert.Contains(t, found, title, "the list of empty panels")
		assert.False(t, found[title], "the panel %q has data, though %s", title, reason)
	}
	for _, title := range []string{perhapsEmptyPanel, totalPanel, providersPanel, messagesPanel, newKindsPanel} {
		assert.Contains(t, found, title)
	}
	asked += d.askWithValues(t, board, queries, whole)
	require.NoError(t, table.Flush())
	t.Logf("%d queries in %d panels, asked %d times in all", len(queries), len(found), asked)
}

// choices returns the whole day, and its second half, to which the first can be compared.
func (d *playedDay) choices(t *testing.T) (whole, half choice) {
	t.Helper()
	// At the time of a scrape, increase() is exact.
	to := d.lastScrape(t)
	// Failures of the first minute happened in the minute before it.
	seconds := int(math.Ceil(to.Sub(d.from).Seconds())) + 61
	return choice{from: to.Add(-time.Duration(seconds) * time.Second), to: to},
		choice{from: to.Add(-to.Sub(d.from) / 2).Round(time.Second), to: to}
}

// askWithValues asks again with a value chosen in each variable in turn, and compares numbers with
// what was sent.
func (d *playedDay) askWithValues(t *testing.T, board dashboard, queries []query, whole choice) (asked int) {
	t.Helper()
	// Another provider's domain ends with this one.
	texts := map[string]string{"provider": "mail.example", "message": d.reports[len(d.reports)/2].ID}
	chosen := []choice{whole}
	for _, v := range board.Templating.List {
		c := choice{from: whole.from, to: whole.to, values: map[string]string{}}
		switch v.Type {
		case "datasource":
			continue
		case "textbox":
			require.Contains(t, texts, v.Name)
			c.values[v.Name] = texts[v.Name]
		default:
			options := d.options(t, board, &v, whole)
			if v.Name == emptyVariable {
				assert.Empty(t, options, v.Name)
				continue
			}
			require.NotEmpty(t, options, v.Name)
			// The one that most reports have.
			counts := map[string]float64{}
			for _, g := range append(groupings(), byTag) {
				if g.label == v.label() {
					counts = g.count(d.reports)
				}
			}
			c.values[v.Name] = slices.MaxFunc(options,
				func(a, b string) int { return cmp.Compare(counts[a], counts[b]) })
		}
		chosen = append(chosen, c)
	}

	for _, c := range chosen {
		for _, q := range queries {
			without, toCompare := compared[q.panel]
			toCompare = toCompare && q.target.RefID == "A" &&
				!slices.ContainsFunc(without, func(name string) bool { return c.values[name] != "" })
			if !toCompare && !uses(q.target.Expr, c.values) {
				continue // it was asked already
			}
			rows, got := d.ask(t, board, q, c)
			asked++
			if !toCompare {
				continue
			}
			want := d.countChosen(board, c)
			if q.panel == messagesPanel {
				got, want = float64(len(rows)), min(want, dashboardLines)
			}
			assert.InDelta(t, want, got, 1e-6*want, "%s with %v", q.panel, c.values)
		}
	}
	return asked
}

// uses reports whether a query depends on one of the variables.
func uses(expr string, variables map[string]string) bool {
	return slices.ContainsFunc(reference.FindAllStringSubmatch(expr, -1), func(parts []string) bool {
		_, found := variables[parts[1]+parts[3]+parts[4]]
		return found
	})
}

// countChosen counts the reports that have the values that are chosen.
func (d *playedDay) countChosen(board dashboard, c choice) (count float64) {
	for _, r := range d.reports {
		matches := true
		for name, value := range c.values {
			switch name {
			case "service": // there is one
			case "tag":
				matches = matches && slices.Contains(r.Tags, value)
			case "message":
				matches = matches && r.ID == value
			case "provider":
				matches = matches && r.metadata()["email_recipient_domain"] == value
			default:
				matches = matches && r.labels()[board.variable(name).label()] == value
			}
		}
		if matches {
			count++
		}
	}
	return count
}

var legendLabel = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// checkLegend checks that what a legend shows is there to be shown.
func checkLegend(t *testing.T, q query, rows []map[string]string) {
	t.Helper()
	for _, match := range legendLabel.FindAllStringSubmatch(q.target.LegendFormat, -1) {
		shown := slices.ContainsFunc(rows, func(row map[string]string) bool { return row[match[1]] != "" })
		assert.True(t, shown || len(rows) == 0, "%s/%s: the legend shows %s, and no row has it: %v", q.panel,
			q.target.RefID, match[1], rows)
	}
}

// checkNewKinds checks that only the kinds that are new in the second half of the day are shown.
func checkNewKinds(t *testing.T, q query, rows []map[string]string) {
	t.Helper()
	var got []string
	for _, row := range rows {
		got = append(got, row["smtp_response_enhanced_status_code"])
	}
	assert.Contains(t, got, "5.7.20", q.target.RefID)
	if q.target.RefID == "A" {
		// The others look at the time in steps, so that they may take another one to see what came
		// just now.
		assert.Contains(t, got, newKind.Extended)
	}
	assert.NotContains(t, got, "5.1.1", "it came up in the first half of the day already")
}

var (
	selectors = regexp.MustCompile(`\{[^{}]*\}`)
	pipelines = regexp.MustCompile("(\\| *\\w+ *[!=~<>]+ *(\"(\\\\.|[^\"\\\\])*\"|`[^`]*`) *)+")
)

// shortened returns a query without what most of them share.
func shortened(expr string) string {
	expr = pipelines.ReplaceAllString(selectors.ReplaceAllString(expr, "{…}"), "| … ")
	text := []rune(strings.ReplaceAll(expr, "label_replace(", ""))
	return string(text[:min(len(text), 110)])
}
