package signature

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"net/http"
	"slices"
	"strings"
	"time"

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

// signingString returns what was signed (section 2.3 of the draft).
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

// MaxAhead is how far the sender's clock may be ahead of ours.
const MaxAhead = time.Minute

// dateLayouts are the layouts of Date that are read. GMT is written out because Go's MST takes any
// name for a zone.
var dateLayouts = [...]string{
	"Mon, 2 Jan 2006 15:04:05 GMT",   // RFC 9110, section 5.6.7: the sender's sample
	"Monday, 02-Jan-06 15:04:05 GMT", // the same section, rfc850-date
	"Mon Jan _2 15:04:05 2006",       // the same section, asctime-date
	"Mon, 2 Jan 2006 15:04:05 -0700", // RFC 5322, section 3.3: PHP's DATE_RFC2822
	"Mon, 2 Jan 06 15:04:05 -0700",   // RFC 822, section 5.1: PHP's DATE_RFC822
	"Mon, 2 Jan 06 15:04:05 GMT",     // the same section, with the zone's name
}

// checkDate checks that a date is at most maxAge old. A replay within that time passes.
func checkDate(date string, now time.Time, maxAge time.Duration) error {
	for _, layout := range dateLayouts {
		t, err := time.Parse(layout, date)
		if err != nil {
			continue
		}
		switch age := now.Sub(t); {
		case age > maxAge:
			return refuse(ReasonOld)
		case age < -MaxAhead:
			return refuse(ReasonFuture)
		}
		return nil
	}
	return refuse(ReasonMalformedDate)
}

// maxDigests bounds the digests in a header. Ten algorithms are registered.
const maxDigests = 16

var hashes = map[string]func() hash.Hash{"sha-256": sha256.New, "sha-512": sha512.New}

// digest is one digest of a Digest header, and the hash of the body as far as it was read.
type digest struct {
	hash.Hash

	want []byte
}

// matches reports whether the body is the one in the header.
func (d digest) matches() bool {
	return bytes.Equal(d.Sum(nil), d.want)
}

// parseDigest reads a Digest header (RFC 3230, section 4.3.2; RFC 5843 for SHA-256 and SHA-512).
// Names have no case (RFC 3230, section 4.1.1). Other algorithms are ignored.
func parseDigest(header string) ([]digest, error) {
	var digests []digest
	var seen []string
	for instance := range strings.SplitSeq(header, ",") {
		name, value, ok := strings.Cut(strings.Trim(instance, " \t"), "=")
		if !ok || value == "" || !httpguts.ValidHeaderFieldName(name) || len(seen) == maxDigests {
			return nil, refuse(ReasonMalformedDigest)
		}
		name = strings.ToLower(name)
		if slices.Contains(seen, name) {
			return nil, refuse(ReasonRepeatedDigest)
		}
		seen = append(seen, name)

		newHash, known := hashes[name]
		if !known {
			continue
		}
		want, err := strictBase64.DecodeString(value)
		d := digest{Hash: newHash(), want: want}
		if err != nil || len(want) != d.Size() {
			return nil, refuse(ReasonMalformedDigest)
		}
		digests = append(digests, d)
	}
	if len(digests) == 0 {
		return nil, refuse(ReasonUnsupportedDigest)
	}
	return digests, nil
}
