package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tablePanel is a panel of the dashboard with what the servers answer to its queries, for
// test/transformations.
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

func (c shownCell) is(want float64) bool {
	got, ok := c.Value.(float64)
	return ok && math.Abs(got-want) <= 1e-6*want
}

// rows returns the cells of each row by the names of their columns.
func (s shownTable) rows() (rows []map[string]shownCell) {
	for _, cells := range s.Rows {
		row := map[string]shownCell{}
		for i, column := range s.Columns {
			row[column] = cells[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// tables returns what the dashboard's tables show.
func (d *playedDay) tables(t *testing.T, board dashboard, c choice) (shown []shownTable) {
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
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), "node", "transform.cjs")
	command.Dir, command.Stdin = root+"/test/transformations", bytes.NewReader(input)
	output, err := command.Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(output, &shown))
	return shown
}

func (d *playedDay) tableAnswer(t *testing.T, board dashboard, q target, c choice) tableAnswer {
	t.Helper()
	expr := board.expand(t, q.Expr, c)
	if !strings.HasPrefix(expr, "{") {
		return tableAnswer{q.RefID, q.Datasource.Type, d.serverOf(t, q.Datasource).query(t, expr, c.to)}
	}
	found := d.loki.records(t, expr, c.from, c.to.Add(time.Nanosecond), q.MaxLines)
	slices.SortStableFunc(found, func(a, b logRecord) int { return cmp.Compare(b.at.UnixMilli(), a.at.UnixMilli()) })
	var records []map[string]any
	for _, r := range found {
		labels := maps.Clone(r.labels)
		maps.Copy(labels, r.metadata)
		records = append(records, map[string]any{"labels": labels, "time": r.at.UnixMilli(), "line": r.line})
	}
	return tableAnswer{q.RefID, "records", records}
}

// countTable is what a table of counts has to show: its columns, and the counts by its first
// columns.
type countTable struct {
	columns string // by comma
	names   int
	of      func(report) []string
}

// countTables returns them by the title of the panel.
func countTables() map[string]countTable {
	labels := func(names ...string) func(report) []string {
		return func(r report) []string {
			var values []string
			for _, name := range names {
				values = append(values, cmp.Or(r.labels()[name], "none"))
			}
			return []string{strings.Join(values, "\n")}
		}
	}
	return map[string]countTable{
		"New kinds": {
			"Cause,Code,Status,Failures,Since", 3, labels("error_type", "smtp_response_status_code",
				"smtp_response_enhanced_status_code"),
		},
		"Top causes": {"Cause,Who acts,Failures,Before,Change,Share,Since,Last", 1, labels("error_type")},
		"Enhanced statuses": {
			"Status,Meaning,Failures,Before,Change,choice", 1,
			labels("smtp_response_enhanced_status_code"),
		},
		"Failure rate by tag": {"Tag,Rate,Messages,Failures", 1, byTag.of},
		"Top tags":            {"Tag,Failures,Before,Change", 1, byTag.of},
		"Causes of the tags": {"Tag,Cause,Failures", 2, func(r report) (pairs []string) {
			for _, tag := range r.distinctTags() {
				pairs = append(pairs, tag+"\n"+r.labels()["error_type"])
			}
			return pairs
		}},
		"Top mailbox providers": {"Provider,Failures,Before,Change", 1, func(r report) []string {
			return []string{r.metadata()["email_recipient_domain"]}
		}},
	}
}

// testTables compares what the tables show with what was sent, after Grafana's own transformations.
func (d *playedDay) testTables(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("there is no Node.js to run Grafana's transformations with")
	}
	board, wanted := readDashboard(t), countTables()
	whole, half := d.choices(t)
	attempted := byTag.count(slices.Concat(d.deliveries, d.synchronous()))
	log := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(log, "TABLE\tROWS\tCOLUMNS\tFIRST ROW")
	for _, shown := range d.tables(t, board, whole) {
		assert.Equal(t, emptyPanels[shown.Title] != "", len(shown.Rows) == 0, "%s has %d rows", shown.Title,
			len(shown.Rows))
		if len(shown.Rows) == 0 {
			continue
		}
		fmt.Fprintf(log, "%s\t%d\t%s\t%s\n", shown.Title, len(shown.Rows), strings.Join(shown.Columns, ", "),
			shortened(fmt.Sprint(shown.Rows[0])))
		if shown.Title == messagesPanel {
			d.checkMessages(t, shown)
			continue
		}
		want := wanted[shown.Title]
		// Grafana has no column for a query without an answer. There was nothing before the day.
		if assert.Equal(t, strings.Replace(want.columns, ",Before,Change", "", 1), strings.Join(shown.Columns, ","),
			shown.Title) {
			d.checkCounts(t, shown, want)
			checkRates(t, shown, attempted)
		}
	}
	require.NoError(t, log.Flush())
	for _, shown := range d.tables(t, board, half) {
		if want, found := wanted[shown.Title]; found {
			assert.Equal(t, want.columns, strings.Join(shown.Columns, ","), shown.Title)
		}
		checkChanges(t, shown)
	}
}

// checkCounts checks each row.
func (d *playedDay) checkCounts(t *testing.T, shown shownTable, want countTable) {
	t.Helper()
	counts := grouping{of: want.of}.count(d.reports)
	// The tables of tags and of providers have the fifty with most failures.
	assert.Contains(t, []int{len(counts), min(len(counts), 50)}, len(shown.Rows), shown.Title)
	for _, row := range shown.rows() {
		var names []string
		for _, column := range strings.Split(want.columns, ",")[:want.names] {
			name, _ := row[column].Value.(string)
			names = append(names, name)
		}
		what := fmt.Sprintf("%s, %q", shown.Title, names)
		count, got := counts[strings.Join(names, "\n")], row["Failures"]
		assert.True(t, got.is(count), "%s: %v, want %v", what, got, count)
		assert.Equal(t, strconv.Itoa(int(count)), strings.ReplaceAll(got.Text, ",", ""), what)
		if share, has := row["Share"]; has {
			assert.True(t, share.is(count/float64(len(d.reports))), "%s: its share is %v", what, share)
		}
		meaning, selected := meaningOf(names[0]), names[0]
		if names[0] == "none" {
			meaning, selected = "No enhanced status", "(none)?"
		}
		if cell, has := row["Meaning"]; has && meaning != "" {
			assert.Equal(t, meaning, cell.Text, what)
		}
		if cell, has := row["choice"]; has {
			assert.Equal(t, selected, cell.Text, what)
		}
		if cell, has := row["Who acts"]; has {
			assert.NotEqual(t, names[0], cell.Text, what)
		}
	}
}

// checkRates checks the rate of each tag, in a table that has it.
func checkRates(t *testing.T, shown shownTable, attempted map[string]float64) {
	t.Helper()
	for _, row := range shown.rows() {
		if rate, has := row["Rate"]; has {
			tag := row["Tag"].Text
			assert.True(t, row["Messages"].is(attempted[tag]), "%s of %q, want %v", row["Messages"].Text, tag,
				attempted[tag])
			assert.True(t, rate.is(row["Failures"].Value.(float64)/attempted[tag]), "%v of %q", rate, tag)
		}
	}
}

// checkChanges checks that a row has the change from its own count before to its own count now.
func checkChanges(t *testing.T, shown shownTable) {
	t.Helper()
	for i, row := range shown.rows() {
		change, has := row["Change"]
		if !has {
			return
		}
		now, _ := row["Failures"].Value.(float64)
		before, wasThere := row["Before"].Value.(float64)
		what := fmt.Sprintf("%s, %q: from %q to %v", shown.Title, shown.Rows[i][0].Text, row["Before"].Text, now)
		if !wasThere {
			assert.Equal(t, "new", change.Text, what)
			assert.Equal(t, "0", row["Before"].Text, what)
		} else if now > 0 {
			assert.InDelta(t, now/before-1, change.Value, 1e-6, what)
		}
	}
}

// checkMessages compares the newest records with their reports.
func (d *playedDay) checkMessages(t *testing.T, shown shownTable) {
	t.Helper()
	columns := strings.Join(shown.Columns, ",")
	require.Equal(t, "Time,Message,Recipient,Cause,Code,Status,State,Tags,Description", columns)
	require.Len(t, shown.Rows, 200)
	byID := map[string]report{}
	for _, r := range d.reports {
		byID[r.ID] = r
	}
	for _, row := range shown.rows() {
		r := byID[row["Message"].Text]
		m := r.metadata()
		want := map[string]string{
			"Message": m["email_message_id"], "Recipient": m["email_recipient_address"], "Cause": m["error_type"],
			"Code": m["smtp_response_status_code"], "Status": m["smtp_response_enhanced_status_code"],
			"State": m["smtp_state"], "Tags": m["email_tags"], "Description": r.Description,
		}
		if r.Time != 0 {
			want["Time"] = time.Unix(r.Time, 0).UTC().Format(time.DateTime)
		}
		for column, text := range want {
			// Where all is within a minute, Grafana shows milliseconds.
			assert.Equal(t, text, strings.TrimSuffix(row[column].Text, ".000"), "%s of %s", column, r.ID)
		}
	}
}
