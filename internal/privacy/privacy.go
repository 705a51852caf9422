// Package privacy removes from an event what must not be revealed of its recipient.
package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// Mode is how much of the recipient is revealed.
type Mode int

// The modes. Each is stricter than the one before, but counters reveal as much in ModeHMAC as in
// ModeDomain.
const (
	ModeFull   Mode = iota // all that was sent
	ModeDomain             // the recipient's domain
	ModeHMAC               // the domain, and a keyed hash in place of the address
	ModeDrop               // neither
)

var modes = [...]string{ModeFull: "full", ModeDomain: "domain", ModeHMAC: "hmac", ModeDrop: "drop"}

// ParseMode returns the mode of that name, and reports whether there is one.
func ParseMode(name string) (Mode, bool) {
	mode := slices.Index(modes[:], name)
	return Mode(max(mode, 0)), mode >= 0
}

// String returns the name of the mode.
func (m Mode) String() string { return modes[m] }

// Policy is what may be revealed.
type Policy struct {
	Mode Mode
	// Key is that of the pseudonyms in ModeHMAC.
	Key []byte
	// Redact reports whether the description is kept in every mode but ModeFull, without what names
	// the recipient or looks like an address. Otherwise it is left out.
	Redact bool
	// Variables are the names of the other variables that are kept in every mode but ModeFull. The
	// name of an array stands for all that is in it.
	Variables []string
}

// Apply removes from an event what may not be revealed.
func (p *Policy) Apply(e *webhook.Event) {
	if p.Mode == ModeFull {
		return
	}
	r := p.newRedactor(e)
	// A new event, so that fields that are not named here are left out.
	kept := webhook.Event{
		Kind:      e.Kind,
		ID:        r.redact(e.ID, false),
		Type:      e.Type,
		Code:      e.Code,
		Extended:  e.Extended,
		Time:      e.Time,
		Arrived:   e.Arrived,
		Dropped:   e.Dropped,
		Anomalies: e.Anomalies,
		Class:     e.Class,
		Mode:      e.Mode,
		Cause:     e.Cause,
		DecidedBy: e.DecidedBy,
		Account:   e.Account,
		Identity:  e.Identity,
		Tags:      r.redactAll(e.Tags),
	}
	if slices.Contains(actions, e.Action) {
		kept.Action = e.Action
	}
	if kept.State = e.State; !slices.Contains(states, e.State) {
		kept.State = r.redact(e.State, false)
	}
	for _, v := range e.Variables {
		// A variable whose name holds the recipient is left out: a redacted name would say nothing.
		if p.Allows(v.Name) && r.redact(v.Name, false) == v.Name {
			kept.Variables = append(kept.Variables,
				webhook.Variable{Name: v.Name, Value: r.redact(v.Value, false), List: r.redactAll(v.List)})
		}
	}
	if p.Redact {
		kept.Description = r.redact(e.Description, true)
	}
	if p.Mode != ModeDrop {
		kept.Domain = e.Domain
	}
	if p.Mode == ModeHMAC && e.Address != "" {
		mac := hmac.New(sha256.New, p.Key)
		mac.Write([]byte(e.Address))
		kept.Recipient = hex.EncodeToString(mac.Sum(nil))
	}
	*e = kept
}

func (p *Policy) newRedactor(e *webhook.Event) *redactor {
	r := &redactor{hideDomain: p.Mode == ModeDrop}
	r.addRecipient(e.Recipient)
	r.addRecipient(e.Address)
	for _, v := range e.Variables {
		if base(v.Name) == "recipient" { // sent as an array
			r.incomplete = e.Dropped > 0 // what was cut off may name people too
			for _, recipient := range append(v.List, v.Value) {
				r.addRecipient(recipient)
			}
		}
	}
	return r
}

// Allows reports whether a variable without a field of its own may be revealed.
func (p *Policy) Allows(variable string) bool {
	return p.Mode == ModeFull || slices.Contains(p.Variables, variable) || slices.Contains(p.Variables, base(variable))
}

// base returns the name of the array that a variable is in: parameters of parameters.k.
func base(variable string) string {
	name, _, _ := strings.Cut(variable, ".")
	return name
}

// encoded is what of a policy matters to counters: descriptions and keyed hashes are in no series.
type encoded struct {
	Mode      string   `json:"mode"`
	Variables []string `json:"variables,omitempty"`
}

// Encode returns the policy as it is stored with the series that are counted under it.
func (p *Policy) Encode() []byte {
	text, _ := json.Marshal(encoded{p.Mode.String(), p.Variables}) // a struct of strings has no error
	return text
}

// StricterThan reports whether series counted under another policy can reveal what p does not
// allow. other is what Encode returned of it; what cannot be read counts as ModeFull.
func (p *Policy) StricterThan(other []byte) bool {
	var before encoded
	if json.Unmarshal(other, &before) != nil {
		before = encoded{}
	}
	mode, _ := ParseMode(before.Mode)
	return p.Mode != ModeFull && mode == ModeFull || p.Mode == ModeDrop && mode != ModeDrop ||
		slices.ContainsFunc(before.Variables, func(name string) bool { return !p.Allows(name) })
}

// The states and actions that the senders document name nobody, whoever the recipient is.
var (
	states = strings.Fields(`
		process suppression storage responsive personalize rewrite dns bind connect handshake intro
		ehlo helo starttls authplain authlogin authusername authpassword authcram authresponse
		mailfrom rcptto data message idle unknown bounce
	`)
	actions = []string{"failure", "failed"}
)
