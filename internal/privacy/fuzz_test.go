package privacy

import (
	"flag"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// FuzzApply searches for an event in which a form of the recipient that is searched for, or an
// address, is left, or whose text is not UTF-8 any more.
func FuzzApply(f *testing.F) {
	f.Add("jane.doe@acme.example", "550 <jane.doe@acme.example> unknown", "to:jane.doe", "parameters")
	f.Add("Jane <jd@bücher.example>", "jd%2540xn--bcher-kva.example =6Ad@b=C3=BCcher.example", "&#106;d@b&uuml;cher.example", "a.jd")
	f.Add("a@b.c, d@e.f", "\\u0061@b.c +61@b.c =\r\n", "%u0061 %E9 e\u0301\u200b", "%")
	f.Fuzz(func(t *testing.T, recipient, description, tag, name string) {
		for _, text := range []string{recipient, description, tag, name} {
			if !utf8.ValidString(text) || len(text) > 1<<12 {
				return
			}
		}
		for _, mode := range privateModes {
			e := &webhook.Event{
				ID: "1", Recipient: recipient, Description: description, Tags: []string{tag},
				Variables: []webhook.Variable{{Name: name, Value: tag}, {Name: "x", List: []string{description}}},
			}
			p := Policy{Mode: mode, Key: testKey, Redact: true, Variables: []string{base(name), "x"}}
			r := p.newRedactor(e)
			p.Apply(e)
			texts := append([]string{e.ID, e.Description}, e.Tags...)
			for _, v := range e.Variables {
				texts = append(append(texts, v.Name, v.Value), v.List...)
			}
			marker := regexp.MustCompile(`\[(domain|address|recipient)\]`)
			for _, text := range texts {
				if !utf8.ValidString(text) {
					t.Errorf("%v of %q: %q is not UTF-8", mode, recipient, text)
				}
				for _, part := range marker.Split(text, -1) {
					for _, form := range r.forms {
						if strings.Contains(fold(original("\n"+part+"\n")).text, form.words) {
							t.Errorf("%v of %q: %q is left in %q", mode, recipient, form.words, text)
						}
					}
				}
			}
			if addresses.MatchString(e.Description) {
				t.Errorf("%v of %q: an address is left in %q", mode, recipient, e.Description)
			}
			if strings.Contains(e.Domain, "@") || mode == ModeDrop && e.Domain != "" || mode != ModeHMAC && e.Recipient != "" {
				t.Errorf("%v of %q: %q %q", mode, recipient, e.Recipient, e.Domain)
			}
		}
	})
}

// hostileTexts are recipients and texts that would take long if the time were not linear.
func hostileTexts(n int) map[string][2]string {
	const jane = "jane.doe@acme.example"
	repeat := func(s string) string { return strings.Repeat(s, n/len(s)) }
	texts := map[string][2]string{
		"one long word":   {repeat("a") + "@acme.example", repeat("a")},
		"long recipient":  {repeat("a.") + "@acme.example", repeat("a.")},
		"many recipients": {repeat("ab@c,"), repeat("ab ")},
	}
	for _, part := range []string{
		"@", "jane.do ", "jane.doe ", "%2525", "&amp;#37;61=3D", `"`, "//a", "a@b.", "\u0301", "\ufdfa", "0123456789abcdef",
	} {
		texts[part] = [2]string{jane, repeat(part)}
	}
	return texts
}

var exhaustive = flag.Bool("exhaustive", false, "run TestHostileTextIsBounded with texts four times as long")

// TestHostileTextIsBounded checks that the time grows with the text, not with its square: four
// times the text must not take ten times as long. Another process may be in the way now and then,
// not always.
func TestHostileTextIsBounded(t *testing.T) {
	took := func(text [2]string) time.Duration {
		began := time.Now()
		e := &webhook.Event{ID: "1", Recipient: text[0], Description: text[1], Tags: []string{text[1]}}
		(&Policy{Mode: ModeDrop, Key: testKey, Redact: true}).Apply(e)
		return time.Since(began)
	}
	size := 2 << 10
	if *exhaustive {
		size = 8 << 10
	}
	large := hostileTexts(4 * size)
	for name, small := range hostileTexts(size) {
		linear := false
		for range 10 {
			if linear = took(large[name]) < 10*took(small); linear {
				break
			}
		}
		if !linear {
			t.Error(name)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	for name, policy := range map[string]Policy{"drop": {Mode: ModeDrop, Key: testKey}, "redact": {Mode: ModeDomain, Key: testKey, Redact: true}} {
		b.Run(name, func(b *testing.B) {
			sent := eventOf(b, "id", "4f2a9c81", "recipient", "jan.jansen@example.org", "state", "rcptto", "code", "550", "extended", "5.1.1", "tags[]", "newsletter", "tags[]", "week-47",
				"description", "host mx1.example.org[192.0.2.25] said: 550 5.1.1 <Jan.Jansen@Example.ORG>: Recipient address rejected: User unknown (in reply to RCPT TO command)")
			b.ReportAllocs()
			for b.Loop() {
				e := *sent
				policy.Apply(&e)
			}
		})
	}
}
