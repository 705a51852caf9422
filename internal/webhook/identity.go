package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Identity tells two reports apart, and one report from its repeats. It is 16 bytes of SHA-256, so that two different reports
// share one with a chance that can be neglected even among billions.
type Identity [16]byte

// String returns the identity as 32 lower-case hexadecimal digits.
func (id Identity) String() string {
	return hex.EncodeToString(id[:])
}

// identityVersion is hashed first, so that what is hashed can change without an old identity ever meaning a new report.
const identityVersion = "smtp_failure/1"

// Identity returns the report's identity for the account that sent it, which is empty when no account was verified.
//
// It is made of what a sender repeats when it tries again: account, type, id, recipient, time (timestamp too where time cannot be read), action, state, code,
// extended and description. Values count as sent. Not of the order of the tags or of other variables, and not of the encoding:
// a report has one identity as a form and as JSON. Without a time it stands for the same failure however often it is sent.
//
// After Withhold it means nothing.
func (r *Event) Identity(account string) Identity {
	var room [roomForIdentified]byte
	sum := sha256.Sum256(r.appendIdentified(room[:0], account))
	return Identity(sum[:len(Identity{})])
}

// KeyedIdentity returns the identity that only those who have the key can compute: the first 16 bytes of HMAC-SHA-256 of the same.
func (r *Event) KeyedIdentity(account string, key []byte) Identity {
	mac := hmac.New(sha256.New, key)
	mac.Write(r.identified(account))
	return Identity(mac.Sum(nil)[:len(Identity{})])
}

// roomForIdentified is enough for what most reports are identified by.
const roomForIdentified = 1024

// identified is what the identity is made of.
func (r *Event) identified(account string) []byte {
	return r.appendIdentified(nil, account)
}

func (r *Event) appendIdentified(buffer []byte, account string) []byte {
	timestamp := r.sent[sentTimestamp]
	if r.timed {
		timestamp = ""
	}

	var length [binary.MaxVarintLen64]byte
	for _, field := range [...]string{
		identityVersion, account, r.sent[sentType], r.sent[sentID], r.sent[sentRecipient], r.sent[sentTime], timestamp,
		r.sent[sentAction], r.sent[sentState], r.sent[sentCode], r.sent[sentExtended], r.sent[sentDescription],
	} {
		// The length goes before the text, so that no text can be moved from one field to the next.
		n := binary.PutUvarint(length[:], uint64(len(field)))
		buffer = append(buffer, length[:n]...)
		buffer = append(buffer, field...)
	}
	return buffer
}
