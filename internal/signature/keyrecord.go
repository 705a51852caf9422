package signature

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
)

// The sizes of a key in bits. Below, a key can be factored; above, a call costs more to check than
// it is worth.
const (
	minKeyBits = 1024
	maxKeyBits = 4096
)

// Bounds of what a name's answer may hold. A record with a key of 4096 bits has 760 bytes.
const (
	maxRecord      = 4096
	maxRecords     = 16
	maxTags        = 16
	maxKeysOfAName = 4
)

// errRevoked and errNoKey tell why a record has no key to use.
var (
	errRevoked = errors.New("revoked")
	errNoKey   = errors.New("not an RSA key that may be used")
)

// readKeys reads the TXT records of a name. RFC 6376, section 3.6.2.2, lets a verifier choose among
// several: each that is a key is one.
func readKeys(records []string) ([]*rsa.PublicKey, string) {
	outcome := LookupAbsent
	var keys []*rsa.PublicKey
	for _, record := range records[:min(len(records), maxRecords)] {
		switch key, err := parseKeyRecord(record); {
		case err == nil && len(keys) < maxKeysOfAName:
			keys = append(keys, key)
		case errors.Is(err, errRevoked):
			outcome = LookupRevoked
		case outcome == LookupAbsent:
			outcome = LookupUnusable
		}
	}
	if len(keys) > 0 {
		outcome = LookupFound
	}
	return keys, outcome
}

// parseKeyRecord reads a DKIM key record (RFC 6376, section 3.6.1). The tags g, n and t are of no
// concern here: t=y, testing, is about what a mail that fails is worth, and t=s about mail
// addresses.
func parseKeyRecord(record string) (*rsa.PublicKey, error) {
	tags, ok := parseTags(record)
	if !ok {
		return nil, errNoKey
	}
	p, found := "", false
	for i, tag := range tags {
		switch tag.name {
		case "v":
			// "This tag MUST be the first tag in the record", "Records beginning with a "v=" tag
			// with any other value MUST be discarded".
			if i > 0 || tag.value != "DKIM1" {
				return nil, errNoKey
			}
		case "k":
			if lower(tag.value) != "rsa" {
				return nil, errNoKey
			}
		case "h":
			// "acceptable hash algorithms".
			if !lists(tag.value, "sha256") {
				return nil, errNoKey
			}
		case "s":
			// "service types to which this record applies". There is none for a call by HTTP, and
			// the sender has its keys made like those for mail, so a key that is for mail is taken.
			if !lists(tag.value, "*") && !lists(tag.value, "email") {
				return nil, errNoKey
			}
		case "p":
			p, found = tag.value, true
		}
	}
	if !found {
		return nil, errNoKey
	}
	p = strings.Join(strings.FieldsFunc(p, isFoldingSpace), "")
	if p == "" {
		// "An empty value means that this public key has been revoked."
		return nil, errRevoked
	}
	der, err := base64.StdEncoding.DecodeString(p)
	if err != nil {
		return nil, errNoKey
	}
	return parseKey(der)
}

// parseKey reads the key itself. RFC 6376 says RSAPublicKey, its examples have SubjectPublicKeyInfo
// (RFC Errata 3017), and so verifiers take both.
func parseKey(der []byte) (*rsa.PublicKey, error) {
	var key *rsa.PublicKey
	if parsed, err := x509.ParsePKIXPublicKey(der); err == nil {
		key, _ = parsed.(*rsa.PublicKey)
	} else if key, err = x509.ParsePKCS1PublicKey(der); err != nil {
		return nil, errNoKey
	}
	if key == nil {
		return nil, errNoKey
	}
	bits := key.N.BitLen()
	// A modulus or an exponent that is even belongs to no pair of keys. Go verifies with no
	// exponent of more than 31 bits.
	if bits < minKeyBits || bits > maxKeyBits || key.N.Bit(0) == 0 || key.E < 3 || key.E > 1<<31-1 || key.E%2 == 0 {
		return nil, errNoKey
	}
	return key, nil
}

type tag struct{ name, value string }

// parseTags reads a tag list (RFC 6376, section 3.2). "Tags with duplicate names MUST NOT occur
// within a single tag-list; if a tag name does occur more than once, the entire tag-list is
// invalid."
func parseTags(list string) ([]tag, bool) {
	if len(list) > maxRecord {
		return nil, false
	}
	list = strings.TrimRightFunc(list, isFoldingSpace)
	var tags []tag
	for spec := range strings.SplitSeq(strings.TrimSuffix(list, ";"), ";") {
		name, value, ok := strings.Cut(spec, "=")
		name = strings.TrimFunc(name, isFoldingSpace)
		twice := slices.ContainsFunc(tags, func(t tag) bool { return t.name == name })
		if !ok || name == "" || twice || len(tags) == maxTags {
			return nil, false
		}
		tags = append(tags, tag{name, strings.TrimFunc(value, isFoldingSpace)})
	}
	return tags, true
}

// lists reports whether a value names one of several things, separated by colons.
func lists(value, name string) bool {
	for one := range strings.SplitSeq(value, ":") {
		if lower(strings.TrimFunc(one, isFoldingSpace)) == name {
			return true
		}
	}
	return false
}

// isFoldingSpace reports whether r is part of FWS (RFC 6376, section 2.8).
func isFoldingSpace(r rune) bool {
	return r == ' ' || r == '\t' || r == '\r' || r == '\n'
}
