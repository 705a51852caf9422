// Package privacy decides what of an event may be told of its recipient.
package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// Mode says how much is told of the recipient. Each is stricter than the one before, but for ModeHMAC,
// which tells as much of the recipient in counters as ModeDomain.
type Mode int

const (
	// ModeFull tells all that was sent.
	ModeFull Mode = iota
	// ModeDomain tells the recipient's domain.
	ModeDomain
	// ModeHMAC tells the domain, and a keyed hash in place of the address.
	ModeHMAC
	// ModeDrop tells neither.
	ModeDrop
)

var modes = [...]string{ModeFull: "full", ModeDomain: "domain", ModeHMAC: "hmac", ModeDrop: "drop"}

// ParseMode returns the mode of that name, and reports whether there is one.
func ParseMode(name string) (Mode, bool) {
	mode := slices.Index(modes[:], name)
	return Mode(max(mode, 0)), mode >= 0
}

// String returns the name of the mode.
func (m Mode) String() string { return modes[m] }

// Policy is what may be told.
type Policy struct {
	Mode Mode
	// Key is that of the pseudonyms in ModeHMAC.
	Key []byte
	// Redact reports whether the description is told, without what names somebody, in every mode but
	// ModeFull. Otherwise it is left out.
	Redact bool
	// Variables are the names of the other variables that are told in every mode but ModeFull. The name of
	// an array stands for all that is in it.
	Variables []string
}

// Apply leaves of an event what may be told.
func (p *Policy) Apply(e *webhook.Event) {
	if p.Mode == ModeFull {
		return
	}
	r := p.redactorOf(e)
	// An event of its own, so that what is not named here is not told, whatever else an event may say.
	told := webhook.Event{
		Kind:         e.Kind,
		ID:           r.redact(e.ID, false),
		Type:         e.Type,
		Code:         e.Code,
		Extended:     e.Extended,
		Time:         e.Time,
		Arrived:      e.Arrived,
		Dropped:      e.Dropped,
		Anomalies:    e.Anomalies,
		Class:        e.Class,
		Asynchronous: e.Asynchronous,
		Cause:        e.Cause,
		DecidedBy:    e.DecidedBy,
		Account:      e.Account,
		Identity:     e.Identity,
	}
	if actions[e.Action] {
		told.Action = e.Action
	}
	if told.State = e.State; !states[e.State] {
		told.State = r.redact(e.State, false)
	}
	for _, tag := range e.Tags {
		told.Tags = append(told.Tags, r.redact(tag, false))
	}
	for _, v := range e.Variables {
		// A name that holds the recipient cannot be told, and another would say nothing.
		if !p.Tells(v.Name) || r.redact(v.Name, false) != v.Name {
			continue
		}
		v.Value = r.redact(v.Value, false)
		v.List = slices.Clone(v.List)
		for i := range v.List {
			v.List[i] = r.redact(v.List[i], false)
		}
		told.Variables = append(told.Variables, v)
	}
	if p.Redact {
		told.Description = r.redact(e.Description, true)
	}
	if p.Mode != ModeDrop {
		told.Domain = e.Domain
	}
	if p.Mode == ModeHMAC && e.Address != "" {
		told.Recipient = p.pseudonym(e.Address)
	}
	*e = told
}

func (p *Policy) redactorOf(e *webhook.Event) *redactor {
	r := &redactor{hideDomain: p.Mode == ModeDrop}
	r.know(e.Recipient)
	r.know(e.Address)
	for _, v := range e.Variables {
		// Where the recipient is an array.
		if base(v.Name) == "recipient" {
			// What was left out or cut off of it may name people too.
			r.incomplete = e.Dropped > 0
			for _, one := range append(v.List, v.Value) {
				r.know(one)
			}
		}
	}
	return r
}

// Tells reports whether a variable without a field of its own may be told.
func (p *Policy) Tells(variable string) bool {
	return p.Mode == ModeFull || slices.Contains(p.Variables, variable) || slices.Contains(p.Variables, base(variable))
}

// base returns the name of the array that a variable is in: parameters of parameters.k.
func base(variable string) string {
	name, _, _ := strings.Cut(variable, ".")
	return name
}

func (p *Policy) pseudonym(address string) string {
	mac := hmac.New(sha256.New, p.Key)
	mac.Write([]byte(address))
	return hex.EncodeToString(mac.Sum(nil))
}

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

// The states and actions that the senders document name nobody, whoever the recipient is.
var (
	states = setOf(`
		process suppression storage responsive personalize rewrite dns bind connect handshake intro ehlo helo starttls
		authplain authlogin authusername authpassword authcram authresponse mailfrom rcptto data message idle unknown bounce
	`)
	actions = setOf("failure failed")
)
