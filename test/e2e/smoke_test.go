// Package e2e tests the distribution as it was built, from outside.
package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// dialects are the five forms of a report that the vendor documents, in the encodings that are around.
var dialects = []struct {
	name string
	args []string
	want map[string]any
}{
	{
		name: "Copernica webhook",
		args: form("id=smoke-1", "type=failure", "timestamp=2026-11-21 10:14:58", "time=1795256098",
			"recipient=one@example.com", "action=failure", "state=rcptto", "code=550", "extended=5.1.1",
			"description=550 5.1.1 User unknown", "tags[]=newsletter", "tags[]=week 47"),
		want: map[string]any{
			"smtp.response.status_code":          int64(550),
			"smtp.response.enhanced_status_code": "5.1.1",
			"smtp.state":                         "rcptto",
			"email.tags":                         []string{"newsletter", "week 47"},
		},
	},
	{
		name: "SMTPeter webhook as JSON",
		args: []string{"--header", "Content-Type: application/json", "--data", `{
			"id": "smoke-2", "type": "failure", "timestamp": "2026-11-21 10:15:02", "time": 1795256102,
			"recipient": "two@example.com", "action": "failed", "state": "message", "code": 452, "extended": "4.2.2",
			"description": "452 4.2.2 Mailbox full", "tags": ["newsletter", "paying"]}`},
		want: map[string]any{
			"smtp.response.status_code":          int64(452),
			"smtp.response.enhanced_status_code": "4.2.2",
			"smtp.state":                         "message",
			"email.tags":                         []string{"newsletter", "paying"},
		},
	},
	{
		name: "SMTPeter feedback loop, which has no tags",
		args: form("id=smoke-3", "recipient=three@example.com", "state=bounce", "code=550", "extended=5.7.1",
			"description=550 5.7.1 Rejected by policy"),
		want: map[string]any{
			"smtp.response.status_code":          int64(550),
			"smtp.response.enhanced_status_code": "5.7.1",
			"smtp.state":                         "bounce",
		},
	},
	{
		name: "Copernica feedback loop",
		args: form("id=smoke-4", "recipient=four@example.com", "state=mailfrom", "code=421", "extended=4.7.0",
			"description=421 4.7.0 Try again later", "tags=newsletter;paying"),
		want: map[string]any{
			"smtp.response.status_code":          int64(421),
			"smtp.response.enhanced_status_code": "4.7.0",
			"smtp.state":                         "mailfrom",
			"email.tags":                         []string{"newsletter", "paying"},
		},
	},
	{
		name: "Copernica webhook of a failure without an SMTP answer",
		args: form("id=smoke-5", "type=failure", "timestamp=2026-11-21 10:15:09", "time=1795256109",
			"recipient=five@example.com", "action=failed", "state=dns", "code=", "extended=",
			"description=no such host", "tags[0]=newsletter", "tags[1]=week 47"),
		want: map[string]any{
			"smtp.state": "dns",
			"email.tags": []string{"newsletter", "week 47"},
		},
	},
}

// The line that `make run` prints, sent twice, has to count twice.
const demos = 2

var demo = map[string]any{
	"smtp.response.status_code":          int64(550),
	"smtp.response.enhanced_status_code": "5.1.1",
	"smtp.state":                         "rcptto",
	"email.tags":                         []string{"newsletter", "week-47"},
}

func TestQuickstart(t *testing.T) {
	c := startCollector(t)

	for _, dialect := range dialects {
		args := append([]string{"--silent", "--show-error", "--fail-with-body", "--noproxy", "*"}, dialect.args...)
		run(t, exec.Command("curl", append(args, c.failuresURL)...))
	}
	line := quickstartLine(t, c)
	for range demos {
		run(t, exec.Command("sh", "-c", line))
	}
	sent := len(dialects) + demos

	var records []record
	c.eventually(t, fmt.Sprintf("the log file holds %d records", sent), func() bool {
		records = readRecords(t, c.logFile)
		return len(records) >= sent
	})
	if len(records) != sent {
		t.Errorf("the log file holds %d records, want %d", len(records), sent)
	}
	byID := make(map[string]map[string]any)
	for _, r := range records {
		if r.EventName != "email.delivery.failed" {
			t.Errorf("event name is %q, want email.delivery.failed", r.EventName)
		}
		attributes := r.Attributes.byName()
		byID[fmt.Sprint(attributes["email.message.id"])] = attributes
	}
	if len(byID) != sent {
		t.Errorf("the records carry %d ids, want %d: %v", len(byID), sent, slices.Sorted(maps.Keys(byID)))
	}
	for i, dialect := range dialects {
		t.Run(dialect.name, func(t *testing.T) {
			checkAttributes(t, byID[fmt.Sprintf("smoke-%d", i+1)], dialect.want)
		})
	}
	for id, attributes := range byID {
		if strings.HasPrefix(id, "demo-") {
			checkAttributes(t, attributes, demo)
		}
	}

	const total, byTag = "email_delivery_failures_total", "email_delivery_failures_by_tag_total"
	want := map[string]float64{
		total: 7,
		total + ` smtp_response_status_code="550" smtp_response_enhanced_status_code="5.1.1" smtp_state="rcptto"`:  3,
		total + ` smtp_response_status_code="452" smtp_response_enhanced_status_code="4.2.2" smtp_state="message"`: 1,
		total + ` smtp_response_status_code="550" smtp_response_enhanced_status_code="5.7.1" smtp_state="bounce"`:  1,
		total + ` smtp_state="dns"`:       1,
		byTag:                             12,
		byTag + ` email_tag="newsletter"`: 6,
		byTag + ` email_tag="week 47"`:    2,
		byTag + ` email_tag="week-47"`:    2,
		byTag + ` email_tag="paying"`:     2,
	}
	var samples []sample
	c.eventually(t, "both counters arrive at what was sent", func() bool {
		samples = scrape(t, c.metricsURL)
		return sum(samples, total) >= want[total] && sum(samples, byTag) >= want[byTag]
	})
	for selector, value := range want {
		if got := sum(samples, selector); got != value {
			t.Errorf("%s is %v, want %v", selector, got, value)
		}
	}

	// What the newcomer sees: the record, with its name, on the console.
	if !strings.Contains(c.output.String(), "EventName: email.delivery.failed") {
		t.Error("the console shows no record")
	}

	if err := c.stop(t); err != nil {
		t.Errorf("after SIGTERM: %v, want exit code 0", err)
	}
}

// form returns curl's arguments for a form. Only curl's own encoding is in play, nothing is encoded here.
func form(variables ...string) []string {
	var args []string
	for _, variable := range variables {
		args = append(args, "--data-urlencode", variable)
	}
	return args
}

// quickstartLine returns the line that `make run` prints, aimed at the collector under test.
func quickstartLine(t *testing.T, c *collector) string {
	t.Helper()
	script, err := os.ReadFile(root + "/examples/quickstart/send.sh")
	if err != nil {
		t.Fatal(err)
	}
	const prefix, address = "curl -i ", "localhost:8550/failures"
	line := regexp.MustCompile("(?m)^" + prefix + ".*$").FindString(string(script))
	if !strings.Contains(line, address) {
		t.Fatalf("no call of %s in send.sh", address)
	}
	line = strings.Replace(line, address, c.failuresURL, 1)
	return strings.Replace(line, prefix, prefix+"--silent --show-error --fail-with-body --noproxy '*' ", 1)
}

func run(t *testing.T, command *exec.Cmd) {
	t.Helper()
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// record is a log record in OTLP JSON, as far as this test looks.
type record struct {
	EventName  string
	Attributes attributes
}

type attributes []struct {
	Key   string
	Value value
}

type value struct {
	StringValue *string
	IntValue    *string
	ArrayValue  *struct{ Values []value }
}

// byName returns text, numbers as int64, and lists of text.
func (all attributes) byName() map[string]any {
	byName := make(map[string]any)
	for _, a := range all {
		switch {
		case a.Value.StringValue != nil:
			byName[a.Key] = *a.Value.StringValue
		case a.Value.IntValue != nil:
			number, err := strconv.ParseInt(*a.Value.IntValue, 10, 64)
			if err != nil {
				panic(err)
			}
			byName[a.Key] = number
		case a.Value.ArrayValue != nil:
			var items []string
			for _, item := range a.Value.ArrayValue.Values {
				items = append(items, *item.StringValue)
			}
			byName[a.Key] = items
		}
	}
	return byName
}

func checkAttributes(t *testing.T, got, want map[string]any) {
	t.Helper()
	for _, key := range []string{"smtp.response.status_code", "smtp.response.enhanced_status_code", "smtp.state", "email.tags"} {
		if !reflect.DeepEqual(got[key], want[key]) {
			t.Errorf("%s is %#v, want %#v", key, got[key], want[key])
		}
	}
}

// readRecords returns the records of all complete lines.
func readRecords(t *testing.T, path string) []record {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var records []record
	for line := range bytes.Lines(content) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var logs struct {
			ResourceLogs []struct {
				ScopeLogs []struct{ LogRecords []record }
			}
		}
		if err := json.Unmarshal(line, &logs); err != nil {
			t.Fatalf("line of the log file: %v\n%s", err, line)
		}
		for _, resource := range logs.ResourceLogs {
			for _, scope := range resource.ScopeLogs {
				records = append(records, scope.LogRecords...)
			}
		}
	}
	return records
}

// sample is a line of the Prometheus text format.
type sample struct {
	name   string
	labels string
	value  float64
}

var sampleLine = regexp.MustCompile(`(?m)^([a-z_]+)\{(.*)\} (\S+)$`)

func scrape(t *testing.T, url string) []sample {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var samples []sample
	for _, match := range sampleLine.FindAllStringSubmatch(string(text), -1) {
		number, err := strconv.ParseFloat(match[3], 64)
		if err != nil {
			t.Fatalf("%s: %v", match[0], err)
		}
		samples = append(samples, sample{name: match[1], labels: "," + match[2] + ",", value: number})
	}
	return samples
}

// sum adds up the series of the metric that a selector starts with, of those that carry the labels that follow.
func sum(samples []sample, selector string) float64 {
	name, labels, _ := strings.Cut(selector, " ")
	wanted := regexp.MustCompile(`[a-z_]+="[^"]*"`).FindAllString(labels, -1)
	var total float64
	for _, s := range samples {
		missing := func(label string) bool { return !strings.Contains(s.labels, ","+label+",") }
		if s.name == name && !slices.ContainsFunc(wanted, missing) {
			total += s.value
		}
	}
	return total
}
