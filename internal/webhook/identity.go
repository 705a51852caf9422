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

// identity returns the first half of the SHA-256 of what the event is identified by, or of the HMAC-SHA-256 where there is a key.
//
// That is what a sender repeats when it tries again: account, type, id, recipient, time (timestamp too where time cannot be read), action, state, code,
// extended and description. Values count as sent, numbers
// for what they are worth. Not the order of the tags or other variables, and not the encoding: an event has one identity as
// a form and as JSON. Without a time it stands for the same event however often it is sent.
func (r *reading) identity() Identity {
	if len(r.Key) > 0 {
		mac := hmac.New(sha256.New, r.Key)
		mac.Write(r.appendIdentified(make([]byte, 0, usualSize)))
		return Identity(mac.Sum(nil))
	}
	sum := sha256.Sum256(r.appendIdentified(make([]byte, 0, usualSize)))
	return Identity(sum[:])
}

// usualSize is enough for what most events are identified by.
const usualSize = 512

func (r *reading) appendIdentified(buf []byte) []byte {
	timestamp := r.sent[sentTimestamp]
	if r.timed {
		timestamp = ""
	}
	for _, field := range [...]string{
		identityVersion, r.Account, r.sent[sentType], r.sent[sentID], r.sent[sentRecipient], oneSpelling(r.sent[sentTime]), timestamp,
		r.sent[sentAction], r.sent[sentState], oneSpelling(r.sent[sentCode]), r.sent[sentExtended], r.sent[sentDescription],
	} {
		// The length goes before the text, so that no text can be moved from one field to the next.
		buf = binary.AppendUvarint(buf, uint64(len(field)))
		buf = append(buf, field...)
	}
	return buf
}
