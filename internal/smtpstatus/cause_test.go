package smtpstatus

import (
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reply is what a report contains, with the cause that it must get.
type reply struct {
	code, status, state, description, cause string
}

func (r reply) causeBy(c *Causes) (string, DecidedBy) {
	code, _ := ParseCode(r.code)
	status, _ := ParseEnhanced(r.status)
	return c.Cause(r.description, status, code, r.state)
}

// replies reads testdata/replies.txt.
func replies(tb testing.TB) (all []reply) {
	tb.Helper()
	text, err := os.ReadFile("testdata/replies.txt")
	require.NoError(tb, err)
	cause := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
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

// TestCauseOfReplies checks replies as they are, and with the same words in other case, spacing and
// line breaks.
func TestCauseOfReplies(t *testing.T) {
	c, err := NewCauses(nil)
	require.NoError(t, err)
	replace := func(with string) func(string) string {
		return func(s string) string { return strings.ReplaceAll(s, " ", with) }
	}
	count := map[string]int{}
	for _, r := range replies(t) {
		count[r.cause]++
		require.Less(t, len(r.description), maxText/4, "all of it is to be looked at, however it is spaced")
		for name, change := range map[string]func(string) string{
			"as it is":    func(s string) string { return s },
			"upper case":  strings.ToUpper,
			"lower case":  strings.ToLower,
			"title case":  strings.ToTitle,
			"spaces":      func(s string) string { return "  " + replace(" \t ")(s) + " " },
			"line breaks": replace("\r\n"),
			"codes":       func(s string) string { return "550-5.7.1 " + replace("\n550-5.7.1 ")(s) },
			"dashes":      func(s string) string { return "554-" + replace("\r\n554-")(s) },
		} {
			changed := r
			changed.description = change(r.description)
			got, by := changed.causeBy(c)
			assert.Equal(t, r.cause, got, "%s: %+v, by %s", name, changed, by)
		}
	}
	for _, cause := range CauseNames() {
		assert.GreaterOrEqual(t, count[cause], 5, cause)
	}
}

// TestCausesFile checks that every phrase is written as it is matched and in its place, that none
// is there twice, and that each decides at least where nothing else is said.
func TestCausesFile(t *testing.T) {
	rules, err := parseRules(causesFile)
	require.NoError(t, err)
	x := newIndex(rules)
	seen := map[string]bool{}
	for _, r := range rules {
		phrase, also := string(r.phrase), string(r.also)
		assert.False(t, seen[phrase+also] || seen[also+phrase], "%q %q is there twice", phrase, also)
		seen[phrase+also] = true
		if best := x.best([]byte(phrase + also)); assert.NotNil(t, best, phrase) {
			assert.Equal(t, r.cause, best.cause, "%q %q is always beaten by %q", phrase, also, best.phrase)
		}
	}

	group, previous := -1, ""
	for line := range strings.Lines(causesFile) {
		line, _, _ = strings.Cut(line, "#")
		phrase := strings.TrimSpace(line)
		if !strings.HasPrefix(line, "\t") || phrase == "" {
			previous = "" // a group begins, or a language
			if rank, cause, ok := strings.Cut(phrase, " "); ok {
				place := 2 * slices.Index(causeNames, cause)
				if rank == "weak" {
					place++
				}
				assert.Greater(t, place, group, phrase)
				group = place
			}
			continue
		}
		assert.Greater(t, phrase, previous)
		previous = phrase
		for part := range strings.SplitSeq(phrase, " & ") {
			if strings.HasPrefix(part, "x.") {
				_, ok := ParseEnhanced("5" + part[1:])
				assert.True(t, ok, part)
				continue
			}
			part = strings.NewReplacer("*", "", "_", "").Replace(part)
			matched := strings.TrimSpace(foldText(part))
			assert.Equal(t, utf8.RuneCountInString(part), utf8.RuneCountInString(matched), "%s is matched as %s", part, matched)
		}
	}
}

func TestParseRulesRefuses(t *testing.T) {
	for _, file := range []string{"strong\n", "good policy\n", "weak Policy\n", "\tphrase\n", "weak policy\n\tthe\n", "weak policy\n\tphrase & 1\n"} {
		_, err := parseRules(file)
		assert.Error(t, err, file)
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
	require.NoError(t, err)
	for _, tc := range []struct {
		description, status, code, state string
		want                             string
		by                               DecidedBy
	}{
		// the user's come first, the longest of them
		{"Mailbox full: WEERGAVE\tgeweigerd", "5.1.1", "550", "", policy, ByPhrase},
		{"weergave geweigerd wegens drukte", "", "", "", serverError, ByPhrase},
		{"user unknown (acme filter)", "", "", "", spamContent, ByPhrase},
		{"code Q7", "", "", "", virus, ByPhrase},
		{"śńeg", "", "", "", virus, ByPhrase},
		// a strong phrase before any status
		{"mailbox full", "5.1.1", "550", "", mailboxFull, ByPhrase},
		// a specific status before a weak phrase
		{"blocked", "5.1.1", "550", "", recipientUnknown, ByStatus},
		// a weak phrase before a general status
		{"blocked", "5.7.1", "550", "", reputationBlock, ByPhrase},
		// any status before the code, an unregistered one as X.7.0
		{"", "5.7.1", "421", "dns", policy, ByStatus},
		{"", "5.7.51", "421", "dns", policy, ByStatus},
		// but not an unregistered subject, nor one that says nothing
		{"", "5.9.1", "421", "dns", serverError, ByCode},
		{"", "5.0.0", "421", "dns", serverError, ByCode},
		// the code before the state, unless it says nothing
		{"", "", "421", "dns", serverError, ByCode},
		{"", "", "550", "dns", connectionFailed, ByState},
		{"", "", "550", "rcptto", Other, ByNone},
		// the class does not matter
		{"", "4.2.2", "", "", mailboxFull, ByStatus},
		// a status in the text is none, nor is one that looks like a rule's
		{"5.7.26", "", "", "suppression", suppressed, ByState},
		{"x.4.1 recipient address rejected", "", "", "", recipientUnknown, ByPhrase},
		{"policy", "5.7.9", "", "", policy, ByPhrase},
		{"other words", "5.7.9", "", "", relayDenied, ByStatus},
		// the longer of two
		{"the mailbox is full and the address does not exist", "", "", "", recipientUnknown, ByPhrase},
	} {
		got, by := reply{tc.code, tc.status, tc.state, tc.description, ""}.causeBy(c)
		assert.Equal(t, tc.want, got, "%+v", tc)
		assert.Equal(t, tc.by, by, "%+v", tc)
	}
}

func TestNewCausesRefuses(t *testing.T) {
	for _, text := range []string{"", " ", "550 5.7.1", "jan@example.com", "the", "--"} {
		_, err := NewCauses([]Phrase{{"weergave", Other}, {text, policy}})
		require.ErrorIs(t, err, ErrEmptyPhrase, text)
	}
	for _, cause := range []string{"", "Policy", "delivery_not_authorized_message_refused"} {
		_, err := NewCauses([]Phrase{{"weergave", cause}})
		require.ErrorIs(t, err, ErrUnknownCause, cause)
	}
}

// Every rune is folded alike in either case.
func TestFoldIgnoresCase(t *testing.T) {
	for r := rune(utf8.RuneSelf); r <= unicode.MaxRune; r++ {
		for _, other := range []rune{unicode.ToUpper(r), unicode.ToLower(r), unicode.ToTitle(r)} {
			if other != r && foldText(string(other)) != foldText(string(r)) {
				t.Fatalf("%q is folded to %q, but %q to %q", r, foldText(string(r)), other, foldText(string(other)))
			}
		}
	}
}

func foldText(text string) string { return string(fold(nil, text)) }

func TestFold(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"550-5.7.26 This mail\r\n550-5.7.26 is blocked":    "mail blocked ",
		"<jan.de-vries@example.com>: Mailbox full":         "mailbox full ",
		"can't open, cannot read, isn't here, doesn't say": "not open not read not here not say ",
		"the recipient’s mailbox, 'jan's', 't":             "recipient mailbox jans t ",
		"OFR_417 user_unknown S3140":                       "ofr417 user unknown s3140 ",
		"Boîte pleine, Empfänger, BOI\u0302TE":             "boite pleine empfanger boite ",
		"邮箱已满。收件人":                                         "邮箱已满 收件人 ",
		"a\xffb \xff c":                                    "ab c ",
		"jan@example.com":                                  "",
		"E-mail":                                           "mail ",
	} {
		assert.Equal(t, want, foldText(text), text)
	}
}

func FuzzCause(f *testing.F) {
	for _, r := range replies(f) {
		e, _ := ParseEnhanced(r.status)
		code, _ := ParseCode(r.code)
		f.Add(r.description, e.Class, e.Subject, e.Detail, code, r.state)
	}
	c, err := NewCauses([]Phrase{{"weergave geweigerd", policy}})
	require.NoError(f, err)
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
	c, err := NewCauses(nil)
	require.NoError(t, err)
	for _, r := range replies(t) {
		r.state = strings.ToLower(r.state) // as in events
		assert.Zero(t, testing.AllocsPerRun(1, func() { r.causeBy(c) }), "%+v", r)
	}
}

func BenchmarkCause(b *testing.B) {
	c, err := NewCauses(nil)
	require.NoError(b, err)
	usual := "<jan@example.com>: Recipient address rejected: User unknown in virtual mailbox table"
	hostile := strings.Repeat("recipient address rejected mailbox too many connections from your ip ", 4096)
	for name, description := range map[string]string{"usual": usual, "hostile": hostile} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Cause(description, Enhanced{5, 1, 1}, 550, "rcptto")
			}
		})
	}
}
