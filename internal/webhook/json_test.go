package webhook

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// jsonCases are what JSON can say and a form cannot.
var jsonCases = []decodeCase{
	{" \r\n\t{ \"id\" : \"1\" , \"code\" : 550 } \n", `code=550`},

	// Numbers, booleans and null.
	{`{"id":42,"code":550,"time":1795256098}`, `id="42" code=550 time=2026-11-21T10:14:58Z`},
	{`{"id":1,"a":1.50,"b":-0,"c":1E+400,"d":123456789012345678}`, `a="1.50" b="-0" c="1E+400" d="123456789012345678"`},
	{`{"id":"1","code":0,"time":0}`, `time="0" !time`},
	{`{"id":false,"a":true}`, `id="false" a="true"`},
	{`{"id":"1","code":null,"type":null,"x":null,"tags":null}`, ``},
	{`{"id":0}`, `id="0"`},

	// Objects and arrays.
	{`{"id":"1","p":{"k":"v","n":1,"a":{"b":"w"}}}`, `p.k="v" p.n="1" p.a.b="w"`},
	{`{"id":"1","a":["x",2,null,true,""]}`, `a=["x" "2" "true"]`},
	{`{"id":"1","a":[["x","y"],"z"]}`, `a=["x" "y" "z"]`},
	{`{"id":"1","a":[{"k":"x"},{"k":"y","l":"z"}]}`, `a.k=["x" "y"] a.l=["z"]`},
	{`{"id":"1","a":[],"b":{},"c":[[],{}],"tags":[],"code":{},"type":[]}`, ``},
	{`{"id":"1","code":[550,551],"state":["dns"]}`, `code=["550" "551"] state=["dns"] !code`},
	{`{"id":"1","code":{"smtp":550},"state":{"x":"y"}}`, `code.smtp="550" state.x="y" !code`},
	{`{"id":"1","a.b":"first","a":{"b":"second","b.c":1}}`, `a.b=["first" "second"] a.b.c="1"`},

	// The last of repeated names wins, arrays add up.
	{`{"id":"1","code":421,"x":1,"code":550,"x":2,"id":"2"}`, `id="2" code=550 x="2"`},
	{`{"id":"1","p":{"k":1,"k":2},"p":{"l":3}}`, `p.k="2" p.l="3"`},
	{`{"id":"1","a":["x"],"a":["y"],"b":"x","b":["y"],"c":["x"],"c":"y"}`, `a=["x" "y"] b=["y"] c="y"`},

	// Tags.
	{`{"id":"1","tags":"a; b"}`, `tags=["a" "b"]`},
	{`{"id":"1","tags":{"k":"b;c"}}`, `tags=["b;c"]`},
	{`{"id":"1","tags":7}`, `tags=["7"]`},
	{`{"id":"1","tags":[["a"],{"k":"b"},1,null,"",[],{},{"a":null},false]}`, `tags=["a" "b" "1" "false"]`},
	{`{"id":"1","tags":"a;b","tags":["c"],"tags":"d"}`, `tags=["a;b" "c" "d"]`},

	// Text.
	{`{"\u0069d":"1","description":"\"\\\/\b\f\n\r\t\u00e9\ud83d\udce7<&"}`, `description="\"\\/  \n\r\té📧<&"`},
	{`{"id":"1","description":"a\u0000b","\ud83d":"\udce7-\ud83dx"}`, `description="a b" �="�-�x"`},
	{`{"id":"1","description":"a+b%20c&d=e"}`, `description="a+b%20c&d=e"`},
	{`{"":"x","id":"1"}`, ``},
	{"{\"id\":\"1\",\"description\":\"bo\xeete\\u00e9\xc3\xa9\",\"\xe9\":\"x\"}", `description="boîteéé" é="x"`},
	{"{\"id\":\"1\",\"a\":\"\xe2\x82\",\"b\":\"\xc3\"}", `a="â‚" b="Ã"`},

	// Bounds.
	{`{"id":"1","tags":["a"` + strings.Repeat(`,"a"`, MaxVariables-2) + `]}`, tagsOfA(MaxVariables - 1)},
	{`{"id":"1","x":[null` + strings.Repeat(`,null`, MaxVariables-1) + `]}`, ErrTooManyVariables.Error()},
	{`{"id":"1","a":[[]` + strings.Repeat(",[]", MaxVariables-2) + `]}`, ``},
	{`{"id":"1","a":[[]` + strings.Repeat(",[]", MaxVariables-1) + `]}`, ErrTooManyVariables.Error()},
	{`{"id":"1","` + strings.Repeat("n", MaxNameLength) + `":"v"}`, strings.Repeat("n", MaxNameLength) + `="v"`},
	{`{"id":"1","` + strings.Repeat("n", MaxNameLength+1) + `":{}}`, ErrNameTooLong.Error()},
	{`{"id":"1","a":` + nested(`{"`+strings.Repeat("n", 100)+`":`, `"v"`, "}", 20) + `}`, ErrNameTooLong.Error()},
	{`{"id":"1","a":` + nested(`{"k":`, `"v"`, "}", MaxDepth-1) + `}`, "a" + strings.Repeat(".k", MaxDepth-1) + `="v"`},
	{`{"id":"1","a":` + nested(`{"k":`, `"v"`, "}", MaxDepth) + `}`, ErrTooDeep.Error()},
	{`{"id":"1","a":` + nested("[", `"v"`, "]", MaxDepth-1) + `}`, `a=["v"]`},
	{`{"id":"1","a":` + nested("[", `"v"`, "]", MaxDepth) + `}`, ErrTooDeep.Error()},
	{`{"id":"1","a":` + nested("[", "", "]", 5000) + `}`, ErrTooDeep.Error()},

	// No event.
	{`{"id":null}`, ErrNoID.Error()},
	{`{}`, ErrNoID.Error()},
	{`{"id":"1","type":{"name":"bounce"}}`, ErrOtherWebhook.Error()},
	{`[{"id":"1"}]`, ErrNoObject.Error()},
	{`null`, ErrNoObject.Error()},

	// No JSON.
	{"", ErrJSON.Error()},
	{" \n", ErrJSON.Error()},
	{`nul`, ErrJSON.Error()},
	{`{"id":"1"}{"id":"2"}`, ErrJSON.Error()},
	{`{"id":"1"}]`, ErrJSON.Error()},
	{"{\"id\":\"1\"}\xa0", ErrJSON.Error()},
	{`{"id":"1",}`, ErrJSON.Error()},
	{`{1:"1"}`, ErrJSON.Error()},
	{`{"id":01}`, ErrJSON.Error()},
	{"{\"id\":\"1\n\"}", ErrJSON.Error()},
}

// nested puts inner into n times before and after.
func nested(before, inner, after string, n int) string {
	return strings.Repeat(before, n) + inner + strings.Repeat(after, n)
}

func TestJSON(t *testing.T) { testCases(t, jsonCases, decodeJSON) }

// Errors go into responses and logs.
func TestErrorsHoldNothingOfTheBody(t *testing.T) {
	const secret = "zq7secret"
	for _, body := range []string{
		`{"type":"` + secret + `","id":"` + secret + `"}`,
		`{"id":` + secret + `}`,
		`{` + secret + `:1}`,
		`{"` + secret + `" 1}`,
		`{"` + secret + `":"\q` + secret + `"}`,
		"{\"" + secret + "\n" + secret + "\":1}",
		`{"` + secret + `":"` + secret,
		`{"` + secret + `":["` + secret + `"}`,
		`"` + secret + `"`,
		secret + "\xe9",
		nested(`{"`+secret+`":`, "1", "}", MaxDepth+1),
		`{"` + secret + `":["` + secret + `"` + strings.Repeat(`,"`+secret+`"`, MaxVariables) + `]}`,
		`{"` + strings.Repeat(secret, MaxNameLength) + `":1}`,
		secret + "=" + secret,
		"id=1&type=" + secret,
		"id=1&" + strings.Repeat(secret, MaxNameLength) + "=",
		strings.Repeat(secret+"="+secret+"&", MaxVariables+1),
	} {
		for _, decode := range []func(string) (*Event, error){decodeForm, decodeJSON} {
			_, err := decode(body)
			require.Error(t, err)
			assert.NotRegexp(t, `zq7|[\r\n]`, err.Error(), "%.100q", body)
		}
	}
}

func TestErrJSONSaysWhere(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"1" x}`:        `near byte (9|10|11)$`,
		`{"id":"1"} trailing`: `near byte 1[0-3]$`,
		`{"a":"ééééé" x}`:     `near byte 1[789]$`,
		`{"id":"1"`:           `near byte 9$`,
		``:                    `near byte 0$`,
	} {
		_, err := decodeJSON(body)
		require.ErrorIs(t, err, ErrJSON)
		assert.Regexp(t, "^not valid JSON "+want, err.Error(), body)
	}
}
