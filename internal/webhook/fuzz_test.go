package webhook

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func FuzzForm(f *testing.F) {
	for _, group := range formCases {
		for _, tc := range group.cases {
			if len(tc.body) < 2000 {
				f.Add(tc.body)
			}
		}
	}
	for _, tc := range equivalents {
		f.Add(tc.form)
	}
	for _, e := range readVectors(f).Encodings {
		f.Add(e.Body)
	}

	f.Fuzz(func(t *testing.T, body string) {
		var d Decoder
		r, err := d.Form(Call{Arrived: arrived, Body: body})
		if err != nil {
			if !errors.Is(err, ErrTooManyVariables) && !errors.Is(err, ErrNameTooLong) && !errors.Is(err, ErrNoID) && !errors.Is(err, ErrOtherWebhook) && !isNotTaken(err) {
				t.Errorf("%q: undocumented error %v", body, err)
			}
			if r != nil {
				t.Errorf("%q: a report beside the error %v: %+v", body, err, r)
			}
			return
		}
		checkReport(t, body, r, 0)
		checkRepeat(t, body, r)
	})
}

// FuzzCharset reads any bytes in any charset.
func FuzzCharset(f *testing.F) {
	for _, charset := range []string{"", "utf-8", "latin1", "utf-16le", "utf-16", "shift_jis", "gb18030", "iso-2022-jp", "big5", "x-user-defined", "klingon"} {
		f.Add(charset, "id=1&description=%92\x80%E2%82%AC\xff&a[%81]=%1B%24B")
		f.Add(charset, `{"id":"1","description":"`+"\x92\xe2\x82\xac\x1b"+`"}`)
	}
	f.Fuzz(func(t *testing.T, charset, body string) {
		var d Decoder
		for _, read := range []func(Call) (*Event, error){d.Form, d.JSON} {
			if e, err := read(Call{Arrived: arrived, Charset: charset, Body: body}); err == nil {
				checkReport(t, body, e, nameBound)
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, cases := range [][]decodeCase{jsonOnlyCases, notJSONCases} {
		for _, tc := range cases {
			if len(tc.body) < 2000 {
				f.Add(tc.body)
			}
		}
	}
	for _, tc := range equivalents {
		f.Add(tc.json)
	}
	f.Add(string(readVectors(f).Report))

	f.Fuzz(func(t *testing.T, body string) {
		var d Decoder
		r, err := d.JSON(Call{Arrived: arrived, Body: body})
		if err != nil {
			switch {
			case errors.Is(err, ErrJSON):
				if json.Valid([]byte(strings.TrimPrefix(body, byteOrderMark))) {
					t.Errorf("%q is JSON, but the error is %v", body, err)
				}
			case errors.Is(err, ErrNoObject), errors.Is(err, ErrTooDeep), errors.Is(err, ErrTooManyVariables), errors.Is(err, ErrNameTooLong),
				errors.Is(err, ErrNoID), errors.Is(err, ErrOtherWebhook), isNotTaken(err):
			default:
				t.Errorf("%q: undocumented error %v", body, err)
			}
			if !utf8.ValidString(err.Error()) {
				t.Errorf("%q: the error is not UTF-8: %q", body, err)
			}
			if r != nil {
				t.Errorf("%q: a report beside the error %v: %+v", body, err, r)
			}
			return
		}
		if !json.Valid([]byte(strings.TrimPrefix(body, byteOrderMark))) {
			t.Errorf("%q is a report, but not JSON", body)
		}
		checkReport(t, body, r, nameBound)
		checkRepeat(t, body, r)
	})
}

// checkRepeat checks that a report that is written again, as a form and as JSON, is one report: unless its names have dots and brackets
// of their own, which cannot be told from keys.
func checkRepeat(t *testing.T, body string, r *Event) {
	t.Helper()
	for _, v := range r.Variables {
		if !writable(v.Name) {
			return
		}
	}
	pairs := pairsOf(r)
	var d Decoder
	form, formErr := d.Form(Call{Arrived: arrived, Body: formOf(pairs)})
	asJSON, jsonErr := d.JSON(Call{Arrived: arrived, Body: jsonOf(pairs)})
	if formErr != nil || jsonErr != nil {
		t.Fatalf("%.500q again: form %v, JSON %v", body, formErr, jsonErr)
	}
	if diff := cmp.Diff(form, asJSON); diff != "" {
		t.Errorf("%.500q again (-form +JSON):\n%s", body, diff)
	}
	if diff := cmp.Diff(r.Tags, form.Tags, visible); diff != "" {
		t.Errorf("%.500q again, tags (-first +again):\n%s", body, diff)
	}
	if r.ID != form.ID || r.Type != form.Type || r.Code != form.Code || r.Extended != form.Extended || r.Description != form.Description {
		t.Errorf("%.500q again: %+v, at first %+v", body, form, *r)
	}
}

// writable reports whether a flat name has one way back to a name with keys, and means the same there.
func writable(name string) bool {
	if strings.HasPrefix(name, "tags.") || strings.HasPrefix(name, "type.") {
		return false
	}
	for i, c := range name {
		switch c {
		case '[', ']':
			return false
		case '.':
			if i == 0 || i == len(name)-1 || name[i+1] == '.' {
				return false
			}
		}
	}
	return true
}

func isNotTaken(err error) bool {
	_, ok := errors.AsType[*NotAcceptedError](err)
	return ok
}
