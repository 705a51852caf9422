package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

var testKey = []byte("0123456789abcdef")

var privateModes = []Mode{ModeDomain, ModeHMAC, ModeDrop}

func with(mode Mode) *Policy { return &Policy{Mode: mode, Key: testKey} }

// redacted is what mode leaves of a description.
func redacted(mode Mode, recipient, description string) string {
	r := webhook.Event{ID: "1", Recipient: recipient, Description: description}
	with(mode).Apply(&r)
	return r.Description
}

func TestMode(t *testing.T) {
	for mode, name := range map[Mode]string{ModeFull: "full", ModeDomain: "domain", ModeHMAC: "hmac", ModeDrop: "drop"} {
		if got, ok := ParseMode(name); got != mode || !ok {
			t.Errorf("%q is read as %v, %v", name, got, ok)
		}
		if got := mode.String(); got != name {
			t.Errorf("%q is written %q", name, got)
		}
	}
	for _, name := range []string{"", "Full", "none", "full "} {
		if mode, ok := ParseMode(name); ok {
			t.Errorf("%q is read as %v", name, mode)
		}
	}
	if got := Mode(9).String() + Mode(-1).String(); got != "Mode(9)Mode(-1)" {
		t.Error(got)
	}
}

func TestBounces(t *testing.T) {
	for _, b := range bounces {
		if b.dropped == "" {
			b.dropped = b.private
		}
		for mode, want := range map[Mode]string{ModeFull: b.text, ModeDomain: b.private, ModeHMAC: b.private, ModeDrop: b.dropped} {
			if got := redacted(mode, b.recipient, b.text); got != want {
				t.Errorf("%v of %s: %q\nbecame %q\n  want %q", mode, b.recipient, b.text, got, want)
			}
		}
	}
}

// Forms that the texts of servers do not show, or seldom do.
func TestSpellings(t *testing.T) {
	for _, tc := range []struct{ recipient, text, want string }{
		{"jan@example.org", "a jan%40example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan%2540example%2Eorg b", "a [recipient] b"},
		{"jan@example.org", "a %6a%61%6E%40example%2eorg b", "a [recipient] b"},
		{"jan@example.org", "a jan%%340example.org b", "a [recipient] b"},
		{"jan@example.org", "a %3Cjan%40example.org%3E b", "a %3C[recipient]%3E b"},
		{"jan@example.org", "a jan%u0040example.org b", "a [recipient] b"},
		{"jan@example.org", `a "jan\u0040example.org" b`, `a "[recipient]" b`},
		{"jan@example.org", `a jan\x40example.org b`, "a [recipient] b"},
		{"jan@example.org", "a jan&#64example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan&#00064;example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan&amp;#64;example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan&commat;example&period;org b", "a [recipient] b"},
		{"jan@example.org", "a jan=40example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan=40exam=\r\nple.org b", "a [recipient] b"},
		{"jan@example.org", "a jan=\n@example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan%3D40example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan+40example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan @ example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan\r\n @\r\n example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan at example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan_at_example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan[at]example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan=example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan#example.org b", "a [recipient] b"},
		{"jan@example.org", "a jan%example.org@relay.example.net b", "a [recipient] b"},
		{"jan@example.org", "a example.org!jan b", "a [recipient] b"},
		{"jan@example.org", "a HHH=TT=example.org=jan b", "a HHH=TT=[recipient] b"},
		{"jan@example.org", "a jan@example.org.b", "a [recipient]"},
		{"jan@example.org", "a jan\u200b@example\u00ad.org b", "a [recipient] b"},
		{"jan@example.org", "a jan\x00@example.org b", "a [recipient] b"},
		{"jan@example.org", "a ｊａｎ＠ｅｘａｍｐｌｅ．ｏｒｇ b", "a [recipient] b"},
		{"jan@example.org", "a jan@example[.]org b", "a [address] b"},
		{"jan@example.org", `a ^jan@example\.org$ b`, "a ^[address]$ b"},
		{"jan@example.org", `a "jan"@example.org b`, "a [recipient] b"},
		{"jan@example.org", `a \"jan\"@example.org b`, "a [recipient] b"},
		{"jan@example.org", "a (comment)jan(comment)@example.org b", "a (comment)[address] b"},
		{"jan@example.org", "a 'jan@example.org' b", "a '[recipient]' b"},
		{"jan@example.org", "a jan@example.org@example.net b", "a [recipient] b"},
		{"jan@example.org", "a https://jan:secret@example.net/ b", "a https://[address]/ b"},
		{"jan@example.org", "a <@relay.example.net:jan@example.org> b", "a <@relay.example.net:[recipient]> b"},
		{"jan@example.org", "a =?utf-8?Q?jan=40example.org?= b", "a =?[recipient]?= b"},
		{"jan@example.org", "a jan+x@example.org jan+y@example.net b", "a [recipient] [address] b"},
		{"jan+x@example.org", "a jan@example.org jan+x jan jan+y@example.org b", "a [recipient] [recipient] [recipient] [recipient] b"},
		{"jan@example.org", "a piet-jan@example.org jan-piet@example.org b", "a [address] [address] b"},
		{"jan@example.org", "a piet@[192.0.2.1] root@localhost piet@[IPv6:2001:db8::1] b", "a [address] [address] [address] b"},
		{"jan@bücher.example", "a jan@bu\u0308cher.example jan@xn--bcher-kva.example jan@XN--BCHER-KVA.EXAMPLE jan@b%C3%BCcher.example b", "a [recipient] [recipient] [recipient] [recipient] b"},
		{"jan@xn--bcher-kva.example", "a jan@bücher.example jan@B%FCCHER.example jan@b&uuml;cher.example jan=40b=C3=BCcher.example b", "a [recipient] [recipient] [recipient] [recipient] b"},
		{"rené@example.org", "a rene\u0301@example.org RENÉ René ren%C3%A9%40example.org xn--ren-dma@example.org b", "a [recipient] [recipient] [recipient] [recipient] [recipient] b"},
		{"jan@straße.example", "a jan@STRASSE.example jan@xn--strae-oqa.example b", "a [recipient] [recipient] b"},
		{"jan%40example.org", "a jan@example.org b", "a [recipient] b"},
		{"Jan Jansen <jan@example.org>", "a jan@example.org user jan b", "a [recipient] user [recipient] b"},
		{"rfc822;jan@example.org", "a jan@example.org user jan b", "a [recipient] user [recipient] b"},
		{"jan@example.org, piet@example.net", "a jan@example.org piet@example.net user piet b", "a [recipient] [recipient] user [recipient] b"},
		{"SRS0=HHH=TT=example.org=jan@forwarder.example", "a jan@example.org user jan b", "a [recipient] user [recipient] b"},
		{"bounces-12-jan=example.org@list.example", "a jan@example.org user jan b", "a [recipient] user [recipient] b"},
		{"prvs=0123456789=jan@example.org", "a jan@example.org user jan b", "a [recipient] user [recipient] b"},
		{"jan.jansen", "a jan.jansen b Jan.Jansen@example.net", "a [recipient] b [address]"},
		{`"jan jansen"@example.org`, `a "jan jansen" jan jansen b`, `a "[recipient]" [recipient] b`},
		{"jan@example.org", "User+jan+unknown jan%20unknown", "User+[recipient]+unknown [recipient]%20unknown"},
		{"jan@example.org", "janssen trojan jan-willem jan.jansen jan_x mr-jan", "janssen trojan jan-willem jan.jansen jan_x mr-jan"},
		{"jan@example.org", "jan's mail, (jan) [jan] jan: /var/mail/jan DOMAIN\\jan", "[recipient]'s mail, ([recipient]) [[recipient]] [recipient]: /var/mail/[recipient] DOMAIN\\[recipient]"},
		{"info@example.org", "unknown user: info; mailbox info is full; user 'info'; no such info", "unknown user: [recipient]; mailbox [recipient] is full; user '[recipient]'; no such info"},
		{"jj@example.org", "user jj unknown jj", "user [recipient] unknown jj"},
		{"a@b.example", "a b <a> a@b.example", "a b <[recipient]> [recipient]"},
		{"550@example.org", "550 5.1.1 user 550 unknown", "550 5.1.1 user [recipient] unknown"},
		{"0612345678@example.org", "550 0612345678 unknown", "550 [recipient] unknown"},
		{"", "a jan@example.org b", "a [address] b"},
		{"", "jan@xn--", "[address]--"},
		{"jan+bfq@example.org", "a 'q' jan+bfq@example.org b", "a 'q' [recipient] b"},
		{"jan=40example.org", "a jan@example.org b", "a [recipient] b"},
		{"jan@example.org", "550-jan: no such user\r\n550-jan@example.org\r\n550-piet@example.net\r\nmr-jan x550-jan", "550-[recipient]: no such user\r\n550-[recipient]\r\n550-[address]\r\nmr-jan x550-jan"},
		{"jan@example.org", `\"jan"@example.org`, `\"[recipient]`},
		{"jan@example.org", `a jan"@example.org`, "a [recipient]"},
		{"jan@example.org", "jan @\r\n\texample.org piet\n @example.net piet@\n example.net", "[recipient] [address] [address]"},
		{"jan@example.org", "jan@example(.)org &#99999999999; &notit; jan&#x110000;@example.org", "[address] &#99999999999; &notit; [address]"},
	} {
		if got := redacted(ModeDomain, tc.recipient, tc.text); got != tc.want {
			t.Errorf("%s: %q\nbecame %q\n  want %q", tc.recipient, tc.text, got, tc.want)
		}
	}
}

func TestDroppedDomain(t *testing.T) {
	for _, tc := range []struct{ recipient, text, want string }{
		{"jan@example.org", "mx.example.org EXAMPLE.org. example%2Eorg example.org:25 @example.org", "mx.[domain] [domain]. [domain] [domain]:25 @[domain]"},
		{"jan@example.org", "myexample.org example.organic example.org-x x-example.org example.net", "myexample.org example.organic example.org-x x-example.org example.net"},
		{"jan@example.org", "example-org.mail.protection.outlook.com", "[domain].mail.protection.outlook.com"},
		{"jan@bücher.example", "xn--bcher-kva.example BÜCHER.EXAMPLE xn--bcher-kva-example.mail.protection.outlook.com", "[domain] [domain] [domain].mail.protection.outlook.com"},
		{"jan@xn--bcher-kva.example", "bücher.example mx1.bu\u0308cher.example", "[domain] mx1.[domain]"},
		{"jan@example.org", "550-example.org says no\r\n- example.org\n-example.org -", "550-[domain] says no\r\n- [domain]\n-[domain] -"},
		{"jan@localhost", "localhost localhost.example.org mx.localhost", "[domain] localhost.example.org mx.localhost"},
		{"jan@[192.0.2.1]", "to [192.0.2.1] 192.0.2.10", "to [domain] 192.0.2.10"},
		{"SRS0=HHH=TT=example.org=jan@forwarder.example", "example.org forwarder.example", "[domain] [domain]"},
		{"Jan <jan@example.org>", "example.org", "[domain]"},
	} {
		if got := redacted(ModeDrop, tc.recipient, tc.text); got != tc.want {
			t.Errorf("%s: %q\nbecame %q\n  want %q", tc.recipient, tc.text, got, tc.want)
		}
		for _, mode := range []Mode{ModeDomain, ModeHMAC} {
			if tc.recipient != "SRS0=HHH=TT=example.org=jan@forwarder.example" {
				if got := redacted(mode, tc.recipient, tc.text); got != tc.text {
					t.Errorf("%v of %s: %q\nbecame %q", mode, tc.recipient, tc.text, got)
				}
			}
		}
	}
}

// Texts that hold no address come through as they are, whoever the recipient is.
func TestOrdinaryTextIsUntouched(t *testing.T) {
	for _, text := range []string{
		"", " ", "550 5.1.1", "5.1.1", "421", "192.0.2.1", "[192.0.2.1]:25", "2001:db8::25", "[IPv6:2001:db8::25]", "mx1.example.net", "mail-ej1-f41.google.example",
		"2026-11-21 10:14:58", "Sat, 21 Nov 2026 10:14:58 +0100 (CET)", "12 Jan 2026", "Jan 12 10:00:00", "Sun Jan 12", "10:14:58.123", "1795256098",
		"size=4096 SIZE=40960000 max=40", "timeout=30", "+40 21 123 4567", "+4012345", "100%", "100%40", "50%25", "%", "%4", "%zz", "a=b&c=d", "&amp; &lt;tag&gt;", "AT&T;", "&#;", "&#x;", "&;",
		"User unknown", "mailbox unavailable", "mailbox full", "no such user here", "Recipient address rejected: Access denied", "e-mail rejected", "the sender's mail server", "mail at 10.30", "meet at the office", "(at) [at]", "look(at)this",
		"@", "@ @", "a @ b", "3 @ 5", "@example.net", "jan.willem@", "foo@ bar", "user @host", "@400000004abcdef0", `"@"`, `""@`, "()@", "[@]", "\\@",
		"https://support.google.com/mail/?p=NoSuchUser a640c23a62f3a-9f2d4si1234566b.123 - gsmtp", "https://example.net/path?a=b#c", "file:///etc/postfix/main.cf", "C:\\mail\\queue",
		"AS(201806281) [DB5EUR01FT049.eop-EUR01.prod.protection.outlook.com]", "Action: failed", "X-Spam-Score: 5.3", "d41d8cd98f00b204e9800998ecf8427e", "4F2A1B3C", "a1b2-c3d4",
		"Postfach ist voll", "boîte aux lettres pleine", "用户不存在", "Пользователь не найден", "naïve café — “quoted” …", "e\u0301", "\u200b", "📧", "xn--", "xn--bcher-kva.example", "xn--zzzzzzzz", "Ünïcödé",
		"[recipient] [address] [domain]", "[recipient]@[domain]", "line one\r\nline two\n\ttabbed", "\x1b[31mred\x1b[0m", "\x00\x01",
	} {
		for _, recipient := range []string{"", "jan@example.org", "j.jansen+news@example.org", "info@example.org", "user@example.org", "unknown@example.org", "mail@example.org", "a@b.example", "at@at.example", "55@example.org", "\"x y\"@example.org"} {
			for _, mode := range privateModes {
				if got := redacted(mode, recipient, text); got != text {
					t.Errorf("%v of %s: %q became %q", mode, recipient, text, got)
				}
			}
		}
	}
}

// everyText is a report with an address in each place where a text can be.
func everyText() webhook.Event {
	const a = "<Jan@example.org>"
	return webhook.Event{
		ID: "id-" + a, Type: "failure", Action: "did " + a, Recipient: "jan@Example.org", State: "in " + a,
		Description: "to " + a + " and piet@example.net", Tags: []string{"news", "of " + a, "jan", "piet@example.net"},
		Variables: []webhook.Variable{
			other("code", "55x "+a), other("parameters."+a, "v"), other("parameters.jan@example.org", "w"), other("x", a), others("interests", "a", a, "user jan"),
			other("jan@example.org", "x"), other("fields.jan", "y"),
		},
		Anomalies: []string{"code"},
	}
}

func TestApplyLeavesNoTextOut(t *testing.T) {
	r := everyText()
	with(ModeDrop).Apply(&r)
	want := webhook.Event{
		ID: "id-<[recipient]>", Type: "failure", Action: "did <[recipient]>", State: "in <[recipient]>",
		Description: "to <[recipient]> and [address]", Tags: []string{"news", "of <[recipient]>", "[recipient]", "[address]"},
		Variables: []webhook.Variable{
			other("code", "55x <[recipient]>"), other("parameters.<[recipient]>", "v"), other("parameters.[recipient]", "w"), other("x", "<[recipient]>"),
			others("interests", "a", "<[recipient]>", "user [recipient]"), other("[recipient]", "x"), other("fields.[recipient]", "y"),
		},
		Anomalies: []string{"code"},
	}
	if diff := cmp.Diff(want, r, visible); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := strings.ReplaceAll(strings.ToLower(fmt.Sprintf("%#v", r)), "time.january", ""); strings.Contains(text, "jan") || strings.Contains(text, "example") || strings.Contains(text, "piet") {
		t.Errorf("something is left: %s", text)
	}
}

func TestApplyInModeFullChangesNothing(t *testing.T) {
	r := everyText()
	(&Policy{Key: testKey}).Apply(&r)
	if diff := cmp.Diff(everyText(), r); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := testing.AllocsPerRun(10, func() { (&Policy{}).Apply(&r) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// What a report is counted by stays, though it may be somebody's name.
func TestWordsOfTheSenderStay(t *testing.T) {
	for state := range knownStates {
		r := mustForm(t, "id=1&state="+state+"&action=failure&recipient="+state+"@example.org&code=x&parameters[a]=b&fields[c]=d")
		want := mustForm(t, "id=1&state="+state+"&action=failure&recipient="+state+"@example.org&code=x&parameters[a]=b&fields[c]=d")
		with(ModeDomain).Apply(&r)
		want.Recipient = ""
		if diff := cmp.Diff(want, r, visible); diff != "" {
			t.Errorf("%s (-want +got):\n%s", state, diff)
		}
		if r.Asynchronous != want.Asynchronous || r.Cause != want.Cause || r.Class != want.Class {
			t.Errorf("%s: another mode, reason or class", state)
		}
	}
	for _, base := range []string{"failure", "failed", "code", "extended", "parameters", "fields", "interests"} {
		r := mustForm(t, "id=1&action=failed&recipient="+base+"@example.org&code=x&extended=y&parameters[a]=b&fields[c]=d&interests[]=e&type=failure")
		before := r
		before.Variables = slices.Clone(r.Variables)
		before.Recipient = ""
		with(ModeDrop).Apply(&r)
		if diff := cmp.Diff(before, r, visible); diff != "" {
			t.Errorf("%s (-want +got):\n%s", base, diff)
		}
	}
}

func TestIDWithoutAnAddressStays(t *testing.T) {
	for _, id := range []string{"1", "4f2a1b3c", "1a2b-jan-3", "jan.1795256098", "20261121.101458.17", "YWJjQGRlZg==", "mail/1/2", "a=40b", "100%", "{6d0e-11}", "<1>"} {
		for _, mode := range privateModes {
			r := webhook.Event{ID: id, Recipient: "jan@example.net"}
			with(mode).Apply(&r)
			if r.ID != id {
				t.Errorf("%v: %q became %q", mode, id, r.ID)
			}
		}
	}
}

// A recipient that is no single value names the recipient too.
func TestRecipientAsAnArray(t *testing.T) {
	for _, body := range []string{"recipient[]=jan&recipient[]=jan.jansen@example.org", "recipient[jan]=jan.jansen@example.org", "recipient[jan.jansen@example.org]=jan"} {
		r := mustForm(t, "id=1&"+body+"&description=user+jan+unknown+jan.jansen@example.org")
		with(ModeDrop).Apply(&r)
		text := strings.ToLower(fmt.Sprintf("%#v", r))
		if strings.Contains(text, "jan.") || strings.Contains(text, "example.org") || strings.Contains(text, "\"jan") && !strings.Contains(body, "[jan]") {
			t.Errorf("%s: something is left: %s", body, text)
		}
	}
}

func TestNamesDoNotCollide(t *testing.T) {
	r := webhook.Event{ID: "1", Variables: []webhook.Variable{other("p.a@b.example", "1"), other("p.c@d.example", "2"), other("q", "3"), other("p.e@f.example", "4")}}
	with(ModeDomain).Apply(&r)
	names := map[string]bool{}
	for _, v := range r.Variables {
		names[v.Name] = true
	}
	if len(names) != 4 || !names["[address]"] || !names["[address].2"] || !names["[address].3"] {
		t.Errorf("%v", r.Variables)
	}
}

func TestRecipient(t *testing.T) {
	hash := func(address string) string {
		mac := hmac.New(sha256.New, testKey)
		mac.Write([]byte(address))
		return hex.EncodeToString(mac.Sum(nil))
	}
	for _, tc := range []struct{ recipient, lower, domain string }{
		{"Jan.Jansen@Example.ORG", "jan.jansen@example.org", "example.org"},
		{"jan@BÜCHER.example", "jan@bücher.example", "bücher.example"},
		{"jan@xn--bcher-kva.example", "jan@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"jan@[192.0.2.1]", "jan@[192.0.2.1]", "[192.0.2.1]"},
		{`"a@b"@example.org`, `"a@b"@example.org`, "example.org"},
		{"<jan@example.org>", "<jan@example.org>", "example.org"},
		{"jan%40example.org", "jan%40example.org", "example.org"},
		{"x@jan%40example.org", "x@jan%40example.org", "example.org"},
		{"x@jan=example.org", "x@jan=example.org", ""},
		{"x@jan example.org", "x@jan example.org", ""},
		{"jan@", "jan@", ""},
		{"jan", "jan", ""},
		{"jan@localhost", "jan@localhost", "localhost"},
		{"", "", ""},
	} {
		for mode, want := range map[Mode][2]string{
			ModeDomain: {"", tc.domain},
			ModeHMAC:   {hash(tc.lower), tc.domain},
			ModeDrop:   {"", ""},
		} {
			if tc.recipient == "" {
				want[0] = ""
			}
			r := mustForm(t, url.Values{"id": {"1"}, "recipient": {tc.recipient}}.Encode())
			with(mode).Apply(&r)
			if got := [2]string{r.Recipient, r.Domain}; got != want {
				t.Errorf("%v of %q: %q, want %q", mode, tc.recipient, got, want)
			}
		}
	}
	// Computed apart from this code.
	r := webhook.Event{ID: "1", Recipient: "Jan@Example.org"}
	with(ModeHMAC).Apply(&r)
	if want := "bfd4decc034140d5081ec97cc7b1097852b4f52d61bd4fe98dde38b8aa346d3d"; r.Recipient != want {
		t.Errorf("%s, want %s", r.Recipient, want)
	}
}

// BenchmarkHostileText shows that the time is linear too.
func TestHostileTextIsBounded(t *testing.T) {
	for name, tc := range hostileTexts(16 << 10) {
		r := webhook.Event{ID: "1", Recipient: tc.recipient, Description: tc.text}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		with(ModeDrop).Apply(&r)
		runtime.ReadMemStats(&after)
		if allocated, bound := after.TotalAlloc-before.TotalAlloc, uint64(300*(len(tc.text)+len(tc.recipient))+1<<20); allocated > bound {
			t.Errorf("%s: %d bytes were allocated for %d, more than %d", name, allocated, len(tc.text), bound)
		}
		if len(r.Description) > 6*len(tc.text) {
			t.Errorf("%s: %d bytes became %d", name, len(tc.text), len(r.Description))
		}
	}
}

type hostileText struct{ recipient, text string }

func hostileTexts(size int) map[string]hostileText {
	fill := func(s string) string { return strings.Repeat(s, size/len(s)+1)[:size/len(s)*len(s)] }
	const jan = "jan@example.org"
	texts := map[string]hostileText{}
	for name, s := range map[string]string{
		"ordinary": "550 5.1.1 User unknown ", "letters": "a", "ats": "@", "a@": "a@", "addresses": "a@b ", "quotes": `"@`, "escaped quotes": `\"@`, "comments": "()@", "open comments": ")@", "brackets": "@[", "dots": "a@b.", "percent": "%25", "percents": "%",
		"percent ats": "%40", "entities": "&amp;", "open entities": "&a", "semicolons": ";", "numbers": "&#6", "digits": "1", "quoted-printable": "=40", "soft breaks": "=\n", "marks": "\u0301", "jamo": "\u1100\u1161\u11a8", "umlauts": "ü", "zero width": "\u200b",
		"punycode": "xn--a", "punycode labels": "xn--bcher-kva.", "recipients": jan + " ", "local parts": "jan ", "domains": "example.org.", "cues": "user: ", "(at)": "(at)", "at": "at ", "equals": "=example.org", "slashes": "//a:", "parameters": "?a=", "backslashes": `\`, "spaces": " ", "folds": "\r\n @",
	} {
		texts[name] = hostileText{jan, fill(s)}
	}
	texts["one long word"] = hostileText{jan, fill("a") + "@b"}
	texts["long local part"] = hostileText{fill("a")[:size/2] + "@b.c", fill("a")[:size/2]}
	texts["local part of domains"] = hostileText{fill("b.c=")[:min(size, 500)] + "@b.c", fill("b.c=")}
	texts["periodic local part"] = hostileText{fill("a-")[:min(size, 500)] + "a@b.c", fill("a-")}
	texts["periodic recipient"] = hostileText{fill("a@")[:size/2], fill("a@")[:size/2]}
	texts["periodic domain"] = hostileText{"a@" + fill("b.")[:min(size, 1001)], fill("b.")}
	texts["one letter"] = hostileText{"a@b", fill("<a> ")}
	texts["long punycode"] = hostileText{jan, "xn--" + fill("a")}
	texts["nested percent"] = hostileText{jan, "%" + fill("25") + "40"}
	return texts
}

func TestTextsThatAreNoUTF8(t *testing.T) {
	for _, text := range []string{"\xff", "jan\xff@example.org", "a \xffjan@example.org\xff b", "\xc3", "jan@b\xfccher.example", "%ff", "%c3%28", "é%bf"} {
		for _, mode := range privateModes {
			got := redacted(mode, "jan\xff@example.org", text)
			if got != strings.ToValidUTF8(got, "\ufffd") || strings.Contains(got, "@") {
				t.Errorf("%q became %q", text, got)
			}
		}
	}
}
