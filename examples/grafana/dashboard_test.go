// Package grafana_test holds the dashboard to metadata.yaml, the one place where names are made: a panel that asks for what the
// receiver does not emit stays empty for ever, and nobody finds out before the night in which it is needed.
package grafana_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

var update = flag.Bool("update", false, "write the meanings of the enhanced statuses into dashboard.json and format it")

const dashboardFile = "dashboard.json"

// Labels that metadata.yaml does not have, because others add them.
var (
	addedInPrometheus = []string{
		"job",                  // service.name, or the scrape's job for the collector's own telemetry
		"instance",             // service.instance.id, or the scrape's target
		"le",                   // the bucket of a histogram
		"otel_metric_overflow", // marks the series in which the counter adds up what is past its limit
	}
	// What Loki indexes of OTLP's resource attributes.
	addedInLoki = []string{"service_name", "service_instance_id"}
	// What Grafana makes of an answer, beside a field for each label.
	addedByGrafana = []string{"Time", "timestamp", "Line", "body", "Value"}
	// Variables that Grafana has without being told.
	grafanaVariables = []string{"__range", "__rate_interval", "__auto", "__url_time_range", "__dashboard", "__value", "__field", "__data"}
)

func TestDashboard(t *testing.T) {
	for _, finding := range check(t, readDashboard(t)) {
		t.Error(finding)
	}
}

// The check finds what it is for. Each case changes the dashboard everywhere in one way.
func TestDashboardCheckFinds(t *testing.T) {
	for name, tc := range map[string]struct{ old, changed, finding string }{
		"a metric that is not there":            {`email_delivery_failures_total{`, `email_delivery_errors_total{`, `no metric is email_delivery_errors_total`},
		"a metric without its suffix":           {`email_delivery_failures_total{`, `email_delivery_failures{`, `no metric is email_delivery_failures`},
		"a metric in a variable":                {`label_values(email_delivery_failures_total, job)`, `label_values(email_failures_total, job)`, `no metric is email_failures_total`},
		"own telemetry that is not there":       {`otelcol_smtp_failure_requests(_total)?`, `otelcol_smtp_failure_calls(_total)?`, `no metric is otelcol_smtp_failure_calls`},
		"own telemetry with another suffix":     {`otelcol_smtp_failure_series{`, `otelcol_smtp_failure_series_total{`, `no metric is otelcol_smtp_failure_series_total`},
		"own telemetry by too wide a pattern":   {`otelcol_smtp_failure_requests(_total)?`, `otelcol_smtp_failure_requests.*`, `names no metrics one by one`},
		"a matcher of no attribute":             {`error_type=~\"$reason\",`, `error_kind=~\"$reason\",`, `has no attribute error_kind`},
		"a group of no attribute":               {`sum by (smtp_state, `, `sum by (smtp_stage, `, `has no attribute smtp_stage`},
		"an attribute of another metric":        {`sum by (smtp_state, `, `sum by (email_tag, `, `email.delivery.failures has no attribute email_tag`},
		"an attribute of records only":          {`sum by (smtp_state, `, `sum by (email_message_id, `, `has no attribute email_message_id`},
		"an attribute of no own telemetry":      {`sum by (outcome)`, `sum by (result)`, `has no attribute result`},
		"an attribute with two names":           {`sum by (outcome)`, `sum by (http_response_status_code)`, `has no attribute http_response_status_code`},
		"a variable of no attribute":            {`, copernica_account_id)`, `, copernica_customer_id)`, `has no attribute copernica_customer_id`},
		"a variable shown other than it asks":   {`"definition": "label_values(email_delivery_failures_total, job)"`, `"definition": "all jobs"`, `definition all jobs is not its query`},
		"a filter of records of no attribute":   {`| email_message_id=~`, `| email_mail_id=~`, `email.delivery.failed has no attribute email_mail_id`},
		"a group of records of no attribute":    {`sum by (email_recipient_domain)`, `sum by (email_provider)`, `has no attribute email_provider`},
		"a stream of no index label":            {`{service_name=~`, `{error_type=~`, `error_type is no label that Loki indexes`},
		"a legend of no attribute":              {`{{smtp_state}}`, `{{state}}`, `has no attribute state`},
		"a data link of no attribute":           {`${__field.labels.email_tag:`, `${__field.labels.tag:`, `has no attribute tag`},
		"a data link to no column":              {`${__data.fields.choice:`, `${__data.fields.value:`, `has no attribute value`},
		"a data link to no variable":            {`&var-tag=`, `&var-tags=`, `sets tags, which is no variable`},
		"a data link to no panel of records":    {`&viewPanel=`, `&viewPanel=1`, `which shows no records`},
		"a column of no attribute":              {`"error_type": "Reason"`, `"error_kind": "Reason"`, `has no attribute error_kind`},
		"a column of no query":                  {`"Value #D": "Share"`, `"Value #X": "Share"`, `has no query X`},
		"settings of no column":                 {`"options": "Change"`, `"options": "Trend"`, `settings for Trend, which is no column`},
		"a variable that is not there":          {`$reason`, `$why`, `why is no variable`},
		"a rate over a fixed time":              {`[$__rate_interval]`, `[5m]`, `rate over 5m`},
		"an increase over a fixed time":         {`[$__range]`, `[6h]`, `increase over 6h`},
		"records counted over a fixed time":     {`[$__auto]`, `[5m]`, `rate over 5m`},
		"a fixed data source":                   {`"uid": "${loki}"`, `"uid": "P8E80F9AEF21F6940"`, `is no variable of the dashboard`},
		"the other data source":                 {`"uid": "${loki}"`, `"uid": "${prometheus}"`, `is no variable of the dashboard`},
		"a panel without a title":               {`"title": "Top tags"`, `"title": ""`, `no title`},
		"a panel whose description says little": {`"description": "All reports that`, `"description": "Reports.", "was": "`, `no description`},
		"a panel without a unit":                {`"unit": "reqps"`, `"unit": ""`, `no unit`},
		"a panel that is empty without data":    {`"noValue": "No new kinds in this range"`, `"noValue": ""`, `no noValue`},
		"two panels with one id":                {`"id": 2,`, `"id": 3,`, `has the id of`},
		"panels that overlap":                   {`"w": 14,`, `"w": 15,`, `overlaps`},
		"panels beside the grid":                {`"w": 24,`, `"w": 25,`, `outside of the grid`},
		"a metric that nobody shows":            {`otelcol_smtp_failure_duplicates(_total)?`, `otelcol_smtp_failure_requests(_total)?`, `no panel shows smtp_failure_duplicates`},
	} {
		t.Run(name, func(t *testing.T) {
			was := readDashboard(t)
			changed := strings.ReplaceAll(string(was), tc.old, tc.changed)
			require.NotEqual(t, string(was), changed, "%s is not in the dashboard any more: change this case", tc.old)
			assert.Contains(t, strings.Join(check(t, []byte(changed)), "\n"), tc.finding)
		})
	}
}

func TestDashboardIsFormatted(t *testing.T) {
	got := readDashboard(t)
	want := format(t, decode(t, got))
	if *update {
		require.NoError(t, os.WriteFile(dashboardFile, want, 0o600))
		return
	}
	// Compared line by line, as the whole is too long to be read in an answer.
	gotLines, wantLines := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		require.Equal(t, wantLines[i], gotLines[i], "line %d: two spaces, keys sorted; `go test ./examples/grafana -update` does that", i+1)
	}
	require.Len(t, gotLines, len(wantLines))
}

// The words beside an enhanced status are those of internal/smtpstatus.
func TestDashboardMeanings(t *testing.T) {
	dashboard := decode(t, readDashboard(t))
	found := 0
	for _, p := range list(dashboard["panels"]) {
		panel := object(p)
		for _, o := range list(object(panel["fieldConfig"])["overrides"]) {
			override := object(o)
			if object(override["matcher"])["options"] != "Meaning" {
				continue
			}
			for _, p := range list(override["properties"]) {
				property := object(p)
				if property["id"] != "mappings" {
					continue
				}
				found++
				want := decode(t, format(t, map[string]any{"mappings": meanings()}))["mappings"]
				if *update {
					property["value"] = want
				}
				assert.Equal(t, want, property["value"], "panel %v: `go test ./examples/grafana -update` writes the meanings", panel["title"])
			}
		}
	}
	require.Equal(t, 1, found, "columns with the meaning of an enhanced status")
	if *update {
		require.NoError(t, os.WriteFile(dashboardFile, format(t, dashboard), 0o600))
	}
}

// meanings are Grafana's value mappings: from each registered status to its meaning, and for the details that servers
// make up within a registered subject to the meaning of the subject, as the receiver does for error.type.
func meanings() []any {
	exact := map[string]any{
		"none":     map[string]any{"index": 0, "text": "No enhanced status"},
		"overflow": map[string]any{"index": 1, "text": "Counted past the cardinality limit, without attributes"},
	}
	var subjects []any
	for subject := range uint16(1000) {
		for detail := range uint16(1000) {
			for _, class := range []uint16{2, 4, 5} {
				status := smtpstatus.Enhanced{Class: class, Subject: subject, Detail: detail}
				if meaning, ok := status.Meaning(); ok {
					exact[status.String()] = map[string]any{"index": len(exact), "text": meaning}
				}
			}
		}
		if meaning, ok := (smtpstatus.Enhanced{Class: 5, Subject: subject}).Meaning(); ok {
			subjects = append(subjects, map[string]any{"type": "regex", "options": map[string]any{
				"pattern": fmt.Sprintf(`[245]\.%d\.\d+`, subject),
				"result":  map[string]any{"text": meaning + " (a detail that is not registered)"},
			}})
		}
	}
	for i, s := range subjects {
		object(object(object(s)["options"])["result"])["index"] = len(exact) + i
	}
	return append([]any{map[string]any{"type": "value", "options": exact}}, subjects...)
}

func readDashboard(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile(dashboardFile)
	require.NoError(t, err)
	return content
}

func decode(t *testing.T, content []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber() // so that numbers are written as they were
	var v map[string]any
	require.NoError(t, decoder.Decode(&v))
	return v
}

func format(t *testing.T, v map[string]any) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	require.NoError(t, encoder.Encode(v))
	return b.Bytes()
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

// metric is one of metadata.yaml's.
type metric struct {
	Attributes []string
	Sum        *struct{}
	Histogram  *struct{}
}

// emitted is all that metadata.yaml says is emitted.
type emitted struct {
	Attributes map[string]struct {
		NameOverride string `json:"name_override"`
	}
	Events    map[string]metric
	Metrics   map[string]metric
	Telemetry struct{ Metrics map[string]metric }
}

// source is a metric or an event, with the labels that it has where it is asked for.
type source struct {
	name   string
	labels []string
}

// names are what can be asked for.
type names struct {
	// by each name that Prometheus may know it by
	metrics map[string]source
	record  source
}

const event = "email.delivery.failed"

func readNames(t *testing.T) names {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "metadata.yaml"))
	require.NoError(t, err)
	retrieved, err := confmap.NewRetrievedFromYAML(content)
	require.NoError(t, err)
	raw, err := retrieved.AsRaw()
	require.NoError(t, err)
	asJSON, err := json.Marshal(raw)
	require.NoError(t, err)
	var e emitted
	require.NoError(t, json.Unmarshal(asJSON, &e))

	labels := func(m metric) []string {
		var l []string
		for _, a := range m.Attributes {
			if o := e.Attributes[a].NameOverride; o != "" {
				a = o
			}
			l = append(l, translate(a))
		}
		return l
	}
	n := names{metrics: map[string]source{}, record: source{event, append(labels(e.Events[event]), addedInLoki...)}}
	require.NotEmpty(t, e.Events[event].Attributes)
	for name, m := range e.Metrics {
		require.NotNil(t, m.Sum, "%s: this test knows only sums", name)
		n.metrics[translate(name)+"_total"] = source{name, append(labels(m), addedInPrometheus...)}
	}
	for name, m := range e.Telemetry.Metrics {
		s := source{name, append(slices.DeleteFunc(slices.Clone(m.Attributes), dotted), addedInPrometheus...)}
		// The collector's own endpoint leaves out the suffixes that Prometheus adds to what comes by OTLP.
		known := "otelcol_" + translate(name)
		switch {
		case m.Histogram != nil:
			for _, unit := range []string{"", "_seconds"} {
				for _, part := range []string{"_bucket", "_sum", "_count"} {
					n.metrics[known+unit+part] = s
				}
			}
		case m.Sum != nil:
			n.metrics[known], n.metrics[known+"_total"] = s, s
		default:
			n.metrics[known] = s
		}
	}
	return n
}

// translate makes of a name of OpenTelemetry's what Prometheus and Loki do.
func translate(name string) string { return strings.ReplaceAll(name, ".", "_") }

// dotted attributes of the collector's own telemetry have no name to ask for: a scrape by Prometheus 3 leaves the dots in, one by an
// older Prometheus and OTLP make underscores of them. The counters' exporters make underscores always.
func dotted(attribute string) bool { return strings.Contains(attribute, ".") }

type dashboard struct {
	Panels     []panel
	Templating struct{ List []variable }
}

type variable struct {
	Name, Type, Definition string
	Query                  json.RawMessage // text, or for a query an object with the text in it
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               datasource
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []target
	Transformations          []struct {
		ID      string
		Options struct {
			ExcludeByName map[string]bool
			IndexByName   map[string]int
			RenameByName  map[string]string
			Include       struct{ Names []string }
		}
	}
	FieldConfig struct {
		Defaults  struct{ Unit, NoValue string }
		Overrides []struct {
			Matcher struct{ ID, Options string }
		}
	}
	links []string
}

type datasource struct{ Type, UID string }

type target struct {
	Datasource                datasource
	RefID, Expr, LegendFormat string
}

// checker gathers what is wrong with a dashboard.
type checker struct {
	names
	variables []string
	records   []int // ids of the panels that links may open
	shown     map[string]bool
	findings  []string
}

func (c *checker) finding(where, format string, args ...any) {
	c.findings = append(c.findings, where+": "+fmt.Sprintf(format, args...))
}

func check(t *testing.T, content []byte) []string {
	t.Helper()
	var d dashboard
	require.NoError(t, json.Unmarshal(content, &d))
	for i, p := range list(decode(t, content)["panels"]) {
		d.Panels[i].links = linksIn(p)
	}
	c := checker{names: readNames(t), shown: map[string]bool{}}
	for _, v := range d.Templating.List {
		c.variables = append(c.variables, v.Name)
	}
	for _, p := range d.Panels {
		if p.Type == "logs" {
			c.records = append(c.records, p.ID)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			c.variable(v)
		}
	}
	for i, p := range d.Panels {
		c.placed(p, d.Panels[:i])
		if p.Type != "row" {
			c.panel(p)
		}
	}
	for _, s := range c.metrics {
		if !c.shown[s.name] {
			c.finding("dashboard", "no panel shows %s", s.name)
		}
	}
	return c.findings
}

// linksIn returns every link at any depth of a panel.
func linksIn(v any) []string {
	var links []string
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			links = append(links, linksIn(e)...)
		}
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok && k == "url" {
				links = append(links, s)
			}
			links = append(links, linksIn(e)...)
		}
	}
	return links
}

var labelValues = regexp.MustCompile(`^label_values\((.+), ([a-z_]+)\)$`)

func (c *checker) variable(v variable) {
	where := "variable " + v.Name
	var asked struct{ Query string }
	if err := json.Unmarshal(v.Query, &asked); err != nil || asked.Query != v.Definition {
		c.finding(where, "its definition %s is not its query %s", v.Definition, v.Query)
	}
	m := labelValues.FindStringSubmatch(asked.Query)
	if m == nil {
		c.finding(where, "%s: this test knows only label_values(metric, label)", asked.Query)
		return
	}
	sources, made := c.promQL(where, m[1])
	c.has(where, sources, made, m[2])
}

func (c *checker) placed(p panel, before []panel) {
	where := fmt.Sprintf("panel %d %q", p.ID, p.Title)
	if p.Title == "" {
		c.finding(where, "no title")
	}
	g := p.GridPos
	if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
		c.finding(where, "outside of the grid")
	}
	for _, q := range before {
		if q.ID == p.ID {
			c.finding(where, "has the id of %q", q.Title)
		}
		o := q.GridPos
		if g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
			c.finding(where, "overlaps %q", q.Title)
		}
	}
}

func (c *checker) panel(p panel) {
	where := fmt.Sprintf("panel %d %q", p.ID, p.Title)
	if len(p.Description) < 80 {
		c.finding(where, "no description that says what it shows and what to do about it")
	}
	if p.FieldConfig.Defaults.Unit == "" {
		c.finding(where, "no unit")
	}
	if p.FieldConfig.Defaults.NoValue == "" {
		c.finding(where, "no noValue, the text without data")
	}
	if len(p.Targets) == 0 {
		c.finding(where, "no query")
	}
	c.source(where, p.Datasource)
	var sources []source
	var made, queries []string
	for _, q := range p.Targets {
		where := where + " query " + q.RefID
		c.source(where, q.Datasource)
		queries = append(queries, q.RefID)
		var s []source
		var m []string
		if q.Datasource.Type == "loki" {
			s = c.logQL(where, q.Expr)
		} else {
			s, m = c.promQL(where, q.Expr)
		}
		for _, l := range inLegend.FindAllStringSubmatch(q.LegendFormat, -1) {
			c.has(where, s, m, l[1])
		}
		sources, made = append(sources, s...), append(made, m...)
	}
	for _, s := range sources {
		c.shown[s.name] = true
	}
	for _, l := range p.links {
		c.link(where, l, sources, made)
	}
	c.columns(where, p, sources, made, queries)
}

var inLegend = regexp.MustCompile(`\{\{ *([^ }]+) *\}\}`)

func (c *checker) source(where string, d datasource) {
	if !slices.Contains([]string{"prometheus", "loki"}, d.Type) || d.UID != "${"+d.Type+"}" || !slices.Contains(c.variables, d.Type) {
		c.finding(where, "the data source %s of type %s is no variable of the dashboard", d.UID, d.Type)
	}
}

// columns are the names by which a table picks, orders, renames and sets up what its queries return.
func (c *checker) columns(where string, p panel, sources []source, made, queries []string) {
	var columns []string
	for _, t := range p.Transformations {
		o := t.Options
		for _, name := range slices.Concat(o.Include.Names, slices.Sorted(maps.Keys(o.ExcludeByName)),
			slices.Sorted(maps.Keys(o.IndexByName)), slices.Sorted(maps.Keys(o.RenameByName))) {
			if id, ok := strings.CutPrefix(name, "Value #"); ok {
				if !slices.Contains(queries, id) {
					c.finding(where, "has no query %s for the column %s", id, name)
				}
			} else if !slices.Contains(addedByGrafana, name) {
				c.has(where, sources, made, name)
			}
		}
		columns = slices.AppendSeq(columns, maps.Values(o.RenameByName))
	}
	for _, o := range p.FieldConfig.Overrides {
		if p.Type == "table" && o.Matcher.Options != "Time" && !slices.Contains(columns, o.Matcher.Options) {
			c.finding(where, "has settings for %s, which is no column", o.Matcher.Options)
		}
	}
}

var (
	inLink     = regexp.MustCompile(`\$\{__(?:field\.labels|data\.fields)\.([^:}]+)`)
	setsInLink = regexp.MustCompile(`[?&]var-([^=&]+)=`)
	opensPanel = regexp.MustCompile(`[?&]viewPanel=([^&]*)`)
)

func (c *checker) link(where, url string, sources []source, made []string) {
	c.known(where, url)
	for _, m := range inLink.FindAllStringSubmatch(url, -1) {
		c.has(where, sources, made, m[1])
	}
	for _, m := range setsInLink.FindAllStringSubmatch(url, -1) {
		if !slices.Contains(c.variables, m[1]) {
			c.finding(where, "a link sets %s, which is no variable", m[1])
		}
	}
	if m := opensPanel.FindStringSubmatch(url); m != nil {
		if id, err := strconv.Atoi(m[1]); err != nil || !slices.Contains(c.records, id) {
			c.finding(where, "a link opens panel %s, which shows no records", m[1])
		}
	}
}

var variableIn = regexp.MustCompile(`\$\{([A-Za-z_]\w*)|\$([A-Za-z_]\w*)`)

// known finds the variables that the dashboard doesn't have.
func (c *checker) known(where, text string) {
	for _, m := range variableIn.FindAllStringSubmatch(text, -1) {
		if name := m[1] + m[2]; !slices.Contains(c.variables, name) && !slices.Contains(grafanaVariables, name) {
			c.finding(where, "%s is no variable", name)
		}
	}
}

// has finds a label that one of the sources does not have and the query does not make.
func (c *checker) has(where string, sources []source, made []string, label string) {
	if slices.Contains(made, label) {
		return
	}
	for _, s := range sources {
		if !slices.Contains(s.labels, label) {
			c.finding(where, "%s has no attribute %s", s.name, label)
			return
		}
	}
	if len(sources) == 0 {
		c.finding(where, "nothing has the attribute %s", label)
	}
}

// token is a piece of a query in either language: a string with its quotes, a variable, a word, a number, a matcher's operator or any other character.
var token = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`|\\$\\{[^}]*\\}|\\$?[A-Za-z_]\\w*|[0-9][0-9a-z.]*|=~|!~|!=|\\S")

var (
	grouping = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}
	keywords = []string{"and", "or", "unless", "offset", "bool", "start", "end"}
	// those whose argument is a time over which to look
	overTime = []string{"rate", "irate", "increase", "delta", "idelta", "deriv", "count_over_time", "bytes_over_time", "bytes_rate"}
)

// query is what there is in a query of either language that names something.
type query struct {
	words    []string            // what is neither a function, a keyword nor in a group
	groups   []string            // labels in by (…) and the like
	selected []map[string]string // the matchers of each selector by their label, the name before the brace as __name__
	replaced [][]string          // the strings in each label_replace
}

// parse reads a query's names. Whether it is a query at all is for the servers' own parsers to say.
func (c *checker) parse(where, expr string) query {
	var q query
	c.known(where, expr)
	tokens := token.FindAllString(expr, -1)
	at := func(i int) string {
		if i < len(tokens) {
			return tokens[i]
		}
		return ""
	}
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		switch {
		case t == "{":
			matchers := map[string]string{}
			if i > 0 && isWord(tokens[i-1]) {
				matchers["__name__"] = tokens[i-1]
				q.words = q.words[:len(q.words)-1]
			}
			for i++; i < len(tokens) && tokens[i] != "}"; i++ {
				if isWord(tokens[i]) {
					matchers[tokens[i]] = unquote(at(i + 2)) // after the operator
					i += 2
				}
			}
			q.selected = append(q.selected, matchers)
		case slices.Contains(grouping, t) && at(i+1) == "(":
			for i += 2; i < len(tokens) && tokens[i] != ")"; i++ {
				if tokens[i] != "," {
					q.groups = append(q.groups, tokens[i])
				}
			}
		case isWord(t) && slices.Contains(keywords, t):
		case isWord(t) && (at(i+1) == "(" || slices.Contains(grouping, at(i+1))):
			arguments := argumentsOf(tokens[i+1:])
			if slices.Contains(overTime, t) {
				c.over(where, t, arguments)
			}
			if t == "label_replace" {
				q.replaced = append(q.replaced, lastStrings(arguments))
			}
		case isWord(t):
			q.words = append(q.words, t)
		}
	}
	return q
}

func isWord(t string) bool { return t != "" && (t[0] == '_' || t[0]|0x20 >= 'a' && t[0]|0x20 <= 'z') }

func unquote(s string) string {
	if u, err := strconv.Unquote(s); err == nil {
		return u
	}
	return s
}

// argumentsOf returns the tokens up to the parenthesis that closes the first.
func argumentsOf(tokens []string) []string {
	depth := 0
	for i, t := range tokens {
		switch t {
		case "(":
			depth++
		case ")":
			if depth--; depth == 0 {
				return tokens[:i]
			}
		}
	}
	return tokens
}

// lastStrings returns the four strings that end the arguments of label_replace.
func lastStrings(arguments []string) []string {
	var s []string
	for _, t := range arguments {
		if t[0] == '"' {
			s = append(s, unquote(t))
		}
	}
	return s[max(0, len(s)-4):]
}

// over checks that the time goes with the range or the step of the graph, so that no failure falls between two points.
func (c *checker) over(where, function string, arguments []string) {
	times := []string{"$__rate_interval", "$__range", "$__auto"}
	for i, t := range slices.Backward(arguments) {
		if t == "[" {
			if i+1 == len(arguments) || !slices.Contains(times, arguments[i+1]) || arguments[i+2] != "]" {
				c.finding(where, "%s over %s, not over one of %s", function, arguments[i+1], strings.Join(times, ", "))
			}
			return
		}
	}
	c.finding(where, "%s over no time", function)
}

// promQL checks the names in a query to Prometheus and returns the metrics that it asks for and the labels that it makes.
func (c *checker) promQL(where, expr string) (sources []source, made []string) {
	q := c.parse(where, expr)
	for _, name := range q.words {
		sources = append(sources, c.metric(where, name)...)
	}
	for _, matchers := range q.selected {
		asked := c.metric(where, matchers["__name__"])
		sources = append(sources, asked...)
		for _, label := range slices.Sorted(maps.Keys(matchers)) {
			if label != "__name__" {
				c.has(where, asked, nil, label)
			}
		}
	}
	for _, r := range q.replaced {
		if len(r) == 4 {
			made = append(made, r[0])
		}
	}
	for _, r := range q.replaced {
		if len(r) == 4 && r[0] == r[2] {
			made = slices.DeleteFunc(made, func(l string) bool { return l == r[0] }) // only a value is given to it
		}
	}
	for _, r := range q.replaced {
		if len(r) != 4 {
			c.finding(where, "label_replace takes four strings, not %q", r)
			continue
		}
		c.has(where, sources, made, r[2])
	}
	for _, label := range q.groups {
		c.has(where, sources, nil, label)
	}
	return sources, made
}

// metric returns the metrics of a name, or of a pattern of names.
func (c *checker) metric(where, name string) []source {
	parsed, err := syntax.Parse(name, syntax.Perl)
	if err != nil {
		c.finding(where, "%s: %v", name, err)
		return nil
	}
	all, ok := language(parsed)
	if !ok {
		c.finding(where, "%s names no metrics one by one", name)
		return nil
	}
	var sources []source
	for _, name := range all {
		s, ok := c.metrics[name]
		if !ok {
			c.finding(where, "no metric is %s", name)
			continue
		}
		sources = append(sources, s)
	}
	return sources
}

// language returns all that a pattern matches; ok is false when that is no short list.
func language(r *syntax.Regexp) (all []string, ok bool) {
	switch r.Op {
	case syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpLiteral:
		return []string{string(r.Rune)}, true
	case syntax.OpCapture:
		return language(r.Sub[0])
	case syntax.OpQuest:
		all, ok := language(r.Sub[0])
		return append(all, ""), ok
	case syntax.OpAlternate:
		for _, s := range r.Sub {
			l, ok := language(s)
			if !ok {
				return nil, false
			}
			all = append(all, l...)
		}
		return all, true
	case syntax.OpConcat:
		all = []string{""}
		for _, s := range r.Sub {
			l, ok := language(s)
			if !ok {
				return nil, false
			}
			var longer []string
			for _, a := range all {
				for _, b := range l {
					longer = append(longer, a+b)
				}
			}
			all = longer
		}
		return all, true
	default:
		return nil, false
	}
}

// logQL checks the names in a query to Loki, where every word that is no function is a label.
func (c *checker) logQL(where, expr string) []source {
	q := c.parse(where, expr)
	sources := []source{c.record}
	if len(q.selected) == 0 {
		c.finding(where, "no stream is selected")
	}
	for _, matchers := range q.selected {
		for _, label := range slices.Sorted(maps.Keys(matchers)) {
			if !slices.Contains(addedInLoki, label) {
				c.finding(where, "%s is no label that Loki indexes", label)
			}
		}
	}
	for _, label := range append(q.words, q.groups...) {
		c.has(where, sources, nil, label)
	}
	return sources
}
