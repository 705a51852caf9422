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

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"
)

// The readers of forms and JSON in the simplest way there is, with all that the standard library has for it. They cost many
// allocations; those of this package have to come to the same.

// referenceValues folds the values of a body: every path is a list of its parts.
type referenceValues struct {
	paths  [][]string
	values map[string][]string // by path, in order
	listed map[string]bool     // by path, of the last value
	tags   []string
	nTags  int
	scalar bool
	pairs  int
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
		v.nTags, v.scalar = v.nTags+1, !listed && len(path) == 1
		if value != "" {
			v.tags = append(v.tags, value)
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

func (v *referenceValues) event(d *Decoder, call *Call) (*Event, error) {
	b := d.newEventBuilder(call)
	b.pairs, b.Tags, b.tagPairs, b.tagScalar = v.pairs, v.tags, v.nTags, v.scalar
	for _, path := range v.paths {
		key := fmt.Sprintf("%q", path)
		one := Variable{Name: strings.Join(path, pathSeparator)}
		switch found := v.values[key]; {
		case len(found) == 0:
		case v.listed[key]:
			one.List = found
		default:
			one.Value = found[0]
		}
		b.collected = append(b.collected, one)
	}
	return b.event()
}

func newReferenceValues() referenceValues {
	return referenceValues{values: map[string][]string{}, listed: map[string]bool{}}
}

func (d *Decoder) referenceForm(call Call) (*Event, error) {
	all := newReferenceValues()
	for pair := range strings.SplitSeq(strings.TrimPrefix(call.Body, "\xef\xbb\xbf"), "&") {
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
	return all.event(d, &call)
}

// referenceText reads bytes that are not UTF-8 as windows-1252, control characters as spaces, and no white space around.
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

func referenceUnescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if escaped, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				out.Write(escaped)
				i += 2
				continue
			}
		}
		if s[i] == '+' {
			out.WriteByte(' ')
		} else {
			out.WriteByte(s[i])
		}
	}
	return out.String()
}

func (d *Decoder) referenceJSON(call Call) (*Event, error) {
	body := strings.TrimPrefix(call.Body, "\xef\xbb\xbf")
	r := referenceReader{decoder: json.NewDecoder(strings.NewReader(referenceUTF8(body))), all: newReferenceValues()}
	r.decoder.UseNumber()
	token, err := r.decoder.Token()
	if err != nil {
		return nil, ErrJSON
	}
	if token != json.Delim('{') {
		return nil, ErrNoObject
	}
	if err := r.object(nil, false, 1); err != nil {
		return nil, err
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrJSON
	}
	return r.all.event(d, &call)
}

type referenceReader struct {
	decoder *json.Decoder
	all     referenceValues
	nested  int
}

func (r *referenceReader) object(path []string, listed bool, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return ErrJSON
		}
		member := append(slices.Clone(path), referenceText(token.(string)))
		if len(strings.Join(member, ".")) > MaxNameLength {
			return ErrNameTooLong
		}
		if err := r.value(member, listed, depth); err != nil {
			return err
		}
	}
	return r.end()
}

func (r *referenceReader) array(path []string, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	for r.decoder.More() {
		if err := r.value(path, true, depth); err != nil {
			return err
		}
	}
	return r.end()
}

func (r *referenceReader) end() error {
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
		if v == '{' {
			return r.object(path, listed, depth+1)
		}
		return r.array(path, depth+1)
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
	var d Decoder
	for _, reader := range []struct {
		name            string
		read, reference func(Call) (*Event, error)
	}{
		{"form", d.Form, d.referenceForm},
		{"JSON", d.JSON, d.referenceJSON},
	} {
		got, gotErr := reader.read(Call{Arrived: arrived, Body: body})
		want, wantErr := reader.reference(Call{Arrived: arrived, Body: body})
		if !errors.Is(gotErr, wantErr) && fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Fatalf("%s %.500q: error %v, want %v", reader.name, body, gotErr, wantErr)
		}
		// cmp takes its time, also where there is nothing to tell.
		if !reflect.DeepEqual(want, got) {
			diff := cmp.Diff(want, got)
			t.Fatalf("%s %.500q (-want +got):\n%s", reader.name, body, diff)
		}
	}
}

// referenceBodies are all the bodies of the other tests, and some that hold what those are made of at every length.
func referenceBodies(tb testing.TB) []string {
	tb.Helper()
	var bodies []string
	for _, cases := range [][]decodeCase{jsonOnlyCases, notJSONCases} {
		for _, tc := range cases {
			bodies = append(bodies, tc.body)
		}
	}
	for _, group := range formCases {
		for _, tc := range group.cases {
			bodies = append(bodies, tc.body)
		}
	}
	for _, tc := range equivalents {
		bodies = append(bodies, tc.form, tc.json)
	}
	vectors := readVectors(tb)
	for _, e := range vectors.Encodings {
		bodies = append(bodies, e.Body)
	}
	return append(bodies, string(vectors.Report), `{"id":"1","a":[true,false,null,-0.1e+2,"\ud83d\ude00\u00e9\"\\\/\b\f\n\r\t"],"b":{"c":[[],{}],"d":{"e":1E-9}}}`)
}

func TestReadersAgreeWithReference(t *testing.T) {
	bodies := referenceBodies(t)
	for _, body := range bodies {
		checkReference(t, body)
	}
	// Every byte, at every place of a text that has one of everything.
	last := bodies[len(bodies)-1]
	for at := range last {
		for c := range 256 {
			checkReference(t, last[:at]+string([]byte{byte(c)})+last[at+1:])
		}
		checkReference(t, last[:at])
		checkReference(t, last[:at]+last[at+1:])
	}
	// Pieces in any order, most of which are nearly JSON, or nearly a form.
	pieces := []string{
		"{", "}", "[", "]", ",", ":", `"`, `"id"`, `"id":"1"`, `"a":`, `"tags":["x"`, "true", "false", "null", "0", "-", "1", ".", "e", "E+", `\`, `\u`, `\ud83d`, `\ude00`, `\n`,
		"00e9", " ", "\n", "\x00", "\x1f", "\x7f", "\xe9", "\xc3", "\xa9", "\u2028", "id=1", "&", "=", "%", "%4", "%5B", "%5d", "+", "tags", "code=550", "time=1",
	}
	rng := newRand(t)
	for range 10 * rounds {
		var body strings.Builder
		if rng.IntN(2) == 0 {
			body.WriteString(`{"id":"1","a":`)
		}
		for range rng.IntN(12) {
			body.WriteString(pieces[rng.IntN(len(pieces))])
		}
		if rng.IntN(2) == 0 {
			body.WriteByte('}')
		}
		checkReference(t, body.String())
	}
}

func FuzzReadersAgreeWithReference(f *testing.F) {
	for _, body := range referenceBodies(f) {
		if len(body) < 2000 {
			f.Add(body)
		}
	}
	f.Fuzz(checkReference)
}
