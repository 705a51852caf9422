package signature

import (
	"encoding/base64"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Bounds of a Signature header. One with a key of 4096 bits that covers what the sender's sample
// covers has 900 bytes.
const (
	maxSignatureHeader = 4096
	maxParameters      = 16
	maxCovered         = 32

	// An RSA signature is as long as its key (RFC 8017, section 8.2.2, step 1).
	minSignature = minKeyBits / 8
	maxSignature = maxKeyBits / 8
)

// usedParameters have to be there. Section 2.1 makes algorithm and headers optional, but without
// headers only Date is covered.
var usedParameters = []string{"keyid", "algorithm", "headers", "signature"}

// parameters are the parameters of a Signature header.
type parameters struct {
	keyID     string   // in lower case
	covered   []string // in lower case, in the order that was signed
	signature []byte
}

// parseSignature reads the Signature header (draft-cavage-http-signatures-10, sections 2.1 and 4).
// The draft separates parameters by commas, the sender's sample in one place by white space only:
// both are accepted. Names have no case.
func parseSignature(fields []string) (parameters, error) {
	switch {
	case len(fields) == 0:
		return parameters{}, refuse(ReasonMissingSignature)
	case len(fields) > 1:
		return parameters{}, refuse(ReasonRepeatedSignature)
	case len(fields[0]) > maxSignatureHeader || !httpguts.ValidHeaderFieldValue(fields[0]):
		return parameters{}, refuse(ReasonMalformedSignature)
	}

	values := make(map[string]string, maxParameters)
	for rest := strings.TrimLeft(fields[0], separators); rest != ""; {
		p, after, ok := cutParameter(rest)
		if !ok || len(values) == maxParameters {
			return parameters{}, refuse(ReasonMalformedSignature)
		}
		rest = after
		name := strings.ToLower(p.name)
		// Section 2.2: repeated parameters must not be processed, unknown ones are ignored.
		_, repeated := values[name]
		switch {
		case repeated:
			return parameters{}, refuse(ReasonRepeatedParameter)
		case name == "created" || name == "expires":
			// Version 11 has them, for other algorithms than rsa-sha256.
			return parameters{}, refuse(ReasonForbiddenParameter)
		case !p.quoted && slices.Contains(usedParameters, name):
			return parameters{}, refuse(ReasonMalformedSignature)
		}
		values[name] = p.value
	}
	for _, name := range usedParameters {
		if values[name] == "" {
			return parameters{}, refuse(ReasonMissingParameter)
		}
	}
	if lower(values["algorithm"]) != "rsa-sha256" {
		return parameters{}, refuse(ReasonUnsupportedAlgorithm)
	}

	p := parameters{keyID: lower(values["keyid"])}
	if !isKeyName(p.keyID) {
		return parameters{}, refuse(ReasonUnknownSelector)
	}
	var err error
	if p.covered, err = parseCovered(values["headers"]); err != nil {
		return parameters{}, err
	}
	// A folded header has spaces in the signature.
	p.signature, err = strictBase64.DecodeString(withoutSpace.Replace(values["signature"]))
	if err != nil || len(p.signature) < minSignature || len(p.signature) > maxSignature {
		return parameters{}, refuse(ReasonMalformedSignature)
	}
	return p, nil
}

// separators may stand between parameters.
const separators = ", \t"

type authParam struct {
	name, value string
	quoted      bool
}

// cutParameter cuts a parameter, name=value, and the separators after it off s (RFC 7235, section
// 2.1, auth-param).
func cutParameter(s string) (p authParam, rest string, ok bool) {
	p.name, rest = cutToken(s)
	rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t"), "=")
	if p.name == "" || !ok {
		return p, "", false
	}
	rest, p.quoted = strings.CutPrefix(strings.TrimLeft(rest, " \t"), `"`)
	if p.quoted {
		p.value, rest, ok = cutQuoted(rest)
	} else {
		p.value, rest = cutToken(rest)
		ok = p.value != ""
	}
	after := strings.TrimLeft(rest, separators)
	separated := after == "" || len(after) < len(rest)
	return p, after, ok && separated
}

// cutQuoted cuts a value and the quote that ends it off s. It is not unescaped: no value that is
// used may hold a backslash.
func cutQuoted(s string) (value, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// cutToken cuts the token that s begins with (RFC 9110, section 5.6.2) off s.
func cutToken(s string) (token, rest string) {
	rest = strings.TrimLeftFunc(s, httpguts.IsTokenRune)
	return s[:len(s)-len(rest)], rest
}

// requestTarget stands for method and target in the list of what is covered (section 2.3).
const requestTarget = "(request-target)"

// parseCovered reads the list of what is covered (section 2.1.3), which the sender's sample folds
// and writes in mixed case.
func parseCovered(list string) ([]string, error) {
	covered := make([]string, 0, maxCovered)
	for name := range strings.FieldsSeq(list) {
		name = lower(name)
		if len(covered) == maxCovered || !httpguts.ValidHeaderFieldName(name) && name != requestTarget {
			return nil, refuse(ReasonMalformedSignature)
		}
		if slices.Contains(covered, name) {
			return nil, refuse(ReasonRepeatedHeader)
		}
		covered = append(covered, name)
	}
	for _, name := range required {
		if !slices.Contains(covered, name) {
			return nil, refuse(ReasonUncoveredHeader)
		}
	}
	return covered, nil
}

// strictBase64 accepts only one spelling of the same bytes (RFC 4648, sections 3.2, 3.3 and 3.5),
// but for CR and LF, which no header has.
var strictBase64 = base64.StdEncoding.Strict()

var withoutSpace = strings.NewReplacer(" ", "", "\t", "")

// lower returns s with ASCII letters in lower case. Unlike with strings.ToLower, no other letter
// becomes one of ASCII.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
