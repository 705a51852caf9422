// Package webhook reads what a sender of Copernica or SMTPeter says in one call of its webhooks: variables, sent as a form or as JSON,
// become an Event.
//
// It knows the documents of the senders ("Webhooks: failures", "Webhooks for failures" and their older "Feedback loops") and how PHP
// writes and reads forms. What is made of an event, and what of it may be told, is left to others.
package webhook

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// anomalyVariables is the anomaly of more variables, or longer ones, than an event keeps.
const anomalyVariables = "variables"

// AnomalyFields are all that Event.Anomalies can name: the variables that take only what can be read as what they are, and
// all others together.
var AnomalyFields = [...]string{"code", "extended", "time", "timestamp", anomalyVariables}

// Event is what one call says, and all that follows from it. All text in it is valid UTF-8 without control characters but tab
// and line end, and without white space around. An empty value is an absent one.
type Event struct {
	// Kind is what happened.
	Kind Kind
	// ID is the sender's id of the message. It is never empty.
	ID string
	// Type is the word of the kind, or empty; the older documents have no type.
	Type string
	// Action is "failure" or "failed" as documented, or another word in lower case.
	Action string
	// State of the SMTP conversation in which the delivery failed, in lower case; StateBounce for an asynchronous failure.
	State string
	// Recipient is whom the message was for, as sent.
	Recipient string
	// Address is the recipient's address by itself, and Domain what is behind its @, in lower case and as an A-label (RFC 5890).
	// All spellings of an address have one Address. It is empty when there is no recipient, and Domain when there is none in it.
	Address, Domain string
	// Code is the SMTP reply code, 100 to 999, or 0 when there is none or none that can be read.
	Code int
	// Extended is the enhanced status code (RFC 3463), zero when there is none or none that can be read.
	Extended smtpstatus.Enhanced
	// Description is the sender's text, most often the reply of the receiving server. It may hold line breaks.
	Description string
	// Time is when it happened, from time, else from timestamp, else that of the arrival.
	Time time.Time
	// Arrived is when the call arrived.
	Arrived time.Time
	// Tags of the message in the order of arrival, repeats included.
	Tags []string
	// Variables are those of code, extended, time and timestamp that could not be read, verbatim, and all that have no field above,
	// in the order of their first arrival.
	Variables []Variable
	// Dropped is the number of variables that were left out or cut off.
	Dropped int
	// Anomalies names those among AnomalyFields that are not as they should be.
	Anomalies []string

	// Class is one of smtpstatus.ClassPermanent, ClassTransient and ClassUnknown.
	Class string
	// Asynchronous reports whether the message was accepted first and a bounce came back later.
	Asynchronous bool
	// Cause is why it failed, one of smtpstatus.CauseNames, and DecidedBy what told it.
	Cause     string
	DecidedBy smtpstatus.DecidedBy
	// Account is who signed the call; empty when that was not checked.
	Account string
	// Identity tells this event from others and from its repeats.
	Identity Identity
}

// Variable is a variable of the call by its flat name: parameters[k] is named "parameters.k".
type Variable struct {
	Name string
	// Value of a scalar, or List of an array; List is nil in a scalar.
	Value string
	List  []string
}

// Variable returns the value of a variable that has no field of its own, all of them if it is a list, or nothing.
func (e *Event) Variable(name string) string {
	for i := range e.Variables {
		if v := &e.Variables[i]; v.Name == name {
			return strings.Join(v.all(), ", ")
		}
	}
	return ""
}

// StateBounce is the state of an asynchronous failure: the message was accepted, and a bounce came back later.
const StateBounce = "bounce"

// Summary is one line of text made of code, enhanced status, cause and state, for a failure whose description is absent or not told.
func (e *Event) Summary() string {
	var words []string
	if e.Code != 0 {
		words = append(words, strconv.Itoa(e.Code))
	}
	if !e.Extended.IsZero() {
		words = append(words, e.Extended.String())
	}
	words = append(words, e.Cause)
	words = append(words, strings.FieldsFunc(e.State, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) })...)
	return strings.Join(words, " ")
}
