package signature

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"slices"
	"strings"
)

// maxDigests bounds the digests in a header. There are ten registered algorithms.
const maxDigests = 16

// digest is what a Digest header says of the body: at least one is set.
type digest struct {
	sha256, sha512 []byte
}

// parseDigest reads a Digest header (RFC 3230, section 4.3.2; RFC 5843 for SHA-256 and SHA-512). Names are taken in any case (RFC 3230,
// section 4.1.1). Digests by other algorithms are passed over, the broken MD5 and SHA among them.
func parseDigest(header string) (digest, error) {
	var d digest
	seen := make([]string, 0, 4)
	for one := range strings.SplitSeq(header, ",") {
		name, value, ok := strings.Cut(strings.Trim(one, " \t"), "=")
		if !ok || !isToken(name) || value == "" || len(seen) == maxDigests {
			return digest{}, refuse(ReasonMalformedDigest)
		}
		name = lower(name)
		if slices.Contains(seen, name) {
			return digest{}, refuse(ReasonRepeatedDigest)
		}
		seen = append(seen, name)

		switch name {
		case "sha-256":
			d.sha256, ok = decodeDigest(value, sha256.Size)
		case "sha-512":
			d.sha512, ok = decodeDigest(value, sha512.Size)
		}
		if !ok {
			return digest{}, refuse(ReasonMalformedDigest)
		}
	}
	if d.sha256 == nil && d.sha512 == nil {
		return digest{}, refuse(ReasonUnsupportedDigest)
	}
	return d, nil
}

func decodeDigest(s string, size int) ([]byte, bool) {
	if len(s) != strictBase64.EncodedLen(size) {
		return nil, false
	}
	sum, err := strictBase64.DecodeString(s)
	return sum, err == nil && len(sum) == size
}

// matches says that each of the digests is the body's.
func (d digest) matches(body []byte) bool {
	if d.sha256 != nil {
		if sum := sha256.Sum256(body); subtle.ConstantTimeCompare(sum[:], d.sha256) != 1 {
			return false
		}
	}
	if d.sha512 != nil {
		if sum := sha512.Sum512(body); subtle.ConstantTimeCompare(sum[:], d.sha512) != 1 {
			return false
		}
	}
	return true
}
