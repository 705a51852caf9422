package smtpstatus

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// reply is what a report says, with the cause that it must get.
type reply struct {
	code, status, state, description, cause string
}

func (r reply) of(c *Causes) (string, DecidedBy) {
	code, _ := ParseCode(r.code)
	status, _ := ParseEnhanced(r.status)
	return c.Cause(r.description, status, code, r.state)
}

// replies reads testdata/replies.txt.
func replies(tb testing.TB) []reply {
	tb.Helper()
	file, err := os.Open("testdata/replies.txt")
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	var all []reply
	cause := ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		switch {
		case line == "" || line[0] == '#':
		case line[0] != '\t':
			cause = line
		default:
			f := strings.SplitN(line[1:], " ", 4)
			for i := range f {
				if f[i] == "-" {
					f[i] = ""
				}
			}
			all = append(all, reply{f[0], f[1], f[2], f[3], cause})
		}
	}
	return all
}

func builtInCauses(tb testing.TB) *Causes {
	tb.Helper()
	c, err := NewCauses(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestCauseOfReplies(t *testing.T) {
	c := builtInCauses(t)
	count := map[string]int{}
	for _, r := range replies(t) {
		count[r.cause]++
		if got, by := r.of(c); got != r.cause {
			t.Errorf("%s %s %s %q is %s by %s, want %s", r.code, r.status, r.state, r.description, got, by, r.cause)
		}
	}
	for _, cause := range causeNames {
		if count[cause] < 5 {
			t.Errorf("%d replies of %s, want several", count[cause], cause)
		}
	}
}

// Every phrase is written as it is matched and in its place, none stands twice, and each decides at
// least where nothing else is said: one that another of another cause always beats would never be
// seen to be wrong.
func TestCausesFile(t *testing.T) {
	rules, err := parseRules(causesFile)
	if err != nil {
		t.Fatal(err)
	}
	builtIn := newIndex(rules)
	twice := map[string]string{}
	for _, r := range rules {
		phrase, also := string(r.phrase), string(r.also)
		text := phrase + also
		if cause := twice[text]; cause != "" || twice[also+phrase] != "" {
			t.Errorf("%q of %s stands twice", text, r.cause)
		}
		twice[text] = r.cause
		decides := builtIn.best([]byte(" " + also + " " + phrase + " "))
		if strings.HasPrefix(also, " x.") {
			decides = builtIn.best([]byte(also + phrase[1:]))
		}
		if decides == nil || decides.cause != r.cause {
			t.Errorf("%q of %s is always beaten by %+v", text, r.cause, decides)
		}
	}

	group, previous := -1, ""
	for line := range strings.Lines(causesFile) {
		line, _, _ = strings.Cut(strings.TrimSuffix(line, "\n"), "#")
		phrase, indented := strings.CutPrefix(line, "\t")
		if !indented {
			if rank, cause, ok := strings.Cut(line, " "); ok {
				at := 2 * slices.Index(causeNames, cause)
				if rank == "weak" {
					at++
				}
				if at <= group {
					t.Errorf("%q stands before its place", line)
				}
				group = at
			}
			previous = ""
			continue
		}
		phrase = strings.TrimSpace(phrase)
		if phrase == "" { // the next language
			previous = ""
			continue
		}
		if phrase <= previous {
			t.Errorf("%q stands after %q", phrase, previous)
		}
		previous = phrase
		for part := range strings.SplitSeq(phrase, " & ") {
			if strings.HasPrefix(part, "x.") {
				if _, ok := ParseEnhanced("5" + part[1:]); !ok {
					t.Errorf("%q is no status", part)
				}
				continue
			}
			written := strings.NewReplacer("*", "", "_", "").Replace(part)
			got := foldText(written)
			if utf8.RuneCountInString(got) != utf8.RuneCountInString(written) {
				t.Errorf("%q is matched as %q", part, got)
			}
		}
	}
}

func TestCauseOrder(t *testing.T) {
	c, err := NewCauses([]Phrase{
		{"Weergave geweig", policy},
		{"geweigerd wegens drukte", serverError},
		{"ACME-Filter", spamContent},
		{"Q7", virus},
		{"ŚŃ", virus},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		description, status, code, state string
		want                             string
		by                               DecidedBy
	}{
		// the user's come first
		{"Mailbox full: WEERGAVE\tgeweigerd", "5.1.1", "550", "", policy, ByPhrase},
		// the longest of them
		{"weergave geweigerd wegens drukte", "", "", "", serverError, ByPhrase},
		{"user unknown (acme filter)", "", "", "", spamContent, ByPhrase},
		{"code Q7", "", "", "", virus, ByPhrase},
		{"śńeg", "", "", "", virus, ByPhrase},
		// a telling phrase before any status
		{"mailbox full", "5.1.1", "550", "", mailboxFull, ByPhrase},
		// a specific status before a weak phrase
		{"blocked", "5.1.1", "550", "", recipientUnknown, ByStatus},
		// a weak phrase before a general status
		{"blocked", "5.7.1", "550", "", reputationBlock, ByPhrase},
		// any status before the code
		{"", "5.7.1", "421", "dns", policy, ByStatus},
		// an unregistered one as X.7.0
		{"", "5.7.51", "421", "dns", policy, ByStatus},
		// but for an unregistered subject
		{"", "5.9.1", "421", "dns", serverError, ByCode},
		// and for one that says nothing
		{"", "5.0.0", "421", "dns", serverError, ByCode},
		// the code before the state, but for one that says nothing
		{"", "", "421", "dns", serverError, ByCode},
		{"", "", "550", "dns", connectionFailed, ByState},
		{"", "", "550", "rcptto", Other, ByNone},
		// the class is no part of it
		{"", "4.2.2", "", "", mailboxFull, ByStatus},
		// a status in the text is none
		{"5.7.26", "", "", "suppression", suppressed, ByState},
		// nor is one that looks like a rule's
		{"x.4.1 recipient address rejected", "", "", "", recipientUnknown, ByPhrase},
		{"policy", "5.7.9", "", "", policy, ByPhrase},
		{"other words", "5.7.9", "", "", relayDenied, ByStatus},
		// the longer of two
		{"the mailbox is full and the address does not exist", "", "", "", recipientUnknown, ByPhrase},
	} {
		got, by := reply{tc.code, tc.status, tc.state, tc.description, ""}.of(c)
		if got != tc.want || by != tc.by {
			t.Errorf("%+v: got %s by %s", tc, got, by)
		}
	}
}

func TestNewCausesRefuses(t *testing.T) {
	for _, text := range []string{"", " ", "550 5.7.1", "jan@example.com", "the", "--"} {
		if _, err := NewCauses([]Phrase{{"weergave", policy}, {text, policy}}); !errors.Is(err, ErrEmptyPhrase) {
			t.Errorf("phrase %q: %v", text, err)
		}
	}
	for _, cause := range []string{"", "Policy", "delivery_not_authorized_message_refused"} {
		if _, err := NewCauses([]Phrase{{"weergave", cause}}); !errors.Is(err, ErrUnknownCause) {
			t.Errorf("cause %q: %v", cause, err)
		}
	}
	if _, err := NewCauses([]Phrase{{"weergave", Other}}); err != nil {
		t.Errorf("%s: %v", Other, err)
	}
}

// The same words get the same cause in other case, spacing and line breaks, and with the status in
// each line.
func TestCauseOfSameWords(t *testing.T) {
	c := builtInCauses(t)
	for _, r := range replies(t) {
		if len(r.description) > maxText/4 { // so that all of it is looked at, however it is spaced
			t.Fatalf("%q is too long to be spaced", r.description)
		}
		for name, change := range map[string]func(string) string{
			"upper case":  strings.ToUpper,
			"lower case":  strings.ToLower,
			"title case":  strings.ToTitle,
			"spaces":      func(s string) string { return "  " + strings.ReplaceAll(s, " ", " \t ") + " " },
			"line breaks": func(s string) string { return strings.ReplaceAll(s, " ", "\r\n") },
			"codes":       func(s string) string { return "550-5.7.1 " + strings.ReplaceAll(s, " ", "\n550-5.7.1 ") },
			"dashes":      func(s string) string { return "554-" + strings.ReplaceAll(s, " ", "\r\n554-") },
		} {
			changed := r
			changed.description = change(r.description)
			if got, _ := changed.of(c); got != r.cause {
				t.Errorf("%s: %q is %s, want %s", name, changed.description, got, r.cause)
			}
		}
	}
}

// Every rune is folded alike in either case.
func TestFoldIgnoresCase(t *testing.T) {
	for r := rune(utf8.RuneSelf); r <= unicode.MaxRune; r++ {
		for _, other := range []rune{unicode.ToUpper(r), unicode.ToLower(r), unicode.ToTitle(r)} {
			if other == r {
				continue
			}
			if want, got := foldText("a"+string(r)), foldText("a"+string(other)); got != want {
				t.Fatalf("%q is folded to %q, but %q to %q", r, want, other, got)
			}
		}
	}
}

func TestFold(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"550-5.7.26 This mail\r\n550-5.7.26 is blocked":    "mail blocked ",
		"<jan.de-vries@example.com>: Mailbox full":         "mailbox full ",
		"can't open, cannot read, isn't here, doesn't say": "not open not read not here not say ",
		"the recipient’s mailbox, 'jan'":                   "recipient mailbox jan ",
		"OFR_417 user_unknown S3140":                       "ofr417 user unknown s3140 ",
		"Boîte pleine, Empfänger, BOI\u0302TE":             "boite pleine empfanger boite ",
		"邮箱已满。收件人":                                         "邮箱已满 收件人 ",
		"a\xffb \xff c":                                    "ab c ",
		"jan@example.com":                                  "",
		"E-mail":                                           "mail ",
	} {
		if got := string(fold(nil, text)); got != want {
			t.Errorf("%q is folded to %q, want %q", text, got, want)
		}
	}
}

func FuzzCause(f *testing.F) {
	for _, r := range replies(f) {
		e, _ := ParseEnhanced(r.status)
		code, _ := ParseCode(r.code)
		f.Add(r.description, e.Class, e.Subject, e.Detail, code, r.state)
	}
	c, err := NewCauses([]Phrase{{"weergave geweigerd", policy}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, description string, class, subject, detail uint16, code int, state string) {
		e := Enhanced{class, subject, detail}
		got, by := c.Cause(description, e, code, state)
		if !slices.Contains(causeNames, got) || (got == Other) != (by == ByNone) {
			t.Fatalf("%q by %q", got, by)
		}
		if len(description) > maxText/4 || !utf8.ValidString(description) {
			return
		}
		for _, same := range []string{
			strings.ToUpper(description), strings.ToLower(description),
			strings.ReplaceAll(description, " ", "\r\n"), "  " + strings.ReplaceAll(description, " ", "  "),
		} {
			if other, _ := c.Cause(same, e, code, state); other != got {
				t.Fatalf("%q is %s, but %q is %s", description, got, same, other)
			}
		}
	})
}

func TestCauseAllocations(t *testing.T) {
	c := builtInCauses(t)
	all := replies(t)
	for i := range all {
		all[i].state = strings.ToLower(all[i].state)
	}
	if n := testing.AllocsPerRun(10, func() {
		for _, r := range all {
			r.of(c)
		}
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func foldText(text string) string { return string(bytes.TrimSpace(fold(nil, text))) }

func BenchmarkCause(b *testing.B) {
	c := builtInCauses(b)
	usual := "<jan@example.com>: Recipient address rejected: User unknown in virtual mailbox table"
	hostile := strings.Repeat("recipient address rejected mailbox too many connections from your ip ", 4096)[:256<<10]
	for _, bench := range []struct{ name, description string }{
		{"usual", usual}, {"hostile 1 KiB", hostile[:1<<10]}, {"hostile 256 KiB", hostile},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Cause(bench.description, Enhanced{5, 1, 1}, 550, "rcptto")
			}
		})
	}
}
