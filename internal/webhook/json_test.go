package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What JSON can say and a form cannot.
var jsonOnlyCases = []decodeCase{
	{name: "white space around everything", body: " \r\n\t{ \"id\" : \"1\" , \"code\" : 550 } \n", want: Event{ID: "1", Code: 550}},
	{name: "numbers are the text they are written as", body: `{"id":1,"a":1.50,"b":-0,"c":1E+400,"d":123456789012345678901234567890}`, want: Event{ID: "1", Variables: []Variable{other("a", "1.50"), other("b", "-0"), other("c", "1E+400"), other("d", "123456789012345678901234567890")}}},
	{name: "a code is what it is worth", body: `{"id":"1","code":55.00e1}`, want: Event{ID: "1", Code: 550}},
	{name: "an empty array and an empty object are absent", body: `{"id":"1","a":[],"b":{},"c":[[],{}],"tags":[],"code":{},"type":[]}`, want: Event{ID: "1"}},
	{name: "escapes in strings", body: `{"\u0069d":"1","description":"\"\\\/\b\f\n\r\t\u00e9\ud83d\udce7"}`, want: Event{ID: "1", Description: "\"\\/  \n\r\té📧"}},
	{name: "NUL", body: `{"id":"1","description":"a\u0000b"}`, want: Event{ID: "1", Description: "a b"}},
	{name: "lone surrogates", body: `{"id":"1","description":"\ud83d-\udce7-\ud83dx"}`, want: Event{ID: "1", Description: "\ufffd-\ufffd-\ufffdx"}},
	{name: "lone surrogate in a name", body: `{"id":"1","\ud83d":"x"}`, want: Event{ID: "1", Variables: []Variable{other("\ufffd", "x")}}},
	{name: "plus, percent and ampersand mean nothing", body: `{"id":"1","description":"a+b%20c&d=e"}`, want: Event{ID: "1", Description: "a+b%20c&d=e"}},
	{name: "an empty name is dropped", body: `{"":"x","id":"1"}`, want: Event{ID: "1"}},
	{name: "a lone scalar of tags that is no string", body: `{"id":"1","tags":7}`, want: Event{ID: "1", Tags: []string{"7"}}},
	{name: "null is no tag", body: `{"id":"1","tags":null}`, want: Event{ID: "1"}},
	{name: "nothing in the array is a tag", body: `{"id":"1","tags":[null,"",[],{},{"a":null}]}`, want: Event{ID: "1"}},
	{name: "most elements", body: `{"id":"1","tags":["a"` + strings.Repeat(`,"a"`, MaxVariables-2) + `]}`, want: Event{ID: "1", Tags: repeated("a", MaxVariables-1)}},
	{name: "too many elements", body: `{"id":"1","tags":["a"` + strings.Repeat(`,"a"`, MaxVariables-1) + `]}`, err: ErrTooManyVariables},
	{name: "empty elements count", body: `{"id":"1","x":[null` + strings.Repeat(`,null`, MaxVariables-1) + `]}`, err: ErrTooManyVariables},
	{name: "longest name", body: `{"id":"1","` + strings.Repeat("n", MaxNameLength) + `":"v"}`, want: Event{ID: "1", Variables: []Variable{other(strings.Repeat("n", MaxNameLength), "v")}}},
	{name: "name too long", body: `{"id":"1","` + strings.Repeat("n", MaxNameLength+1) + `":"v"}`, err: ErrNameTooLong},
	{name: "name too long of nothing", body: `{"id":"1","` + strings.Repeat("n", MaxNameLength+1) + `":{}}`, err: ErrNameTooLong},
	{name: "name too long by nesting", body: `{"id":"1","a":` + nested(`{"`+strings.Repeat("n", 100)+`":`, `"v"`, "}", 20) + `}`, err: ErrNameTooLong},
	{name: "longest name by nesting", body: `{"id":"1","` + strings.Repeat("n", MaxNameLength-20) + `":` + nested(`{"k":`, `"v"`, "}", 10) + `}`, want: Event{ID: "1", Variables: []Variable{other(strings.Repeat("n", MaxNameLength-20)+strings.Repeat(".k", 10), "v")}}},
	{name: "deepest object", body: `{"id":"1","a":` + nested(`{"k":`, `"v"`, "}", MaxDepth-1) + `}`, want: Event{ID: "1", Variables: []Variable{other("a"+strings.Repeat(".k", MaxDepth-1), "v")}}},
	{name: "object too deep", body: `{"id":"1","a":` + nested(`{"k":`, `"v"`, "}", MaxDepth) + `}`, err: ErrTooDeep},
	{name: "deepest array", body: `{"id":"1","a":` + nested("[", `"v"`, "]", MaxDepth-1) + `}`, want: Event{ID: "1", Variables: []Variable{others("a", "v")}}},
	{name: "array too deep", body: `{"id":"1","a":` + nested("[", `"v"`, "]", MaxDepth) + `}`, err: ErrTooDeep},
	{name: "much too deep", body: `{"id":"1","a":` + nested("[", "", "]", 5000) + `}`, err: ErrTooDeep},
	{name: "wide is not deep", body: `{"id":"1","a":[` + strings.Repeat("[],", 100) + `["v"]]}`, want: Event{ID: "1", Variables: []Variable{others("a", "v")}}},
	{name: "windows-1252 in the body", body: "{\"id\":\"1\",\"description\":\"bo\xeete\",\"\xe9\":\"x\"}", want: Event{ID: "1", Description: "boîte", Variables: []Variable{other("é", "x")}}},
	{name: "windows-1252 beside an escape", body: "{\"id\":\"1\",\"description\":\"\xe9\\u00e9\xc3\xa9\"}", want: Event{ID: "1", Description: "ééé"}},
	{name: "an id of null", body: `{"id":null}`, err: ErrNoID},
	{name: "an id of zero is an id", body: `{"id":0}`, want: Event{ID: "0"}},
	{name: "an id of false is text", body: `{"id":false}`, want: Event{ID: "false"}},
	{name: "a type that is no string", body: `{"id":"1","type":true}`, err: ErrOtherWebhook},
	{name: "a type of null", body: `{"id":"1","type":null}`, want: Event{ID: "1"}},
	{name: "a type that is an object", body: `{"id":"1","type":{"name":"bounce"}}`, err: ErrOtherWebhook},
	{name: "a code that is an object", body: `{"id":"1","code":{"smtp":550}}`, want: Event{ID: "1", Variables: []Variable{other("code.smtp", "550")}, Anomalies: []string{"code"}}},
	{name: "an empty object is no report", body: `{}`, err: ErrNoID},
}

var notJSONCases = []decodeCase{
	{name: "nothing", body: "", err: ErrJSON},
	{name: "white space", body: " \n", err: ErrJSON},
	{name: "a form", body: "id=1&code=550", err: ErrJSON},
	{name: "array", body: `[{"id":"1"}]`, err: ErrNoObject},
	{name: "string", body: `"id"`, err: ErrNoObject},
	{name: "number", body: `1`, err: ErrNoObject},
	{name: "boolean", body: `true`, err: ErrNoObject},
	{name: "null", body: `null`, err: ErrNoObject},
	{name: "a second object", body: `{"id":"1"}{"id":"2"}`, err: ErrJSON},
	{name: "text after the object", body: `{"id":"1"} x`, err: ErrJSON},
	{name: "half a word after the object", body: `{"id":"1"} nul`, err: ErrJSON},
	{name: "comma after the object", body: `{"id":"1"},`, err: ErrJSON},
	{name: "bracket after the object", body: `{"id":"1"}]`, err: ErrJSON},
	{name: "NUL after the object", body: "{\"id\":\"1\"}\x00", err: ErrJSON},
	{name: "no-break space in Latin-1", body: "{\"id\":\"1\"}\xa0", err: ErrJSON},
	{name: "comma after the last member", body: `{"id":"1",}`, err: ErrJSON},
	{name: "comma after the last element", body: `{"id":"1","a":["b",]}`, err: ErrJSON},
	{name: "comma before the first member", body: `{,"id":"1"}`, err: ErrJSON},
	{name: "two commas", body: `{"id":"1",,"a":"b"}`, err: ErrJSON},
	{name: "no comma", body: `{"id":"1" "a":"b"}`, err: ErrJSON},
	{name: "no comma in an array", body: `{"id":"1","a":["b" "c"]}`, err: ErrJSON},
	{name: "no colon", body: `{"id" "1"}`, err: ErrJSON},
	{name: "two colons", body: `{"id"::"1"}`, err: ErrJSON},
	{name: "colon in an array", body: `{"id":"1","a":["b":"c"]}`, err: ErrJSON},
	{name: "no value", body: `{"id":}`, err: ErrJSON},
	{name: "no quotes", body: `{id:"1"}`, err: ErrJSON},
	{name: "single quotes", body: `{'id':'1'}`, err: ErrJSON},
	{name: "a name that is a number", body: `{1:"1"}`, err: ErrJSON},
	{name: "a name that is null", body: `{null:"1"}`, err: ErrJSON},
	{name: "a name that is an array", body: `{["id"]:"1"}`, err: ErrJSON},
	{name: "wrong bracket", body: `{"id":"1"]`, err: ErrJSON},
	{name: "wrong bracket in an array", body: `{"id":"1","a":["b"}}`, err: ErrJSON},
	{name: "number with a leading zero", body: `{"id":01}`, err: ErrJSON},
	{name: "number with a plus", body: `{"id":+1}`, err: ErrJSON},
	{name: "not a number", body: `{"id":NaN}`, err: ErrJSON},
	{name: "misspelled word", body: `{"id":True}`, err: ErrJSON},
	{name: "unknown escape", body: `{"id":"\x31"}`, err: ErrJSON},
	{name: "short escape", body: `{"id":"\u31"}`, err: ErrJSON},
	{name: "line break in a string", body: "{\"id\":\"1\n\"}", err: ErrJSON},
	{name: "comment", body: `{"id":"1"/* x */}`, err: ErrJSON},
	{name: "invalid after a report that is complete", body: `{"id":"1","code":550,oops}`, err: ErrJSON},
}

// nested puts inner into n times before and after.
func nested(before, inner, after string, n int) string {
	return strings.Repeat(before, n) + inner + strings.Repeat(after, n)
}

func TestJSON(t *testing.T) {
	var d Decoder
	for group, cases := range map[string][]decodeCase{"readable": jsonOnlyCases, "invalid": notJSONCases} {
		t.Run(group, func(t *testing.T) {
			for _, tc := range cases {
				t.Run(tc.name, func(t *testing.T) {
					got, err := d.JSON(Call{Arrived: arrived, Body: tc.body})
					tc.check(t, got, err)
				})
			}
		})
	}
}

func TestJSONKeepsWhatItCannotReadVerbatim(t *testing.T) {
	for name, values := range unreadable {
		for _, value := range values {
			got := mustJSON(t, `{"id":"1",`+quoteJSON(name)+`:`+quoteJSON(value)+`}`)
			want := Event{ID: "1", Variables: []Variable{other(name, value)}, Anomalies: []string{name}}
			if diff := cmp.Diff(want, got, visible); diff != "" {
				t.Errorf("%s: %q (-want +got):\n%s", name, value, diff)
			}
		}
	}
}

// A body that a connection cut short is no report, wherever it was cut.
func TestJSONTruncatedAnywhereIsInvalid(t *testing.T) {
	const whole = `{"id":"1","tags":["a",{"k":"\u00e9"}],"code":550,"parameters":{"a":null,"b":[true,1.5]}}`
	var d Decoder
	mustJSON(t, whole)
	for i := range whole {
		if got, err := d.JSON(Call{Arrived: arrived, Body: whole[:i]}); !errors.Is(err, ErrJSON) {
			t.Errorf("%s: error %v, want %v; report %+v", whole[:i], err, ErrJSON, got)
		}
	}
}

// Errors go into answers and logs, so none may say anything of what was sent.
func TestErrorsHoldNothingOfTheBody(t *testing.T) {
	const secret = "zq7secret"
	var d Decoder
	bodies := map[string]string{
		"id":           `{"type":"failure","recipient":"` + secret + `"}`,
		"type":         `{"type":"` + secret + `","id":"` + secret + `"}`,
		"trailing":     `{"id":"1"}` + secret,
		"word":         `{"id":` + secret + `}`,
		"name":         `{` + secret + `:1}`,
		"no colon":     `{"` + secret + `" 1}`,
		"escape":       `{"` + secret + `":"\q` + secret + `"}`,
		"line break":   "{\"" + secret + "\n" + secret + "\":1}",
		"truncated":    `{"` + secret + `":"` + secret,
		"no object":    `"` + secret + `"`,
		"deep":         nested(`{"`+secret+`":`, "1", "}", MaxDepth+1),
		"many":         `{"` + secret + `":["` + secret + `"` + strings.Repeat(`,"`+secret+`"`, MaxVariables) + `]}`,
		"long":         `{"` + strings.Repeat(secret, MaxNameLength) + `":1}`,
		"bad Latin-1":  secret + "\xe9",
		"number":       `{"id":00` + secret + `}`,
		"wrong closer": `{"` + secret + `":["` + secret + `"}`,
	}
	for name, body := range bodies {
		_, err := d.JSON(Call{Arrived: arrived, Body: body})
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if strings.Contains(err.Error(), "zq7") || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%s: the error is %q", name, err)
		}
	}
	for _, body := range []string{secret + "=" + secret, "id=1&type=" + secret, "id=1&" + strings.Repeat(secret, MaxNameLength) + "=", strings.Repeat(secret+"="+secret+"&", MaxVariables+1)} {
		_, err := d.Form(Call{Arrived: arrived, Body: body})
		if err == nil {
			t.Errorf("%.100q: no error", body)
			continue
		}
		if strings.Contains(err.Error(), "zq7") {
			t.Errorf("%.100q: the error is %q", body, err)
		}
	}
}

// Where a text stops being JSON helps who has to mend the sender.
func TestErrJSONSaysWhere(t *testing.T) {
	var d Decoder
	for _, tc := range []struct {
		body     string
		min, max int
	}{
		{`{"id":"1" x}`, 9, 11},
		{`{"id":"1"} trailing`, 10, 13},
		{"{\"description\":\"" + strings.Repeat("é", 100) + "\" x}", 216, 220},
		{`{"id":"1"`, 9, 9},
		{``, 0, 0},
	} {
		_, err := d.JSON(Call{Arrived: arrived, Body: tc.body})
		if err == nil {
			t.Errorf("%q: no error", tc.body)
			continue
		}
		var at int
		if _, scanErr := fmt.Sscanf(err.Error(), "not valid JSON near byte %d", &at); scanErr != nil {
			t.Errorf("%q: the error is %q", tc.body, err)
		}
		if at < tc.min || at > tc.max {
			t.Errorf("%q: invalid near byte %d, want %d to %d", tc.body, at, tc.min, tc.max)
		}
	}
}

// What is called invalid above is so, and what is called readable is valid.
func TestCasesAreWhatTheyAreCalled(t *testing.T) {
	for _, tc := range jsonOnlyCases {
		if !json.Valid([]byte(tc.body)) {
			t.Errorf("%s: not JSON", tc.name)
		}
	}
	for _, tc := range notJSONCases {
		if errors.Is(tc.err, ErrJSON) == json.Valid([]byte(tc.body)) {
			t.Errorf("%s: valid is %t", tc.name, json.Valid([]byte(tc.body)))
		}
	}
}
