package signature

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var digestCases = []struct {
	header string
	reason string
}{
	{"SHA-256=" + sha256Of("x"), ""},
	{"sha-256=" + sha256Of("x"), ""},
	{"SHA-512=" + sha512Of("x"), ""},
	{"SHA-256=" + sha256Of("x") + ",SHA-512=" + sha512Of("x"), ""},
	{" SHA-256=" + sha256Of("x") + " \t, Sha-512=" + sha512Of("x"), ""},
	{"unixsum=30637,SHA-256=" + sha256Of("x"), ""},
	{"id-SHA-256=" + sha256Of("y") + ",SHA-256=" + sha256Of("x"), ""},
	{"SHA-256=" + sha256Of("x") + ",MD5=" + md5Of("y") + ",SHA=" + sha1Of("y"), ""},

	{"SHA-256=" + sha256Of("y"), ReasonDigestMismatch},
	{"SHA-512=" + sha512Of("y"), ReasonDigestMismatch},
	{"SHA-256=" + sha256Of("x") + ",SHA-512=" + sha512Of("y"), ReasonDigestMismatch},

	{"MD5=" + md5Of("x"), ReasonUnsupportedDigest},
	{"SHA=" + sha1Of("x"), ReasonUnsupportedDigest},
	{"md5=" + md5Of("x") + ",sha=" + sha1Of("x"), ReasonUnsupportedDigest},
	{"id-SHA-256=" + sha256Of("x"), ReasonUnsupportedDigest},
	{"sha256=" + sha256Of("x"), ReasonUnsupportedDigest},

	{"SHA-256=" + sha256Of("x") + ",SHA-256=" + sha256Of("x"), ReasonRepeatedDigest},
	{"SHA-256=" + sha256Of("x") + ",sha-256=" + sha256Of("y"), ReasonRepeatedDigest},
	{"MD5=a,md5=b,SHA-256=" + sha256Of("x"), ReasonRepeatedDigest},

	{"", ReasonMalformedDigest},
	{",", ReasonMalformedDigest},
	{"SHA-256", ReasonMalformedDigest},
	{"SHA-256=", ReasonMalformedDigest},
	{"=" + sha256Of("x"), ReasonMalformedDigest},
	{"SHA 256=" + sha256Of("x"), ReasonMalformedDigest},
	{"SHA-256 =" + sha256Of("x"), ReasonMalformedDigest},
	{"SHA-256= " + sha256Of("x"), ReasonMalformedDigest},
	{"SHA-256=" + sha256Of("x") + ",", ReasonMalformedDigest},
	{"SHA-256=" + sha256Of("x") + ";q=1", ReasonMalformedDigest},
	{"SHA-256=\"" + sha256Of("x") + "\"", ReasonMalformedDigest},
	{"SHA-256=:" + sha256Of("x") + ":", ReasonMalformedDigest},
	{"SHA-256=" + strings.TrimRight(sha256Of("x"), "="), ReasonMalformedDigest},
	{"SHA-256=" + sha256Of("x") + "=", ReasonMalformedDigest},
	{"SHA-256=" + strings.NewReplacer("+", "-", "/", "_").Replace(sha256Of("x")) + "-", ReasonMalformedDigest},
	{"SHA-256=" + sha512Of("x"), ReasonMalformedDigest},
	// As many letters as there have to be, but for one or two bytes more.
	{"SHA-256=" + strings.Repeat("A", 44), ReasonMalformedDigest},
	{"SHA-512=" + strings.Repeat("A", 88), ReasonMalformedDigest},
	{"SHA-512=" + strings.Repeat("A", 87) + "=", ReasonMalformedDigest},
	{"SHA-512=" + sha256Of("x"), ReasonMalformedDigest},
	// The bits that no byte takes have to be zero: LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=
	// ends in E and not in F.
	{"SHA-256=" + strings.Replace(sha256Of("x"), "E=", "F=", 1), ReasonMalformedDigest},
	{"SHA-256=2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", ReasonMalformedDigest},
	{func() string {
		h := "SHA-256=" + sha256Of("x")
		for i := range maxDigests {
			h += fmt.Sprintf(",x%d=1", i)
		}
		return h
	}(), ReasonMalformedDigest},
}

// matches reports whether every digest is the body's.
func matches(digests []digest, body string) bool {
	for _, d := range digests {
		d.Reset()
		_, _ = d.Write([]byte(body))
		if !d.matches() {
			return false
		}
	}
	return true
}

func TestDigest(t *testing.T) {
	require.True(t, strings.HasSuffix(sha256Of("x"), "SIE="), "the cases above rely on it")
	for _, tc := range digestCases {
		digests, err := parseDigest(tc.header)
		if err == nil && !matches(digests, "x") {
			err = refuse(ReasonDigestMismatch)
		}
		if tc.reason == "" {
			require.NoError(t, err, tc.header)
			assert.False(t, matches(digests, "y"), tc.header)
			assert.False(t, matches(digests, ""), tc.header)
			continue
		}
		assert.Equal(t, tc.reason, reasonOf(err), tc.header)
	}
}
