// Package webhook decodes the webhook calls of Copernica and SMTPeter: the variables of a form or a
// JSON object become an Event.
//
// It follows the senders' documents, "Webhooks: failures", "Webhooks for failures" and the older
// "Feedback loops", and PHP's way of writing and reading forms.
package webhook

import (
	"strconv"
	"strings"
	"time"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// AnomalyFields are the possible Event.Anomalies: variables that can be unreadable, and "variables"
// for more or longer others than an event keeps.
var AnomalyFields = [...]string{"code", "extended", "time", "timestamp", "variables"}

// Event is a decoded call. Its text is valid UTF-8 without white space around it and control
// characters but tab and line ends. An empty value is an absent one.
type Event struct {
	Kind Kind
	// ID is the sender's id of the message. It is never empty.
	ID string
	// Type names the kind. It may be empty, as in the older documents.
	Type string
	// Action is "failure" or "failed" as documented, or another word in lower case.
	Action string
	// State is the step of the SMTP conversation that failed, in lower case, or "bounce".
	State string
	// Recipient is the message's recipient as sent.
	Recipient string
	// Address is the recipient's address alone, the same for all its spellings. Domain is what
	// follows its @, in lower case and as an A-label (RFC 5890), or empty.
	Address, Domain string
	// Code is the SMTP reply code, 100 to 999, or 0 if it is absent or cannot be read.
	Code int
	// Extended is the enhanced status code (RFC 3463), zero if it is absent or cannot be read.
	Extended smtpstatus.Enhanced
	// Description is the sender's text, usually the receiving server's reply, of one line or more.
	Description string
	// Time is when it happened: the variable time, else timestamp, else Arrived.
	Time time.Time
	// Arrived is when the call was received.
	Arrived time.Time
	// Tags are those of the message in the order sent, with duplicates.
	Tags []string
	// Variables are code, extended, time and timestamp if they could not be read, as sent, and all
	// variables without a field above, in the order sent.
	Variables []Variable
	// Dropped is the number of variables that were left out or cut off.
	Dropped int
	// Anomalies lists those of AnomalyFields that are not as they should be.
	Anomalies []string

	// Class is one of smtpstatus.ClassPermanent, ClassTransient and ClassUnknown.
	Class string
	// Mode is ModeSynchronous or ModeAsynchronous.
	Mode string
	// Cause is why it failed, one of smtpstatus.CauseNames, and DecidedBy is what decided it.
	Cause     string
	DecidedBy smtpstatus.DecidedBy
	// Account signed the call; empty when signatures are not checked.
	Account string
	// Identity is the same in all repeats of the event.
	Identity Identity
}

// Variable is a variable of a call. The Name of parameters[k] is "parameters.k".
type Variable struct {
	Name  string
	Value string   // of a scalar
	List  []string // of an array, else nil
}

// all returns the values of a scalar or a list.
func (v *Variable) all() []string {
	if v.List == nil {
		return []string{v.Value}
	}
	return v.List
}

// find returns the variable of that name, or nil.
func find(variables []Variable, name string) *Variable {
	for i := range variables {
		if variables[i].Name == name {
			return &variables[i]
		}
	}
	return nil
}

// Variable returns the value or, separated by commas, the values of one of e.Variables.
func (e *Event) Variable(name string) string {
	if v := find(e.Variables, name); v != nil {
		return strings.Join(v.all(), ", ")
	}
	return ""
}

// The modes of a failure: the message was refused in the SMTP conversation, or it was accepted and
// bounced later, which its state says.
const (
	ModeSynchronous  = "synchronous"
	ModeAsynchronous = "asynchronous"
	stateBounce      = "bounce"
)

// Summary returns code, enhanced status, cause and state in one line of text.
func (e *Event) Summary() string {
	var words []string
	if e.Code != 0 {
		words = append(words, strconv.Itoa(e.Code))
	}
	if !e.Extended.IsZero() {
		words = append(words, e.Extended.String())
	}
	words = append(words, e.Cause)
	words = append(words, strings.Fields(e.State)...)
	return strings.Join(words, " ")
}
