package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Identity distinguishes events, and is the same in an event's repeats. It has 16 bytes of a
// SHA-256: among billions of events, collisions can be neglected.
type Identity [16]byte

// String returns the identity as 32 lower-case hexadecimal digits.
func (id Identity) String() string { return hex.EncodeToString(id[:]) }

const (
	// identityVersion must change with what is hashed, so that stored identities stay right.
	identityVersion = "smtp_failure/1"
	// usualSize is enough for what most events are identified by.
	usualSize = 512
)

// identity returns a hash of what a sender repeats when it tries again, keyed if there is a key.
func (b *eventBuilder) identity() Identity {
	if len(b.Key) > 0 {
		mac := hmac.New(sha256.New, b.Key)
		mac.Write(b.appendIdentified(make([]byte, 0, usualSize)))
		return Identity(mac.Sum(nil))
	}
	sum := sha256.Sum256(b.appendIdentified(make([]byte, 0, usualSize)))
	return Identity(sum[:])
}

// appendIdentified appends all fields, with numbers in one spelling, so that an event has one
// identity as a form and as JSON. A timestamp counts only if time cannot be read.
func (b *eventBuilder) appendIdentified(buf []byte) []byte {
	timestamp := b.sent[fieldTimestamp]
	if b.timed {
		timestamp = ""
	}
	for _, text := range [...]string{
		identityVersion, b.Account, b.sent[fieldType], b.sent[fieldID], b.sent[fieldRecipient],
		oneSpelling(b.sent[fieldTime]), timestamp, b.sent[fieldAction], b.sent[fieldState],
		oneSpelling(b.sent[fieldCode]), b.sent[fieldExtended], b.sent[fieldDescription],
	} {
		// With the length before it, no text can move from one field to the next.
		buf = binary.AppendUvarint(buf, uint64(len(text)))
		buf = append(buf, text...)
	}
	return buf
}
