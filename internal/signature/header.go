package signature

import (
	"encoding/base64"
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
	keyID     string // in lower case
	signature []byte
}

// parseSignature reads the Signature header (draft-cavage-http-signatures-10, sections 2.1 and 4). The draft separates parameters by
// commas and the sender's sample, in one place, by white space, so either will do. Names are taken in any case. Those of what is covered
// come in any case, in the order that was signed. They are put into room, and apart from what the call keeps, so that room may be on the stack.
func parseSignature(fields, room []string) (p parameters, headers []string, err error) {
	switch {
	case len(fields) == 0:
		return parameters{}, nil, refuse(ReasonMissingSignature)
	case len(fields) > 1:
		return parameters{}, nil, refuse(ReasonRepeatedSignature)
	case len(fields[0]) > maxSignatureHeader || !isText(fields[0]):
		return parameters{}, nil, refuse(ReasonMalformedSignature)
	}

	var keyID, algorithm, list, signature string
	seen := make([]string, 0, maxParameters)
	for rest := skip(fields[0], ','); rest != ""; {
		name, value, quoted, after, ok := cutParameter(rest)
		if !ok || len(seen) == maxParameters {
			return parameters{}, nil, refuse(ReasonMalformedSignature)
		}
		rest = after
		// Section 2.2: a header in which a parameter comes twice must not be processed.
		if contains(seen, name) {
			return parameters{}, nil, refuse(ReasonRepeatedParameter)
		}
		seen = append(seen, name)

		switch {
		case same(name, "keyid"):
			keyID = value
		case same(name, "algorithm"):
			algorithm = value
		case same(name, "headers"):
			list = value
		case same(name, "signature"):
			signature = value
		case same(name, "created"), same(name, "expires"):
			// They came with version 11, for algorithms other than this one, and would be trusted for nothing here.
			return parameters{}, nil, refuse(ReasonForbiddenParameter)
		default:
			// Section 2.2: what is not known is ignored.
			continue
		}
		if !quoted {
			return parameters{}, nil, refuse(ReasonMalformedSignature)
		}
	}
	// Section 2.1 lets algorithm and headers be absent. An absent list stands for Date alone, which covers too little.
	if keyID == "" || algorithm == "" || list == "" || signature == "" {
		return parameters{}, nil, refuse(ReasonMissingParameter)
	}
	// hs2019 says nothing of the algorithm, and the others are broken or need a secret that nobody has.
	if !same(algorithm, "rsa-sha256") {
		return parameters{}, nil, refuse(ReasonUnsupportedAlgorithm)
	}

	p.keyID = lower(keyID)
	if !isKeyName(p.keyID) {
		return parameters{}, nil, refuse(ReasonForeignKey)
	}
	if headers, err = parseCovered(list, room); err != nil {
		return parameters{}, nil, err
	}
	if p.signature, err = decodeSignature(signature); err != nil {
		return parameters{}, nil, err
	}
	return p, headers, nil
}

// cutParameter reads one parameter, name=value, and what separates it from the next (RFC 7235, section 2.1, auth-param, with the white
// space around = that a recipient has to take). The value of a quoted string is what stands between the quotes, not unescaped:
// none that is known may hold a backslash.
func cutParameter(s string) (name, value string, quoted bool, rest string, ok bool) {
	n := 0
	for n < len(s) && isTokenByte(s[n]) {
		n++
	}
	name, rest = s[:n], skip(s[n:], ' ')
	if n == 0 || rest == "" || rest[0] != '=' {
		return "", "", false, "", false
	}
	rest = skip(rest[1:], ' ')

	quoted = rest != "" && rest[0] == '"'
	if quoted {
		if value, rest, ok = cutQuoted(rest[1:]); !ok {
			return "", "", false, "", false
		}
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

	after := skip(rest, ',')
	if after != "" && len(after) == len(rest) {
		return "", "", false, "", false
	}
	return name, value, quoted, after, true
}

// cutQuoted returns what stands before the first quote that has no backslash of its own in front, and after it.
func cutQuoted(s string) (value, rest string, ok bool) {
	n := strings.IndexByte(s, '"')
	if n >= 0 && strings.IndexByte(s[:n], '\\') < 0 {
		return s[:n], s[n+1:], true
	}
	for n = 0; n < len(s) && s[n] != '"'; n++ {
		if s[n] == '\\' {
			n++
		}
	}
	if n >= len(s) {
		return "", "", false
	}
	return s[:n], s[n+1:], true
}

// requestTarget is the name that stands for method and target in the list of what is covered (section 2.3).
const requestTarget = "(request-target)"

// required is what the sender's documentation promises that a signature covers.
var required = [...]string{requestTarget, "host", "date", "digest", "x-copernica-id"}

// parseCovered reads the list of what is covered (section 2.1.3), which the sender's sample folds and writes in mixed case.
func parseCovered(list string, room []string) ([]string, error) {
	headers, ok := splitNames(list, room)
	if !ok {
		headers = room[:0]
		for name := range strings.FieldsSeq(list) {
			headers = append(headers, name)
			if len(headers) > maxCovered {
				return nil, refuse(ReasonMalformedSignature)
			}
		}
	}
	missing := len(required)
	for i, name := range headers {
		if !ok && !isCoveredName(name) {
			return nil, refuse(ReasonMalformedSignature)
		}
		if contains(headers[:i], name) {
			return nil, refuse(ReasonRepeatedHeader)
		}
		if contains(required[:], name) {
			missing--
		}
	}
	if missing > 0 {
		return nil, refuse(ReasonUncoveredHeader)
	}
	return headers, nil
}

// splitNames splits a list that is as most are, of names with one space in between and no more than there may be. No name holds what
// strings.Fields takes for white space, so it would find the same ones.
func splitNames(list string, room []string) (names []string, ok bool) {
	names = room[:0]
	for more := true; more; {
		var name string
		name, list, more = strings.Cut(list, " ")
		if !isCoveredName(name) || len(names) == maxCovered {
			return nil, false
		}
		names = append(names, name)
	}
	return names, true
}

func isCoveredName(s string) bool {
	return isToken(s) || same(s, requestTarget)
}

// contains says that a name is among others, in any case.
func contains(names []string, name string) bool {
	for _, one := range names {
		if same(one, name) {
			return true
		}
	}
	return false
}

// strictBase64 takes one spelling only for the same bytes (RFC 4648, sections 3.2, 3.3 and 3.5). That it skips CR and LF does not
// matter: no header value that comes here has any.
var strictBase64 = base64.StdEncoding.Strict()

// decodeSignature reads the signature (section 2.1.4). A header that was folded holds spaces where the lines met.
func decodeSignature(s string) ([]byte, error) {
	if strings.IndexByte(s, ' ') >= 0 || strings.IndexByte(s, '\t') >= 0 {
		s = strings.NewReplacer(" ", "", "\t", "").Replace(s)
	}
	signature, err := strictBase64.DecodeString(s)
	if err != nil || len(signature) < minSignature || len(signature) > maxSignature {
		return nil, refuse(ReasonMalformedSignature)
	}
	return signature, nil
}
