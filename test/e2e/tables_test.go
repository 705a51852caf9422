package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// tablePanel is a panel of the dashboard with what the servers answer to its queries, for test/transformations.
type tablePanel struct {
	Title           string          `json:"title"`
	Transformations json.RawMessage `json:"transformations"`
	Overrides       json.RawMessage `json:"overrides"`
	Answers         []tableAnswer   `json:"answers"`
}

type tableAnswer struct {
	RefID  string `json:"refId"`
	Source string `json:"source"`
	Result any    `json:"result"`
}

// shownTable is the table that Grafana's transformations make of it.
type shownTable struct {
	Title   string
	Columns []string
	Rows    [][]shownCell
}

type shownCell struct {
	Value any
	Text  string
}

// row returns a row's cells by the names of their columns.
func (s shownTable) row(i int) map[string]shownCell {
	cells := map[string]shownCell{}
	for j, column := range s.Columns {
		cells[column] = s.Rows[i][j]
	}
	return cells
}

// tables returns what the dashboard's tables show.
func (d *playedDay) tables(t *testing.T, board dashboard, c choice) []shownTable {
	t.Helper()
	var panels []tablePanel
	for _, p := range board.Panels {
		if p.Type != "table" {
			continue
		}
		asked := tablePanel{Title: p.Title, Transformations: p.Transformations, Overrides: p.FieldConfig.Overrides}
		for _, target := range p.Targets {
			asked.Answers = append(asked.Answers, d.tableAnswer(t, board, target, c))
		}
		panels = append(panels, asked)
	}
	input, err := json.Marshal(panels)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "node", "transform.cjs")
	command.Dir, command.Stdin = root+"/test/transformations", bytes.NewReader(input)
	var failure strings.Builder
	command.Stderr = &failure
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, failure.String())
	}
	var shown []shownTable
	if err := json.Unmarshal(output, &shown); err != nil {
		t.Fatal(err)
	}
	return shown
}

func (d *playedDay) tableAnswer(t *testing.T, board dashboard, q target, c choice) tableAnswer {
	t.Helper()
	expr := board.expand(t, q.Expr, c)
	if strings.HasPrefix(expr, "{") {
		found, err := d.loki.find(expr, c.from, c.to.Add(time.Nanosecond), q.MaxLines)
		if err != nil {
			t.Fatal(err)
		}
		var records []map[string]any
		for _, r := range found {
			labels := maps.Clone(r.labels)
			maps.Copy(labels, r.metadata)
			records = append(records, map[string]any{"labels": labels, "time": r.at.UnixMilli(), "line": r.line})
		}
		slices.SortStableFunc(records, func(a, b map[string]any) int { return int(b["time"].(int64) - a["time"].(int64)) })
		return tableAnswer{q.RefID, "records", records}
	}
	s, path := d.scraping.server, "/api/v1/query"
	if q.Datasource.Type == "loki" {
		s, path = d.loki.server, "/loki/api/v1/query"
	}
	var data queryData
	if err := s.api(path, url.Values{"query": {expr}, "time": {unix(c.to)}}, &data); err != nil {
		t.Fatalf("%v\n%s", err, expr)
	}
	return tableAnswer{q.RefID, q.Datasource.Type, data.Result}
}

// countTable is what a table of counts is to show: its columns, and the counts by the columns that name a row.
type countTable struct {
	columns []string
	names   int
	of      func(sentReport) []string
}

// testTables compares what the tables show with what was sent, after Grafana's own transformations.
func (d *playedDay) testTables(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("there is no Node.js to run Grafana's transformations with")
	}
	board := readDashboard(t)
	whole, half := d.choices(t)
	one := func(names ...string) func(sentReport) []string {
		return func(r sentReport) []string {
			labels := r.labels(t)
			var values []string
			for _, name := range names {
				value := labels[name]
				if value == "" {
					value = "none"
				}
				values = append(values, value)
			}
			return []string{strings.Join(values, "\n")}
		}
	}
	tags := func(r sentReport) []string { return slices.Compact(slices.Sorted(slices.Values(r.Tags))) }
	wanted := map[string]countTable{
		"New kinds": {
			[]string{"Cause", "Code", "Status", "Failures", "Since"},
			3,
			one("error_type", "smtp_response_status_code", "smtp_response_enhanced_status_code"),
		},
		"Top causes": {
			[]string{"Cause", "Who acts", "Failures", "Before", "Change", "Share", "Since", "Last"}, 1, one("error_type"),
		},
		"Enhanced statuses": {
			[]string{"Status", "Meaning", "Failures", "Before", "Change", "choice"},
			1,
			one("smtp_response_enhanced_status_code"),
		},
		"Failure rate by tag": {[]string{"Tag", "Rate", "Messages", "Failures"}, 1, tags},
		"Top tags":            {[]string{"Tag", "Failures", "Before", "Change"}, 1, tags},
		"Causes of the tags": {[]string{"Tag", "Cause", "Failures"}, 2, func(r sentReport) []string {
			var pairs []string
			for _, tag := range tags(r) {
				pairs = append(pairs, tag+"\n"+r.labels(t)["error_type"])
			}
			return pairs
		}},
		"Top mailbox providers": {[]string{"Provider", "Failures", "Before", "Change"}, 1, func(r sentReport) []string {
			return []string{r.metadata(t)["email_recipient_domain"]}
		}},
	}
	// Of each tag, the messages attempted.
	messages := countOf(d.deliveries, byTag)
	for _, r := range d.reports {
		if r.State != "bounce" {
			for _, tag := range tags(r) {
				messages[tag]++
			}
		}
	}
	log := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(log, "TABLE\tROWS\tCOLUMNS\tFIRST ROW")
	for _, shown := range d.tables(t, board, whole) {
		if _, empty := emptyPanels[shown.Title]; empty != (len(shown.Rows) == 0) {
			t.Errorf("%s has %d rows", shown.Title, len(shown.Rows))
		}
		if len(shown.Rows) == 0 {
			continue
		}
		var first []string
		for _, c := range shown.Rows[0] {
			first = append(first, c.Text)
		}
		fmt.Fprintf(log, "%s\t%d\t%s\t%s\n", shown.Title, len(shown.Rows), strings.Join(shown.Columns, ", "),
			shortened(strings.Join(first, ", ")))
		if shown.Title == messagesPanel {
			d.checkMessages(t, shown)
			continue
		}
		want, found := wanted[shown.Title]
		// Grafana has no column for a query without an answer. There was nothing before the day.
		of := slices.DeleteFunc(slices.Clone(want.columns), func(c string) bool { return c == "Before" || c == "Change" })
		if !found || !slices.Equal(shown.Columns, of) {
			t.Errorf("%s has the columns %q, want %q", shown.Title, shown.Columns, of)
			continue
		}
		d.checkCounts(t, shown, want)
		checkRates(t, shown, messages)
	}
	if err := log.Flush(); err != nil {
		t.Error(err)
	}
	for _, shown := range d.tables(t, board, half) {
		if want, found := wanted[shown.Title]; found && !slices.Equal(shown.Columns, want.columns) {
			t.Errorf("%s has the columns %q, want %q", shown.Title, shown.Columns, want.columns)
		}
		checkChanges(t, shown)
	}
}

// checkCounts checks each row.
func (d *playedDay) checkCounts(t *testing.T, shown shownTable, want countTable) {
	t.Helper()
	counts := d.count(grouping{of: want.of})
	// The tables of tags and of providers have the fifty with most failures.
	if len(shown.Rows) != min(len(counts), 50) && len(shown.Rows) != len(counts) {
		t.Errorf("%s has %d rows, want %d", shown.Title, len(shown.Rows), len(counts))
	}
	for i := range shown.Rows {
		row := shown.row(i)
		var names []string
		for _, column := range want.columns {
			cell := row[column]
			text := ""
			if _, named := cell.Value.(string); named && len(names) < want.names {
				names = append(names, cell.Value.(string))
				continue
			}
			switch column {
			case "Meaning":
				if text = meaningOf(names[0]); names[0] == "none" {
					text = "No enhanced status"
				}
			case "Who acts":
				if cell.Text == names[0] {
					t.Errorf("%s, %q: nobody acts", shown.Title, names)
				}
			case "choice":
				text = map[bool]string{true: "(none)?", false: names[0]}[names[0] == "none"]
			}
			if text != "" && cell.Text != text {
				t.Errorf("%s, %q: %s is %q, want %q", shown.Title, names, column, cell.Text, text)
			}
		}
		count := counts[strings.Join(names, "\n")]
		got := row["Failures"]
		if !isNumber(got, count) || strings.ReplaceAll(got.Text, ",", "") != strconv.Itoa(int(count)) {
			t.Errorf("%s, %q: %s failures, want %v", shown.Title, names, got.Text, count)
		}
		if share, has := row["Share"]; has && !isNumber(share, count/float64(len(d.reports))) {
			t.Errorf("%s, %q: its share is %v of %d", shown.Title, names, share.Value, len(d.reports))
		}
	}
}

// checkRates checks the rate of each tag, in a table that has it.
func checkRates(t *testing.T, shown shownTable, messages map[string]float64) {
	t.Helper()
	for i := range shown.Rows {
		row := shown.row(i)
		rate, has := row["Rate"]
		if !has {
			return
		}
		attempted, failed := messages[row["Tag"].Text], row["Failures"].Value.(float64)
		if !isNumber(row["Messages"], attempted) || !isNumber(rate, failed/attempted) {
			t.Errorf("%s, %q: %v of %v messages fail, want %v of %v",
				shown.Title, row["Tag"].Text, rate.Value, row["Messages"].Value, failed/attempted, attempted)
		}
	}
}

func isNumber(c shownCell, want float64) bool {
	got, ok := c.Value.(float64)
	return ok && math.Abs(got-want) <= 1e-6*want
}

func meaningOf(status string) string {
	e, _ := smtpstatus.ParseEnhanced(status)
	meaning, _ := e.Meaning()
	return meaning
}

// checkChanges checks that a row has the change from its own count before to its own count now.
func checkChanges(t *testing.T, shown shownTable) {
	t.Helper()
	for i := range shown.Rows {
		row := shown.row(i)
		change, has := row["Change"]
		if !has {
			return
		}
		now, _ := row["Failures"].Value.(float64)
		before, wasThere := row["Before"].Value.(float64)
		switch {
		case wasThere && now > 0 && math.Abs(change.Value.(float64)-(now/before-1)) > 1e-6:
			t.Errorf("%s, %q: the change is %v from %v to %v", shown.Title, shown.Rows[i][0].Text, change.Value, before, now)
		case !wasThere && (change.Text != "new" || row["Before"].Text != "0"):
			t.Errorf("%s, %q: the change is %q from %q, though there was none before",
				shown.Title, shown.Rows[i][0].Text, change.Text, row["Before"].Text)
		}
	}
}

// checkMessages compares the newest records with their reports.
func (d *playedDay) checkMessages(t *testing.T, shown shownTable) {
	t.Helper()
	columns := []string{"Time", "Message", "Recipient", "Cause", "Code", "Status", "State", "Tags", "Description"}
	if !slices.Equal(shown.Columns, columns) || len(shown.Rows) != 200 {
		t.Fatalf("%s has %d rows of %q, want 200 of %q", shown.Title, len(shown.Rows), shown.Columns, columns)
	}
	byID := map[string]sentReport{}
	for _, r := range d.reports {
		byID[r.ID] = r
	}
	for i := range shown.Rows {
		row := shown.row(i)
		r := byID[row["Message"].Text]
		m := r.metadata(t)
		want := map[string]string{
			"Message": m["email_message_id"], "Recipient": m["email_recipient_address"], "Cause": m["error_type"],
			"Code": m["smtp_response_status_code"], "Status": m["smtp_response_enhanced_status_code"], "State": m["smtp_state"],
			"Tags": m["email_tags"], "Description": r.Description,
		}
		if r.Time != 0 {
			want["Time"] = time.Unix(r.Time, 0).UTC().Format(time.DateTime)
		}
		for column, text := range want {
			// Where all is within a minute, Grafana shows milliseconds.
			if got := row[column]; strings.TrimSuffix(got.Text, ".000") != text {
				t.Errorf("%s, %s: %s is %q, want %q", shown.Title, r.ID, column, got.Text, text)
			}
		}
	}
}
