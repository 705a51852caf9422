package signature

import (
	"crypto/sha256"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// maxSigned bounds the values that a signature covers, together.
const maxSigned = 16 << 10

// covered are the values that a signature covers.
type covered struct {
	values []string // in the order of the list; empty where the length of the body has to be put
	account, host, date,
	digest string
}

// coveredValues finds the value of each header that is covered. The draft signs the values of a header that comes several times
// joined, and an empty one as such (section 2.3); here each has to be there once and not empty, so that nobody can add what the
// signer never saw.
func coveredValues(r *http.Request, headers []string, prefix string) (covered, error) {
	c := covered{values: make([]string, len(headers))}
	total := 0
	for i, name := range headers {
		var value string
		switch name {
		case requestTarget:
			path, ok := targetOf(r.RequestURI)
			if !ok || !isText(path) {
				return covered{}, refuse(ReasonMalformedTarget)
			}
			// "the lowercased :method, an ASCII space, and the :path pseudo-headers" (section 2.3).
			value = lower(r.Method) + " " + prefix + path
		case "host":
			// net/http moves it out of the header and refuses a request that has two.
			value = r.Host
		default:
			fields := r.Header[textproto.CanonicalMIMEHeaderKey(name)]
			switch {
			case len(fields) == 0 && name == "content-length":
				// A proxy may pass the body on in chunks, and HTTP/2 can do without. The length is known once the body is read.
				continue
			case len(fields) == 0:
				return covered{}, refuse(ReasonMissingHeader)
			case len(fields) > 1:
				return covered{}, refuse(ReasonRepeatedHeader)
			}
			value = fields[0]
		}
		// "Leading and trailing optional whitespace (OWS) in the header field value MUST be omitted" (section 2.3).
		value = strings.Trim(value, " \t")
		total += len(value)
		switch {
		case value == "":
			return covered{}, refuse(ReasonEmptyHeader)
		case total > maxSigned || !isText(value):
			return covered{}, refuse(ReasonMalformedHeader)
		}
		c.values[i] = value
		switch name {
		case "host":
			c.host = value
		case "date":
			c.date = value
		case "digest":
			c.digest = value
		case "x-copernica-id":
			c.account = value
		}
	}
	return c, nil
}

// targetOf returns path and query of a request line's target as they were sent, which is what :path is in HTTP/2 (RFC 9113, section
// 8.3.1). The absolute form (RFC 9112, section 3.2.2) begins with what is not part of it. Other forms are no POST's.
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

// signingString returns what was signed (section 2.3), and where the length of the body has to be put into it: a negative number if
// nowhere.
func signingString(headers, values []string) (signed []byte, lengthAt int) {
	size := 0
	for i, name := range headers {
		size += len(name) + len(": ") + len(values[i]) + len("\n")
	}
	signed, lengthAt = make([]byte, 0, size), -1
	for i, name := range headers {
		if i > 0 {
			signed = append(signed, '\n')
		}
		signed = append(signed, name...)
		signed = append(signed, ": "...)
		if values[i] == "" {
			lengthAt = len(signed)
		}
		signed = append(signed, values[i]...)
	}
	return signed, lengthAt
}

// sum returns the hash that was signed, for a body of the length.
func (c *Call) sum(length int) [sha256.Size]byte {
	if c.lengthAt < 0 {
		return sha256.Sum256(c.signed)
	}
	whole := make([]byte, 0, len(c.signed)+20)
	whole = append(whole, c.signed[:c.lengthAt]...)
	whole = strconv.AppendInt(whole, int64(length), 10)
	whole = append(whole, c.signed[c.lengthAt:]...)
	return sha256.Sum256(whole)
}
