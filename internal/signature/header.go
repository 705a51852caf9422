package signature

import (
	"encoding/base64"
	"slices"
	"strings"
)

// Bounds of a Signature header. One with a key of 4096 bits that covers all that the sender's sample covers has 900 bytes.
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
	headers   []string // in lower case, in the order that was signed
	signature []byte
}

// parseSignature reads the Signature header (draft-cavage-http-signatures-10, sections 2.1 and 4). The draft separates parameters by
// commas and the sender's sample, in one place, by white space, so either will do. Names are taken in any case.
func parseSignature(fields []string) (parameters, error) {
	switch {
	case len(fields) == 0:
		return parameters{}, refuse(ReasonMissingSignature)
	case len(fields) > 1:
		return parameters{}, refuse(ReasonRepeatedSignature)
	case len(fields[0]) > maxSignatureHeader || !isText(fields[0]):
		return parameters{}, refuse(ReasonMalformedSignature)
	}

	var keyID, algorithm, headers, signature string
	seen := make([]string, 0, maxParameters)
	for rest := strings.TrimLeft(fields[0], ", \t"); rest != ""; {
		name, value, quoted, after, ok := cutParameter(rest)
		if !ok || len(seen) == maxParameters {
			return parameters{}, refuse(ReasonMalformedSignature)
		}
		rest = after
		// Section 2.2: a header in which a parameter comes twice must not be processed.
		if slices.Contains(seen, name) {
			return parameters{}, refuse(ReasonRepeatedParameter)
		}
		seen = append(seen, name)

		switch name {
		case "keyid":
			keyID = value
		case "algorithm":
			algorithm = value
		case "headers":
			headers = value
		case "signature":
			signature = value
		case "created", "expires":
			// They came with version 11, for algorithms other than this one, and would be trusted for nothing here.
			return parameters{}, refuse(ReasonForbiddenParameter)
		default:
			// Section 2.2: what is not known is ignored.
			continue
		}
		if !quoted {
			return parameters{}, refuse(ReasonMalformedSignature)
		}
	}
	// Section 2.1 lets algorithm and headers be absent. An absent list stands for Date alone, which covers too little.
	if keyID == "" || algorithm == "" || headers == "" || signature == "" {
		return parameters{}, refuse(ReasonMissingParameter)
	}
	// hs2019 says nothing of the algorithm, and the others are broken or need a secret that nobody has.
	if lower(algorithm) != "rsa-sha256" {
		return parameters{}, refuse(ReasonUnsupportedAlgorithm)
	}

	p := parameters{keyID: lower(keyID)}
	if !isKeyName(p.keyID) {
		return parameters{}, refuse(ReasonForeignKey)
	}
	var err error
	if p.headers, err = parseCovered(headers); err != nil {
		return parameters{}, err
	}
	if p.signature, err = decodeSignature(signature); err != nil {
		return parameters{}, err
	}
	return p, nil
}

// cutParameter reads one parameter, name=value, and what separates it from the next (RFC 7235, section 2.1, auth-param, with the white
// space around = that a recipient has to take). The name comes in lower case. The value of a quoted string is what stands between the
// quotes, not unescaped: none that is known may hold a backslash.
func cutParameter(s string) (name, value string, quoted bool, rest string, ok bool) {
	n := 0
	for n < len(s) && isTokenByte(s[n]) {
		n++
	}
	name, rest = lower(s[:n]), strings.TrimLeft(s[n:], " \t")
	if n == 0 || rest == "" || rest[0] != '=' {
		return "", "", false, "", false
	}
	rest = strings.TrimLeft(rest[1:], " \t")

	quoted = rest != "" && rest[0] == '"'
	if quoted {
		rest = rest[1:]
		n = 0
		for n < len(rest) && rest[n] != '"' {
			if rest[n] == '\\' {
				n++
			}
			n++
		}
		if n >= len(rest) {
			return "", "", false, "", false
		}
		value, rest = rest[:n], rest[n+1:]
	} else {
		n = 0
		for n < len(rest) && isTokenByte(rest[n]) {
			n++
		}
		if n == 0 {
			return "", "", false, "", false
		}
		value, rest = rest[:n], rest[n:]
	}

	after := strings.TrimLeft(rest, ", \t")
	if after != "" && len(after) == len(rest) {
		return "", "", false, "", false
	}
	return name, value, quoted, after, true
}

// requestTarget is the name that stands for method and target in the list of what is covered (section 2.3).
const requestTarget = "(request-target)"

// required is what the sender's documentation promises that a signature covers.
var required = [...]string{requestTarget, "host", "date", "digest", "x-copernica-id"}

// parseCovered reads the list of what is covered (section 2.1.3), which the sender's sample folds and writes in mixed case.
func parseCovered(list string) ([]string, error) {
	headers := strings.Fields(lower(list))
	if len(headers) > maxCovered {
		return nil, refuse(ReasonMalformedSignature)
	}
	missing := len(required)
	for i, name := range headers {
		if name != requestTarget && !isToken(name) {
			return nil, refuse(ReasonMalformedSignature)
		}
		if slices.Contains(headers[:i], name) {
			return nil, refuse(ReasonRepeatedHeader)
		}
		if slices.Contains(required[:], name) {
			missing--
		}
	}
	if missing > 0 {
		return nil, refuse(ReasonUncoveredHeader)
	}
	return headers, nil
}

// strictBase64 takes one spelling only for the same bytes (RFC 4648, sections 3.2, 3.3 and 3.5). That it skips CR and LF does not
// matter: no header value that comes here has any.
var strictBase64 = base64.StdEncoding.Strict()

// decodeSignature reads the signature (section 2.1.4). A header that was folded holds spaces where the lines met.
func decodeSignature(s string) ([]byte, error) {
	if strings.ContainsAny(s, " \t") {
		s = strings.NewReplacer(" ", "", "\t", "").Replace(s)
	}
	signature, err := strictBase64.DecodeString(s)
	if err != nil || len(signature) < minSignature || len(signature) > maxSignature {
		return nil, refuse(ReasonMalformedSignature)
	}
	return signature, nil
}
