package signature

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

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
		d := digest{Hash: newHash()}
		var err error
		if d.want, err = strictBase64.DecodeString(value); err != nil || len(d.want) != d.Size() {
			return nil, refuse(ReasonMalformedDigest)
		}
		digests = append(digests, d)
	}
	if len(digests) == 0 {
		return nil, refuse(ReasonUnsupportedDigest)
	}
	return digests, nil
}
