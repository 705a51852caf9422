package e2e

import (
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// attributes returns those of a record that are compared.
func attributes(code int64, extended, state string, tags ...any) map[string]any {
	all := map[string]any{"smtp.state": state}
	if code != 0 {
		all["smtp.response.status_code"], all["smtp.response.enhanced_status_code"] = code, extended
	}
	if len(tags) > 0 {
		all["email.tags"] = tags
	}
	return all
}

// dialects are the five forms of a report that the senders document, as curl's arguments.
var dialects = []struct {
	name string
	args []string
	want map[string]any
}{
	{
		"Copernica webhook",
		curlForm("id=smoke-1", "type=failure", "timestamp=2026-11-21 10:14:58", "time=1795256098",
			"recipient=one@example.com",
			"action=failure", "state=rcptto", "code=550", "extended=5.1.1", "description=550 5.1.1 User unknown",
			"tags[]=newsletter", "tags[]=week 47"),
		attributes(550, "5.1.1", "rcptto", "newsletter", "week 47"),
	},
	{
		"SMTPeter webhook as JSON",
		[]string{"--header", "Content-Type: application/json", "--data", `{
			"id": "smoke-2", "type": "failure", "timestamp": "2026-11-21 10:15:02", "time": 1795256102,
			"recipient": "two@example.com", "action": "failed", "state": "message", "code": 452, "extended": "4.2.2",
			"description": "452 4.2.2 Mailbox full", "tags": ["newsletter", "paying"]}`},
		attributes(452, "4.2.2", "message", "newsletter", "paying"),
	},
	{
		"SMTPeter feedback loop, which has no tags",
		curlForm("id=smoke-3", "recipient=three@example.com", "state=bounce", "code=550", "extended=5.7.1",
			"description=550 5.7.1 Rejected by policy"),
		attributes(550, "5.7.1", "bounce"),
	},
	{
		"Copernica feedback loop",
		curlForm("id=smoke-4", "recipient=four@example.com", "state=mailfrom", "code=421", "extended=4.7.0",
			"description=421 4.7.0 Try again later", "tags=newsletter;paying"),
		attributes(421, "4.7.0", "mailfrom", "newsletter", "paying"),
	},
	{
		"Copernica webhook of a failure without an SMTP response",
		curlForm("id=smoke-5", "type=failure", "timestamp=2026-11-21 10:15:09", "time=1795256109",
			"recipient=five@example.com",
			"action=failed", "state=dns", "code=", "extended=", "description=no such host",
			"tags[0]=newsletter", "tags[1]=week 47"),
		attributes(0, "", "dns", "newsletter", "week 47"),
	},
}

// curlForm returns curl's arguments for a form, which curl encodes.
func curlForm(variables ...string) (args []string) {
	for _, variable := range variables {
		args = append(args, "--data-urlencode", variable)
	}
	return args
}

func curl(t *testing.T, args ...string) {
	t.Helper()
	run(t, exec.Command("curl", append([]string{"--silent", "--fail-with-body", "--noproxy", "*"}, args...)...))
}

// startQuickstart starts the quickstart's collector, which only sends its counters more often here.
func startQuickstart(t *testing.T) *collector {
	t.Helper()
	return startExample(t, "quickstart", nil, "receivers::smtp_failure::aggregation::interval=200ms")
}

// waitForRecords waits until the log file has so many records, and returns what it has.
func waitForRecords(t *testing.T, c *collector, n int) (records []map[string]any) {
	t.Helper()
	c.eventually(t, fmt.Sprintf("the log file has %d records", n), func() bool {
		records = readRecords(t, c.records())
		return len(records) >= n
	})
	require.Len(t, records, n)
	return records
}

func TestQuickstart(t *testing.T) {
	c := startQuickstart(t)
	want := make(map[string]map[string]any)
	for i, dialect := range dialects {
		curl(t, append(dialect.args, c.url())...)
		want[fmt.Sprint("smoke-", i+1)] = dialect.want
	}
	// The line that `make run` prints, sent twice, counts twice.
	script := readFile(t, root+"/examples/quickstart/send.sh")
	line := regexp.MustCompile(`(?m)^curl -i (.*)$`).FindStringSubmatch(script)
	require.NotNil(t, line)
	for range 2 {
		run(t, exec.Command("sh", "-c", "curl --silent --fail-with-body --noproxy '*' "+
			strings.Replace(line[1], "localhost:8550/failures", c.url(), 1)))
	}

	demos, compared := 0, slices.Collect(maps.Keys(attributes(1, "", "", "")))
	for _, record := range waitForRecords(t, c, len(dialects)+2) {
		id := fmt.Sprint(record["email.message.id"])
		if strings.HasPrefix(id, "demo-") {
			demos++
			want[id] = attributes(550, "5.1.1", "rcptto", "newsletter", "week-47")
		}
		maps.DeleteFunc(record, func(key string, _ any) bool { return !slices.Contains(compared, key) })
		assert.Equal(t, want[id], record, id)
	}
	assert.Equal(t, 2, demos)
	assert.Len(t, want, len(dialects)+2, "ids")

	const total, byTag = "email_delivery_failures_total", "email_delivery_failures_by_tag_total"
	var samples []sample
	c.eventually(t, "both counters are there", func() bool {
		samples = scrape(t, c.counters)
		return sum(samples, total) >= 7 && sum(samples, byTag) >= 12
	})
	for selector, value := range map[string]float64{
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
	} {
		assert.InDelta(t, value, sum(samples, selector), 0, selector)
	}

	// The record is on the console too.
	assert.Contains(t, c.output.String(), "EventName: email.delivery.failed")
	c.stop(t)
}

// TestMissed runs the commands of docs/missed.md, which send what a log file of SMTPeter has and
// the records have not.
func TestMissed(t *testing.T) {
	packaged(t, "jq")
	logged := write(t, "failures.json", `[
		{"id": "missed-1", "time": "2026-11-25 10:14:58", "envelope": "a@b.example", "recipient": "one@example.com",
			"attempt": 0,
			"from": "192.0.2.1", "to": "192.0.2.2", "type": "error", "code": 550, "status": "5.1.1",
			"description": "550 5.1.1 User unknown", "state": "rcptto", "tags": "newsletter;week 47", "templateid": 0},
		{"id": "missed-2", "time": "2026-11-25 10:14:59", "envelope": "a@b.example", "recipient": "two@example.com",
			"attempt": 3,
			"from": "192.0.2.1", "to": "192.0.2.2", "type": "bounce", "code": 452, "status": "4.2.2",
			"description": "452 4.2.2 Mailbox\n\"full\"", "state": "bounce", "tags": "newsletter", "templateid": 0}
	]`)
	c := startQuickstart(t)
	curl(t, append(curlForm("id=missed-1", "type=failure", "code=550", "state=rcptto"), c.url())...)
	waitForRecords(t, c, 1)
	moved := strings.NewReplacer("data/failures.jsonl", c.records(), "localhost:8551/failures", c.url())
	// The second time, nothing is left to be sent.
	for range 2 {
		for _, b := range blocksOf(t, root+"/docs/missed.md") {
			if b.language == "sh" {
				command := exec.Command("sh", "-e", "-u", "-c",
					moved.Replace(b.text))
				command.Dir = strings.TrimSuffix(logged, "/failures.json")
				run(t, command)
			}
		}
		got := waitForRecords(t, c, 2)[1]
		for key, value := range attributes(452, "4.2.2", "bounce", "newsletter") {
			assert.Equal(t, value, got[key], key)
		}
		assert.Equal(t, "missed-2", got["email.message.id"])
		assert.Equal(t, "two@example.com", got["email.recipient.address"])
	}
	assert.Equal(t, "missed-1\nmissed-2\n", readFile(t, strings.TrimSuffix(logged, "failures.json")+"known.txt"))
}
