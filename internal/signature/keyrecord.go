package signature

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
)

// Bounds of keys and of what DNS returns for a name.
const (
	minKeyBits     = 1024 // a smaller key can be factored
	maxKeyBits     = 4096 // a larger key costs too much to check
	maxRecord      = 4096 // one with a key of 4096 bits has 760 bytes
	maxRecords     = 16
	maxTags        = 16
	maxKeysPerName = 4
)

var (
	errRevoked = errors.New("revoked")
	errNoKey   = errors.New("not an RSA key that may be used")
)

// readKeys reads the TXT records of a name and returns the keys in them and the outcome of the
// lookup. RFC 6376, section 3.6.2.2, leaves open what several records mean: each may be a key.
func readKeys(records []string) ([]*rsa.PublicKey, string) {
	outcome := LookupAbsent
	var keys []*rsa.PublicKey
	for _, record := range records[:min(len(records), maxRecords)] {
		switch key, err := parseKeyRecord(record); {
		case err == nil && len(keys) < maxKeysPerName:
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

// foldingSpace are the characters of FWS (RFC 6376, section 2.8).
const foldingSpace = " \t\r\n"

// parseKeyRecord reads a DKIM key record (RFC 6376, section 3.6.1), which is a list of tags without
// repeated names (section 3.2). Tags g, n and t are ignored: they are about mail.
func parseKeyRecord(record string) (*rsa.PublicKey, error) {
	if len(record) > maxRecord {
		return nil, errNoKey
	}
	tags := make(map[string]string, maxTags)
	record = strings.TrimSuffix(strings.TrimRight(record, foldingSpace), ";")
	for tag := range strings.SplitSeq(record, ";") {
		name, value, valid := strings.Cut(tag, "=")
		name, value = strings.Trim(name, foldingSpace), strings.Trim(value, foldingSpace)
		_, repeated := tags[name]
		if !valid || name == "" || repeated || len(tags) == maxTags {
			return nil, errNoKey
		}
		switch name {
		case "v": // has to be first
			valid = len(tags) == 0 && value == "DKIM1"
		case "k": // key type
			valid = lower(value) == "rsa"
		case "h": // hash algorithms
			valid = lists(value, "sha256")
		case "s": // service types: none is for HTTP, and the sender's keys are like those for mail
			valid = lists(value, "*") || lists(value, "email")
		}
		if !valid {
			return nil, errNoKey
		}
		tags[name] = value
	}

	p, found := tags["p"]
	if !found {
		return nil, errNoKey
	}
	if p == "" {
		return nil, errRevoked
	}
	der, err := base64.StdEncoding.DecodeString(withoutSpace.Replace(p))
	if err != nil {
		return nil, errNoKey
	}
	return parseKey(der)
}

// lists reports whether a list that is separated by colons holds name, in any case.
func lists(list, name string) bool {
	for item := range strings.SplitSeq(list, ":") {
		if lower(strings.Trim(item, foldingSpace)) == name {
			return true
		}
	}
	return false
}

// parseKey reads the key itself. RFC 6376 says RSAPublicKey and its examples have
// SubjectPublicKeyInfo (RFC Errata 3017), so verifiers accept both.
func parseKey(der []byte) (*rsa.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	key, isRSA := parsed.(*rsa.PublicKey)
	if !isRSA {
		key, err = x509.ParsePKCS1PublicKey(der)
	}
	if err != nil {
		return nil, errNoKey
	}
	bits := key.N.BitLen()
	// No key pair has an even modulus or exponent, and Go verifies with no exponent over 31 bits.
	if bits < minKeyBits || bits > maxKeyBits || key.N.Bit(0) == 0 || key.E < 3 || key.E > 1<<31-1 || key.E%2 == 0 {
		return nil, errNoKey
	}
	return key, nil
}
