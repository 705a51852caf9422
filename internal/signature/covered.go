package signature

import (
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
)

// maxSigned bounds the values that a signature covers, together.
const maxSigned = 16 << 10

// covered are the values that a signature covers.
type covered struct {
	account, host, date,
	digest string
	// lengthAt is where the length of the body has to be put into what was signed; negative: nowhere.
	lengthAt int
}

// readCovered finds the value of each header that is covered, and writes what was signed (section 2.3) into room, if that is large enough.
// It comes apart from what the call keeps, so that room may be on the stack. target is what stands before the path of the request target.
//
// The draft signs the values of a header that comes several times joined, and an empty one as such (section 2.3); here each has to be
// there once and not empty, so that nobody can add what the signer never saw.
func readCovered(r *http.Request, headers []string, target string, room []byte) (c covered, signed []byte, err error) {
	c.lengthAt, signed = -1, room[:0]
	var keyRoom [64]byte
	total := 0
	for i, header := range headers {
		if i > 0 {
			signed = append(signed, '\n')
		}
		at := len(signed)
		signed = appendLower(signed, header)
		name := signed[at:]
		signed = append(signed, ": "...)

		var before, value string
		switch string(name) {
		case requestTarget:
			path, ok := targetOf(r.RequestURI)
			if !ok || !isText(path) {
				return covered{}, nil, refuse(ReasonMalformedTarget)
			}
			before, value = skip(target, ' '), path
		case "host":
			// net/http moves it out of the header and refuses a request that has two.
			value = r.Host
		default:
			fields := r.Header[string(appendCanonical(keyRoom[:0], name))]
			switch {
			case len(fields) == 0 && string(name) == "content-length":
				// A proxy may pass the body on in chunks, and HTTP/2 can do without. The length is known once the body is read.
				c.lengthAt = len(signed)
				continue
			case len(fields) == 0:
				return covered{}, nil, refuse(ReasonMissingHeader)
			case len(fields) > 1:
				return covered{}, nil, refuse(ReasonRepeatedHeader)
			}
			value = fields[0]
		}
		// "Leading and trailing optional whitespace (OWS) in the header field value MUST be omitted" (section 2.3).
		value = trim(value)
		total += len(before) + len(value)
		switch {
		case value == "":
			return covered{}, nil, refuse(ReasonEmptyHeader)
		case total > maxSigned || !isText(before) || !isText(value):
			return covered{}, nil, refuse(ReasonMalformedHeader)
		}
		signed = append(append(signed, before...), value...)
		switch string(name) {
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
	return c, signed, nil
}

// appendCanonical appends a name in lower case in the form that net/http has it in (textproto.CanonicalMIMEHeaderKey).
func appendCanonical(to, name []byte) []byte {
	at := len(to)
	to = append(to, name...)
	first := true
	for i, c := range name {
		if first && 'a' <= c && c <= 'z' {
			to[at+i] = c - 'a' + 'A'
		}
		first = c == '-'
	}
	return to
}

// beforePath is what comes before the path in the line of the request target: "the lowercased :method, an ASCII space, and the :path
// pseudo-headers" (section 2.3).
func beforePath(method, prefix string) string {
	return lower(method) + " " + prefix
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

// sumWithLength returns the hash that was signed, for a body of the length.
func sumWithLength(signed []byte, at, length int) [sha256.Size]byte {
	whole := make([]byte, 0, len(signed)+20)
	whole = append(whole, signed[:at]...)
	whole = strconv.AppendInt(whole, int64(length), 10)
	whole = append(whole, signed[at:]...)
	return sha256.Sum256(whole)
}
