package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// names are what is emitted according to metadata.yaml. The code generated from it cannot be
// imported from here, so no dashboard is written if a name is not there.
type names struct {
	Attributes map[string]struct {
		NameOverride string `yaml:"name_override"`
	}
	Events    map[string]emitted
	Metrics   map[string]emitted
	Telemetry struct{ Metrics map[string]emitted }

	asked  map[string]bool
	errors []error
}

// emitted is a metric or an event.
type emitted struct {
	Attributes []string
	Sum        *struct{}
	Histogram  *struct{}
}

// source is a metric in Prometheus, or the records in Loki.
type source struct {
	name     string
	selector string // what comes before the matchers, and the matcher by name where there is no name for all
	labels   []string
}

func readNames(file string) (*names, error) {
	content, err := os.ReadFile(file) //nolint:gosec // the checkout's own
	if err != nil {
		return nil, err
	}
	n := &names{asked: map[string]bool{}}
	return n, yaml.Unmarshal(content, n)
}

func (n *names) fail(format string, args ...any) {
	n.errors = append(n.errors, fmt.Errorf(format, args...))
}

// counter returns a counter of what the senders report.
func (n *names) counter(name string) source {
	m, ok := n.Metrics[name]
	if !ok || m.Sum == nil {
		n.fail("metadata.yaml has no counter %s", name)
	}
	n.asked[name] = true
	return source{name, translate(name) + "_total{", append(n.labels(m), "job", "otel_metric_overflow")}
}

// own returns a metric of the collector's own telemetry. A scrape of the collector leaves out the
// suffixes that Prometheus adds to what comes by OTLP.
func (n *names) own(name string) source {
	m, ok := n.Telemetry.Metrics[name]
	if !ok {
		n.fail("metadata.yaml has no telemetry %s", name)
	}
	n.asked[name] = true
	selector := "otelcol_" + name + "{"
	switch {
	case m.Histogram != nil:
		selector = `{__name__=~"otelcol_` + name + `(_seconds)?_bucket",`
	case m.Sum != nil:
		selector = `{__name__=~"otelcol_` + name + `(_total)?",`
	}
	// An attribute with a dot has no one name: a scrape by Prometheus 3 keeps the dots, others do
	// not.
	dotted := func(attribute string) bool { return strings.Contains(attribute, ".") }
	labels := slices.DeleteFunc(slices.Clone(m.Attributes), dotted)
	return source{name, selector, append(labels, "job", "instance", "le")}
}

// records returns the log records of an event.
func (n *names) records(event string) source {
	e, ok := n.Events[event]
	if !ok {
		n.fail("metadata.yaml has no event %s", event)
	}
	return source{event, "", n.labels(e)}
}

func (n *names) labels(e emitted) []string {
	var labels []string
	for _, attribute := range e.Attributes {
		if other := n.Attributes[attribute].NameOverride; other != "" {
			attribute = other
		}
		labels = append(labels, translate(attribute))
	}
	return labels
}

// label returns the name that an attribute of the source has in Prometheus and Loki.
func (n *names) label(s source, attribute string) string {
	label := translate(attribute)
	if !slices.Contains(s.labels, label) {
		n.fail("%s has no attribute %s", s.name, attribute)
	}
	return label
}

// translate makes of a name of OpenTelemetry's what Prometheus and Loki do.
func translate(name string) string { return strings.ReplaceAll(name, ".", "_") }

// err returns what is wrong: names that are not there, and metrics that no panel shows.
func (n *names) err() error {
	for _, metrics := range []map[string]emitted{n.Metrics, n.Telemetry.Metrics} {
		for name := range metrics {
			if !n.asked[name] {
				n.fail("no panel shows %s", name)
			}
		}
	}
	return errors.Join(n.errors...)
}
