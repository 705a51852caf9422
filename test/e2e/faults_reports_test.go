package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// kind is a kind of failure: what the sender says, and the attributes that have to come of it.
type kind struct {
	weight                int
	code, extended, state string
	description           string
	want                  map[string]any
}

// attributesOf returns the metric attributes that the specification gives a failure. Every value is written out by hand below.
func attributesOf(code int64, extended, state, mode, class, cause string) map[string]any {
	want := map[string]any{"email.failure.mode": mode, "email.failure.class": class, "error.type": cause}
	if code != 0 {
		want["smtp.response.status_code"] = code
	}
	if extended != "" {
		want["smtp.response.enhanced_status_code"] = extended
	}
	if state != "" {
		want["smtp.state"] = state
	}
	return want
}

// kinds are weighted as a mailing meets them, with what is rare but hard among them: no status, an unreadable one, nothing at all.
var kinds = []kind{
	{
		30, "550", "5.1.1", "rcptto", "550 5.1.1 User unknown",
		attributesOf(550, "5.1.1", "rcptto", "synchronous", "permanent", "recipient_unknown"),
	},
	{
		15, "452", "4.2.2", "message", "452 4.2.2 Mailbox full",
		attributesOf(452, "4.2.2", "message", "synchronous", "transient", "mailbox_full"),
	},
	{
		12, "550", "5.7.1", "bounce", "550 5.7.1 Rejected by policy; see https://example.com/?a=1&b=100%",
		attributesOf(550, "5.7.1", "bounce", "asynchronous", "permanent", "policy"),
	},
	{
		10, "421", "4.7.0", "mailfrom", "421 4.7.0 Try again later",
		attributesOf(421, "4.7.0", "mailfrom", "synchronous", "transient", "server_error"),
	},
	{
		8, "550", "5.7.51", "bounce", "550 5.7.51 TenantInboundAttribution",
		attributesOf(550, "5.7.51", "bounce", "asynchronous", "permanent", "policy"),
	},
	{
		8, "", "", "dns", "no such host",
		attributesOf(0, "", "dns", "synchronous", "unknown", "domain_not_found"),
	},
	{
		6, "554", "", "data", "554 transaction failed",
		attributesOf(554, "", "data", "synchronous", "permanent", "_OTHER"),
	},
	{
		6, "451", "", "rcptto", "451 Greylisted, bitte später",
		attributesOf(451, "", "rcptto", "synchronous", "transient", "greylisted"),
	},
	{
		5, "", "", "connect", "",
		attributesOf(0, "", "connect", "synchronous", "unknown", "connection_failed"),
	},
	{
		4, "", "5.1.10", "bounce", "null MX",
		attributesOf(0, "5.1.10", "bounce", "asynchronous", "permanent", "domain_not_found"),
	},
	{
		2, "55", "", "message", "a code that is none",
		attributesOf(0, "", "message", "synchronous", "unknown", "_OTHER"),
	},
	{
		2, "", "", "", "",
		attributesOf(0, "", "", "synchronous", "unknown", "_OTHER"),
	},
}

// delivered is no failure: a message that was delivered, which counts among deliveries and makes no record.
var delivered = kind{code: "250", extended: "2.0.0", description: "250 2.0.0 Ok: queued", want: map[string]any{}}

// The first tags are on most mailings.
var tagNames = []string{"newsletter", "newsletter", "newsletter", "paying", "paying", "week 47", "nl-NL", "réactivation", "a/b+test"}

// failure is one report, which may be sent any number of times.
type failure struct {
	kind      *kind
	id        string
	recipient string
	time      int64 // 0 is none
	tags      []string
}

// newReports returns reports with ids of their own.
func newReports(random *rand.Rand, prefix string, n int) []*failure {
	weights := 0
	for _, k := range kinds {
		weights += k.weight
	}
	// Many failures fall into the same second, as they do when a mailing goes out.
	now := time.Now().Unix()
	reports := make([]*failure, 0, n)
	for i := range n {
		r := &failure{
			id:        prefix + strconv.Itoa(i),
			recipient: fmt.Sprintf("person%d@example%d.com", random.IntN(n), random.IntN(5)),
		}
		choice := random.IntN(weights)
		for k := range kinds {
			if choice -= kinds[k].weight; choice < 0 {
				r.kind = &kinds[k]
				break
			}
		}
		switch random.IntN(4) {
		case 0:
		case 1:
			r.time = now
		default:
			r.time = now - random.Int64N(7*24*3600)
		}
		// Now and then one is there twice, and counts once.
		for range random.IntN(4) {
			r.tags = append(r.tags, tagNames[random.IntN(len(tagNames))])
		}
		reports = append(reports, r)
	}
	return reports
}

// newDeliveries returns reports of messages that were delivered.
func newDeliveries(random *rand.Rand, prefix string, n int) []*failure {
	deliveries := newReports(random, prefix, n)
	for _, d := range deliveries {
		d.kind = &delivered
	}
	return deliveries
}

func idsOf(reports []*failure) []string {
	ids := make([]string, 0, len(reports))
	for _, r := range reports {
		ids = append(ids, r.id)
	}
	return ids
}

// wanted returns what the counters have to come to.
func wanted(reports []*failure) totals {
	t := totals{failuresMetric: {}, byTagMetric: {}, deliveriesMetric: {}, deliveriesByTagMetric: {}}
	for _, r := range reports {
		metric, byTag := failuresMetric, byTagMetric
		if r.kind == &delivered {
			metric, byTag = deliveriesMetric, deliveriesByTagMetric
		}
		t[metric][seriesName(r.kind.want)]++
		distinct := make(map[string]bool)
		for _, tag := range r.tags {
			distinct[tag] = true
		}
		for tag := range distinct {
			attributes := maps.Clone(r.kind.want)
			attributes["email.tag"] = tag
			t[byTag][seriesName(attributes)]++
		}
	}
	return t
}

// encode writes the report in one of the ways in which a sender may, chosen at random: all of them are the same report.
func (r *failure) encode(random *rand.Rand) (contentType, body string) {
	tags := make([]string, 0, len(r.tags))
	for _, i := range random.Perm(len(r.tags)) {
		tags = append(tags, r.tags[i])
	}
	variables := map[string]string{
		"id": r.id, "type": "failure", "action": "failed", "recipient": r.recipient,
		"state": r.kind.state, "code": r.kind.code, "extended": r.kind.extended, "description": r.kind.description,
	}
	if r.kind == &delivered {
		variables["type"] = "delivery"
		delete(variables, "action")
	}
	if r.time != 0 {
		variables["time"] = strconv.FormatInt(r.time, 10)
		// Beside a time it is not part of what makes a report.
		variables["timestamp"] = time.Unix(r.time+random.Int64N(2), 0).UTC().Format(time.DateTime)
	}

	if random.IntN(3) == 0 {
		object := map[string]any{"tags": tags}
		for name, value := range variables {
			object[name] = value
		}
		if r.time != 0 && random.IntN(2) == 0 {
			object["time"] = r.time
		}
		content, err := json.Marshal(object)
		if err != nil {
			panic(err)
		}
		return "application/json", string(content)
	}
	form := make(url.Values)
	for name, value := range variables {
		form.Set(name, value)
	}
	switch random.IntN(3) {
	case 0:
		form["tags[]"] = tags
	case 1:
		for i, tag := range tags {
			form.Set(fmt.Sprintf("tags[%d]", i), tag)
		}
	default:
		form.Set("tags", strings.Join(tags, ";"))
	}
	return "application/x-www-form-urlencoded", form.Encode()
}
