package signature

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxSigned bounds the values that a signature covers, together.
const maxSigned = 16 << 10

// signingString is what was signed (section 2.3). Where the length of the body is signed and not
// sent, it comes between before and after; else before is all of it.
type signingString struct {
	before, after string
	lengthMissing bool
}

// readCovered finds the value of each header that is covered, and the text that was signed.
//
// The draft signs the values of a header that comes several times joined, and an empty one as such
// (section 2.3); here each has to be there once and not empty, so that nobody can add what the
// signer never saw.
func readCovered(r *http.Request, covered []string, prefix string) (map[string]string, signingString, error) {
	values := make(map[string]string, len(covered))
	var signed signingString
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
			// "the lowercased :method, an ASCII space, and the :path pseudo-headers"
			value = lower(r.Method) + " " + prefix + target
		case "host":
			// net/http moves it out of the header and refuses a request that has two.
			value = r.Host
		default:
			fields := r.Header[http.CanonicalHeaderKey(name)]
			switch {
			case len(fields) == 0 && name == "content-length":
				// A proxy may pass the body on in chunks, and HTTP/2 can do without. It is known
				// with the body.
				signed.before, signed.lengthMissing = text.String(), true
				text.Reset()
				continue
			case len(fields) == 0:
				return nil, signed, refuse(ReasonMissingHeader)
			case len(fields) > 1:
				return nil, signed, refuse(ReasonRepeatedHeader)
			}
			value = fields[0]
		}
		// "Leading and trailing optional whitespace (OWS) in the header field value MUST be
		// omitted".
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
	if signed.lengthMissing {
		signed.after = text.String()
	} else {
		signed.before = text.String()
	}
	return values, signed, nil
}

// targetOf returns path and query of a request line's target as they were sent, which is what :path
// is in HTTP/2 (RFC 9113, section 8.3.1). The absolute form (RFC 9112, section 3.2.2) begins with
// what is not part of it. Other forms are no POST's.
func targetOf(target string) (string, bool) {
	if strings.HasPrefix(target, "/") {
		return target, true
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if scheme = lower(scheme); !ok || scheme != "http" && scheme != "https" {
		return "", false
	}
	end := strings.IndexAny(rest, "/?")
	switch {
	case end < 0:
		return "/", true
	case rest[end] == '?':
		return "/" + rest[end:], true
	default:
		return rest[end:], true
	}
}
