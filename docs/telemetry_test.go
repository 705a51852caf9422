package docs_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

const telemetryPage = "telemetry.md"

// metadata is what the pages are compared with of metadata.yaml.
type metadata struct {
	Attributes map[string]struct {
		Type         string
		Enum         []string
		NameOverride string `json:"name_override"`
		Requirement  string `json:"requirement_level"`
	}
	Events    map[string]struct{ Attributes []string }
	Metrics   map[string]instrument
	Telemetry struct{ Metrics map[string]instrument }
}

type instrument struct {
	Unit                  string
	Attributes            []string
	Sum, Gauge, Histogram *struct{}
}

func readMetadata(t *testing.T) metadata {
	t.Helper()
	asJSON, err := json.Marshal(mapOf(t, readFile(t, "metadata.yaml")))
	require.NoError(t, err)
	var m metadata
	require.NoError(t, json.Unmarshal(asJSON, &m))
	return m
}

func keys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func TestRecordAttributes(t *testing.T) {
	m := readMetadata(t)
	byName := rowsByName(t, telemetryPage, "Attribute")
	assert.ElementsMatch(t, m.Events["email.delivery.failed"].Attributes, keys(byName))
	types := map[string]string{"string": "string", "int": "int", "slice": "list of strings"}
	for name, row := range byName {
		assert.Equal(t, types[m.Attributes[name].Type], row["Type"], "the type of %s", name)
		assert.NotEmpty(t, row["From"], "where %s comes from", name)
		assert.NotEmpty(t, codeIn(row["For example"]), "an example of %s", name)
		checkEnum(t, m.Attributes[name].Enum, row["For example"])
	}
}

// checkEnum expects all values of a closed list as examples, or some of a long one.
func checkEnum(t *testing.T, enum []string, examples string) {
	t.Helper()
	if len(enum) > 5 {
		assert.Subset(t, enum, codeIn(examples))
	} else if enum != nil {
		assert.ElementsMatch(t, enum, codeIn(examples))
	}
}

func TestCauses(t *testing.T) {
	enum := readMetadata(t).Attributes["error.type"].Enum
	assert.Equal(t, smtpstatus.CauseNames(), enum, "metadata.yaml")
	for _, column := range []string{"Cause", "Cause here"} {
		assert.Equal(t, enum, listed(t, "causes.md", column), column)
	}
}

func TestCounters(t *testing.T) {
	m := readMetadata(t)
	byName := rowsByName(t, telemetryPage, "Metric")
	assert.ElementsMatch(t, keys(m.Metrics), keys(byName))
	counters := make(map[string][]string) // by attribute
	for name, metric := range m.Metrics {
		prometheus := strings.ReplaceAll(name, ".", "_") + "_total"
		assert.Equal(t, []string{prometheus}, codeIn(byName[name]["In Prometheus"]))
		assert.Equal(t, []string{metric.Unit}, codeIn(byName[name]["Unit"]))
		for _, attribute := range metric.Attributes {
			counters[attribute] = append(counters[attribute], name)
		}
	}

	byName = rowsByName(t, telemetryPage, "Attribute of the counters")
	assert.Len(t, byName, len(counters))
	for id, on := range counters {
		name := id
		if override := m.Attributes[id].NameOverride; override != "" {
			name = override
		}
		row := byName[name]
		if !assert.NotNil(t, row, "no row for %s", name) {
			continue
		}
		want := "all"
		if len(on) < len(m.Metrics) {
			slices.Sort(on)
			want = map[string]string{
				"email.delivery.failures email.delivery.failures.by_tag": "failures",
				"email.deliveries.by_tag email.delivery.failures.by_tag": "by tag",
			}[strings.Join(on, " ")]
		}
		if m.Attributes[id].Requirement == "opt_in" {
			want += ", opt-in"
		}
		assert.Equal(t, want, row["On"], "where %s is", name)
		checkEnum(t, m.Attributes[id].Enum, row["For example"])
	}
}

func TestInstruments(t *testing.T) {
	instruments := readMetadata(t).Telemetry.Metrics
	byName := rowsByName(t, telemetryPage, "Instrument")
	assert.ElementsMatch(t, keys(instruments), keys(byName))
	for name, row := range byName {
		one := instruments[name]
		types := map[string]bool{"counter": one.Sum != nil, "gauge": one.Gauge != nil, "histogram": one.Histogram != nil}
		assert.True(t, types[row["Type"]], "the type of %s", name)
		assert.Equal(t, []string{one.Unit}, codeIn(row["Unit"]), "the unit of %s", name)
		assert.ElementsMatch(t, one.Attributes, codeIn(row["Attributes"]), "the attributes of %s", name)
		assert.NotEmpty(t, row["Counts"])
	}
}

// TestOutcomes compares the outcomes and their statuses with the table of responses.
func TestOutcomes(t *testing.T) {
	statuses := map[string]string{"0": "any"}
	for status := 100; status < 600; status++ {
		statuses[strings.ReplaceAll(http.StatusText(status), " ", "")] = strconv.Itoa(status)
	}
	want, got := make(map[string]string), make(map[string]string)
	response := regexp.MustCompile(`newResponse\("(\w+)", (?:http\.Status)?(\w+)`)
	for _, match := range response.FindAllStringSubmatch(readFile(t, "receiver/smtpfailurereceiver/server.go"), -1) {
		want[match[1]] = statuses[match[2]]
	}
	for name, row := range rowsByName(t, telemetryPage, "Outcome") {
		got[name] = row["Status"]
	}
	assert.Equal(t, want, got)
}

// TestSignatureResults compares the reasons and lookups with the constants of internal/signature.
func TestSignatureResults(t *testing.T) {
	source := sources(t, isProduct)
	for _, column := range []string{"Reason", "Lookup"} {
		want := submatches(regexp.MustCompile(`\b`+column+`[A-Z]\w* += "(\w+)"`), source)
		require.NotEmpty(t, want)
		assert.ElementsMatch(t, want, listed(t, telemetryPage, column), column)
	}
}

// TestRedactionLimits checks that internal/privacy tests the texts that security.md lists as left
// unchanged.
func TestRedactionLimits(t *testing.T) {
	left := make(map[string]string)
	for line := range strings.Lines(readFile(t, "internal/privacy/testdata/forms.txt")) {
		if columns := strings.Split(strings.TrimSpace(line), "\t"); columns[0] == "left" {
			left[columns[5]] = columns[6]
		}
	}
	for _, text := range listed(t, "security.md", "Text") {
		assert.Equal(t, strconv.Quote(text), left[strconv.Quote(text)])
	}
}
