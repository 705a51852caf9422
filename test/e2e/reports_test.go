package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// report is a distinct report. The exported fields are those of the file that examples/sender
// writes.
type report struct {
	ID, Recipient                      string
	Tags                               []string
	State, Code, Extended, Description string
	Type, Action                       string
	Time                               int64 // 0: none
	Sends, Status                      int
	cause                              string // the error.type; empty: that of the description in causes
}

// causes are the values of error.type by a part of the description; the first that fits.
var causes = []struct{ part, cause string }{
	{"User unknown", "recipient_unknown"},
	{"does not exist", "recipient_unknown"},
	{"No such user", "recipient_unknown"},
	{"Access denied", "recipient_unknown"}, // with 5.4.1
	{"Mailbox unavailable", "recipient_unknown"},
	{"Bad recipient address syntax", "recipient_unknown"},
	{"null MX", "domain_not_found"},
	{"Bad destination host", "domain_not_found"},
	{"Host or domain name not found", "domain_not_found"},
	{"is disabled", "recipient_inactive"},
	{"out of storage space", "mailbox_full"},
	{"Mailbox size limit exceeded", "mailbox_full"},
	{"Over quota", "mailbox_full"},
	{"members only", "recipient_restricted"},
	{"poor reputation", "reputation_block"},
	{"for spam", "spam_content"},
	{"virus", "virus"},
	{"malformed", "content_rejected"},
	{"Message size exceeds", "message_too_large"},
	{"neither SPF nor DKIM", "authentication_failed"},
	{"unauthenticated mail", "authentication_failed"},
	{"DKIM signature", "authentication_failed"},
	{"sender refused", "sender_rejected"},
	{"sender address does not resolve", "sender_rejected"},
	{"reverse hostname", "reverse_dns"},
	{"rejected by the policy", "policy"},
	{"Too many connections", "rate_limited"},
	{"unusual rate", "rate_limited"},
	{"Greylisted", "greylisted"},
	{"Relay access denied", "relay_denied"},
	{"certificate", "tls_required"},
	{"Invalid argument", "protocol_error"},
	{"timed out", "connection_failed"},
	{"No address found", "connection_failed"},
	{"does not answer", "connection_failed"},
	{"Mailbox busy", "server_error"},
	{"Service not available", "server_error"},
	{"Temporary lookup failure", "server_error"},
	{"Insufficient system storage", "server_error"},
	{"Too many hops", "mail_loop"},
	{"Delivery time expired", "expired"},
	{"suppression list", "suppressed"},
	{"Transaction failed", "_OTHER"},
	{"says nothing of why", "_OTHER"},
	{"what was that?", "_OTHER"},
}

var (
	typedCode     = regexp.MustCompile(`^[1-9][0-9][0-9]$`)
	typedExtended = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`)
)

// labels returns the labels of the counters for the report, without the tag.
func (r *report) labels() map[string]string {
	if r.Type == "delivery" {
		return map[string]string{}
	}
	labels := map[string]string{
		"email_failure_mode": "synchronous", "email_failure_class": "unknown",
		"smtp_state": r.State, "error_type": r.cause,
	}
	if r.State == "bounce" {
		labels["email_failure_mode"] = "asynchronous"
	}
	status := ""
	if typedCode.MatchString(r.Code) {
		labels["smtp_response_status_code"], status = r.Code, r.Code
	}
	if typedExtended.MatchString(r.Extended) {
		labels["smtp_response_enhanced_status_code"], status = r.Extended, r.Extended
	}
	switch {
	case strings.HasPrefix(status, "5"):
		labels["email_failure_class"] = "permanent"
	case strings.HasPrefix(status, "4"):
		labels["email_failure_class"] = "transient"
	}
	if r.cause == "" {
		labels["error_type"] = "not in the table of causes"
		for _, known := range causes {
			if strings.Contains(r.Description, known.part) {
				labels["error_type"] = known.cause
				break
			}
		}
	}
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	return labels
}

// metadata returns what Loki keeps beside the line, as far as it comes from the report.
func (r *report) metadata() map[string]string {
	metadata := r.labels()
	metadata["email_message_id"] = r.ID
	metadata["email_recipient_address"] = r.Recipient
	// With the A-label of the day's only domain that needs one.
	domain := strings.ToLower(r.Recipient[strings.LastIndex(r.Recipient, "@")+1:])
	metadata["email_recipient_domain"] = strings.Replace(domain, "bücher", "xn--bcher-kva", 1)
	metadata["smtp_response_enhanced_status_meaning"] = meaningOf(metadata["smtp_response_enhanced_status_code"])
	metadata["copernica_type"] = r.Type
	metadata["copernica_action"] = r.Action
	if len(r.Tags) > 0 {
		metadata["email_tags"] = jsonText(r.Tags)
	}
	if metadata["smtp_response_status_code"] == "" {
		metadata["copernica_code"] = r.Code
	}
	if metadata["smtp_response_enhanced_status_code"] == "" {
		metadata["copernica_extended"] = r.Extended
	}
	metadata["severity_text"], metadata["severity_number"], metadata["detected_level"] = "ERROR", "17", "error"
	if metadata["email_failure_class"] == "transient" {
		metadata["severity_text"], metadata["severity_number"], metadata["detected_level"] = "WARN", "13", "warn"
	}
	maps.DeleteFunc(metadata, func(_, value string) bool { return value == "" })
	return metadata
}

func meaningOf(status string) string {
	e, _ := smtpstatus.ParseEnhanced(status)
	meaning, _ := e.Meaning()
	return meaning
}

// jsonText returns JSON as the collector writes it.
func jsonText(value any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // Text can always be encoded.
	return strings.TrimSpace(b.String())
}

// form returns the report as a form.
func (r *report) form() url.Values {
	form := url.Values{
		"id": {r.ID}, "recipient": {r.Recipient}, "state": {r.State}, "code": {r.Code}, "extended": {r.Extended},
		"type": {r.Type}, "action": {r.Action}, "description": {r.Description}, "tags[]": r.Tags,
	}
	if r.Time != 0 {
		form.Set("time", strconv.FormatInt(r.Time, 10))
	}
	return form
}

// encode writes the report in one of the ways in which a sender may, chosen at random.
func (r *report) encode(random *rand.Rand) (contentType, body string) {
	form, tags := r.form(), append([]string{}, r.Tags...)
	form.Del("tags[]")
	random.Shuffle(len(tags), func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
	if r.Time != 0 {
		// It is not part of the identity of a report with a time.
		form.Set("timestamp", time.Unix(r.Time+random.Int64N(2), 0).UTC().Format(time.DateTime))
	}
	if random.IntN(3) == 0 {
		object := map[string]any{"tags": tags}
		for name := range form {
			object[name] = form.Get(name)
		}
		if r.Time != 0 && random.IntN(2) == 0 {
			object["time"] = r.Time
		}
		return "application/json", jsonText(object)
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

// someReport returns a report of which only the id matters.
func someReport(id string) *report {
	return &report{
		ID: id, Type: "failure", Recipient: "jane@example.com", Action: "failed",
		State: "rcptto", Code: "550", Extended: "5.1.1", Tags: []string{"newsletter"},
		Description: "550 5.1.1 jane@example.com is unknown", cause: "recipient_unknown",
	}
}

// kinds are weighted as in a real mailing, with some that are hard: no status, a malformed one,
// nothing at all.
var kinds = []struct {
	weight                                    int
	code, extended, state, description, cause string
}{
	{30, "550", "5.1.1", "rcptto", "550 5.1.1 User unknown", "recipient_unknown"},
	{15, "452", "4.2.2", "message", "452 4.2.2 Mailbox full", "mailbox_full"},
	{12, "550", "5.7.1", "bounce", "550 5.7.1 Rejected by policy; see https://example.com/?a=1&b=100%", "policy"},
	{10, "421", "4.7.0", "mailfrom", "421 4.7.0 Try again later", "server_error"},
	{8, "550", "5.7.51", "bounce", "550 5.7.51 TenantInboundAttribution", "policy"},
	{8, "", "", "dns", "no such host", "domain_not_found"},
	{6, "554", "", "data", "554 transaction failed", "_OTHER"},
	{6, "451", "", "rcptto", "451 Greylisted, bitte später", "greylisted"},
	{5, "", "", "connect", "", "connection_failed"},
	{4, "", "5.1.10", "bounce", "null MX", "domain_not_found"},
	{2, "55", "", "message", "a code that is none", "_OTHER"},
	{2, "", "", "", "", "_OTHER"},
}

// The first tags are on most mailings.
var tagNames = []string{
	"newsletter", "newsletter", "newsletter", "paying", "paying", "week 47", "nl-NL",
	"réactivation", "a/b+test",
}

// newReports returns reports of failures with ids of their own.
func newReports(random *rand.Rand, prefix string, n int) []*report {
	var weighted []int
	for i, kind := range kinds {
		weighted = append(weighted, slices.Repeat([]int{i}, kind.weight)...)
	}
	// Many failures fall into the same second, as they do when a mailing goes out.
	now := time.Now().Unix()
	reports := make([]*report, n)
	for i := range reports {
		kind := kinds[weighted[random.IntN(len(weighted))]]
		r := &report{
			ID:        prefix + strconv.Itoa(i),
			Recipient: fmt.Sprintf("person%d@example%d.com", random.IntN(n), random.IntN(5)),
			Type:      "failure", Action: "failed", State: kind.state, Code: kind.code, Extended: kind.extended,
			Description: kind.description, cause: kind.cause,
			Time: []int64{0, now, now - random.Int64N(7*24*3600), now - random.Int64N(7*24*3600)}[random.IntN(4)],
		}
		// One that is there twice counts once.
		for range random.IntN(4) {
			r.Tags = append(r.Tags, tagNames[random.IntN(len(tagNames))])
		}
		reports[i] = r
	}
	return reports
}

// newDeliveries returns reports of messages that were delivered, which make no records.
func newDeliveries(random *rand.Rand, prefix string, n int) []*report {
	deliveries := newReports(random, prefix, n)
	for _, d := range deliveries {
		d.Type, d.Action, d.State = "delivery", "", ""
		d.Code, d.Extended, d.Description = "250", "2.0.0", "250 2.0.0 Ok: queued"
	}
	return deliveries
}

func idsOf(reports []*report) []string {
	ids := make([]string, len(reports))
	for i, r := range reports {
		ids[i] = r.ID
	}
	return ids
}

// distinctTags returns the tags that the report counts for.
func (r *report) distinctTags() []string { return slices.Compact(slices.Sorted(slices.Values(r.Tags))) }

// totals are counts by metric and attributes.
type totals map[string]int64

func seriesName(metric string, labels map[string]string) string {
	return fmt.Sprint(metric, " ", labels)
}

// wanted returns what the counters have to come to.
func wanted(reports []*report) totals {
	t := totals{}
	for _, r := range reports {
		metric, labels := "email.delivery.failures", r.labels()
		if r.Type == "delivery" {
			metric = "email.deliveries"
		}
		t[seriesName(metric, labels)]++
		for _, tag := range r.distinctTags() {
			labels["email_tag"] = tag
			t[seriesName(metric+".by_tag", labels)]++
		}
	}
	return t
}

// difference lists where the totals are not as wanted, and adds up by how much.
func (t totals) difference(want totals) (lines []string, miscounted int64) {
	names := maps.Clone(t)
	maps.Copy(names, want)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if t[name] != want[name] {
			lines = append(lines, fmt.Sprintf("%s is %d, want %d", name, t[name], want[name]))
			miscounted += max(t[name]-want[name], want[name]-t[name])
		}
	}
	return lines, miscounted
}
