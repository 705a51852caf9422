package webhook

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

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

// pair is a variable as a test writes it: a name with its keys, and its text, or texts in a list.
type pair struct {
	path []string
	list bool
	text []string
}

// pairsOf writes an event that names everything once. Times are written as time, tags as a list.
func pairsOf(e *Event) []pair {
	var pairs []pair
	scalar := func(name, value string) {
		if value != "" {
			pairs = append(pairs, pair{path: []string{name}, text: []string{value}})
		}
	}
	scalar("id", e.ID)
	scalar("type", e.Type)
	scalar("action", e.Action)
	scalar("recipient", e.Recipient)
	scalar("state", e.State)
	if e.Code != 0 {
		scalar("code", strconv.Itoa(e.Code))
	}
	scalar("extended", e.Extended.String())
	scalar("description", e.Description)
	if !e.Time.Equal(arrived) {
		scalar("time", strconv.FormatInt(e.Time.Unix(), 10))
	}
	if len(e.Tags) > 0 {
		pairs = append(pairs, pair{path: []string{"tags"}, list: true, text: e.Tags})
	}
	for _, v := range e.Variables {
		pairs = append(pairs, pair{path: strings.Split(v.Name, "."), list: v.List != nil, text: v.all()})
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

// jsonOf writes pairs as an object, and what can be a number or null as such.
func jsonOf(pairs []pair) string {
	var members []string
	for _, p := range pairs {
		var values []string
		for _, text := range p.text {
			value := quoteJSON(text)
			if _, err := strconv.Atoi(text); err == nil && json.Valid([]byte(text)) {
				value = text
			} else if text == "" {
				value = "null"
			}
			values = append(values, value)
		}
		member := strings.Join(values, ",")
		if p.list {
			member = "[" + member + "]"
		}
		for j := len(p.path) - 1; j > 0; j-- {
			member = "{" + quoteJSON(p.path[j]) + ":" + member + "}"
		}
		members = append(members, quoteJSON(p.path[0])+":"+member)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// randomText is a text as an event may hold it, not empty, and rich in what encodings stumble over.
func randomText(rng *rand.Rand) string {
	const runes = `abcXYZ019 .,-_@<>&=+%;[]{}":\/'#?` +
		"\x00\t\r\n\u007f\u0080\u00a0éÿĀ€\u2028\ufeff\ufffd\uffff📧\U0010ffff"
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

// randomEvent is one that a decoder could have made.
func randomEvent(rng *rand.Rand) *Event {
	maybe := func(text string) string {
		if rng.IntN(3) == 0 {
			return ""
		}
		return text
	}
	e := &Event{
		ID:          randomText(rng),
		Type:        Failure.String(),
		Action:      maybe(strings.ToLower(randomText(rng))),
		Recipient:   maybe(randomText(rng) + "@" + randomText(rng)),
		State:       maybe(strings.ToLower(randomText(rng))),
		Description: maybe(randomText(rng)),
		Time:        arrived,
	}
	unreadable := func(names ...string) {
		for _, name := range names {
			if rng.IntN(2) == 0 {
				e.Variables = append(e.Variables, Variable{Name: name, Value: "unreadable " + randomText(rng)})
				e.Anomalies = append(e.Anomalies, name)
			}
		}
	}
	if rng.IntN(3) > 0 {
		e.Time = time.Unix(1+rng.Int64N(arrived.Unix()), 0).UTC()
	} else {
		unreadable("time", "timestamp")
	}
	if rng.IntN(3) > 0 {
		e.Code = 100 + rng.IntN(900)
	} else {
		unreadable("code")
	}
	if rng.IntN(3) > 0 {
		class := [...]uint16{2, 4, 5}[rng.IntN(3)]
		e.Extended = smtpstatus.Enhanced{Class: class, Subject: uint16(rng.IntN(1000)), Detail: uint16(rng.IntN(1000))}
	} else {
		unreadable("extended")
	}
	if rng.IntN(3) > 0 {
		e.Tags = randomTexts(rng, 5)
	}
	// The number makes every name differ; dots and brackets in it would be read as keys.
	flat := strings.NewReplacer(".", "", "[", "", "]", "")
	for i := range rng.IntN(5) {
		v := Variable{Name: strings.TrimSpace(strconv.Itoa(i) + flat.Replace(randomText(rng)))}
		for range rng.IntN(3) {
			v.Name += strings.TrimRight(".k"+flat.Replace(randomText(rng)), " \t\r\n\u00a0\u2028")
		}
		if rng.IntN(2) == 0 {
			v.Value = randomText(rng)
		} else {
			v.List = randomTexts(rng, 4)
		}
		e.Variables = append(e.Variables, v)
	}
	return e
}

func TestDecodingUndoesEncoding(t *testing.T) {
	rng := newRand(t)
	for range rounds(3000) {
		e := randomEvent(rng)
		want, pairs := describe(e, nil), pairsOf(e)
		form, err := decodeForm(formOf(pairs))
		require.Equal(t, want, describe(form, err), formOf(pairs))
		fromJSON, err := decodeJSON(jsonOf(pairs))
		require.Equal(t, want, describe(fromJSON, err), jsonOf(pairs))
		require.Equal(t, form.Identity, fromJSON.Identity, formOf(pairs))
	}
}

// Whatever is sent is the same event as a form and as JSON, or refused alike.
func TestFormAndJSONOfAnythingMeanTheSame(t *testing.T) {
	rng := newRand(t)
	names := []string{
		"id", "id", "type", "tags", "tags", "code", "extended", "time", "timestamp", "state", "recipient",
		"description", "action", "x", "y", "z",
	}
	values := []string{"", "", "1", "failure", "550", "5.1.1", "1795256098", "2026-11-21 10:14:58", "a;b", "0"}
	for range rounds(3000) {
		pairs := make([]pair, rng.IntN(12))
		for i := range pairs {
			value := values[rng.IntN(len(values))]
			if rng.IntN(4) == 0 {
				value = randomText(rng)
			}
			pairs[i] = pair{path: []string{names[rng.IntN(len(names))]}, list: rng.IntN(4) == 0, text: []string{value}}
			for rng.IntN(5) == 0 {
				pairs[i].path = append(pairs[i].path, string(rune('a'+rng.IntN(3))))
			}
		}
		form, formErr := decodeForm(formOf(pairs))
		fromJSON, jsonErr := decodeJSON(jsonOf(pairs))
		require.Equal(t, fmt.Sprint(formErr), fmt.Sprint(jsonErr), formOf(pairs))
		require.Equal(t, form, fromJSON, formOf(pairs))
		if formErr == nil {
			checkEvent(t, formOf(pairs), form, 0)
		}
	}
}

// nameBound is how many bytes the name of a value may add in JSON, which names an object once.
const nameBound = MaxNameLength

var validDomain = regexp.MustCompile(`^([a-z0-9_.-]+|\[[0-9a-fipv.:]*\])$`)

// checkEvent checks what holds for every event. perName is nameBound for JSON, else 0.
func checkEvent(tb testing.TB, body string, e *Event, perName int) {
	tb.Helper()
	check := func(ok bool, problem string) {
		if !ok {
			tb.Helper()
			tb.Errorf("%.500q: %s: %.1000s", body, problem, describe(e, nil))
		}
	}
	texts := append([]string{e.ID, e.Type, e.Action, e.Recipient, e.State, e.Description}, e.Tags...)
	names := map[string]bool{}
	size, values := 0, 0
	for _, v := range e.Variables {
		check(v.Name != "" && v.Name == referenceText(v.Name), "a name is empty, or no text")
		check(len(v.Name) <= MaxNameLength && !names[v.Name], "a name is too long, or there twice")
		check(v.Value == "" || v.List == nil, "a variable is a scalar and a list")
		check(!slices.Contains(v.all(), ""), "a variable or an element is empty")
		names[v.Name] = true
		size += len(v.Name)
		texts = append(texts, v.all()...)
	}
	for _, text := range texts {
		check(text == referenceText(text), "a text is not UTF-8, or has control characters or white space around")
		size += len(text)
		if text != "" {
			values++
		}
	}
	// A byte of windows-1252 is up to three of UTF-8, and nothing is there twice.
	check(size <= 3*len(body)+perName*len(e.Variables), "it is much larger than the body")
	check(values <= MaxVariables && len(e.Variables) <= MaxOthers, "it has too many values")
	check(e.Summary() == referenceText(e.Summary()), "the summary is no text")
	check(e.ID != "" && !slices.Contains(e.Tags, ""), "it has no id, or an empty tag")
	check(e.Type == "" || e.Type == "failure", "it is of another type")
	check(e.Code == 0 || 100 <= e.Code && e.Code <= 999, "the code has not three digits")
	check(e.Time.UnixNano() > 0 && !e.Time.After(arrived.Add(MaxAhead)), "it failed at another time")
	check(e.Time.Location() == time.UTC, "the time is not UTC")
	check(e.Domain == "" || strings.HasSuffix(e.Address, "@"+e.Domain), "the domain is not that of the address")
	check(e.Domain == "" || validDomain.MatchString(e.Domain), "the domain is none")
	for _, name := range e.Anomalies {
		check(slices.Contains(AnomalyFields[:], name), "it has an undocumented anomaly")
	}
}

// largestBody is the default of max_request_body_size.
const largestBody = 256 << 10

// What a body of the largest size can make a decoder allocate, garbage included.
func TestMemoryIsBoundedByTheBody(t *testing.T) {
	long := strings.Repeat("n", MaxNameLength-2)
	for _, tc := range []struct{ before, repeated, after string }{
		{"id=1", "&", ""},
		{"id=1", "&a=b", ""},
		{"id=1&x=", "%E9", ""},
		{"id=1&x=", "%zz", ""},
		{"id=1&x=", "\xe9", ""},
		{"id=1&", "%41", "="},
		{"id=1&x", "[]", "=v"},
		{"id=1&x", "[", "=v"},
		{"id=1&x", "[a]", "=v"},
		{"id=1&tags=", "a;", ""},
		{"id=1&tags=", ";", ""},
		{`{"id":"1","x":"`, "a", `"}`},
		{`{"id":"1","x":"`, "\xe9", `"}`},
		{`{"id":"1","x":"`, `\u0000`, `"}`},
		{`{"id":"1","`, "a", `":1}`},
		{`{"id":1`, "0", `}`},
		{`{"id":"1","x":`, "[", ""},
		{`{"id":"1","x":[1`, ",1", "]}"},
		{`{"id":"1","x":[[]`, ",[]", "]}"},
		{`{"id":"1"`, `,"x":{}`, "}"},
		{`{"id":"1","` + long + `":{"x":{}`, `,"y":{}`, "}}"},
		{`{"id":"1","` + long + `":{"x":1`, `,"y":1`, "}}"},
		{`{"id":"1","tags":"`, "a;", `"}`},
	} {
		decode := decodeForm
		if tc.before[0] == '{' {
			decode = decodeJSON
		}
		repeats := (largestBody - len(tc.before) - len(tc.after)) / len(tc.repeated)
		body := tc.before + strings.Repeat(tc.repeated, repeats) + tc.after
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decode(body)
		runtime.ReadMemStats(&after)
		// A token of two or three bytes costs the parser a few allocations.
		bound := uint64(32*len(body) + MaxNameLength*MaxVariables)
		assert.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, bound, "%.30s%s… (%v)", tc.before, tc.repeated, err)
	}
}
