package webhook

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// rounds of each property. The seed is printed by a test that fails; FAILURE_TEST_SEED repeats it.
const rounds = 3000

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("FAILURE_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FAILURE_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// encodeForm escapes a text for a form, as PHP does.
func encodeForm(s string) string { return url.QueryEscape(s) }

// quoteJSON writes a text, which has to be UTF-8, as JSON.
func quoteJSON(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

// A pair of a report, as a test writes it: path is the name and the keys it goes down, value is one text or, in a list, several.
type pair struct {
	path []string
	list bool
	text []string
}

// pairsOf writes a report that names everything once. Times are written as time, tags as a list.
func pairsOf(r *Event) []pair {
	var pairs []pair
	scalar := func(name, value string) {
		if value != "" {
			pairs = append(pairs, pair{path: []string{name}, text: []string{value}})
		}
	}
	scalar("id", r.ID)
	scalar("type", r.Type)
	scalar("action", r.Action)
	scalar("recipient", r.Recipient)
	scalar("state", r.State)
	if r.Code != 0 {
		scalar("code", strconv.Itoa(r.Code))
	}
	scalar("extended", r.Extended.String())
	scalar("description", r.Description)
	if !r.Time.Equal(arrived) && !r.Time.IsZero() {
		scalar("time", strconv.FormatInt(r.Time.Unix(), 10))
	}
	if len(r.Tags) > 0 {
		pairs = append(pairs, pair{path: []string{"tags"}, list: true, text: r.Tags})
	}
	for _, v := range r.Variables {
		path := strings.Split(v.Name, ".")
		if v.List == nil {
			pairs = append(pairs, pair{path: path, text: []string{v.Value}})
		} else {
			pairs = append(pairs, pair{path: path, list: true, text: v.List})
		}
	}
	return pairs
}

func formOf(pairs []pair) string {
	var parts []string
	for _, p := range pairs {
		name := encodeForm(p.path[0])
		for _, key := range p.path[1:] {
			name += "[" + encodeForm(key) + "]"
		}
		if p.list {
			name += "[]"
		}
		for _, text := range p.text {
			parts = append(parts, name+"="+encodeForm(text))
		}
	}
	return strings.Join(parts, "&")
}

func jsonOf(pairs []pair) string {
	members := make([]string, len(pairs))
	for i, p := range pairs {
		value := make([]string, len(p.text))
		for j, text := range p.text {
			value[j] = quoteJSON(text)
		}
		member := strings.Join(value, ",")
		if p.list {
			member = "[" + member + "]"
		}
		for j := len(p.path) - 1; j > 0; j-- {
			member = "{" + quoteJSON(p.path[j]) + ":" + member + "}"
		}
		members[i] = quoteJSON(p.path[0]) + ":" + member
	}
	return "{" + strings.Join(members, ",") + "}"
}

// randomText is a text as an event may hold it, not empty, and rich in what encodings stumble over.
func randomText(rng *rand.Rand) string {
	const runes = `abcXYZ019 .,-_@<>&=+%;[]{}":\/'#?` + "\x00\t\r\n\u007f\u0080\u00a0éÿĀ€\u2028\ufeff\ufffd\uffff📧\U0010ffff"
	all := []rune(runes)
	var b strings.Builder
	for range 1 + rng.IntN(12) {
		b.WriteRune(all[rng.IntN(len(all))])
	}
	if text := referenceText(b.String()); text != "" {
		return text
	}
	return randomText(rng)
}

func randomTexts(rng *rand.Rand, most int) []string {
	texts := make([]string, 1+rng.IntN(most))
	for i := range texts {
		texts[i] = randomText(rng)
	}
	return texts
}

func maybe(rng *rand.Rand, text string) string {
	if rng.IntN(3) == 0 {
		return ""
	}
	return text
}

// randomReport is one that a decoder could have made.
func randomReport(rng *rand.Rand) Event {
	r := Event{
		ID:          randomText(rng),
		Type:        Failure.String(),
		Action:      maybe(rng, strings.ToLower(randomText(rng))),
		Recipient:   maybe(rng, randomText(rng)+"@"+randomText(rng)),
		State:       maybe(rng, strings.ToLower(randomText(rng))),
		Description: maybe(rng, randomText(rng)),
	}
	var free []string
	if rng.IntN(3) > 0 {
		r.Time = time.Unix(1+rng.Int64N(arrived.Unix()), 0).UTC()
	} else {
		free = append(free, "time", "timestamp")
	}
	if rng.IntN(3) > 0 {
		r.Code = 100 + rng.IntN(900)
	} else {
		free = append(free, "code")
	}
	if rng.IntN(3) > 0 {
		r.Extended = smtpstatus.Enhanced{Class: [...]uint16{2, 4, 5}[rng.IntN(3)], Subject: uint16(rng.IntN(1000)), Detail: uint16(rng.IntN(1000))}
	} else {
		free = append(free, "extended")
	}
	if rng.IntN(3) > 0 {
		r.Tags = randomTexts(rng, 5)
	}
	for _, name := range free {
		if rng.IntN(2) == 0 {
			r.Variables = append(r.Variables, other(name, "unreadable "+randomText(rng)))
			r.Anomalies = append(r.Anomalies, name)
		}
	}
	// The number makes every name differ; dots and brackets in it would be read as keys.
	flat := strings.NewReplacer(".", "", "[", "", "]", "")
	for i := range rng.IntN(5) {
		name := strings.TrimSpace(strconv.Itoa(i) + flat.Replace(randomText(rng)))
		for range rng.IntN(3) {
			name += strings.TrimRight(".k"+flat.Replace(randomText(rng)), " \t\r\n\u00a0\u2028")
		}
		if rng.IntN(2) == 0 {
			r.Variables = append(r.Variables, other(name, randomText(rng)))
		} else {
			r.Variables = append(r.Variables, others(name, randomTexts(rng, 4)...))
		}
	}
	return r
}

func TestDecodingUndoesEncoding(t *testing.T) {
	rng := newRand(t)
	for range rounds {
		want := randomReport(rng)
		pairs := pairsOf(&want)

		form := mustForm(t, formOf(pairs))
		if diff := cmp.Diff(want, form, visible); diff != "" {
			t.Fatalf("form %s (-want +got):\n%s", formOf(pairs), diff)
		}
		asJSON := mustJSON(t, jsonOf(pairs))
		if diff := cmp.Diff(want, asJSON, visible); diff != "" {
			t.Fatalf("JSON %s (-want +got):\n%s", jsonOf(pairs), diff)
		}
		if form.Identity != asJSON.Identity {
			t.Fatalf("form %s\nand JSON %s differ in their identity", formOf(pairs), jsonOf(pairs))
		}
	}
}

// Whatever is sent, however often and in whatever order: a form and the JSON that says the same are the same report, or refused alike.
func TestFormAndJSONOfAnythingMeanTheSame(t *testing.T) {
	rng := newRand(t)
	var d Decoder
	names := []string{"id", "id", "type", "tags", "tags", "code", "extended", "time", "timestamp", "state", "recipient", "description", "action", "x", "y", "z"}
	values := []string{"", "", "1", "failure", "550", "5.1.1", "1795256098", "2026-11-21 10:14:58", "a;b", "0"}
	for range rounds {
		pairs := make([]pair, rng.IntN(12))
		for i := range pairs {
			value := values[rng.IntN(len(values))]
			if rng.IntN(4) == 0 {
				value = randomText(rng)
			}
			p := pair{path: []string{names[rng.IntN(len(names))]}, list: rng.IntN(4) == 0, text: []string{value}}
			for rng.IntN(5) == 0 {
				p.path = append(p.path, string(rune('a'+rng.IntN(3))))
			}
			pairs[i] = p
		}
		form, formErr := d.Form(Call{Arrived: arrived, Body: formOf(pairs)})
		asJSON, jsonErr := d.JSON(Call{Arrived: arrived, Body: jsonOf(pairs)})
		if fmt.Sprint(formErr) != fmt.Sprint(jsonErr) {
			t.Fatalf("form %s: error %v\nJSON %s: error %v", formOf(pairs), formErr, jsonOf(pairs), jsonErr)
		}
		if diff := cmp.Diff(form, asJSON); diff != "" {
			t.Fatalf("form %s\nJSON %s (-form +JSON):\n%s", formOf(pairs), jsonOf(pairs), diff)
		}
		if formErr == nil {
			checkReport(t, formOf(pairs), form, 0)
		}
	}
}

// nameBound is how many bytes the name of one value of a JSON body may add: it can be said once and meant often.
const nameBound = MaxNameLength

// checkReport checks what holds for every report. perName is nameBound where names may be longer than the body, else 0.
func checkReport(tb testing.TB, body string, r *Event, perName int) {
	tb.Helper()
	size, values := 0, 0
	text := func(what, s string) {
		if s != referenceText(s) {
			tb.Errorf("%.500q: %s is not UTF-8, or has control characters or white space around: %.500q", body, what, s)
		}
		size += len(s)
	}
	value := func(what, s string) {
		text(what, s)
		if s != "" {
			values++
		}
	}

	value("ID", r.ID)
	value("Type", r.Type)
	value("Action", r.Action)
	value("Recipient", r.Recipient)
	value("State", r.State)
	value("Description", r.Description)
	for _, tag := range r.Tags {
		value("a tag", tag)
		if tag == "" {
			tb.Errorf("%.500q: a tag is empty", body)
		}
	}
	named := map[string]bool{}
	for _, v := range r.Variables {
		text("a name", v.Name)
		value("a value", v.Value)
		for _, s := range v.List {
			value("an element", s)
			if s == "" {
				tb.Errorf("%.500q: an element of %q is empty", body, v.Name)
			}
		}
		switch {
		case v.Name == "" || len(v.Name) > MaxNameLength || named[v.Name]:
			tb.Errorf("%.500q: a name is %q; it has to be there, not too long, and to come once", body, v.Name)
		case v.Value == "" && len(v.List) == 0:
			tb.Errorf("%.500q: %q has no value", body, v.Name)
		case v.Value != "" && v.List != nil:
			tb.Errorf("%.500q: %q is a scalar and a list", body, v.Name)
		}
		named[v.Name] = true
	}
	for _, name := range r.Anomalies {
		switch name {
		case "code", "extended", "time", "timestamp", "variables":
		default:
			tb.Errorf("%.500q: anomaly of %q", body, name)
		}
	}

	if r.ID == "" {
		tb.Errorf("%.500q: a report without an id", body)
	}
	if r.Type != "" && r.Type != Failure.String() {
		tb.Errorf("%.500q: a report of type %q", body, r.Type)
	}
	if r.Code != 0 && (r.Code < 100 || r.Code > 999) {
		tb.Errorf("%.500q: code %d", body, r.Code)
	}
	if r.Time.After(arrived.Add(MaxAhead)) || r.Time.Location() != time.UTC || r.Time.UnixNano() <= 0 {
		tb.Errorf("%.500q: failed at %v", body, r.Time)
	}
	if values > MaxVariables {
		tb.Errorf("%.500q: %d values, more than %d", body, values, MaxVariables)
	}
	// A byte of windows-1252 is up to three of UTF-8, and nothing is there twice.
	if bound := 3*len(body) + perName*len(r.Variables); size > bound {
		tb.Errorf("%.500q: %d bytes of text from %d", body, size, len(body))
	}
	text("the summary", r.Summary())
	if r.Domain != "" && (!strings.HasSuffix(r.Address, "@"+r.Domain) || r.Domain != strings.ToLower(r.Domain) || strings.ContainsAny(r.Domain, " @<>\"") || strings.ContainsFunc(r.Domain, func(c rune) bool { return c >= utf8.RuneSelf })) {
		tb.Errorf("%.500q: the domain of %.500q is %q", body, r.Address, r.Domain)
	}
	if len(r.Variables) > MaxOthers {
		tb.Errorf("%.500q: %d variables", body, len(r.Variables))
	}
}

// Soup of what forms are made of.
func TestAnythingAsForm(t *testing.T) {
	rng := newRand(t)
	var d Decoder
	pieces := []string{
		"id", "tags", "code", "extended", "time", "timestamp", "type", "state", "x", "=", "=", "=", "&", "&", "&", "[", "]", "[]", "[0]", "[a]", ";", "+", "%", "%2", "%5B", "%5D",
		"%e9", "%C3", "%A9", "%00", "\xe9", "\xc3\xa9", "\xff", "\x00", "1", "550", "5.1.1", "1795256098", "failure", "bounce", "2026-11-21 10:14:58", "id=1&", "é",
	}
	accepted := 0
	for range rounds {
		body := soup(rng, pieces, 40)
		if r, err := d.Form(Call{Arrived: arrived, Body: body}); err == nil {
			accepted++
			checkReport(t, body, r, 0)
		}
	}
	if accepted == 0 {
		t.Error("not one of them was a report")
	}
}

// Soup of what JSON is made of.
func TestAnythingAsJSON(t *testing.T) {
	rng := newRand(t)
	var d Decoder
	pieces := []string{
		`{`, `}`, `[`, `]`, `:`, `,`, `"id"`, `"tags"`, `"code"`, `"x"`, `"a\u0000"`, `"\ud800"`, `""`, `1`, `-0`, `01`, `1e9`, `550`, `true`, `null`, `nul`, ` `, "\n", "\"\xe9\"", "\x00",
		`"id":"1",`, `"a":{"b":`, `"tags":[`, `"c":"d"`, `{}`, `[]`, "\"\n\"", `"\x"`,
	}
	for range rounds {
		body := soup(rng, pieces, 12)
		if rng.IntN(2) == 0 {
			body = `{"id":"1",` + body + `}`
		}
		r, err := d.JSON(Call{Arrived: arrived, Body: body})
		if err != nil {
			continue
		}
		checkReport(t, body, r, nameBound)
		if !json.Valid([]byte(body)) {
			t.Errorf("%q is a report, but not JSON", body)
		}
	}
}

func soup(rng *rand.Rand, pieces []string, most int) string {
	var b strings.Builder
	for range rng.IntN(most) {
		b.WriteString(pieces[rng.IntN(len(pieces))])
	}
	return b.String()
}

// The default of max_request_body_size.
const largestBody = 256 << 10

// What a body of the largest size can make a decoder allocate, at worst, to be read or refused: garbage included.
func TestMemoryIsBoundedByTheBody(t *testing.T) {
	fill := func(before, repeat, after string) string {
		return before + strings.Repeat(repeat, (largestBody-len(before)-len(after))/len(repeat)) + after
	}
	var d Decoder
	long := strings.Repeat("n", MaxNameLength-2)
	for _, tc := range []struct {
		name   string
		decode func(Call) (*Event, error)
		body   string
	}{
		{"form of nothing", d.Form, fill("id=1", "&", "")},
		{"form of pairs", d.Form, fill("id=1", "&a=b", "")},
		{"form of one value", d.Form, fill("id=1&x=", "a", "")},
		{"form of one value of escapes", d.Form, fill("id=1&x=", "%E9", "")},
		{"form of one value of Latin-1", d.Form, fill("id=1&x=", "\xe9", "")},
		{"form of one name", d.Form, fill("id=1&", "%41", "=")},
		{"form of brackets", d.Form, fill("id=1&x", "[]", "=v")},
		{"form of open brackets", d.Form, fill("id=1&x", "[", "=v")},
		{"form of keys", d.Form, fill("id=1&x", "[a]", "=v")},
		{"form of one scalar of tags", d.Form, fill("id=1&tags=", "a;", "")},
		{"form of one scalar of separators", d.Form, fill("id=1&tags=", ";", "")},
		{"JSON of one value", d.JSON, fill(`{"id":"1","x":"`, "a", `"}`)},
		{"JSON of one value of Latin-1", d.JSON, fill(`{"id":"1","x":"`, "\xe9", `"}`)},
		{"JSON of one value of escapes", d.JSON, fill(`{"id":"1","x":"`, `\u0000`, `"}`)},
		{"JSON of one name", d.JSON, fill(`{"id":"1","`, "a", `":1}`)},
		{"JSON of white space", d.JSON, fill(`{"id":"1"`, " ", `}`)},
		{"JSON of one number", d.JSON, fill(`{"id":1`, "0", `}`)},
		{"JSON of brackets", d.JSON, fill(`{"id":"1","x":`, "[", "")},
		{"JSON of elements", d.JSON, fill(`{"id":"1","x":[1`, ",1", "]}")},
		{"JSON of empty arrays", d.JSON, fill(`{"id":"1","x":[[]`, ",[]", "]}")},
		{"JSON of empty objects", d.JSON, fill(`{"id":"1"`, `,"x":{}`, "}")},
		{"JSON of empty objects in one with a long name", d.JSON, fill(`{"id":"1","`+long+`":{"x":{}`, `,"y":{}`, "}}")},
		{"JSON of values in one with a long name", d.JSON, fill(`{"id":"1","`+long+`":{"x":1`, `,"y":1`, "}}")},
		{"JSON of one scalar of tags", d.JSON, fill(`{"id":"1","tags":"`, "a;", `"}`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := tc.decode(Call{Arrived: arrived, Body: tc.body})
			runtime.ReadMemStats(&after)
			// 32 times: a token of two or three bytes costs the parser a few allocations of its own; and the names of all variables.
			allocated, bound := after.TotalAlloc-before.TotalAlloc, uint64(32*len(tc.body)+MaxNameLength*MaxVariables)
			t.Logf("%.1f bytes for each byte (%v)", float64(allocated)/float64(len(tc.body)), err)
			if allocated > bound {
				t.Errorf("%d bytes allocated for a body of %d, more than %d", allocated, len(tc.body), bound)
			}
		})
	}
}
