package signature

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxSigned bounds the signing string in bytes.
const maxSigned = 16 << 10

// signingString is what was signed (section 2.3).
type signingString struct {
	text     string
	lengthAt int // where the length of the body belongs if it was signed and not sent, else -1
}

// readCovered returns the value of each header that is covered, and what was signed.
//
// The draft also signs repeated and empty headers (section 2.3). Here each has to be there once and
// not empty, so that nobody can add what the signer never saw.
func readCovered(r *http.Request, covered []string, prefix string) (map[string]string, signingString, error) {
	values := make(map[string]string, len(covered))
	signed := signingString{lengthAt: -1}
	var text strings.Builder
	text.Grow(512)
	for i, name := range covered {
		if i > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(name)
		text.WriteString(": ")

		var value string
		switch name {
		case requestTarget:
			target, ok := targetOf(r.RequestURI)
			if !ok || !httpguts.ValidHeaderFieldValue(target) {
				return nil, signed, refuse(ReasonMalformedTarget)
			}
			value = lower(r.Method) + " " + prefix + target
		case "host":
			// net/http takes it out of the header and refuses a request with two.
			value = r.Host
		default:
			fields := r.Header[http.CanonicalHeaderKey(name)]
			switch {
			case len(fields) == 0 && name == "content-length":
				// A proxy may send the body in chunks, and HTTP/2 needs no length.
				signed.lengthAt = text.Len()
				continue
			case len(fields) == 0:
				return nil, signed, refuse(ReasonMissingHeader)
			case len(fields) > 1:
				return nil, signed, refuse(ReasonRepeatedHeader)
			}
			value = fields[0]
		}
		value = strings.Trim(value, " \t")
		switch {
		case value == "":
			return nil, signed, refuse(ReasonEmptyHeader)
		case text.Len()+len(value) > maxSigned || !httpguts.ValidHeaderFieldValue(value):
			return nil, signed, refuse(ReasonMalformedHeader)
		}
		text.WriteString(value)
		values[name] = value
	}
	signed.text = text.String()
	return values, signed, nil
}

// targetOf returns path and query of a request target as they were sent, which is what :path is in
// HTTP/2 (RFC 9113, section 8.3.1). It accepts the origin form and the absolute form (RFC 9112,
// section 3.2).
func targetOf(target string) (string, bool) {
	if strings.HasPrefix(target, "/") {
		return target, true
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if scheme = lower(scheme); !ok || scheme != "http" && scheme != "https" {
		return "", false
	}
	path := strings.TrimLeftFunc(rest, func(r rune) bool { return r != '/' && r != '?' })
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path, true
}
