package webhook

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// The readers of forms and JSON in the simplest way there is, with all that the standard library
// has for it. Those of this package have to come to the same.

// referenceValues collects the values of a body.
type referenceValues struct {
	eventBuilder // of which only counts and tags are used
	paths        [][]string
	values       map[string][]string // by path, in order
	listed       map[string]bool     // by path, of the last value
}

func (v *referenceValues) add(path []string, value string, listed bool) error {
	if v.pairs++; v.pairs > MaxVariables {
		return ErrTooManyVariables
	}
	if len(strings.Join(path, ".")) > MaxNameLength {
		return ErrNameTooLong
	}
	if path[0] == "" {
		return nil
	}
	if path[0] == "tags" {
		v.tagPairs, v.tagScalar = v.tagPairs+1, !listed && len(path) == 1
		if value != "" {
			v.Tags = append(v.Tags, value)
		}
		return nil
	}
	key := fmt.Sprintf("%q", path)
	if !slices.ContainsFunc(v.paths, func(known []string) bool { return slices.Equal(known, path) }) {
		v.paths = append(v.paths, path)
	}
	if listed && value == "" {
		return nil
	}
	if !listed || !v.listed[key] {
		v.values[key] = nil
	}
	if v.listed[key] = listed; value != "" {
		v.values[key] = append(v.values[key], value)
	}
	return nil
}

func (v *referenceValues) event() (*Event, error) {
	for _, path := range v.paths {
		key := fmt.Sprintf("%q", path)
		one := Variable{Name: strings.Join(path, pathSeparator)}
		if found := v.values[key]; v.listed[key] {
			one.List = found
		} else {
			one.Value = strings.Join(found, "")
		}
		v.collected = append(v.collected, one)
	}
	return v.eventBuilder.event()
}

func newReferenceValues() referenceValues {
	b := new(Decoder).newEventBuilder(&Call{Arrived: arrived})
	return referenceValues{eventBuilder: *b, values: map[string][]string{}, listed: map[string]bool{}}
}

func referenceForm(body string) (*Event, error) {
	all := newReferenceValues()
	for pair := range strings.SplitSeq(strings.TrimPrefix(body, "\xef\xbb\xbf"), "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = referenceText(referenceUnescape(name))
		if all.pairs == 0 {
			name = strings.TrimPrefix(name, "\ufeff")
		}
		path, listed := referencePath(name)
		if err := all.add(path, referenceText(referenceUnescape(value)), listed); err != nil {
			return nil, err
		}
	}
	return all.event()
}

// referenceText reads bytes that are not UTF-8 as windows-1252, and control characters as spaces.
func referenceText(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) {
			return ' '
		}
		return r
	}, referenceUTF8(s)))
}

func referenceUTF8(s string) string {
	var out strings.Builder
	for i, r := range s {
		if r != utf8.RuneError || strings.HasPrefix(s[i:], string(r)) {
			out.WriteRune(r)
			continue
		}
		one, err := charmap.Windows1252.NewDecoder().String(s[i : i+1])
		if err != nil {
			panic(err)
		}
		out.WriteString(one)
	}
	return out.String()
}

var brackets = regexp.MustCompile(`^([^\[]+)((?:\[[^\]]*\])+)$`)

func referencePath(name string) (path []string, listed bool) {
	match := brackets.FindStringSubmatch(name)
	if match == nil {
		return []string{name}, false
	}
	path = []string{strings.TrimSpace(match[1])}
	for key := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSuffix(match[2], "]"), "["), "][") {
		if key == "" {
			listed = true
		} else {
			path = append(path, strings.TrimSpace(key))
		}
	}
	return path, listed
}

var escapes = regexp.MustCompile(`\+|%[0-9A-Fa-f]{2}`)

func referenceUnescape(s string) string {
	return escapes.ReplaceAllStringFunc(s, func(escape string) string {
		if escape == "+" {
			return " "
		}
		decoded, err := hex.DecodeString(escape[1:])
		if err != nil {
			panic(err)
		}
		return string(decoded)
	})
}

func referenceJSON(body string) (*Event, error) {
	text := referenceUTF8(strings.TrimPrefix(body, "\xef\xbb\xbf"))
	r := referenceReader{decoder: json.NewDecoder(strings.NewReader(text)), all: newReferenceValues()}
	r.decoder.UseNumber()
	token, err := r.decoder.Token()
	if err != nil {
		return nil, ErrJSON
	}
	if token != json.Delim('{') {
		return nil, ErrNoObject
	}
	if err := r.members(true, nil, false, 1); err != nil {
		return nil, err
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrJSON
	}
	return r.all.event()
}

type referenceReader struct {
	decoder *json.Decoder
	all     referenceValues
	nested  int
}

func (r *referenceReader) members(object bool, path []string, listed bool, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	for r.decoder.More() {
		member := path
		if object {
			token, err := r.decoder.Token()
			if err != nil {
				return ErrJSON
			}
			member = append(slices.Clone(path), referenceText(token.(string)))
			if len(strings.Join(member, ".")) > MaxNameLength {
				return ErrNameTooLong
			}
		}
		if err := r.value(member, listed || !object, depth); err != nil {
			return err
		}
	}
	if _, err := r.decoder.Token(); err != nil {
		return ErrJSON
	}
	return nil
}

func (r *referenceReader) value(path []string, listed bool, depth int) error {
	token, err := r.decoder.Token()
	if err != nil {
		return ErrJSON
	}
	text := ""
	switch v := token.(type) {
	case json.Delim:
		if r.nested++; r.nested > MaxVariables {
			return ErrTooManyVariables
		}
		return r.members(v == '{', path, listed, depth+1)
	case string:
		text = v
	case json.Number:
		text = v.String()
	case bool:
		text = strconv.FormatBool(v)
	}
	return r.all.add(path, referenceText(text), listed)
}

// checkReference holds both readers to the simple ones. Any text is read as both.
func checkReference(t *testing.T, body string) {
	t.Helper()
	for _, reader := range []struct {
		name            string
		read, reference func(string) (*Event, error)
		perName         int
	}{
		{"form", decodeForm, referenceForm, 0},
		{"JSON", decodeJSON, referenceJSON, nameBound},
	} {
		got, gotErr := reader.read(body)
		want, wantErr := reader.reference(body)
		if !errors.Is(gotErr, wantErr) && fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Fatalf("%s %.500q: error %v, want %v", reader.name, body, gotErr, wantErr)
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("%s %.500q:\n got %+v\nwant %+v", reader.name, body, got, want)
		}
		if gotErr == nil {
			checkEvent(t, body, got, reader.perName)
		}
	}
}

// everything is JSON that has one of everything.
const everything = `{"id":"1","a":[true,false,null,-0.1e+2,"\ud83d\ude00\u00e9\"\\\/\b\f\n\r\t"],` +
	`"b":{"c":[[],{}],"d":{"e":1E-9}}}`

func TestReadersAgreeWithReference(t *testing.T) {
	for _, cases := range [][]decodeCase{formCases, jsonCases, {{body: everything}}} {
		for _, tc := range cases {
			checkReference(t, tc.body)
		}
	}
	// Every byte, or a few, at every place of a text that has one of everything.
	rng := newRand(t)
	for at := range everything {
		bytes := rng.Perm(256)
		if !*exhaustive {
			bytes = bytes[:8]
		}
		for _, c := range bytes {
			checkReference(t, everything[:at]+string([]byte{byte(c)})+everything[at+1:])
		}
		checkReference(t, everything[:at])
		checkReference(t, everything[:at]+everything[at+1:])
	}
	// Pieces in any order, most of which are nearly JSON, or nearly a form.
	pieces := []string{
		"{", "}", "[", "]", ",", ":", `"`, `"id"`, `"id":"1"`, `"a":`, `"a":{"b":`, `"tags":["x"`, "true", "null",
		"nul", "0", "-", "1", "01", ".", "e", "E+", `\`, `\u`, `\ud83d`, `\ude00`, `\n`, "00e9", " ", "\n", "\x00",
		"\x1f", "\x7f", "\xe9", "\xc3", "\xa9", "\xff", "\u2028", "é", "id=1&", "&", "&", "=", "=", "%", "%4", "%5B",
		"%5d", "[]", "[0]", "[a]", ";", "+", "id", "tags", "x", "type", "failure", "bounce", "code=550",
		"extended=5.1.1", "time=1", "timestamp=2026-11-21 10:14:58",
	}
	for range rounds(30_000) {
		var body strings.Builder
		body.WriteString([]string{"", `{"id":"1","a":`, "id=1&"}[rng.IntN(3)])
		for range rng.IntN(20) {
			body.WriteString(pieces[rng.IntN(len(pieces))])
		}
		if rng.IntN(2) == 0 {
			body.WriteByte('}')
		}
		checkReference(t, body.String())
	}
}

func FuzzReadersAgreeWithReference(f *testing.F) {
	addSeeds(f, formCases, jsonCases)
	f.Add(everything)
	f.Fuzz(checkReference)
}
