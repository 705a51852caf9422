package signature

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
)

const x256 = "SHA-256=LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE="

var x512 = signaturetest.SHA512("x")

// digestCases are headers for the body x.
var digestCases = []struct{ header, reason string }{
	{x256, ""},
	{x512, ""},
	{"sha-256" + x256[7:], ""},
	{" " + x256 + " \t, Sha-512" + x512[7:], ""},
	{"unixsum=30637," + x256, ""},
	{"id-SHA-256=x," + x256, ""},
	{x256 + ",MD5=wrong,SHA=wrong", ""},

	{signaturetest.SHA256("y"), ReasonDigestMismatch},
	{signaturetest.SHA512("y"), ReasonDigestMismatch},
	{x256 + "," + signaturetest.SHA512("y"), ReasonDigestMismatch},
	{signaturetest.SHA256("y") + "," + x512, ReasonDigestMismatch},

	{"MD5=nd2f+qrNPI+gJkDKfIx76A==", ReasonUnsupportedDigest},
	{"id-" + x256, ReasonUnsupportedDigest},
	{"sha256" + x256[7:], ReasonUnsupportedDigest},

	{x256 + ",sha-256" + x256[7:], ReasonRepeatedDigest},
	{"MD5=a,md5=b," + x256, ReasonRepeatedDigest},

	{"", ReasonMalformedDigest},
	{"SHA-256=", ReasonMalformedDigest},
	{x256[7:], ReasonMalformedDigest},
	{"SHA 256" + x256[7:], ReasonMalformedDigest},
	{"SHA-256= " + x256[8:], ReasonMalformedDigest},
	{x256 + ",", ReasonMalformedDigest},
	{x256 + ";q=1", ReasonMalformedDigest},
	{`SHA-256="` + x256[8:] + `"`, ReasonMalformedDigest},
	{"SHA-256=:" + x256[8:] + ":", ReasonMalformedDigest},
	{strings.TrimSuffix(x256, "="), ReasonMalformedDigest},
	{strings.Replace(x256, "+", "-", 1), ReasonMalformedDigest},
	{strings.Replace(x256, "E=", "F=", 1), ReasonMalformedDigest}, // bits that no byte takes
	{"SHA-256=" + strings.Repeat("A", 44), ReasonMalformedDigest}, // 33 bytes
	{"SHA-256" + x512[7:], ReasonMalformedDigest},
	{x256 + "," + numbered(maxDigests, ","), ReasonMalformedDigest},
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
	for _, tc := range digestCases {
		digests, err := parseDigest(tc.header)
		if err == nil && !matches(digests, "x") {
			err = refuse(ReasonDigestMismatch)
		}
		assert.Equal(t, tc.reason, outcomeOf(err), tc.header)
		assert.False(t, err == nil && matches(digests, "y"), tc.header)
	}
}
