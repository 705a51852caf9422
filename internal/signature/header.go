package signature

import (
	"encoding/base64"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Bounds of a Signature header. One with a key of 4096 bits that covers all that the sender's
// sample covers has 900 bytes.
const (
	maxSignatureHeader = 4096
	maxParameters      = 16
	maxCovered         = 32
)

// The sizes of an RSA signature are those of the keys (RFC 8017, section 8.2.2, step 1).
const (
	minSignature = minKeyBits / 8
	maxSignature = maxKeyBits / 8
)

// parameters are what a Signature header says.
type parameters struct {
	keyID     string   // in lower case
	covered   []string // in lower case, in the order that was signed
	signature []byte
}

// parseSignature reads the Signature header (draft-cavage-http-signatures-10, sections 2.1 and 4).
// The draft separates parameters by commas and the sender's sample, in one place, by white space,
// so either will do. Names are taken in any case.
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
		name, value, quoted, after, ok := cutParameter(rest)
		if !ok || len(values) == maxParameters {
			return parameters{}, refuse(ReasonMalformedSignature)
		}
		rest = after
		name = strings.ToLower(name)
		// Section 2.2: a header in which a parameter comes twice must not be processed.
		if _, twice := values[name]; twice {
			return parameters{}, refuse(ReasonRepeatedParameter)
		}
		values[name] = value

		switch name {
		case "keyid", "algorithm", "headers", "signature":
			if !quoted {
				return parameters{}, refuse(ReasonMalformedSignature)
			}
		case "created", "expires":
			// They came with version 11, for algorithms other than this one, and would be trusted
			// for nothing here.
			return parameters{}, refuse(ReasonForbiddenParameter)
		default:
			// Section 2.2: what is not known is ignored.
		}
	}
	// Section 2.1 lets algorithm and headers be absent. An absent list stands for Date alone, which
	// covers too little.
	for _, name := range []string{"keyid", "algorithm", "headers", "signature"} {
		if values[name] == "" {
			return parameters{}, refuse(ReasonMissingParameter)
		}
	}
	// hs2019 says nothing of the algorithm, and the others are broken or need a secret that nobody
	// has.
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
	p.signature, err = decodeSignature(values["signature"])
	return p, err
}

// separators are what may stand between parameters: commas and white space.
const separators = ", \t"

// cutParameter reads one parameter, name=value, and what separates it from the next (RFC 7235,
// section 2.1, auth-param, with the white space around = that a recipient has to take). The value
// of a quoted string is what stands between the quotes, not unescaped: none that is known may hold
// a backslash.
func cutParameter(s string) (name, value string, quoted bool, rest string, ok bool) {
	name, rest = cutToken(s)
	rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t"), "=")
	if name == "" || !ok {
		return "", "", false, "", false
	}
	rest = strings.TrimLeft(rest, " \t")

	if rest, quoted = strings.CutPrefix(rest, `"`); quoted {
		end := 0
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(rest) {
			return "", "", false, "", false
		}
		value, rest = rest[:end], rest[end+1:]
	} else if value, rest = cutToken(rest); value == "" {
		return "", "", false, "", false
	}

	after := strings.TrimLeft(rest, separators)
	return name, value, quoted, after, after == "" || len(after) < len(rest)
}

// cutToken returns the token that s begins with (RFC 9110, section 5.6.2), and what comes after it.
func cutToken(s string) (token, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool { return !httpguts.IsTokenRune(r) })
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// requestTarget is the name that stands for method and target in the list of what is covered
// (section 2.3).
const requestTarget = "(request-target)"

// parseCovered reads the list of what is covered (section 2.1.3), which the sender's sample folds
// and writes in mixed case.
func parseCovered(list string) ([]string, error) {
	covered := make([]string, 0, maxCovered)
	for name := range strings.FieldsSeq(list) {
		if len(covered) == maxCovered || !httpguts.ValidHeaderFieldName(name) && lower(name) != requestTarget {
			return nil, refuse(ReasonMalformedSignature)
		}
		name = lower(name)
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

// strictBase64 takes one spelling only for the same bytes (RFC 4648, sections 3.2, 3.3 and 3.5).
// That it skips CR and LF does not matter: no header value that comes here has any.
var strictBase64 = base64.StdEncoding.Strict()

var withoutSpace = strings.NewReplacer(" ", "", "\t", "")

// decodeSignature reads the signature (section 2.1.4). A header that was folded holds spaces where
// the lines met.
func decodeSignature(s string) ([]byte, error) {
	signature, err := strictBase64.DecodeString(withoutSpace.Replace(s))
	if err != nil || len(signature) < minSignature || len(signature) > maxSignature {
		return nil, refuse(ReasonMalformedSignature)
	}
	return signature, nil
}

// lower returns s with the letters of ASCII in lower case. Others stay, so that no name becomes
// another one by Unicode's rules.
func lower(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
