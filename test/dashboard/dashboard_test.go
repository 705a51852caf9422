package main

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

const root = "../.."

func read(t *testing.T) *names {
	t.Helper()
	n, err := readNames(root + "/metadata.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGenerated checks that dashboard.json is what the program makes, and that Grafana's schema has
// all of it.
func TestGenerated(t *testing.T) {
	want, err := makeDashboard(read(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(root + "/examples/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("examples/grafana/dashboard.json is not what the program makes: run `make generate`")
	}
	plugins.RegisterDefaultPlugins()
	var d dashboard.Dashboard
	// Where nothing is wrong, it returns an empty list of errors.
	if err := d.UnmarshalJSONStrict(want); err != nil && err.Error() != "" {
		t.Error(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
}

// TestWrongNames checks that no dashboard is made when metadata.yaml and the program differ.
func TestWrongNames(t *testing.T) {
	without := func(attribute string) func(*names) {
		return func(n *names) {
			for _, emitted := range []map[string]emitted{n.Metrics, n.Events, n.Telemetry.Metrics} {
				for name, e := range emitted {
					e.Attributes = slices.DeleteFunc(slices.Clone(e.Attributes), func(a string) bool { return a == attribute })
					emitted[name] = e
				}
			}
		}
	}
	for want, change := range map[string]func(*names){
		"metadata.yaml has no counter email.delivery.failures": func(n *names) { clear(n.Metrics) },
		"metadata.yaml has no event email.delivery.failed":     func(n *names) { clear(n.Events) },
		"metadata.yaml has no telemetry smtp_failure_series":   func(n *names) { clear(n.Telemetry.Metrics) },

		"no panel shows email.opens":       func(n *names) { n.Metrics["email.opens"] = emitted{} },
		"no panel shows smtp_failure_news": func(n *names) { n.Telemetry.Metrics["smtp_failure_news"] = emitted{} },

		"email.delivery.failures has no attribute error.type":                 without("error.type"),
		"email.delivery.failures has no attribute copernica.account.id":       without("metric.copernica.account.id"),
		"email.delivery.failures.by_tag has no attribute email.tag":           without("email.tag"),
		"email.delivery.failures.by_tag has no attribute email.failure.class": without("email.failure.class"),
		"email.delivery.failed has no attribute email.message.id":             without("email.message.id"),
		"email.delivery.failed has no attribute smtp.response.status_code":    without("smtp.response.status_code"),
		"smtp_failure_requests has no attribute outcome":                      without("outcome"),
		"smtp_failure_anomalies has no attribute field":                       without("field"),
	} {
		t.Run(want, func(t *testing.T) {
			n := read(t)
			change(n)
			if _, err := makeDashboard(n); err == nil || !strings.Contains(err.Error()+"\n", want+"\n") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

var (
	linked   = regexp.MustCompile(`[?&]var-(\w+)=`)
	variable = regexp.MustCompile(`\$\{?(__\w+|[a-z]+)`)
	window   = regexp.MustCompile(`\b(?:rate|increase|count_over_time)\([^\[]*\[([^\]:]+)\]`)
)

// TestPanels checks what the schema does not know.
func TestPanels(t *testing.T) {
	d, err := build(read(t))
	if err != nil {
		t.Fatal(err)
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	grafana := []string{
		"__range", "__rate_interval", "__auto", "__url_time_range", "__dashboard", "__value",
		"__field", "__data",
	}
	ids := map[uint32]bool{}
	var placed []dashboard.GridPos
	for _, p := range d.Panels {
		var id uint32
		var at *dashboard.GridPos
		if p.RowPanel != nil {
			id, at = p.RowPanel.Id, p.RowPanel.GridPos
		} else {
			id, at = *p.Panel.Id, p.Panel.GridPos
		}
		if ids[id] || at.X+at.W > 24 {
			t.Errorf("panel %d: the id is not its own, or it is beside the grid", id)
		}
		ids[id] = true
		for _, other := range placed {
			if at.X < other.X+other.W && other.X < at.X+at.W && at.Y < other.Y+other.H && other.Y < at.Y+at.H {
				t.Errorf("panel %d overlaps another", id)
			}
		}
		placed = append(placed, *at)
		if p.Panel == nil {
			continue
		}
		title, f := *p.Panel.Title, p.Panel.FieldConfig.Defaults
		if title == "" || len(*p.Panel.Description) < 80 || *f.Unit == "" || *f.NoValue == "" {
			t.Errorf("%q lacks a title, a description that says what to do, a unit, or a text for when there is nothing", title)
		}
		if (p.Panel.Type == "logs") != (id == rawRecords) {
			t.Errorf("%q: links lead to the records, and to nothing else", title)
		}
		content, err := json.Marshal(p.Panel)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(content), `\u0026`, "&")
		for _, name := range linked.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(variables, name[1]) {
				t.Errorf("%q has a link that sets %s, which is no variable", title, name[1])
			}
		}
		for _, name := range variable.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(variables, name[1]) && !slices.Contains(grafana, name[1]) {
				t.Errorf("%q asks for %s, which is no variable", title, name[0])
			}
		}
		// A rate over a fixed time would leave failures between two points of a graph.
		for _, w := range window.FindAllStringSubmatch(text, -1) {
			if !strings.HasPrefix(w[1], "$__") {
				t.Errorf("%q counts over %s, not over the range or the step of the graph", title, w[1])
			}
		}
	}
}
