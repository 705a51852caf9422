// Package webhook reads what a sender of Copernica or SMTPeter says of one email that could not be delivered: the variables of its
// webhook, sent as a form or as JSON, become an Event.
//
// It knows the documents of the senders ("Webhooks: failures", "Webhooks for failures" and their older "Feedback loops") and how PHP
// writes and reads forms. How a report arrived, who sent it, and what is made of it is left to others.
package webhook

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// AnomalyFields are the variables that take only what can be read as what they are.
var AnomalyFields = [...]string{"code", "extended", "time", "timestamp"}

// Event is one failed delivery as its sender tells it. All text in it is valid UTF-8. An empty value is an absent one.
type Event struct {
	// ID is the sender's id of the message. It is never empty.
	ID string
	// Type is "failure" or empty; the older documents have no type.
	Type string
	// Action is "failure" or "failed" as documented, and otherwise kept as sent.
	Action string
	// Recipient is the address the message was for.
	Recipient string
	// State of the SMTP conversation in which the delivery failed, as sent; StateBounce for an asynchronous failure.
	State string
	// Code is the SMTP reply code, 100 to 999, or 0 when there is none or none that can be read.
	Code int
	// Extended is the enhanced status code (RFC 3463), zero when there is none or none that can be read.
	Extended smtpstatus.Enhanced
	// Description is the sender's text, most often the reply of the receiving server. It may hold line breaks.
	Description string
	// FailedAt is when the delivery failed, from time, else from timestamp; zero when neither can be read. Whole seconds.
	FailedAt time.Time
	// Tags of the message in the order of arrival, repeats included.
	Tags []string
	// Others are all variables that have no field above, and those of code, extended, time and timestamp that could not be read, verbatim.
	// In the order of their first arrival.
	Others []Variable
	// Anomalies names the variables among AnomalyFields that could not be read.
	Anomalies []string

	// sent are the values that make the identity and the summary, as they were sent.
	sent [numSent]string
	// timed says that FailedAt is that of the variable time.
	timed bool
	// private says that Withhold left of the recipient what may be told, and domain is its domain then.
	private bool
	domain  string
}

// The variables in Event.sent. They are the ones that a sender repeats when it sends a report again.
const (
	sentType = iota
	sentID
	sentRecipient
	sentTime
	sentTimestamp
	sentAction
	sentState
	sentCode
	sentExtended
	sentDescription
	numSent
)

// StateBounce is the state of an asynchronous failure: the message was accepted, and a bounce came back later.
const StateBounce = "bounce"

// Variable is a variable of the report by its flat name: parameters[k] is named "parameters.k".
type Variable struct {
	Name string
	// Value of a scalar, or List of an array; List is nil in a scalar.
	Value string
	List  []string
}

// Asynchronous says that the message was accepted first and a bounce came back later.
func (r *Event) Asynchronous() bool {
	return r.State == StateBounce
}

// Class is one of smtpstatus.ClassPermanent, ClassTransient and ClassUnknown.
func (r *Event) Class() string {
	return smtpstatus.Class(r.Extended, r.Code)
}

// Reason is one of smtpstatus.Reasons.
func (r *Event) Reason() string {
	return smtpstatus.Reason(r.Extended, r.Code, r.State)
}

// Summary is one line of text: code, enhanced status and state as they were sent, without control characters, for a report without a description.
func (r *Event) Summary() string {
	var words []string
	for _, part := range [...]string{r.sent[sentCode], r.sent[sentExtended], r.State} {
		words = append(words, strings.FieldsFunc(part, func(c rune) bool {
			return unicode.IsSpace(c) || unicode.IsControl(c) || c == utf8.RuneError
		})...)
	}
	if len(words) == 0 {
		return "email delivery failed"
	}
	return strings.Join(words, " ")
}

// RecipientDomain is what follows the last @ of the recipient, in lower case; empty when there is no @. After Withhold it is what may be told
// of it.
func (r *Event) RecipientDomain() string {
	if r.private {
		return r.domain
	}
	at := strings.LastIndexByte(r.Recipient, '@')
	if at < 0 {
		return ""
	}
	return strings.ToLower(r.Recipient[at+1:])
}

// Withhold puts what may be told of the recipient in its place, and forgets all that was sent but what Summary tells, which goes through redact.
func (r *Event) Withhold(address, domain string, redact func(string) string) {
	var sent [numSent]string
	for _, index := range [...]int{sentCode, sentExtended} {
		sent[index] = redact(strings.ReplaceAll(r.sent[index], separator, " "))
	}
	r.sent = sent
	r.Recipient, r.domain, r.private = address, domain, true
}
