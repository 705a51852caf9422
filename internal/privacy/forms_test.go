package privacy

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what comes of the forms in testdata/forms.txt, and the verdicts, as what is expected")

const formsFile = "testdata/forms.txt"

// formCase is a line of testdata/forms.txt, which says what each column is.
type formCase struct {
	verdict, about, mode, recipient string
	secrets                         []string
	text, want                      string
}

func readForms(t *testing.T) (head []string, forms []formCase) {
	t.Helper()
	file, err := os.Open(formsFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		line := scanner.Text()
		if strings.HasPrefix(line, "#") {
			head = append(head, line)
			continue
		}
		columns := strings.Split(line, "\t")
		if len(columns) != 7 {
			t.Fatalf("%d columns: %s", len(columns), line)
		}
		unquote := func(quoted string) string {
			text, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			return text
		}
		form := formCase{verdict: columns[0], about: columns[1], mode: columns[2], recipient: columns[3], text: unquote(columns[5]), want: unquote(columns[6])}
		if columns[4] != "" {
			form.secrets = strings.Split(columns[4], "·")
		}
		forms = append(forms, form)
	}
	return head, forms
}

// verdictOn compares what came of a text with it, and with what should not be left of it.
func (f *formCase) verdictOn(got string) string {
	for _, secret := range f.secrets {
		if strings.Contains(strings.ToLower(got), strings.ToLower(secret)) {
			return "left"
		}
	}
	switch {
	case f.secrets != nil:
		return "out"
	case got == f.text:
		return "kept"
	default:
		return "lost"
	}
}

// TestForms shows what redaction finds, and what it does not.
func TestForms(t *testing.T) {
	head, forms := readForms(t)
	counts := map[string]int{}
	for i := range forms {
		form := &forms[i]
		r := &redactor{hideDomain: form.mode == "drop"}
		r.addRecipient(form.recipient)
		got := r.redact(form.text, true)
		verdict := form.verdictOn(got)
		counts[verdict]++
		if !*update && (got != form.want || verdict != form.verdict) {
			t.Errorf("%s: %q of %s\n became %s: %q\n  want %s: %q", form.about, form.text, form.recipient, verdict, got, form.verdict, form.want)
		}
		form.want, form.verdict = got, verdict
	}
	t.Log(counts)
	if len(forms) < 100 || counts["out"] == 0 || counts["left"] == 0 || counts["kept"] == 0 {
		t.Errorf("%d forms: %v", len(forms), counts)
	}
	if !*update {
		return
	}
	out := strings.Join(head, "\n") + "\n"
	for _, f := range forms {
		out += fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.verdict, f.about, f.mode, f.recipient, strings.Join(f.secrets, "·"), strconv.QuoteToGraphic(f.text), strconv.QuoteToGraphic(f.want))
	}
	if err := os.WriteFile(formsFile, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
}
