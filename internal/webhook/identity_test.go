package webhook

import (
	"maps"
	"net/url"
	"testing"
)

// identity is that of a form, sent by account.
func identity(tb testing.TB, account, body string) Identity {
	tb.Helper()
	var d Decoder
	r, err := d.Form(Call{Arrived: arrived, Body: body, Account: account})
	if err != nil {
		tb.Fatalf("form %.200q: %v", body, err)
	}
	return r.Identity
}

const identified = "id=1&type=failure&timestamp=2026-11-21+10:14:58&time=1795256098&recipient=a@b.example&action=failed&state=rcptto&code=550&extended=5.1.1&description=no&tags[]=a&tags[]=b&x=y"

// identified without some names, and with others.
func changed(tb testing.TB, without []string, with url.Values) string {
	tb.Helper()
	values, err := url.ParseQuery(identified)
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range without {
		values.Del(name)
	}
	maps.Copy(values, with)
	return values.Encode()
}

// Identities are stored and sent. When this fails, old ones are worth nothing any more: identityVersion has to change.
func TestIdentityIsPinned(t *testing.T) {
	v := readVectors(t)
	for _, tc := range []struct{ account, body, want string }{
		// Computed apart from this code: the first half of SHA-256 over "smtp_failure/1" and the eleven fields, each after its length as a uvarint.
		{"environment-1", v.Encodings[0].Body, "e3ccfd3a82ed9d8d028ec6bcbbb203f8"},
		{"", "id=1&timestamp=2026-11-21+10:14:58", "103aa85a730a67afc8d5e94aa2c12265"},
		{"", "id=1", "e16f3d79759a18c3fb0bb6edf61d9545"},
	} {
		if got := identity(t, tc.account, tc.body).String(); got != tc.want {
			t.Errorf("%.100s from %q: %s, want %s", tc.body, tc.account, got, tc.want)
		}
	}
}

func TestIdentityStaysTheSame(t *testing.T) {
	want := identity(t, "account-1", identified)
	for name, body := range map[string]string{
		"for a repeat":               identified,
		"in another order":           changed(t, nil, nil),
		"in another order of tags":   changed(t, []string{"tags[]"}, url.Values{"tags[]": {"b", "a"}}),
		"with other tags":            changed(t, []string{"tags[]"}, url.Values{"tags": {"c;d"}}),
		"without tags":               changed(t, []string{"tags[]"}, nil),
		"with another variable":      changed(t, nil, url.Values{"z": {"1"}, "parameters[k]": {"v"}}),
		"with its variable changed":  changed(t, nil, url.Values{"x": {"z"}}),
		"without its variable":       changed(t, []string{"x"}, nil),
		"with empty ones beside":     changed(t, nil, url.Values{"z": {""}, "tags": {""}}),
		"with another timestamp":     changed(t, nil, url.Values{"timestamp": {"2001-01-01 00:00:00"}}),
		"with a timestamp unread":    changed(t, nil, url.Values{"timestamp": {"soon"}}),
		"without its timestamp":      changed(t, []string{"timestamp"}, nil),
		"when all but the last said": "id=2&code=421&" + identified,
	} {
		if got := identity(t, "account-1", body); got != want {
			t.Errorf("%s: the identity of %s changed", name, body)
		}
	}
	var d Decoder
	got, err := d.JSON(Call{Account: "account-1", Body: `{"time":1795256098,"timestamp":"2026-11-21 10:14:58","code":550,"id":1,"type":"failure","recipient":"a@b.example","action":"failed","state":"rcptto","extended":"5.1.1","description":"no","tags":["b","a"],"y":true}`})
	if err != nil || got.Identity != want {
		t.Errorf("as JSON: the identity changed (%v)", err)
	}
	latin, utf := identity(t, "", "id=1&description=%E9"), identity(t, "", "id=1&description=%C3%A9")
	if latin != utf {
		t.Error("the same text in Latin-1 and in UTF-8 has two identities")
	}
	if identity(t, "", "id=1&code=550") == identity(t, "", "id=1&code=551") {
		t.Error("two reports without a time are one, though their codes differ")
	}
}

func TestIdentityTellsApart(t *testing.T) {
	seen := map[Identity]string{}
	for _, tc := range []struct{ name, account, body string }{
		{"the report", "account-1", identified},
		{"another account", "account-2", identified},
		{"no account", "", identified},
		{"no type", "account-1", changed(t, []string{"type"}, nil)},
		{"another id", "account-1", changed(t, nil, url.Values{"id": {"2"}})},
		{"another recipient", "account-1", changed(t, nil, url.Values{"recipient": {"c@b.example"}})},
		{"recipient in another case", "account-1", changed(t, nil, url.Values{"recipient": {"A@b.example"}})},
		{"no recipient", "account-1", changed(t, []string{"recipient"}, nil)},
		{"another time", "account-1", changed(t, nil, url.Values{"time": {"1795256099"}})},
		{"time that cannot be read", "account-1", changed(t, nil, url.Values{"time": {"0"}})},
		{"no time", "account-1", changed(t, []string{"time"}, nil)},
		{"no time, another timestamp", "account-1", changed(t, []string{"time"}, url.Values{"timestamp": {"2026-11-21 10:14:59"}})},
		{"no time, timestamp that cannot be read", "account-1", changed(t, []string{"time"}, url.Values{"timestamp": {"0000-00-00 00:00:00"}})},
		{"no time, the time as timestamp", "account-1", changed(t, []string{"time"}, url.Values{"timestamp": {"1795256098"}})},
		{"neither", "account-1", changed(t, []string{"time", "timestamp"}, nil)},
		{"the timestamp as time", "account-1", changed(t, nil, url.Values{"time": {"2026-11-21 10:14:58"}})},
		{"the timestamp as time, named so", "account-1", changed(t, nil, url.Values{"time": {"timestamp 2026-11-21 10:14:58"}})},
		{"another action", "account-1", changed(t, nil, url.Values{"action": {"failure"}})},
		{"no action", "account-1", changed(t, []string{"action"}, nil)},
		{"another state", "account-1", changed(t, nil, url.Values{"state": {"data"}})},
		{"no state", "account-1", changed(t, []string{"state"}, nil)},
		{"another code", "account-1", changed(t, nil, url.Values{"code": {"551"}})},
		{"code that cannot be read", "account-1", changed(t, nil, url.Values{"code": {"none"}})},
		{"another code that cannot be read", "account-1", changed(t, nil, url.Values{"code": {"null"}})},
		{"no code", "account-1", changed(t, []string{"code"}, nil)},
		{"another extended", "account-1", changed(t, nil, url.Values{"extended": {"5.1.2"}})},
		{"extended that cannot be read", "account-1", changed(t, nil, url.Values{"extended": {"5.1"}})},
		{"no extended", "account-1", changed(t, []string{"extended"}, nil)},
		{"another description", "account-1", changed(t, nil, url.Values{"description": {"No"}})},
		{"no description", "account-1", changed(t, []string{"description"}, nil)},
	} {
		got := identity(t, tc.account, tc.body)
		if before, ok := seen[got]; ok {
			t.Errorf("%q has the identity of %q", tc.name, before)
		}
		seen[got] = tc.name
	}
}

// No text can be cut in two places to mean two reports with one identity.
func TestIdentityKeepsFieldsApart(t *testing.T) {
	names := []string{"account", "id", "recipient", "time", "action", "state", "code", "extended", "description"}
	of := func(fields map[string]string) Identity {
		values := url.Values{"id": {"i"}, "type": {"failure"}}
		for name, value := range fields {
			if name != "account" {
				values.Set(name, value)
			}
		}
		return identity(t, fields["account"], values.Encode())
	}
	for _, a := range names {
		for _, b := range names {
			if a == b {
				continue
			}
			cuts := map[Identity]string{}
			for _, cut := range [][2]string{{"xyz", ""}, {"xy", "z"}, {"x", "yz"}, {"", "xyz"}, {"x|", "yz"}, {"x", "|yz"}, {"x\ty", "z"}} {
				if (a == "id" && cut[0] == "") || (b == "id" && cut[1] == "") {
					continue
				}
				got := of(map[string]string{a: cut[0], b: cut[1]})
				name := a + "=" + cut[0] + " " + b + "=" + cut[1]
				if before, ok := cuts[got]; ok {
					t.Errorf("%q has the identity of %q", name, before)
				}
				cuts[got] = name
			}
		}
	}
}

// Several values where one belongs are another report than one, than none, than others, and than a text that looks like them.
func TestIdentityTellsArraysApart(t *testing.T) {
	for _, name := range []string{"recipient", "time", "timestamp", "action", "state", "code", "extended", "description"} {
		seen := map[Identity]string{}
		for _, body := range []string{
			"type=failure&id=1",
			"type=failure&id=1&" + name + "=a",
			"type=failure&id=1&" + name + "=ab",
			"type=failure&id=1&" + name + "=a%09b",
			"type=failure&id=1&" + name + "[]=a",
			"type=failure&id=1&" + name + "[]=a&" + name + "[]=b",
			"type=failure&id=1&" + name + "[]=b&" + name + "[]=a",
			"type=failure&id=1&" + name + "[]=a%09b",
			"type=failure&id=1&" + name + "[]=a&" + name + "[]=b&" + name + "[]=b",
		} {
			got := identity(t, "", body)
			if before, ok := seen[got]; ok {
				t.Errorf("%s has the identity of %s", body, before)
			}
			seen[got] = body
		}
	}
}

func TestIdentityTellsKeyedArraysApart(t *testing.T) {
	if identity(t, "", "id=1&code[0]=550") == identity(t, "", "id=1&code[0]=551") {
		t.Error("two codes given as an array with keys are one report")
	}
}

func TestIdentityAsText(t *testing.T) {
	id := Identity{0x00, 0x01, 0xab, 0xcd, 15: 0xff}
	if got, want := id.String(), "0001abcd0000000000000000000000ff"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A time of 0 is what a sender without one may write, and then the timestamp says when. Two failures must not become one for it: the second
// would be taken for a repeat, and lost.
func TestIdentityTellsTimestampsApartWhereTimeCannotBeRead(t *testing.T) {
	for _, time := range []string{"time=0", "time=none", "time[]=1795256098"} {
		first, second := identity(t, "", "id=1&"+time+"&timestamp=2026-11-21+10:14:58"), identity(t, "", "id=1&"+time+"&timestamp=2026-11-22+10:14:58")
		if first == second {
			t.Errorf("%s: two timestamps have one identity", time)
		}
	}
}

// Nobody who has an identity that is keyed finds out whom it is about by trying addresses.
func TestIdentityIsKeyed(t *testing.T) {
	key := []byte("0123456789abcdef")
	of := func(key []byte, body string) string {
		d := Decoder{Key: key}
		e, err := d.Form(Call{Arrived: arrived, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		return e.Identity.String()
	}
	// Computed apart from this code: the first half of HMAC-SHA-256 over what TestIdentityIsPinned describes.
	const body, want = "id=1&timestamp=2026-11-21+10:14:58", "39536b9c1dd99118b1adc6d97cd09b04"
	if got := of(key, body); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if of(key, body+"&tags[]=x&y=z") != want {
		t.Error("a repeat is another report")
	}
	for name, other := range map[string]string{"no key": of(nil, body), "another key": of([]byte("fedcba9876543210"), body), "another report": of(key, body+"&recipient=a@b.example")} {
		if other == want {
			t.Errorf("with %s the identity is the same", name)
		}
	}
}
