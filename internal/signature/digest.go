package signature

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"strings"
)

// maxDigests bounds the digests in a header. There are ten registered algorithms.
const maxDigests = 16

// digest is what a Digest header says of the body: at least one is set.
type digest struct {
	has256, has512 bool
	sha256         [sha256.Size]byte
	sha512         [sha512.Size]byte
}

// parseDigest reads a Digest header (RFC 3230, section 4.3.2; RFC 5843 for SHA-256 and SHA-512). Names are taken in any case (RFC 3230,
// section 4.1.1). Digests by other algorithms are passed over, the broken MD5 and SHA among them.
func parseDigest(header string) (digest, error) {
	var d digest
	seen := make([]string, 0, 4)
	for one := range strings.SplitSeq(header, ",") {
		name, value, ok := strings.Cut(trim(one), "=")
		if !ok || !isToken(name) || value == "" || len(seen) == maxDigests {
			return digest{}, refuse(ReasonMalformedDigest)
		}
		if contains(seen, name) {
			return digest{}, refuse(ReasonRepeatedDigest)
		}
		seen = append(seen, name)

		switch {
		case same(name, "sha-256"):
			d.has256 = true
			ok = decodeDigest(d.sha256[:], value)
		case same(name, "sha-512"):
			d.has512 = true
			ok = decodeDigest(d.sha512[:], value)
		}
		if !ok {
			return digest{}, refuse(ReasonMalformedDigest)
		}
	}
	if !d.has256 && !d.has512 {
		return digest{}, refuse(ReasonUnsupportedDigest)
	}
	return d, nil
}

// decodeDigest fills sum.
func decodeDigest(sum []byte, s string) bool {
	if len(s) != strictBase64.EncodedLen(len(sum)) {
		return false
	}
	// Without padding, so many letters are up to two bytes more.
	var room [sha512.Size + 2]byte
	n, err := strictBase64.Decode(room[:], []byte(s))
	copy(sum, room[:])
	return err == nil && n == len(sum)
}

// matches says that each of the digests is the body's.
func (d *digest) matches(body []byte) bool {
	if d.has256 {
		if sum := sha256.Sum256(body); subtle.ConstantTimeCompare(sum[:], d.sha256[:]) != 1 {
			return false
		}
	}
	if d.has512 {
		if sum := sha512.Sum512(body); subtle.ConstantTimeCompare(sum[:], d.sha512[:]) != 1 {
			return false
		}
	}
	return true
}
