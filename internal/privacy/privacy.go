// Package privacy decides what may be told of a recipient, and takes out of an event what may not.
package privacy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// Mode says how much of the recipient is told.
type Mode int

const (
	// ModeFull tells the address as it was sent.
	ModeFull Mode = iota
	// ModeDomain tells the domain only.
	ModeDomain
	// ModeHMAC tells the domain, and the keyed hash of the address in place of the address.
	ModeHMAC
	// ModeDrop tells nothing.
	ModeDrop
)

var modeNames = [...]string{ModeFull: "full", ModeDomain: "domain", ModeHMAC: "hmac", ModeDrop: "drop"}

// ParseMode returns the mode of that name: full, domain, hmac or drop.
func ParseMode(name string) (Mode, bool) {
	mode := slices.Index(modeNames[:], name)
	return Mode(max(mode, 0)), mode >= 0
}

// String returns the name of the mode.
func (m Mode) String() string {
	if m < 0 || int(m) >= len(modeNames) {
		return "Mode(" + strconv.Itoa(int(m)) + ")"
	}
	return modeNames[m]
}

// Policy is what may be told of the recipient. The zero value tells all. It is safe for concurrent use.
type Policy struct {
	Mode Mode
	// Key of the hashes in every mode but full. Without one a random key is used that lasts as long as the process.
	Key []byte
}

// processKey takes the place of a key that is missing, so that what was meant to be secret is never hashed with a key that anybody knows.
var processKey = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	// It does not fail: see the documentation of crypto/rand.
	_, _ = rand.Read(key)
	return key
})

// Apply leaves of an event what may be told. It is to be called once, first of all.
//
// In every mode but full every text of the event is rid of the forms of the recipient's address that can be recognised, of every other address,
// and in ModeDrop of the recipient's domain. Markers in brackets stand in their place. Recipient and Domain are what may be told then.
func (p *Policy) Apply(r *webhook.Event) {
	if p.Mode == ModeFull {
		return
	}
	key := p.Key
	if len(key) == 0 {
		key = processKey()
	}

	var rd redactor
	rd.learn(r.Recipient, p.Mode == ModeDrop)
	for i := range r.Variables {
		// A recipient that is an array is kept among the others, so that nothing is lost of it. It may name no address at all, so it goes as a whole.
		if v := &r.Variables[i]; baseOf(v.Name) == "recipient" {
			for j := range v.List {
				rd.learn(v.List[j], p.Mode == ModeDrop)
			}
			rd.learn(v.Value, p.Mode == ModeDrop)
		}
	}
	domain := ""
	if p.Mode != ModeDrop {
		domain = rd.domain(r)
	}
	address := ""
	if p.Mode == ModeHMAC && r.Recipient != "" {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(strings.ToLower(r.Recipient)))
		address = hex.EncodeToString(mac.Sum(nil))
	}

	r.ID = rd.redact(r.ID, inText)
	if !knownStates[r.State] {
		r.State = rd.redact(r.State, inText)
	}
	if !knownActions[r.Action] {
		r.Action = rd.redact(r.Action, inText)
	}
	r.Description = rd.redact(r.Description, inText)
	r.Tags = rd.redactAll(r.Tags)
	rd.others(r)

	r.Recipient, r.Domain = address, domain
}

// knownStates are the states that MailerQ documents, and the one that the webhook adds. They are never somebody's name.
var knownStates = wordSet(`
	process suppression storage responsive personalize rewrite dns bind connect handshake intro ehlo helo starttls authplain authlogin
	authusername authpassword authcram authresponse mailfrom rcptto data message idle unknown bounce
`)

var knownActions = wordSet(`failure failed`)

// knownVariables are the names of variables that the senders document, and that are never somebody's name either.
var knownVariables = wordSet(`
	type id recipient time timestamp action state code extended description tags parameters fields interests profile subprofile database collection
`)

// baseOf is the part of a flat name before its first dot.
func baseOf(name string) string {
	base, _, _ := strings.Cut(name, ".")
	return base
}

// redactAll leaves the list as it is when there is nothing to take out, and otherwise makes a new one.
func (rd *redactor) redactAll(list []string) []string {
	for i, text := range list {
		redacted := rd.redact(text, inText)
		if redacted == text {
			continue
		}
		changed := slices.Clone(list)
		changed[i] = redacted
		for j := i + 1; j < len(list); j++ {
			changed[j] = rd.redact(list[j], inText)
		}
		return changed
	}
	return list
}

func (rd *redactor) others(r *webhook.Event) {
	var numbers map[string]int
	for i := range r.Variables {
		v := &r.Variables[i]
		name := v.Name
		base := baseOf(name)
		if knownVariables[base] {
			if rest := name[len(base):]; rest != "" {
				name = base + "." + rd.redact(rest[1:], inName)
			}
		} else {
			name = rd.redact(name, inName)
		}
		if base == "recipient" {
			if v.List != nil {
				v.List = []string{markRecipient}
			} else {
				v.Value = markRecipient
			}
		} else {
			v.Value, v.List = rd.redact(v.Value, inText), rd.redactAll(v.List)
		}
		if name == v.Name {
			continue
		}
		if numbers == nil {
			numbers = map[string]int{}
		}
		// None takes the place of another that was renamed.
		numbers[name]++
		if n := numbers[name]; n > 1 {
			name += "." + strconv.Itoa(n)
		}
		v.Name = name
	}
}

// domain is what may be told as the recipient's domain. What follows the last @ may be anything, an address too if it is escaped: then it is
// the domain of the address that it is read as, or nothing.
func (rd *redactor) domain(r *webhook.Event) string {
	domain := r.Domain
	isPlain := domain != ""
	for _, c := range domain {
		if c != '.' && c != '-' && c != '_' && !unicode.In(c, unicode.L, unicode.M, unicode.N) {
			isPlain = false
			break
		}
	}
	if isPlain {
		return domain
	}
	if strings.HasPrefix(domain, "[") && host([]byte(domain), 0) == len(domain) {
		return domain
	}
	for i := len(rd.mailboxes) - 1; i >= 0; i-- {
		if m := &rd.mailboxes[i]; m.exact && len(m.domain) > 0 {
			return string(m.domain)
		}
	}
	return ""
}
