package smtpstatus

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The closed list of what Cause returns: whose problem a failed delivery is, and so what to do
// about it.
const (
	recipientUnknown     = "recipient_unknown"
	domainNotFound       = "domain_not_found"
	recipientInactive    = "recipient_inactive"
	mailboxFull          = "mailbox_full"
	recipientRestricted  = "recipient_restricted"
	reputationBlock      = "reputation_block"
	spamContent          = "spam_content"
	virus                = "virus"
	contentRejected      = "content_rejected"
	messageTooLarge      = "message_too_large"
	authenticationFailed = "authentication_failed"
	senderRejected       = "sender_rejected"
	reverseDNS           = "reverse_dns"
	policy               = "policy"
	rateLimited          = "rate_limited"
	greylisted           = "greylisted"
	relayDenied          = "relay_denied"
	tlsRequired          = "tls_required"
	protocolError        = "protocol_error"
	connectionFailed     = "connection_failed"
	serverError          = "server_error"
	mailLoop             = "mail_loop"
	expired              = "expired"
	suppressed           = "suppressed"

	// Other is the cause of a failure that shows none, the value that OpenTelemetry reserves in
	// error.type for what is outside the list.
	Other = "_OTHER"
)

var causeNames = []string{
	recipientUnknown, domainNotFound, recipientInactive, mailboxFull, recipientRestricted, reputationBlock, spamContent,
	virus, contentRejected, messageTooLarge, authenticationFailed, senderRejected, reverseDNS, policy, rateLimited,
	greylisted, relayDenied, tlsRequired, protocolError, connectionFailed, serverError, mailLoop, expired, suppressed,
	Other,
}

// CauseNames returns every value that Cause can return, Other last. The slice is the caller's.
func CauseNames() []string { return slices.Clone(causeNames) }

// DecidedBy names what a cause was decided by.
type DecidedBy string

// The values of DecidedBy.
const (
	ByPhrase DecidedBy = "phrase"
	ByStatus DecidedBy = "status"
	ByCode   DecidedBy = "code"
	ByState  DecidedBy = "state"
	ByNone   DecidedBy = "none"
)

// Phrase is a part of descriptions that shows their cause.
type Phrase struct{ Text, Cause string }

// Causes determines why deliveries failed. It is safe for concurrent use. A nil one has the
// built-in phrases alone.
type Causes struct {
	own []ownPhrase // the longest first
}

type ownPhrase struct {
	text  []byte // folded
	cause string
}

//go:embed causes.txt
var causesFile string

var builtIn = sync.OnceValue(func() index {
	rules, err := parseRules(causesFile)
	if err != nil {
		panic(err) // the file is part of the program
	}
	return newIndex(rules)
})

// NewCauses returns Causes that try the phrases of own before the built-in ones. Each must have a
// text that holds more than numbers and small words, and a cause of the closed list.
func NewCauses(own []Phrase) (*Causes, error) {
	builtIn() // so that it is the start that takes the time
	c := &Causes{}
	for _, p := range own {
		// Without the spaces around it, for it may begin and end within a word.
		text := bytes.TrimSpace(fold(nil, p.Text))
		if len(text) == 0 {
			return nil, ErrEmptyPhrase
		}
		if !slices.Contains(causeNames, p.Cause) {
			return nil, ErrUnknownCause
		}
		c.own = append(c.own, ownPhrase{text, p.Cause})
	}
	slices.SortStableFunc(c.own, func(a, b ownPhrase) int { return cmp.Compare(len(b.text), len(a.text)) })
	return c, nil
}

// The errors of NewCauses.
var (
	ErrEmptyPhrase  = errors.New("must contain more than numbers, addresses and words such as \"the\"")
	ErrUnknownCause = errors.New("must be one of " + strings.Join(causeNames, ", "))
)

// maxText is how many bytes of a description are looked at. What shows the cause comes early.
const maxText = 1024

// Cause returns why a delivery failed, as a value for the OpenTelemetry attribute error.type, and
// what it was decided by. Absent arguments are zero values. The first that applies decides:
//
//  1. a phrase of the user's, then a strong phrase of causes.txt;
//  2. an enhanced status that means one cause;
//  3. a weaker phrase;
//  4. an enhanced status that leaves much open;
//  5. the reply code;
//  6. the state of the SMTP conversation.
//
// Of several phrases the longest decides. The first 1,024 bytes of the description are looked at.
func (c *Causes) Cause(description string, e Enhanced, code int, state string) (string, DecidedBy) {
	var buf [2 * maxText]byte
	text := append(buf[:0], ' ')
	if !e.IsZero() {
		// A word that no description can hold, since a point is no part of words.
		text = append(text, "x."...)
		text = strconv.AppendUint(text, uint64(e.Subject), 10)
		text = append(text, '.')
		text = strconv.AppendUint(text, uint64(e.Detail), 10)
		text = append(text, ' ')
	}
	text = fold(text, description[:min(len(description), maxText)])
	if c != nil {
		for _, p := range c.own {
			if bytes.Contains(text, p.text) {
				return p.cause, ByPhrase
			}
		}
	}
	best := builtIn().best(text)
	if best != nil && !best.weak {
		return best.cause, ByPhrase
	}
	statusCause, specific := e.cause()
	switch {
	case specific:
		return statusCause, ByStatus
	case best != nil:
		return best.cause, ByPhrase
	case statusCause != "":
		return statusCause, ByStatus
	}
	if cause := codeCause(code); cause != "" {
		return cause, ByCode
	}
	if cause := stateCause(state); cause != "" {
		return cause, ByState
	}
	return Other, ByNone
}
