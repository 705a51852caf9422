package docs_test

import (
	"maps"
	"net/http"
	"os"
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

// metadata is metadata.yaml.
func metadata(t *testing.T) map[string]any {
	t.Helper()
	content, err := os.ReadFile(root + "/metadata.yaml")
	require.NoError(t, err)
	return mapOf(t, string(content))
}

// section returns a map within a map.
func section(t *testing.T, within map[string]any, keys ...string) map[string]any {
	t.Helper()
	for _, key := range keys {
		next, ok := within[key].(map[string]any)
		require.Truef(t, ok, "metadata.yaml has no %s", key)
		within = next
	}
	return within
}

func texts(list any) []string {
	var all []string
	elements, _ := list.([]any)
	for _, element := range elements {
		text, _ := element.(string)
		all = append(all, text)
	}
	return all
}

// named returns rows by what their first cell has in backticks.
func named(t *testing.T, first string) map[string]map[string]string {
	t.Helper()
	rows := make(map[string]map[string]string)
	for _, row := range rowsOf(t, telemetryPage, first) {
		code := codeIn(row[first])
		require.Lenf(t, code, 1, "a row has one name: %v", row)
		require.NotContainsf(t, rows, code[0], "%s is there twice", code[0])
		rows[code[0]] = row
	}
	return rows
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func underscored(name string) string {
	return strings.ReplaceAll(name, ".", "_")
}

// attributeTypes are the names of types by those in metadata.yaml.
var attributeTypes = map[string]string{"string": "string", "int": "int", "slice": "list of strings"}

func TestRecordAttributes(t *testing.T) {
	all := metadata(t)
	attributes := section(t, all, "attributes")
	rows := named(t, "Attribute")
	want := texts(section(t, all, "events", "email.delivery.failed")["attributes"])
	assert.ElementsMatch(t, want, sortedKeys(rows))
	for name, row := range rows {
		kind, _ := section(t, attributes, name)["type"].(string)
		assert.Equal(t, attributeTypes[kind], row["Type"], "the type of %s", name)
		assert.Equal(t, []string{underscored(name)}, codeIn(row["In Loki"]), "the name of %s in Loki", name)
		assert.NotEmpty(t, row["From"], "where %s comes from", name)
		assert.NotEmpty(t, codeIn(row["For example"]), "an example of %s", name)
		checkEnum(t, attributes, name, row["For example"])
	}
}

// checkEnum expects that examples of an attribute with a closed list of values are that list, or some of it where it is long and
// stands elsewhere.
func checkEnum(t *testing.T, attributes map[string]any, name, examples string) {
	t.Helper()
	enum := texts(section(t, attributes, name)["enum"])
	if enum == nil {
		return
	}
	if len(enum) > 5 {
		assert.Subset(t, enum, codeIn(examples), "values of %s", name)
		return
	}
	assert.ElementsMatch(t, enum, codeIn(examples), "the values of %s", name)
}

// TestCauses compares the list of causes with the code.
func TestCauses(t *testing.T) {
	enum := texts(section(t, metadata(t), "attributes", "error.type")["enum"])
	assert.Equal(t, smtpstatus.CauseNames(), enum, "metadata.yaml")
	assert.ElementsMatch(t, enum, codeIn(named(t, "Attribute")["error.type"]["For example"]), telemetryPage)
	for _, column := range []string{"Cause", "Cause here"} {
		var listed []string
		for _, row := range rowsOf(t, "causes.md", column) {
			listed = append(listed, codeIn(row[column])...)
		}
		assert.Equal(t, enum, listed, "causes.md, the table of %s", column)
	}
}

func TestCounters(t *testing.T) {
	metrics := section(t, metadata(t), "metrics")
	rows := named(t, "Metric")
	assert.ElementsMatch(t, sortedKeys(metrics), sortedKeys(rows))
	for name, row := range rows {
		assert.Equal(t, []string{underscored(name) + "_total"}, codeIn(row["In Prometheus"]))
		assert.Equal(t, []string{section(t, metrics, name)["unit"].(string)}, codeIn(row["Unit"]))
	}
}

func TestCounterAttributes(t *testing.T) {
	all := metadata(t)
	attributes := section(t, all, "attributes")
	type of struct {
		metrics []string
		optIn   bool
		id      string
	}
	want := make(map[string]*of)
	for _, metric := range sortedKeys(section(t, all, "metrics")) {
		for _, id := range texts(section(t, all, "metrics", metric)["attributes"]) {
			attribute := section(t, attributes, id)
			name, ok := attribute["name_override"].(string)
			if !ok {
				name = id
			}
			if want[name] == nil {
				want[name] = &of{optIn: attribute["requirement_level"] == "opt_in", id: id}
			}
			want[name].metrics = append(want[name].metrics, metric)
		}
	}

	rows := named(t, "Attribute of the counters")
	assert.ElementsMatch(t, sortedKeys(want), sortedKeys(rows))
	for name, row := range rows {
		if want[name] == nil {
			continue
		}
		assert.Equal(t, []string{underscored(name)}, codeIn(row["In Prometheus"]), "the label of %s", name)
		on := map[string]string{
			"email.deliveries email.deliveries.by_tag email.delivery.failures email.delivery.failures.by_tag": "all",
			"email.delivery.failures email.delivery.failures.by_tag":                                          "failures",
			"email.deliveries.by_tag email.delivery.failures.by_tag":                                          "by tag",
		}
		by := on[strings.Join(want[name].metrics, " ")]
		if want[name].optIn {
			by += ", opt-in"
		}
		assert.Equal(t, by, row["On"], "where %s is", name)
		checkEnum(t, attributes, want[name].id, row["For example"])
	}
}

func TestInstruments(t *testing.T) {
	instruments := section(t, metadata(t), "telemetry", "metrics")
	rows := named(t, "Instrument")
	assert.ElementsMatch(t, sortedKeys(instruments), sortedKeys(rows))
	kinds := map[string]string{"sum": "counter", "gauge": "gauge", "histogram": "histogram"}
	for name, row := range rows {
		instrument := section(t, instruments, name)
		for kind, called := range kinds {
			if _, ok := instrument[kind]; ok {
				assert.Equal(t, called, row["Type"], "the type of %s", name)
			}
		}
		assert.Equal(t, []string{instrument["unit"].(string)}, codeIn(row["Unit"]), "the unit of %s", name)
		assert.ElementsMatch(t, texts(instrument["attributes"]), codeIn(row["Attributes"]), "the attributes of %s", name)
		prometheus := codeIn(row["On :8888/metrics"])
		assert.Equal(t, []string{"otelcol_" + name}, prometheus, "the name of %s", name)
		assert.NotEmpty(t, row["Counts"])
	}
}

// TestStatuses compares the statuses of the outcomes with the table of responses.
func TestStatuses(t *testing.T) {
	content, err := os.ReadFile(root + "/receiver/smtpfailurereceiver/server.go")
	require.NoError(t, err)
	byName := make(map[string]string)
	for status := 100; status < 600; status++ {
		byName[strings.ReplaceAll(http.StatusText(status), " ", "")] = strconv.Itoa(status)
	}
	want := make(map[string]string)
	for _, match := range regexp.MustCompile(`newResponse\("(\w+)", (?:http\.Status)?(\w+)`).FindAllStringSubmatch(string(content), -1) {
		want[match[1]] = byName[match[2]]
		if match[2] == "0" {
			want[match[1]] = "any"
		}
	}
	got := make(map[string]string)
	for _, row := range rowsOf(t, telemetryPage, "Outcome") {
		got[strings.Trim(row["Outcome"], "`")] = row["Status"]
	}
	assert.Equal(t, want, got)
}

// TestClosedLists compares the values that the page lists with the constants of the code.
func TestClosedLists(t *testing.T) {
	for _, list := range []struct{ column, file, pattern string }{
		{"Outcome", "receiver/smtpfailurereceiver/server.go", `newResponse\("(\w+)"`},
		{"Reason", "internal/signature/refusal.go", `Reason\w+ += "(\w+)"`},
		{"Lookup", "internal/signature/resolver.go", `Lookup\w+ += "(\w+)"`},
	} {
		content, err := os.ReadFile(root + "/" + list.file)
		require.NoError(t, err)
		var want []string
		for _, match := range regexp.MustCompile(list.pattern).FindAllStringSubmatch(string(content), -1) {
			want = append(want, match[1])
		}
		require.NotEmptyf(t, want, "%s has no %s", list.file, list.pattern)
		var got []string
		for _, row := range rowsOf(t, telemetryPage, list.column) {
			got = append(got, codeIn(row[list.column])...)
		}
		assert.ElementsMatchf(t, want, got, "%s, and the table with the column %s", list.file, list.column)
	}
}
