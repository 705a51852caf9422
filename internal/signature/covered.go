package signature

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxSigned bounds what is signed, in bytes.
const maxSigned = 16 << 10

// contentLength may be covered and not sent: a proxy may send the body in chunks, and HTTP/2 needs
// no length.
const contentLength = "content-length"

// readCovered returns the value of each header that is covered, without one for a Content-Length
// that was not sent.
//
// The draft also signs repeated and empty headers (section 2.3). Here each has to be there once and
// not empty, so that nobody can add what the signer never saw.
func readCovered(r *http.Request, covered []string, prefix string) (map[string]string, error) {
	values := make(map[string]string, len(covered))
	size := 0
	for _, name := range covered {
		var value string
		switch name {
		case requestTarget:
			target, ok := targetOf(r.RequestURI)
			if !ok || !httpguts.ValidHeaderFieldValue(target) {
				return nil, refuse(ReasonMalformedTarget)
			}
			value = lower(r.Method) + " " + prefix + target
		case "host":
			// net/http takes it out of the header and refuses a request with two.
			value = r.Host
		default:
			fields := r.Header[http.CanonicalHeaderKey(name)]
			switch {
			case len(fields) == 0 && name == contentLength:
				continue
			case len(fields) == 0:
				return nil, refuse(ReasonMissingHeader)
			case len(fields) > 1:
				return nil, refuse(ReasonRepeatedHeader)
			}
			value = fields[0]
		}
		value = strings.Trim(value, " \t")
		size += len(name) + len(": ") + len(value) + len("\n")
		switch {
		case value == "":
			return nil, refuse(ReasonEmptyHeader)
		case size > maxSigned || !httpguts.ValidHeaderFieldValue(value):
			return nil, refuse(ReasonMalformedHeader)
		}
		values[name] = value
	}
	return values, nil
}

// signingString returns what was signed (section 2.3).
func signingString(covered []string, values map[string]string) []byte {
	text := make([]byte, 0, 512)
	for i, name := range covered {
		if i > 0 {
			text = append(text, '\n')
		}
		text = append(text, name...)
		text = append(text, ": "...)
		text = append(text, values[name]...)
	}
	return text
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
