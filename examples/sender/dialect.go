package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// dialect is a page of the senders' documentation, which says what variables they send.
type dialect struct {
	weight int
	name   string
	tagged bool
	// typed dialects have type, action, timestamp and time too. The older ones do not.
	typed     bool
	encodings []encoding
}

// encoding is a way to write a report down.
type encoding struct {
	weight      int
	contentType string
	write       func([]variable, []string) []byte
}

// variable is a pair of a form, or a member of a JSON object.
type variable struct{ name, value string }

// What is documented is the form. How it spells tags is not, and JSON appears only in a sample; all of these are in use elsewhere.
var encodings = []encoding{
	{40, formType, formOf(func(int) string { return "tags[]" })},
	{30, formType, formOf(func(i int) string { return "tags[" + strconv.Itoa(i) + "]" })},
	{5, formType, formOf(func(int) string { return "tags" })},
	{10, formType, joinedForm},
	{15, jsonType, jsonObject},
}

var dialects = []dialect{
	{40, "Copernica, webhooks: failures", true, true, encodings},
	{35, "SMTPeter, webhooks for failures", true, true, encodings},
	{4, "SMTPeter, feedback loops for failures", false, false, encodings[:1]},
	{11, "Copernica, feedback loops: failures", true, false, encodings[:2]},
	{10, "Copernica, webhooks: fouten", true, true, encodings},
}

// body writes the report as a call that is made at the given time.
func (r *report) body(reported time.Time) []byte {
	var pairs []variable
	add := func(name, value string) {
		if value != "" {
			pairs = append(pairs, variable{name, value})
		}
	}
	add("id", r.id)
	if r.dialect.typed {
		failed := time.Unix(r.failed(reported), 0).UTC()
		add("type", r.kind)
		add("timestamp", failed.Format(time.DateTime))
		add("time", strconv.FormatInt(failed.Unix(), 10))
	}
	add("recipient", r.recipient)
	add("action", r.action)
	add("state", r.state)
	add("code", r.code)
	add("extended", r.extended)
	add("description", r.description)
	return r.encoding.write(pairs, r.tags)
}

// failed is when the failure happened, in Unix seconds, or 0 where the dialect does not say.
func (r *report) failed(reported time.Time) int64 {
	if !r.dialect.typed {
		return 0
	}
	return reported.Add(-r.age).Unix()
}

// formOf writes a form with a pair for each tag.
func formOf(tagName func(int) string) func([]variable, []string) []byte {
	return func(pairs []variable, tags []string) []byte {
		for i, tag := range tags {
			pairs = append(pairs, variable{tagName(i), tag})
		}
		return form(pairs)
	}
}

// joinedForm writes all the tags as one value, as the senders' log files do.
func joinedForm(pairs []variable, tags []string) []byte {
	if len(tags) > 0 {
		pairs = append(pairs, variable{"tags", strings.Join(tags, ";")})
	}
	return form(pairs)
}

// form keeps the order of the pairs, which url.Values does not.
func form(pairs []variable) []byte {
	var b bytes.Buffer
	for i, pair := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		fmt.Fprintf(&b, "%s=%s", url.QueryEscape(pair.name), url.QueryEscape(pair.value))
	}
	return b.Bytes()
}

func jsonObject(pairs []variable, tags []string) []byte {
	object := make(map[string]any, len(pairs)+1)
	for _, pair := range pairs {
		object[pair.name] = pair.value
	}
	if len(tags) > 0 {
		object["tags"] = tags
	}
	body, err := json.Marshal(object)
	if err != nil {
		panic(err) // strings and lists of them are always JSON
	}
	return body
}
