package webhook

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The readers of forms and JSON in the simplest way there is, with all that the standard library has for it. They cost many allocations; those of
// this package have to come to the same.

func (d *Decoder) referenceForm(call Call) (*Event, error) {
	var all leaves
	for pair := range strings.SplitSeq(call.Body, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		l := referencePlace(validText(referenceUnescape(name)))
		l.value = validText(referenceUnescape(value))
		var err error
		if all, err = all.add(l); err != nil {
			return nil, err
		}
	}
	return d.referenceEvent(&call, all)
}

// referenceEvent folds all variables, also where each comes once.
func (d *Decoder) referenceEvent(call *Call, all leaves) (*Event, error) {
	r := reading{Decoder: d, Event: Event{Account: call.Account, Arrived: call.Arrived, Time: call.Arrived}}
	var err error
	if r.Tags, err = tags(all); err != nil {
		return nil, err
	}
	for _, v := range variables(all, nil) {
		r.set(&v)
	}
	switch {
	case r.sent[sentType] != "" && r.sent[sentType] != "failure":
		return nil, ErrOtherType
	case r.ID == "":
		return nil, ErrNoID
	}
	r.derive()
	return &r.Event, nil
}

func referencePlace(name string) leaf {
	base, rest, found := strings.Cut(name, "[")
	if base == "" || !found {
		return newLeaf(name, name, false)
	}
	place := newLeaf(base, base, false)
	for rest = "[" + rest; rest != ""; {
		key, after, found := strings.Cut(rest, "]")
		if key == "" || key[0] != '[' || !found {
			return newLeaf(name, name, false)
		}
		if key == "[" {
			place.list = true
		} else {
			place.name += "." + key[1:]
		}
		rest = after
	}
	return place
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
	r := referenceReader{decoder: json.NewDecoder(strings.NewReader(validText(call.Body)))}
	r.decoder.UseNumber()
	token, err := r.decoder.Token()
	if err != nil {
		return nil, ErrJSON
	}
	if token != json.Delim('{') {
		return nil, ErrNoObject
	}
	if err := r.object(leaf{}, 1); err != nil {
		return nil, err
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrJSON
	}
	return d.referenceEvent(&call, r.all)
}

type referenceReader struct {
	decoder *json.Decoder
	all     leaves
	nested  int
}

func (r *referenceReader) object(at leaf, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return ErrJSON
		}
		key := token.(string)
		member := at
		if member.name += "." + key; depth == 1 {
			member = newLeaf(key, key, false)
		}
		if len(member.name) > MaxNameLength {
			return ErrNameTooLong
		}
		if err := r.value(member, depth); err != nil {
			return err
		}
	}
	return r.end()
}

func (r *referenceReader) array(at leaf, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	at.list = true
	for r.decoder.More() {
		if err := r.value(at, depth); err != nil {
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

func (r *referenceReader) value(at leaf, depth int) error {
	token, err := r.decoder.Token()
	if err != nil {
		return ErrJSON
	}
	switch v := token.(type) {
	case json.Delim:
		if r.nested++; r.nested > MaxVariables {
			return ErrTooManyVariables
		}
		if v == '{' {
			return r.object(at, depth+1)
		}
		return r.array(at, depth+1)
	case string:
		at.value = v
	case json.Number:
		at.value = v.String()
	case bool:
		at.value = "false"
		if v {
			at.value = "true"
		}
	}
	r.all, err = r.all.add(at)
	return err
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
		got, gotErr := reader.read(Call{Body: body})
		want, wantErr := reader.reference(Call{Body: body})
		if !errors.Is(gotErr, wantErr) {
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
