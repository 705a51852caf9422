package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMissed puts back, with the commands of the documentation, what a log file of SMTPeter has and the records have not.
func TestMissed(t *testing.T) {
	packaged(t, "jq")
	const page = root + "/docs/missed.md"
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	logged := `[
		{"id": "missed-1", "time": "2026-11-25 10:14:58", "envelope": "a@b.example", "recipient": "one@example.com", "attempt": 0, "from": "192.0.2.1",
			"to": "192.0.2.2", "type": "error", "code": 550, "status": "5.1.1", "description": "550 5.1.1 User unknown", "state": "rcptto",
			"tags": "newsletter;week 47", "templateid": 0},
		{"id": "missed-2", "time": "2026-11-25 10:14:59", "envelope": "a@b.example", "recipient": "two@example.com", "attempt": 3, "from": "192.0.2.1",
			"to": "192.0.2.2", "type": "bounce", "code": 452, "status": "4.2.2", "description": "452 4.2.2 Mailbox\n\"full\"", "state": "bounce",
			"tags": "newsletter", "templateid": 0}
	]`
	if err := os.WriteFile(filepath.Join(directory, "failures.json"), []byte(logged), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startCollector(t)
	run(t, exec.Command("curl", append(form("id=missed-1", "type=failure", "code=550", "state=rcptto"), "--silent", "--fail-with-body", c.failuresURL)...))

	var records []record
	arrived := func(n int) {
		t.Helper()
		c.eventually(t, "the records are there", func() bool {
			records = readRecords(t, c.logFile)
			return len(records) >= n
		})
	}
	arrived(1)
	shell := func() {
		for _, b := range blocksOf(t, page, string(content)) {
			if b.language != "sh" {
				continue
			}
			command := exec.Command("sh", "-e", "-u", "-c",
				strings.NewReplacer("data/failures.jsonl", c.logFile, "localhost:8551/failures", c.failuresURL).Replace(b.text))
			command.Dir = directory
			run(t, command)
		}
	}
	shell()
	arrived(2)
	// Nothing is left to be sent.
	shell()
	if len(records) != 2 {
		t.Fatalf("there are %d records", len(records))
	}
	got := records[1].Attributes.byName()
	checkAttributes(t, got, map[string]any{
		"smtp.response.status_code":          int64(452),
		"smtp.response.enhanced_status_code": "4.2.2",
		"smtp.state":                         "bounce",
		"email.tags":                         []string{"newsletter"},
	})
	if got["email.message.id"] != "missed-2" || got["email.recipient.address"] != "two@example.com" {
		t.Errorf("the record is %v", got)
	}
	if known, err := os.ReadFile(filepath.Join(directory, "known.txt")); err != nil || !slices.Equal(strings.Fields(string(known)), []string{"missed-1", "missed-2"}) {
		t.Errorf("known.txt has %q (%v)", known, err)
	}
}
