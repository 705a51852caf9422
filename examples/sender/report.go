package main

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is one failure, or one delivery, with the fields that -record writes. What a dialect does
// not have is empty.
type report struct {
	ID          string   `json:"id"`
	Recipient   string   `json:"recipient"`
	Tags        []string `json:"tags"`
	State       string   `json:"state"`
	Code        string   `json:"code"`
	Extended    string   `json:"extended"`
	Type        string   `json:"type"`
	Action      string   `json:"action"`
	Description string   `json:"description"`
	Time        int64    `json:"time"` // when it happened, in Unix seconds
	Sends       int      `json:"sends"`
	Status      int      `json:"status"` // of the last response, but 200 if there ever was one

	dialect  dialect
	encoding encoding
	at       time.Duration   // when it is reported in the played day
	age      time.Duration   // how long before that it happened
	repeats  []time.Duration // when in the played day the same call is made again
	body     []byte          // written at the first call, so that a repeat is the same bytes
	pending  int             // calls that have not ended
}

// dialect is a page of the senders' documentation, which says what variables they send.
type dialect struct {
	weight int
	name   string
	tagged bool
	// typed dialects have type, action, timestamp and time too. The older ones do not.
	typed     bool
	encodings []encoding
}

var dialects = []dialect{
	{40, "Copernica, webhooks: failures", true, true, encodings},
	{35, "SMTPeter, webhooks for failures", true, true, encodings},
	{4, "SMTPeter, feedback loops for failures", false, false, encodings[:1]},
	{11, "Copernica, feedback loops: failures", true, false, encodings[:2]},
	{10, "Copernica, webhooks: fouten", true, true, encodings},
}

// encoding is a way to write variables and tags as a body.
type encoding struct {
	weight      int
	contentType string
	tagName     string // in a form; N stands for the tag's index
	joined      bool   // all tags are one value, as in the senders' log files
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// The form is documented. How it spells tags is not, and JSON is only in a sample; all of these are
// in use elsewhere.
var encodings = []encoding{
	{40, formType, "tags[]", false},
	{30, formType, "tags[N]", false},
	{5, formType, "tags", false},
	{10, formType, "tags", true},
	{15, jsonType, "", false},
}

// write writes the body of a report that is sent now, unless it was written before.
func (r *report) write(now time.Time) {
	if r.body != nil {
		return
	}
	happened := now.Add(-r.age).UTC()
	var timestamp, unix string
	if r.dialect.typed {
		r.Time = happened.Unix()
		timestamp, unix = happened.Format(time.DateTime), strconv.FormatInt(r.Time, 10)
	}
	variables := [][2]string{
		{"id", r.ID},
		{"type", r.Type},
		{"timestamp", timestamp},
		{"time", unix},
		{"recipient", r.Recipient},
		{"action", r.Action},
		{"state", r.State},
		{"code", r.Code},
		{"extended", r.Extended},
		{"description", r.Description},
	}
	variables = slices.DeleteFunc(variables, func(v [2]string) bool { return v[1] == "" })
	if r.encoding.contentType == jsonType {
		r.body = jsonObject(variables, r.Tags)
		return
	}

	tags := r.Tags
	if r.encoding.joined && len(tags) > 0 {
		tags = []string{strings.Join(tags, ";")}
	}
	for i, tag := range tags {
		variables = append(variables, [2]string{strings.Replace(r.encoding.tagName, "N", strconv.Itoa(i), 1), tag})
	}
	var pairs []string // not url.Values, which does not keep their order
	for _, v := range variables {
		pairs = append(pairs, url.QueryEscape(v[0])+"="+url.QueryEscape(v[1]))
	}
	r.body = []byte(strings.Join(pairs, "&"))
}

func jsonObject(variables [][2]string, tags []string) []byte {
	object := map[string]any{}
	for _, v := range variables {
		object[v[0]] = v[1]
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
