package privacy

import (
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// checker knows nothing of how addresses are found. It undoes what a reader could undo, in every order that helps, and looks whether an
// address is there then.
type checker struct{ patterns []*regexp.Regexp }

var (
	percentEscape  = regexp.MustCompile(`%[0-9a-fA-F]{2}`)
	quotedEscape   = regexp.MustCompile(`[=+][0-9a-fA-F]{2}`)
	softBreak      = regexp.MustCompile(`=\r?\n`)
	unicodeEscape  = regexp.MustCompile(`\\u[0-9a-fA-F]{4}`)
	punycodeLabel  = regexp.MustCompile(`xn--[a-z0-9-]+`)
	anyAddress     = regexp.MustCompile(`[\p{L}\p{N}]@[\p{L}\p{N}]`)
	invisibleRunes = regexp.MustCompile(`\p{Cf}`)
)

func unhex(escape string) string {
	b, _ := strconv.ParseUint(escape[1:], 16, 8)
	return string([]byte{byte(b)})
}

// undone are the texts that a reader could make of s.
func undone(s string) []string {
	fold := func(s string) string {
		s = strings.ToValidUTF8(s, "\ufffd")
		s = strings.ToLower(norm.NFKC.String(strings.ToLower(invisibleRunes.ReplaceAllString(s, ""))))
		s = punycodeLabel.ReplaceAllStringFunc(s, func(label string) string {
			if decoded, err := idna.Punycode.ToUnicode(label); err == nil {
				return norm.NFKC.String(decoded)
			}
			return label
		})
		return s
	}
	common := func(s string) string {
		for range 6 {
			before := s
			s = percentEscape.ReplaceAllStringFunc(s, unhex)
			s = html.UnescapeString(s)
			s = unicodeEscape.ReplaceAllStringFunc(s, func(e string) string {
				c, _ := strconv.ParseUint(e[2:], 16, 16)
				return string(rune(c))
			})
			if s == before {
				break
			}
		}
		return s
	}
	quoted := func(s string) string {
		return quotedEscape.ReplaceAllStringFunc(softBreak.ReplaceAllString(s, ""), unhex)
	}
	texts := []string{fold(s), fold(common(s)), fold(quoted(s)), fold(common(quoted(s))), fold(quoted(common(s)))}
	for i := range texts {
		texts = append(texts, strings.ReplaceAll(texts[i], "+", " "))
	}
	return texts
}

// newChecker looks for the address local@domain, and, in mode drop, for the domain.
func newChecker(local, domain string, mode Mode, others bool) *checker {
	one := func(s string) string { return regexp.QuoteMeta(undone(s)[0]) }
	l, d := one(local), one(domain)
	c := &checker{}
	add := func(pattern string) { c.patterns = append(c.patterns, regexp.MustCompile(pattern)) }
	add(l + `["\\]*\s*(@|=|%|\(at\)| at )\s*` + d)
	add(d + `[=!]` + l)
	if base, _, tagged := strings.Cut(local, "+"); tagged {
		add(one(base) + `["\\]*\s*(@|=|%)\s*` + d)
		if utf8.RuneCountInString(base) > 2 && !commonWords[base] && !roleWords[base] {
			add(`(^|[\s<>'",;:])` + one(base) + `([\s<>'",;:]|$)`)
		}
	}
	if plainnessOf([]byte(undone(local)[0])) == rare {
		add(`(^|[\s<>'",;:])` + l + `([\s<>'",;:]|$)`)
	}
	if mode == ModeDrop {
		add(d)
	}
	if others {
		c.patterns = append(c.patterns, anyAddress)
	}
	return c
}

func (c *checker) find(s string) (string, bool) {
	for _, text := range undone(s) {
		for _, pattern := range c.patterns {
			if found := pattern.FindString(text); found != "" {
				return found, true
			}
		}
	}
	return "", false
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

func randomWord(rng *rand.Rand, letters string, least, most int) string {
	all := []rune(letters)
	var b strings.Builder
	for range least + rng.IntN(most-least+1) {
		b.WriteRune(all[rng.IntN(len(all))])
	}
	return b.String()
}

const (
	ascii  = "abcdefghijklmnopqrstuvwxyz"
	accent = "abcdefghijéüößñçåøłčαβγжкяいう山川"
)

// randomLocal is a local part that somebody could have; quoted says that it needs quotes.
func randomLocal(rng *rand.Rand) (local string, quoted bool) {
	word := func() string { return randomWord(rng, ascii, 1, 8) }
	switch rng.IntN(9) {
	case 0:
		return word() + "." + word(), false
	case 1:
		return word() + "-" + word(), false
	case 2:
		return word() + "_" + word() + strconv.Itoa(rng.IntN(100)), false
	case 3:
		return word() + "+" + word(), false
	case 4:
		return randomWord(rng, accent, 2, 8), false
	case 5:
		return word() + " " + word(), true
	case 6:
		return word() + pick(rng, "!", "#", "$", "&", "'", "*", "/", "=", "?", "^", "`", "{", "|", "}", "~") + word(), false
	case 7:
		return strings.ToUpper(word()[:1]) + word() + strconv.Itoa(rng.IntN(2000)), false
	default:
		return word(), false
	}
}

func randomDomain(rng *rand.Rand) string {
	label := func() string {
		if rng.IntN(4) == 0 {
			return randomWord(rng, accent, 3, 8)
		}
		return randomWord(rng, ascii, 2, 8) + pick(rng, "", "", "-"+randomWord(rng, ascii, 2, 4), strconv.Itoa(rng.IntN(100)))
	}
	domain := label() + "." + pick(rng, "example", "test", "nl", "co.uk", "xn--p1ai", "рф")
	if rng.IntN(4) == 0 {
		domain = label() + "." + domain
	}
	return domain
}

func percentAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

func quotedPrintable(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || c == '@' || c == '=' || c == '+' {
			fmt.Fprintf(&b, "=%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func entities(s string, hex bool) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case unicode.IsLetter(c) && c < utf8.RuneSelf || unicode.IsDigit(c):
			b.WriteRune(c)
		case hex:
			fmt.Fprintf(&b, "&#x%x;", c)
		default:
			fmt.Fprintf(&b, "&#%d;", c)
		}
	}
	return b.String()
}

func randomCase(rng *rand.Rand, s string) string {
	return strings.Map(func(c rune) rune {
		if rng.IntN(2) == 0 && c < utf8.RuneSelf {
			return unicode.ToUpper(c)
		}
		return c
	}, s)
}

// formsOf are the forms that an address may be written in, each by itself. The recipient's own include those that only it can be known in.
func formsOf(rng *rand.Rand, local, domain string, isQuoted, own bool) map[string]string {
	word := local
	if isQuoted {
		word = `"` + local + `"`
	}
	address := word + "@" + domain
	toASCII, err := idna.Punycode.ToASCII(norm.NFC.String(strings.ToLower(domain)))
	if err != nil {
		toASCII = domain
	}
	toUnicode, err := idna.Punycode.ToUnicode(domain)
	if err != nil {
		toUnicode = domain
	}
	forms := map[string]string{
		"plain":                address,
		"upper":                strings.ToUpper(address),
		"mixed":                randomCase(rng, address),
		"quoted":               `"` + local + `"@` + domain,
		"angle":                "<" + address + ">",
		"query":                url.QueryEscape(address),
		"query twice":          url.QueryEscape(url.QueryEscape(address)),
		"lower-case escapes":   strings.ToLower(url.QueryEscape(address)),
		"all escaped":          percentAll(address),
		"entities":             entities(address, false),
		"hex entities":         entities(address, true),
		"html":                 html.EscapeString("<" + address + ">"),
		"html twice":           html.EscapeString(entities(address, false)),
		"quoted-printable":     quotedPrintable(address),
		"punycode":             word + "@" + toASCII,
		"upper-case punycode":  word + "@" + strings.ToUpper(toASCII),
		"unicode":              word + "@" + toUnicode,
		"NFD":                  norm.NFD.String(address),
		"NFC":                  norm.NFC.String(address),
		"verp":                 "bounce+" + local + "=" + domain + "@list.example",
		"numbered verp":        "bounces-123-" + local + "=" + domain + "@list.example",
		"short verp":           local + "=" + domain + "@list.example",
		"srs0":                 "SRS0=HHH=TT=" + domain + "=" + local + "@forwarder.example",
		"srs1":                 "SRS1=HHH=list.example==HHH=TT=" + domain + "=" + local + "@forwarder.example",
		"batv":                 "prvs=0123456789=" + address,
		"rfc822":               "rfc822;" + address,
		"mailto":               "mailto:" + address,
		"to":                   "to=<" + address + ">",
		"url":                  "https://x.example/?email=" + url.QueryEscape(address) + "&a=b",
		"JSON":                 strings.NewReplacer("@", `\u0040`).Replace(address),
		"comma":                "a,b," + address + ",c",
		"with a zero width":    strings.Replace(address, "@", "\u200b@\u200b", 1),
		"full width":           strings.NewReplacer("@", "＠", ".", "．").Replace(address),
		"bracketed at":         local + "(at)" + domain,
		"relayed":              local + "%" + domain + "@relay.example",
		"with another address": "a@b.example," + address + ";c@d.example",
	}
	if isQuoted {
		// What needs quotes is no address without.
		for _, name := range []string{"verp", "numbered verp", "short verp", "srs0", "srs1", "relayed", "bracketed at"} {
			delete(forms, name)
		}
	}
	if own {
		forms["spaced"] = word + " @ " + domain
		forms["folded"] = word + "\r\n @\r\n " + domain
		forms["escaped spaces"] = word + "%20%40%20" + domain
		forms["without an at"] = local + "=" + domain
		forms["at"] = word + " at " + domain
		forms["bang"] = domain + "!" + local
		forms["alone"] = "user <" + local + "> unknown"
		forms["single quotes"] = "no mailbox '" + local + "'"
		if base, _, tagged := strings.Cut(local, "+"); tagged {
			forms["without its tag"] = base + "@" + domain
		} else if !isQuoted {
			forms["with a tag"] = local + "+test@" + domain
			forms["with a tag, escaped"] = url.QueryEscape(local + "+test@" + domain)
		}
	}
	return forms
}

var surroundings = []string{"%s", "550 5.1.1 %s: Recipient address rejected", "User %s unknown", "<%s>", "(%s)", "to=%s,", "a\nb %s\nc", "\"%s\"", "né %s è", "100%% %s &amp; more", "x=%s", "said: %s.", "用户 %s 不存在", "[%s]"}

// The property: whatever the address, its form, its place and the mode, none of it is left.
func TestNoFormIsLeft(t *testing.T) {
	rng := newRand(t)
	counts := map[string]int{}
	for range rounds / 100 {
		local, isQuoted := randomLocal(rng)
		domain := randomDomain(rng)
		address := local + "@" + domain
		if isQuoted {
			address = `"` + local + `"@` + domain
		}
		address = pick(rng, address, address, strings.ToUpper(address), norm.NFD.String(address))
		for name, form := range formsOf(rng, local, domain, isQuoted, true) {
			counts[name]++
			checkPrivate(t, rng, name, address, local, domain, form)
		}
		// And of somebody who is not the recipient.
		for name, form := range formsOf(rng, local, domain, isQuoted, false) {
			text := fmt.Sprintf(pick(rng, surroundings...), form)
			got := redacted(pick(rng, privateModes...), "someone.else@elsewhere.example", text)
			for _, undone := range undone(got) {
				for _, l := range undoneLocal(local) {
					if strings.Contains(undone, l) && (strings.Contains(undone, l+"@") || strings.Contains(undone, l+`"@`) || strings.Contains(undone, l+"="+domain)) {
						t.Errorf("%s of %s by others: %q became %q", name, address, text, got)
					}
				}
			}
		}
	}
	t.Logf("%d forms", len(counts))
}

func undoneLocal(local string) []string { return undone(local)[:1] }

func checkPrivate(t *testing.T, rng *rand.Rand, name, address, local, domain, form string) {
	t.Helper()
	for _, mode := range privateModes {
		text := func() string { return fmt.Sprintf(pick(rng, surroundings...), form) }
		r := mustForm(t, url.Values{"id": {pick(rng, "1", text())}, "code": {text()}, "extended": {text()}}.Encode())
		r.Recipient, r.Action, r.State, r.Description, r.Tags = address, text(), text(), text(), []string{"news", text(), form}
		r.Variables = append(r.Variables, other(text(), text()), others("interests", text(), "x"), other("parameters."+form, "y"))
		before := fmt.Sprintf("%q", textsOf(&r))
		with(mode).Apply(&r)
		c := newChecker(local, domain, mode, false)
		for _, s := range textsOf(&r) {
			if !utf8.ValidString(s) {
				t.Fatalf("%v of %s, %s: %q is not UTF-8", mode, address, name, s)
			}
			if found, ok := c.find(s); ok {
				t.Fatalf("%v of %s, %s: %q is in %q\nof %s", mode, address, name, found, s, before)
			}
		}
	}
}

// textsOf are all texts of a report that anybody can get at, but the recipient's hash and domain.
func textsOf(r *webhook.Event) []string {
	texts := []string{r.ID, r.Type, r.Action, r.State, r.Description, r.Summary()}
	texts = append(texts, r.Tags...)
	texts = append(texts, r.Anomalies...)
	for _, v := range r.Variables {
		texts = append(append(texts, v.Name, v.Value), v.List...)
	}
	return texts
}

// Words, numbers and punctuation without an address come through as they are.
func TestTextWithoutAddressesIsUnchanged(t *testing.T) {
	rng := newRand(t)
	words := append(strings.Fields("550 5.1.1 421 4.7.0 User unknown mailbox full; (in reply to RCPT TO command) <> [192.0.2.1]:25 said: mx.elsewhere.example size=4096 100% a&b x=y 10:14:58 https://x.example/?a=b#c +0100 -- naïve 用户 не &amp; %41 é \u00fc \"quoted\" 'q' no.such.user A/B"), "\n", "\r\n", " ")
	for range rounds {
		local, isQuoted := randomLocal(rng)
		if isQuoted || utf8.RuneCountInString(local) < 4 {
			continue
		}
		recipient := "zz" + local + "@zz" + randomDomain(rng)
		var texts []string
		for range 1 + rng.IntN(20) {
			texts = append(texts, words[rng.IntN(len(words))])
		}
		text := strings.Join(texts, " ")
		r := webhook.Event{ID: "a-" + strconv.Itoa(rng.Int()), Recipient: recipient, State: "rcptto", Description: text, Tags: texts, Variables: []webhook.Variable{other("x."+text, text), others("y", texts...)}}
		want := r
		want.Tags, want.Variables = append([]string{}, r.Tags...), append([]webhook.Variable{}, r.Variables...)
		want.Recipient = ""
		with(ModeDrop).Apply(&r)
		if diff := cmp.Diff(want, r, visible); diff != "" {
			t.Fatalf("of %s (-want +got):\n%s", recipient, diff)
		}
	}
}

// FuzzApply looks for a text in which an address survives, that is not UTF-8 any more, or that panics.
func FuzzApply(f *testing.F) {
	for _, b := range bounces {
		f.Add(b.recipient, b.text, "tag", "name")
	}
	for name, text := range hostileTexts(128) {
		f.Add(text.recipient, text.text, name, text.text)
	}
	f.Fuzz(func(t *testing.T, recipient, description, tag, name string) {
		if len(recipient)+len(description)+len(tag)+len(name) > 1<<14 {
			return
		}
		for _, mode := range privateModes {
			r := mustForm(t, url.Values{"id": {"1"}, "recipient": {recipient}, "code": {tag}, "extended": {name}, "description": {description}}.Encode())
			r.Tags, r.Variables = []string{tag}, append(r.Variables, other(name, tag), others(name, description))
			with(mode).Apply(&r)
			for _, s := range append(textsOf(&r), r.Recipient, r.Domain) {
				if !utf8.ValidString(s) {
					t.Errorf("%v: %q is not UTF-8", mode, s)
				}
				if limit := 12 * (len(recipient) + len(description) + len(tag) + len(name) + 8); len(s) > limit {
					t.Errorf("%v: %d bytes came of %d", mode, len(s), limit/12)
				}
				for _, text := range undone(s)[:2] {
					if found := anyAddress.FindString(text); found != "" {
						t.Errorf("%v of %q: %q is left in %q", mode, recipient, found, s)
					}
				}
			}
			if mode == ModeDrop && (r.Recipient != "" || r.Domain != "") {
				t.Errorf("%q %q", r.Recipient, r.Domain)
			}
			if strings.Contains(r.Domain, "@") {
				t.Errorf("of %q the domain %q", recipient, r.Domain)
			}
		}
	})
}
