package privacy

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"

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
		got, ok := ParseMode(name)
		assert.True(t, ok, name)
		assert.Equal(t, mode, got)
		assert.Equal(t, name, mode.String())
	}
	for _, name := range []string{"", "Full", "none", "full "} {
		mode, ok := ParseMode(name)
		assert.False(t, ok, name)
		assert.Equal(t, ModeFull, mode, name)
	}
}

// all is an event in which every variable has a value.
var all = []string{
	"id", "7-jane.doe-<1@bob.example>", "type", "failure", "action", "failed", "recipient", "Jane.Doe@ACME.example",
	"state", "at jane.doe for bob@acme.test", "code", "550", "extended", "5.1.1", "time", "1795256098", "timestamp", "tomorrow",
	"description", "550 <jane.doe@acme.example> unknown to acme.example, ask bob@acme.example",
	"tags[]", "news", "tags[]", "for-jane-doe", "mailing", "to jane.doe, bob@acme.test", "parameters[a]", "jane_doe",
	"parameters[jane.doe]", "x", "parameters[list][]", "JANE.DOE", "parameters[list][]", "bob@acme.test", "bob@acme.test", "v",
	"parameter", "y", "other", "z", "Description", "w",
}

func TestApply(t *testing.T) {
	mac := hmac.New(sha256.New, testKey)
	mac.Write([]byte("jane.doe@acme.example"))
	kept := webhook.Event{
		ID: "7-[recipient]-<1@bob.example>", Type: "failure", Mode: webhook.ModeSynchronous, Action: "failed", State: "at [recipient] for bob@acme.test",
		Code: 550, Extended: smtpstatus.Enhanced{Class: 5, Subject: 1, Detail: 1}, Class: smtpstatus.ClassPermanent,
		Time: time.Unix(1795256098, 0).UTC(), Arrived: time.Unix(1795256100, 0).UTC(), Account: "account",
		Tags: []string{"news", "for-[recipient]"}, Anomalies: []string{"timestamp"},
	}
	drop := func(variables ...string) Policy { return Policy{Mode: ModeDrop, Variables: variables} }
	mailing := webhook.Variable{Name: "mailing", Value: "to [recipient], bob@acme.test"}
	named := webhook.Variable{Name: "bob@acme.test", Value: "v"} // what looks like an address is no recipient
	parameter := webhook.Variable{Name: "parameters.a", Value: "[recipient]"}
	list := webhook.Variable{Name: "parameters.list", List: []string{"[recipient]", "bob@acme.test"}}
	timestamp := webhook.Variable{Name: "timestamp", Value: "tomorrow"}
	for name, tc := range map[string]struct {
		policy                         Policy
		domain, recipient, description string
		variables                      []webhook.Variable
	}{
		"drop":                {drop(), "", "", "", nil},
		"domain":              {Policy{Mode: ModeDomain}, "acme.example", "", "", nil},
		"hmac":                {Policy{Mode: ModeHMAC}, "acme.example", hex.EncodeToString(mac.Sum(nil)), "", nil},
		"description":         {Policy{Mode: ModeDomain, Redact: true}, "acme.example", "", "550 <[recipient]> unknown to acme.example, ask [address]", nil},
		"description in drop": {Policy{Mode: ModeDrop, Redact: true}, "", "", "550 <[recipient]> unknown to [domain], ask [address]", nil},
		"variables":           {drop("mailing", "bob@acme.test"), "", "", "", []webhook.Variable{mailing, named}},
		"all of an array":     {drop("parameters"), "", "", "", []webhook.Variable{parameter, list}},
		"one of an array":     {drop("parameters.list"), "", "", "", []webhook.Variable{list}},
		"unreadable":          {drop("timestamp"), "", "", "", []webhook.Variable{timestamp}},
	} {
		t.Run(name, func(t *testing.T) {
			got := eventOf(t, all...)
			sent := got.Variables
			want := kept
			want.Identity, want.Cause, want.DecidedBy = got.Identity, got.Cause, got.DecidedBy
			want.Domain, want.Recipient, want.Description, want.Variables = tc.domain, tc.recipient, tc.description, tc.variables
			tc.policy.Key = testKey
			tc.policy.Apply(got)
			assert.Empty(t, cmp.Diff(&want, got, everything))
			assert.Empty(t, cmp.Diff(eventOf(t, all...).Variables, sent, everything), "the variables as sent are not changed")
		})
	}
	full := eventOf(t, all...)
	new(Policy).Apply(full)
	assert.Empty(t, cmp.Diff(eventOf(t, all...), full, everything))
}

// TestApplyKnowsEveryField fails when an event gets a field and Apply does not say whether it may
// be revealed.
func TestApplyKnowsEveryField(t *testing.T) {
	excluded := []string{"Recipient", "Address", "Domain", "Description", "Variables"}
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
		assert.Equal(t, slices.Contains(excluded, field.Name), value.IsZero(), field.Name)
	}
}

// Documented words name nobody, and what is sent in their place may be anything.
func TestStatesAndActions(t *testing.T) {
	for _, tc := range []struct{ state, wantState, action, wantAction string }{
		{"data", "data", "failure", "failure"},
		{"bounce", "bounce", "failed", "failed"},
		{"data, not data", "[recipient], not [recipient]", "data failed", ""},
		{"other", "other", "other", ""},
	} {
		e := &webhook.Event{Recipient: "data@acme.example", State: tc.state, Action: tc.action}
		(&Policy{Mode: ModeDomain}).Apply(e)
		assert.Equal(t, tc.wantState, e.State)
		assert.Equal(t, tc.wantAction, e.Action)
	}
}

func TestPseudonyms(t *testing.T) {
	pseudonym := func(recipient string) string {
		e := eventOf(t, "id", "1", "recipient", recipient)
		(&Policy{Mode: ModeHMAC, Key: testKey}).Apply(e)
		return e.Recipient + " " + e.Domain
	}
	for _, same := range []string{"Jane Doe <jane@acme.example>", "<JANE@Acme.Example>", " jane@acme.example. ", "jane@acme.example (home)"} {
		assert.Equal(t, pseudonym("jane@acme.example"), pseudonym(same), same)
	}
	assert.Equal(t, " ", pseudonym(""))
}

// Tags, ids and states are searched for the recipient, and for nobody else.
func TestTags(t *testing.T) {
	const jane = "jane.doe@acme.example"
	modes := []Mode{ModeDomain, ModeHMAC}
	for _, tc := range []struct {
		recipient, tag, want string
		modes                []Mode
	}{
		{jane, jane, "[recipient]", privateModes},
		{jane, "to:JANE.DOE@ACME.EXAMPLE;x", "to:[recipient];x", modes},
		{jane, "refjane.doe@acme.example2", "ref[recipient]2", modes},
		{jane, "vip_jane.doe_2026 jane-doe", "vip_[recipient]_2026 [recipient]", modes},
		{jane, "jane.doe, jane.doe", "[recipient], [recipient]", modes},
		{jane, "janedoe jane.doe2 xjane.doe jane doe's", "janedoe jane.doe2 xjane.doe [recipient]'s", modes},
		{jane, "jane", "jane", modes},
		{jane, "bob@acme.example <1@mail.acme.example>", "bob@acme.example <1@mail.acme.example>", modes},
		{jane, "jane.doe@acme.examplejane.doe@acme.example", "[recipient][recipient]", modes},
		{jane, "xjane\ufffddoe jane\ufffddoe jane\u0080doe", "xjane\ufffddoe [recipient] [recipient]", modes},
		{"jane+news@acme.example", "jane jane+news jane+other", "[recipient] [recipient] [recipient]+other", modes},
		{"jdo@acme.example", "a-jdo-b", "a-[recipient]-b", modes},
		{"jd@acme.example", "a-jd-b jd@acme.example acme.example/jd", "a-jd-b [recipient] [recipient]", modes},
		{"jd@acme.example", "xacme.example/jd or acme.example/jdx", "xacme.example/jd or acme.example/jdx", modes},
		{"jd+x@acme.example", "jd jd+x", "jd [recipient]", modes},
		{" jd @acme.example", "jd, jd @acme.example", "jd, [recipient]", modes},
		{"jane.doe", "jane.doe", "[recipient]", modes},
		{"jane@bücher.example", "jx@xn--bcher-kva.example by jane@xn--bcher-kva.example", "jx@xn--bcher-kva.example by [recipient]", modes},
		{"!@acme.example", "at acme.example, not xacme.example", "at [recipient], not xacme.example", modes},
		{"rené@acme.example", "ren%E9 ren%C3%A9", "[recipient] [recipient]", modes},
		{"jd@!", "jd@! x", "jd@! x", modes},
		{"!!!", "!!! x", "!!! x", modes},
		{"", jane, jane, modes},
		{jane, "acme.example", "[domain]", []Mode{ModeDrop}},
		{jane, "mx1.acme-example.test", "mx1.[domain].test", []Mode{ModeDrop}},
		{jane, "myacme.example acme.com", "myacme.example acme.com", privateModes},
		{jane, "bob@acme.example", "bob@[domain]", []Mode{ModeDrop}},
	} {
		for _, mode := range tc.modes {
			e := eventOf(t, "id", "1", "recipient", tc.recipient, "tags[]", tc.tag, "tags[]", "x")
			(&Policy{Mode: mode, Key: testKey, Redact: true}).Apply(e)
			assert.Equal(t, []string{tc.want, "x"}, e.Tags, "%v of %s", mode, tc.recipient)
		}
	}
}

// A recipient that is an array is not a recipient, but names people.
func TestRecipientsInAnArray(t *testing.T) {
	for _, variables := range [][]string{
		{"recipient[]", "bob@a.example", "recipient[]", "jane.doe@acme.example"},
		{"recipient[to]", "jane.doe@acme.example"},
	} {
		e := eventOf(t, append(variables, "id", "1", "tags[]", "jane.doe", "tags[]", "recipients")...)
		(&Policy{Mode: ModeHMAC, Key: testKey, Variables: []string{"mailing"}}).Apply(e)
		assert.Equal(t, []string{"[recipient]", "recipients"}, e.Tags)
		assert.Nil(t, e.Variables)
	}
}

// With more people than are searched for, or than are known, no text is kept that may name them.
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
		assert.Equal(t, tc.want, e.Tags, tc.people)
		assert.Equal(t, tc.want[0], e.ID)
		assert.Equal(t, "rcptto", e.State)
		assert.Empty(t, e.Description)
	}
}

func TestHashes(t *testing.T) {
	other := strings.Repeat("0f", 32)
	for recipient, texts := range map[string][]string{
		"Jane.Doe@acme.example":            {"Jane.Doe@acme.example", "jane.doe@acme.example"},
		"Jane Doe <Jane.Doe@acme.example>": {"Jane.Doe@acme.example", "jane.doe@acme.example", "Jane Doe <Jane.Doe@acme.example>"},
	} {
		for _, text := range texts {
			for _, h := range []hash.Hash{md5.New(), sha1.New(), sha256.New()} {
				h.Write([]byte(text))
				sum := hex.EncodeToString(h.Sum(nil))
				e := &webhook.Event{ID: sum, Recipient: recipient, State: strings.ToUpper(sum), Tags: []string{"sub/" + sum + "/x", other}}
				(&Policy{Mode: ModeDomain}).Apply(e)
				want := &webhook.Event{ID: "[recipient]", State: "[recipient]", Tags: []string{"sub/[recipient]/x", other}}
				assert.Equal(t, want, e, "%T of %s", h, text)
			}
		}
	}
}

func TestStricterThan(t *testing.T) {
	full, domain, hmac, drop := Policy{}, Policy{Mode: ModeDomain}, Policy{Mode: ModeHMAC}, Policy{Mode: ModeDrop}
	with := func(variables ...string) Policy { return Policy{Mode: ModeDrop, Variables: variables} }
	for _, tc := range []struct {
		before      Policy
		stricter    []Policy
		notStricter []Policy
	}{
		{full, []Policy{domain, hmac, drop}, []Policy{full}},
		{domain, []Policy{drop}, []Policy{full, domain, hmac}},
		{hmac, []Policy{drop}, []Policy{full, domain, hmac}},
		{drop, nil, []Policy{full, domain, hmac, drop}},
		{with("a"), []Policy{drop, with("a.b")}, []Policy{with("a", "b"), full}},
		{with("a", "b"), []Policy{with("b")}, nil},
		{with("a.b"), nil, []Policy{with("a")}},
		{Policy{Mode: ModeDrop, Redact: true, Key: testKey}, nil, []Policy{drop}}, // neither is in a series
	} {
		for _, after := range tc.stricter {
			assert.True(t, after.StricterThan(tc.before.Encode()), "%s after %s", after.Encode(), tc.before.Encode())
		}
		for _, after := range tc.notStricter {
			assert.False(t, after.StricterThan(tc.before.Encode()), "%s after %s", after.Encode(), tc.before.Encode())
		}
	}
	for _, unreadable := range []string{"", "?", `{"mode":"other"}`} {
		assert.True(t, drop.StricterThan([]byte(unreadable)), unreadable)
		assert.False(t, full.StricterThan([]byte(unreadable)), unreadable)
	}
}
