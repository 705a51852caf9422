package privacy

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

var testKey = []byte("0123456789abcdef")

var privateModes = []Mode{ModeDomain, ModeHMAC, ModeDrop}

// everything compares events to the last hidden field.
var everything = cmp.Options{cmp.AllowUnexported(webhook.Event{}), cmpopts.EquateEmpty()}

func eventOf(tb testing.TB, variables ...string) *webhook.Event {
	tb.Helper()
	var form []string
	for i := 0; i < len(variables); i += 2 {
		form = append(form, url.QueryEscape(variables[i])+"="+url.QueryEscape(variables[i+1]))
	}
	decoder := webhook.Decoder{Key: testKey}
	e, err := decoder.Form(webhook.Call{Body: strings.Join(form, "&"), Account: "account", Arrived: time.Unix(1795256100, 0).UTC()})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestModes(t *testing.T) {
	for mode, name := range map[Mode]string{ModeFull: "full", ModeDomain: "domain", ModeHMAC: "hmac", ModeDrop: "drop"} {
		if got, ok := ParseMode(name); got != mode || !ok {
			t.Errorf("%q is read as %v, %v", name, got, ok)
		}
		if got := mode.String(); got != name {
			t.Errorf("%v is written %q", int(mode), got)
		}
	}
	for _, name := range []string{"", "Full", "none", "full "} {
		if mode, ok := ParseMode(name); ok || mode != ModeFull {
			t.Errorf("%q is read as %v, %v", name, mode, ok)
		}
	}
}

// all is an event in which every variable says something.
var all = []string{
	"id", "7-jane.doe-<1@bob.example>", "type", "failure", "action", "failed", "recipient", "Jane.Doe@ACME.example", "state", "at jane.doe for bob@acme.test", "code", "550", "extended", "5.1.1",
	"description", "550 <jane.doe@acme.example> unknown to acme.example, ask bob@acme.example", "time", "1795256098", "timestamp", "tomorrow",
	"tags[]", "news", "tags[]", "for-jane-doe", "mailing", "to jane.doe, bob@acme.test", "parameters[a]", "jane_doe", "parameters[jane.doe]", "x", "parameters[list][]", "JANE.DOE", "parameters[list][]", "bob@acme.test", "bob@acme.test", "v",
	"parameter", "y", "other", "z", "Description", "w",
}

func TestApply(t *testing.T) {
	mac := hmac.New(sha256.New, testKey)
	mac.Write([]byte("jane.doe@acme.example"))
	pseudonym := hex.EncodeToString(mac.Sum(nil))
	told := webhook.Event{
		ID: "7-[recipient]-<1@bob.example>", Type: "failure", Action: "failed", State: "at [recipient] for bob@acme.test", Code: 550, Extended: smtpstatus.Enhanced{Class: 5, Subject: 1, Detail: 1},
		Time: time.Unix(1795256098, 0).UTC(), Arrived: time.Unix(1795256100, 0).UTC(), Account: "account", Class: smtpstatus.ClassPermanent, Tags: []string{"news", "for-[recipient]"}, Anomalies: []string{"timestamp"},
	}
	parameters := []webhook.Variable{{Name: "parameters.a", Value: "[recipient]"}, {Name: "parameters.list", List: []string{"[recipient]", "bob@acme.test"}}}
	for _, tc := range []struct {
		name   string
		policy Policy
		change func(*webhook.Event)
	}{
		{"drop", Policy{Mode: ModeDrop}, func(*webhook.Event) {}},
		{"domain", Policy{Mode: ModeDomain}, func(e *webhook.Event) { e.Domain = "acme.example" }},
		{"hmac", Policy{Mode: ModeHMAC}, func(e *webhook.Event) { e.Domain, e.Recipient = "acme.example", pseudonym }},
		{"description", Policy{Mode: ModeDomain, Redact: true}, func(e *webhook.Event) {
			e.Domain, e.Description = "acme.example", "550 <[recipient]> unknown to acme.example, ask [address]"
		}},
		{"description in drop", Policy{Mode: ModeDrop, Redact: true}, func(e *webhook.Event) {
			e.Description = "550 <[recipient]> unknown to [domain], ask [address]"
		}},
		{"a variable", Policy{Mode: ModeDrop, Variables: []string{"mailing"}}, func(e *webhook.Event) {
			e.Variables = []webhook.Variable{{Name: "mailing", Value: "to [recipient], bob@acme.test"}}
		}},
		{"a name that looks like an address", Policy{Mode: ModeDrop, Variables: []string{"bob@acme.test"}}, func(e *webhook.Event) {
			e.Variables = []webhook.Variable{{Name: "bob@acme.test", Value: "v"}}
		}},
		{"all of an array", Policy{Mode: ModeDrop, Variables: []string{"parameters"}}, func(e *webhook.Event) { e.Variables = parameters }},
		{"one of an array", Policy{Mode: ModeDrop, Variables: []string{"parameters.list"}}, func(e *webhook.Event) { e.Variables = parameters[1:] }},
		{"what could not be read", Policy{Mode: ModeDrop, Variables: []string{"timestamp"}}, func(e *webhook.Event) {
			e.Variables = []webhook.Variable{{Name: "timestamp", Value: "tomorrow"}}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sent := eventOf(t, all...)
			lists := sent.Variables
			want := told
			want.Identity, want.Cause, want.DecidedBy = sent.Identity, sent.Cause, sent.DecidedBy
			tc.change(&want)
			tc.policy.Key = testKey
			tc.policy.Apply(sent)
			if diff := cmp.Diff(&want, sent, everything); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(eventOf(t, all...).Variables, lists, everything); diff != "" {
				t.Errorf("what was sent is changed (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryFieldIsDecidedOn fails when an event gets a field of which Apply does not know whether it may be told.
func TestEveryFieldIsDecidedOn(t *testing.T) {
	withheld := []string{"Recipient", "Address", "Domain", "Description", "Variables"}
	var e webhook.Event
	for _, field := range reflect.ValueOf(&e).Elem().Fields() {
		switch field.Interface().(type) {
		case []webhook.Variable:
			e.Variables = []webhook.Variable{{Name: "a", Value: "b"}}
		case time.Time:
			field.Set(reflect.ValueOf(time.Unix(1, 0)))
		case webhook.Identity:
			e.Identity = webhook.Identity{1}
		case []string:
			field.Set(reflect.ValueOf([]string{"a"}))
		case smtpstatus.Enhanced:
			e.Extended.Class = 5
		default:
			switch field.Kind() {
			case reflect.String:
				field.SetString("failed")
			case reflect.Bool:
				field.SetBool(true)
			default:
				field.SetInt(1)
			}
		}
	}
	(&Policy{Mode: ModeDrop}).Apply(&e)
	for field, value := range reflect.ValueOf(e).Fields() {
		if told := !value.IsZero(); told == slices.Contains(withheld, field.Name) {
			t.Errorf("%s: told is %t", field.Name, told)
		}
	}
}

func TestFullTellsAll(t *testing.T) {
	want, got := eventOf(t, all...), eventOf(t, all...)
	new(Policy).Apply(got)
	if diff := cmp.Diff(want, got, everything); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Documented words name nobody, and what stands in their place may be anything.
func TestStatesAndActions(t *testing.T) {
	for sent, want := range map[string]string{"data": "data", "bounce": "bounce", "data, not data": "[recipient], not [recipient]", "other": "other"} {
		e := eventOf(t, "id", "1", "type", "failure", "recipient", "data@acme.example", "state", sent)
		(&Policy{Mode: ModeDomain, Key: testKey}).Apply(e)
		if e.State != want {
			t.Errorf("the state %q became %q", sent, e.State)
		}
	}
	for sent, want := range map[string]string{"failure": "failure", "failed": "failed", "jane failed": ""} {
		e := eventOf(t, "id", "1", "type", "failure", "action", sent)
		(&Policy{Mode: ModeDomain, Key: testKey}).Apply(e)
		if e.Action != want {
			t.Errorf("the action %q became %q", sent, e.Action)
		}
	}
}

// All spellings of an address have one pseudonym, and one domain.
func TestSpellingsOfAnAddressAreOne(t *testing.T) {
	want := eventOf(t, "id", "1", "recipient", "jane@acme.example")
	(&Policy{Mode: ModeHMAC, Key: testKey}).Apply(want)
	for _, recipient := range []string{"Jane Doe <jane@acme.example>", "<JANE@Acme.Example>", " jane@acme.example. ", "jane@acme.example (home)"} {
		e := eventOf(t, "id", "1", "recipient", recipient)
		(&Policy{Mode: ModeHMAC, Key: testKey}).Apply(e)
		if e.Recipient != want.Recipient || e.Domain != want.Domain {
			t.Errorf("%q: %s at %s, want %s at %s", recipient, e.Recipient, e.Domain, want.Recipient, want.Domain)
		}
	}
}

func TestNoRecipientHasNoPseudonym(t *testing.T) {
	e := eventOf(t, "id", "1")
	(&Policy{Mode: ModeHMAC, Key: testKey}).Apply(e)
	if e.Recipient != "" {
		t.Error(e.Recipient)
	}
}

// Tags, ids and states are looked through for the recipient, and for nobody else.
func TestWhatIsTold(t *testing.T) {
	for _, tc := range []struct{ recipient, tag, want string }{
		{"jane.doe@acme.example", "jane.doe@acme.example", "[recipient]"},
		{"jane.doe@acme.example", "to:JANE.DOE@ACME.EXAMPLE;x", "to:[recipient];x"},
		{"jane.doe@acme.example", "refjane.doe@acme.example2", "ref[recipient]2"},
		{"jane.doe@acme.example", "jane%2Edoe%40acme.example", "[recipient]"},
		{"jane.doe@acme.example", "vip_jane.doe_2026 jane-doe", "vip_[recipient]_2026 [recipient]"},
		{"jane.doe@acme.example", "jane.doe, jane.doe", "[recipient], [recipient]"},
		{"jane.doe@acme.example", "janedoe jane.doe2 xjane.doe jane doe's", "janedoe jane.doe2 xjane.doe [recipient]'s"},
		{"jane.doe@acme.example", "jane", "jane"},
		{"jane.doe@acme.example", "bob@acme.example <20261121.1@mail.acme.example>", "bob@acme.example <20261121.1@mail.acme.example>"},
		{"jane.doe@acme.example", "", ""},
		{"jane+news@acme.example", "jane jane+news jane+other", "[recipient] [recipient] [recipient]+other"},
		{"jdo@acme.example", "a-jdo-b", "a-[recipient]-b"},
		{"jd@acme.example", "a-jd-b jd@acme.example acme.example/jd", "a-jd-b [recipient] [recipient]"},
		{"jd+x@acme.example", "jd jd+x", "jd [recipient]"},
		{`"jd"@acme.example`, `jd, "jd"@acme.example`, `jd, "[recipient]`},
		{" jd @acme.example", "jd, jd @acme.example", "jd, [recipient]"},
		{"Jane Doe <x@acme.example>", "for Jane Doe", "for [recipient]"},
		{"bob@a.example, jane.doe@acme.example", "bob and jane.doe", "[recipient] and [recipient]"},
		{"jane.doe%40acme.example", "jane.doe", "[recipient]"},
		{"jane.doe", "jane.doe", "[recipient]"},
		{"jane@bücher.example", "jx@xn--bcher-kva.example by jane@xn--bcher-kva.example", "jx@xn--bcher-kva.example by [recipient]"},
		{"jd@bücher.example", "jd@xn--bcher-kva.example", "[recipient]"},
		{"jd@xn--bcher-kva.example", "jd@BÜCHER.example", "[recipient]"},
		{"!@acme.example", "at acme.example, not xacme.example or acme.examples", "at [recipient], not xacme.example or acme.examples"},
		{"jd@acme.example", "xacme.example/jd or acme.example/jdx", "xacme.example/jd or acme.example/jdx"},
		{"jane.doe@acme.example", "jane.doe@acme.examplejane.doe@acme.example", "[recipient][recipient]"},
		{"jane.doe@acme.example", `jane\u002edoe %u006aane%u002Edoe`, "[recipient] [recipient]"},
		{"jane.doe@acme.example", "xjane\ufffddoe jane\ufffddoe jane\u0080doe", "xjane\ufffddoe [recipient] [recipient]"},
		{"rené@acme.example", "ren%E9 ren%C3%A9", "[recipient] [recipient]"},
		{"семён@acme.example", `сем\u0451н`, "[recipient]"},
		{"jane.doe@acme.example", "jane.d=\r\noe jane.d=\noe", "[recipient] [recipient]"},
		{"jd@!", "jd@! x", "jd@! x"},
		{"!!!", "!!! x", "!!! x"},
		{"", "jane.doe@acme.example", "jane.doe@acme.example"},
	} {
		for _, mode := range []Mode{ModeDomain, ModeHMAC} {
			e := eventOf(t, "id", "1", "recipient", tc.recipient, "tags[]", tc.tag, "tags[]", "x")
			(&Policy{Mode: mode, Key: testKey, Redact: true}).Apply(e)
			if want := slices.DeleteFunc([]string{tc.want, "x"}, func(tag string) bool { return tag == "" }); !slices.Equal(e.Tags, want) {
				t.Errorf("%v of %s: %q became %q, want %q", mode, tc.recipient, tc.tag, e.Tags, want)
			}
		}
	}
}

func TestDropHidesTheDomain(t *testing.T) {
	for tag, want := range map[string]string{
		"acme.example":            "[domain]",
		"mx1.acme-example.test":   "mx1.[domain].test",
		"myacme.example acme.com": "myacme.example acme.com",
		"bob@acme.example":        "bob@[domain]",
		"jane@acme.example":       "[recipient]",
	} {
		e := eventOf(t, "id", "1", "recipient", "jane@acme.example", "tags[]", tag)
		(&Policy{Mode: ModeDrop, Key: testKey}).Apply(e)
		if e.Tags[0] != want {
			t.Errorf("%q became %q, want %q", tag, e.Tags[0], want)
		}
	}
}

// Where a recipient is an array it is not a recipient, but names people all the same.
func TestRecipientsInAnArray(t *testing.T) {
	for _, variables := range [][]string{
		{"recipient[]", "bob@a.example", "recipient[]", "jane.doe@acme.example"},
		{"recipient[to]", "jane.doe@acme.example"},
	} {
		e := eventOf(t, append(variables, "id", "1", "tags[]", "jane.doe", "tags[]", "recipients")...)
		(&Policy{Mode: ModeHMAC, Key: testKey, Variables: []string{"mailing"}}).Apply(e)
		if !slices.Equal(e.Tags, []string{"[recipient]", "recipients"}) || e.Variables != nil {
			t.Errorf("%q %v", e.Tags, e.Variables)
		}
	}
}

// Where there are more people than are looked for, or than are known, nothing is told in which they may be.
func TestTooManyRecipients(t *testing.T) {
	for _, tc := range []struct {
		people int
		length int
		want   []string
	}{
		{maxNames, 10, []string{"x", "[recipient]"}},
		{maxNames + 1, 10, []string{"[recipient]", "[recipient]"}},
		{maxNames, 200, []string{"[recipient]", "[recipient]"}}, // more than is kept of a variable
	} {
		variables := []string{"id", "x", "tags[]", "x", "tags[]", fmt.Sprintf("person%d", tc.people), "state", "rcptto"}
		for i := range tc.people {
			variables = append(variables, "recipient[]", fmt.Sprintf("person%d@acme.%s", i+1, strings.Repeat("x", tc.length)))
		}
		e := eventOf(t, variables...)
		(&Policy{Mode: ModeDrop, Key: testKey, Redact: true}).Apply(e)
		if !slices.Equal(e.Tags, tc.want) || e.ID != tc.want[0] || e.State != "rcptto" || e.Description != "" {
			t.Errorf("of %d: %q %q", tc.people, e.Tags, e.ID)
		}
	}
}

func TestHashes(t *testing.T) {
	for _, recipient := range []string{"Jane.Doe@acme.example", "Jane Doe <Jane.Doe@acme.example>", "JD@acme.example"} {
		address := recipient[strings.LastIndexByte(recipient, '<')+1:]
		for _, text := range []string{strings.Trim(address, ">"), strings.ToLower(strings.Trim(address, ">")), recipient} {
			five, one, two := md5.Sum([]byte(text)), sha1.Sum([]byte(text)), sha256.Sum256([]byte(text))
			for _, sum := range [][]byte{five[:], one[:], two[:]} {
				for _, hash := range []string{hex.EncodeToString(sum), strings.ToUpper(hex.EncodeToString(sum))} {
					other := strings.Repeat("0f", len(sum))
					e := eventOf(t, "id", hash, "recipient", recipient, "tags[]", "sub/"+hash+"/x", "tags[]", other, "state", hash)
					(&Policy{Mode: ModeDomain, Key: testKey}).Apply(e)
					if e.ID != "[recipient]" || e.State != "[recipient]" || !slices.Equal(e.Tags, []string{"sub/[recipient]/x", other}) {
						t.Errorf("%s of %s: %q %q %q", hash, text, e.ID, e.State, e.Tags)
					}
				}
			}
		}
	}
}

func TestTellsLessThan(t *testing.T) {
	full, domain, hmac, drop := Policy{}, Policy{Mode: ModeDomain}, Policy{Mode: ModeHMAC}, Policy{Mode: ModeDrop}
	with := func(variables ...string) Policy { return Policy{Mode: ModeDrop, Variables: variables} }
	for _, tc := range []struct {
		before, after Policy
		want          bool
	}{
		{full, full, false},
		{full, domain, true},
		{full, hmac, true},
		{full, drop, true},
		{domain, full, false},
		{domain, domain, false},
		{domain, hmac, false},
		{domain, drop, true},
		{hmac, full, false},
		{hmac, domain, false},
		{hmac, hmac, false},
		{hmac, drop, true},
		{drop, full, false},
		{drop, domain, false},
		{drop, hmac, false},
		{drop, drop, false},
		{with("a"), with("a", "b"), false},
		{with("a", "b"), with("b"), true},
		{with("a"), drop, true},
		{with("a"), full, false},
		{with("a.b"), with("a"), false},
		{with("a"), with("a.b"), true},
		{Policy{Mode: ModeDrop, Redact: true, Key: testKey}, drop, false}, // neither is in a series
	} {
		if got := tc.after.TellsLessThan(tc.before.Told()); got != tc.want {
			t.Errorf("%s after %s: %t", tc.after.Told(), tc.before.Told(), got)
		}
	}
	for _, unknown := range []string{"", "?", `{"mode":"other"}`} {
		if !drop.TellsLessThan([]byte(unknown)) || full.TellsLessThan([]byte(unknown)) {
			t.Errorf("after %q", unknown)
		}
	}
}
