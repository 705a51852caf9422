package privacy

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what comes of the forms in testdata/forms.txt as what is expected")

// The columns of testdata/forms.txt, which its first lines describe.
const (
	columnVerdict = iota
	columnAbout
	columnMode
	columnRecipient
	columnSecrets
	columnText
	columnWant
	columns
)

// verdictOn compares what became of a text with it, and with the secrets, of which nothing should
// be left.
func verdictOn(text, secrets, got string) string {
	for secret := range strings.SplitSeq(secrets, "·") {
		if secret != "" && strings.Contains(strings.ToLower(got), strings.ToLower(secret)) {
			return "left"
		}
	}
	switch {
	case secrets != "":
		return "out"
	case got == text:
		return "kept"
	}
	return "lost"
}

// TestForms shows what redaction finds, and what it does not.
func TestForms(t *testing.T) {
	const file = "testdata/forms.txt"
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	var after strings.Builder
	counts := map[string]int{}
	for line := range strings.Lines(string(before)) {
		if strings.HasPrefix(line, "#") {
			after.WriteString(line)
			continue
		}
		form := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, form, columns, line)
		text, err := strconv.Unquote(form[columnText])
		require.NoError(t, err, line)
		r := &redactor{hideDomain: form[columnMode] == "drop"}
		r.addRecipient(form[columnRecipient])
		got := r.redact(text, true)
		form[columnVerdict], form[columnWant] = verdictOn(text, form[columnSecrets], got), strconv.QuoteToGraphic(got)
		counts[form[columnVerdict]]++
		result := strings.Join(form, "\t") + "\n"
		after.WriteString(result)
		if !*update {
			assert.Equal(t, line, result)
		}
	}
	for _, verdict := range []string{"out", "left", "kept"} {
		assert.Positive(t, counts[verdict], verdict)
	}
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(after.String()), 0o644))
	}
}
