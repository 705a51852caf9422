package webhook

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// addSeeds adds bodies that are not so long that they slow fuzzing down.
func addSeeds(f *testing.F, cases ...[]decodeCase) {
	f.Helper()
	for _, each := range cases {
		for _, tc := range each {
			if len(tc.body) < 2000 {
				f.Add(tc.body)
			}
		}
	}
}

func FuzzForm(f *testing.F) {
	addSeeds(f, formCases)
	for _, e := range readVectors(f).Encodings {
		f.Add(e.Body)
	}
	f.Fuzz(func(t *testing.T, body string) { fuzz(t, body, decodeForm, 0) })
}

func FuzzJSON(f *testing.F) {
	addSeeds(f, jsonCases)
	f.Add(string(readVectors(f).Report))
	f.Fuzz(func(t *testing.T, body string) {
		said := fuzz(t, body, decodeJSON, nameBound)
		valid := json.Valid([]byte(strings.TrimPrefix(body, byteOrderMark)))
		if said == ErrJSON.Error() && valid || said == "" && !valid {
			t.Errorf("%q is JSON: %t", body, valid)
		}
	})
}

// fuzz decodes a body, and returns what describe says of an error.
func fuzz(t *testing.T, body string, decode func(string) (*Event, error), perName int) string {
	t.Helper()
	e, err := decode(body)
	if err == nil {
		checkEvent(t, body, e, perName)
		checkRepeat(t, body, e)
		return ""
	}
	said := describe(e, err)
	if e != nil || strings.HasPrefix(said, "undocumented") || !utf8.ValidString(err.Error()) {
		t.Errorf("%q: %s, with an event: %t", body, said, e != nil)
	}
	return said
}

// FuzzCharset reads any bytes in any charset.
func FuzzCharset(f *testing.F) {
	for _, charset := range []string{
		"", "utf-8", "latin1", "utf-16le", "utf-16", "shift_jis", "gb18030", "iso-2022-jp", "big5", "x-user-defined",
	} {
		f.Add(charset, "id=1&description=%92\x80%E2%82%AC\xff&a[%81]=%1B%24B")
		f.Add(charset, `{"id":"1","description":"`+"\x92\xe2\x82\xac\x1b"+`"}`)
	}
	f.Fuzz(func(t *testing.T, charset, body string) {
		var d Decoder
		for _, decode := range []func(Call) (*Event, error){d.Form, d.JSON} {
			if e, err := decode(Call{Arrived: arrived, Charset: charset, Body: body}); err == nil {
				checkEvent(t, body, e, nameBound)
			}
		}
	})
}

// ambiguous names are read as other names, or as tags.
var ambiguous = regexp.MustCompile(`[][]|^\.|\.\.|\.$|^(tags|type)\.`)

// checkRepeat checks that an event that is written again, as a form and as JSON, is the same event.
func checkRepeat(t *testing.T, body string, e *Event) {
	t.Helper()
	for _, v := range e.Variables {
		if ambiguous.MatchString(v.Name) {
			return
		}
	}
	pairs := pairsOf(e)
	form, err := decodeForm(formOf(pairs))
	require.NoError(t, err, body)
	fromJSON, err := decodeJSON(jsonOf(pairs))
	require.NoError(t, err, body)
	require.Equal(t, form, fromJSON, body)
	require.Equal(t, [...]any{e.ID, e.Type, e.Code, e.Extended, e.Description, strings.Join(e.Tags, "&")},
		[...]any{form.ID, form.Type, form.Code, form.Extended, form.Description, strings.Join(form.Tags, "&")}, body)
}
