package signature

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	sigBytes   = make([]byte, 128)
	sigText    = base64.StdEncoding.EncodeToString(sigBytes)
	listText   = "(request-target) host date digest x-copernica-id"
	headerText = `keyId="one._domainkey.copernica.com",algorithm="rsa-sha256",headers="` + listText + `",signature="` + sigText + `"`
)

var headerCases = []struct {
	name   string
	header string
	reason string
}{
	{"as it is", headerText, ""},
	{"separated by white space", strings.ReplaceAll(headerText, `",`, `" `+"\t"), ""},
	{"separated by both", strings.ReplaceAll(headerText, `",`, `" , `), ""},
	{"empty elements", ", ," + strings.ReplaceAll(headerText, `",`, `",,`) + " ,", ""},
	{"white space around =", strings.ReplaceAll(headerText, `="`, ` = "`), ""},
	{"names in other cases", strings.NewReplacer("keyId", "KEYID", "algorithm", "Algorithm", "headers", "hEaders", "signature", "SIGNATURE").Replace(headerText), ""},
	{"in another order", `signature="` + sigText + `",headers="` + listText + `",keyId="one._domainkey.copernica.com",algorithm="rsa-sha256"`, ""},
	{"unknown parameters", `nonce="a,b=\"c\"",v=1,` + headerText, ""},
	{"white space in the signature", strings.Replace(headerText, sigText, " "+sigText[:70]+" \t"+sigText[70:]+" ", 1), ""},
	{"a tab in the signature", strings.Replace(headerText, sigText, sigText[:70]+"\t"+sigText[70:], 1), ""},
	{"white space in the list", strings.Replace(headerText, "host date", "  host \t date ", 1), ""},
	{"white space of Unicode in the list", strings.Replace(headerText, "host date", "host\u2003date\u00a0", 1), ""},

	{"empty", "", ReasonMissingParameter},
	{"only separators", " , ", ReasonMissingParameter},
	{"no separator", strings.Replace(headerText, `",alg`, `"alg`, 1), ReasonMalformedSignature},
	{"another separator", strings.Replace(headerText, `",alg`, `";alg`, 1), ReasonMalformedSignature},
	{"not closed", strings.TrimSuffix(headerText, `"`), ReasonMalformedSignature},
	{"closed by an escaped quote", strings.TrimSuffix(headerText, `"`) + `\"`, ReasonMalformedSignature},
	{"ends in a backslash", strings.TrimSuffix(headerText, `"`) + `\`, ReasonMalformedSignature},
	{"no =", headerText + ",x", ReasonMalformedSignature},
	{"no name", headerText + `,="x"`, ReasonMalformedSignature},
	{"no value", headerText + `,x=`, ReasonMalformedSignature},
	{"name is no token", headerText + `,x y="z"`, ReasonMalformedSignature},
	{"scheme in front", "Signature " + headerText, ReasonMalformedSignature},
	{"a token where a string has to be", strings.Replace(headerText, `"rsa-sha256"`, `rsa-sha256`, 1), ReasonMalformedSignature},
	{"escaped", strings.Replace(headerText, `"rsa-sha256"`, `"rsa\-sha256"`, 1), ReasonUnsupportedAlgorithm},
	{"a control character", headerText + "\x7f", ReasonMalformedSignature},
	{"too many parameters", func() string {
		h := headerText
		for i := range maxParameters {
			h += fmt.Sprintf(",x%d=1", i)
		}
		return h
	}(), ReasonMalformedSignature},
	{"too long", headerText + `,x="` + strings.Repeat("x", maxSignatureHeader) + `"`, ReasonMalformedSignature},
	{"an unknown one twice", headerText + `,x=1,X="2"`, ReasonRepeatedParameter},
	{"algorithm twice", headerText + `,algorithm="rsa-sha256"`, ReasonRepeatedParameter},
	{"headers twice", headerText + `,Headers="date"`, ReasonRepeatedParameter},
	{"signature twice", headerText + `,signature="` + sigText + `"`, ReasonRepeatedParameter},
	{"an empty one twice", headerText + `,algorithm=""`, ReasonRepeatedParameter},
	{"algorithm empty", strings.Replace(headerText, "rsa-sha256", "", 1), ReasonMissingParameter},
	{"signature empty", strings.Replace(headerText, sigText, "", 1), ReasonMissingParameter},
	{"signature of spaces", strings.Replace(headerText, sigText, " ", 1), ReasonMalformedSignature},
	{"signature without padding", strings.Replace(headerText, sigText, strings.TrimRight(sigText, "="), 1), ReasonMalformedSignature},
	{"signature with other padding bits", strings.Replace(headerText, "AA="+`"`, "AB="+`"`, 1), ReasonMalformedSignature},
	{"signature for URLs", strings.Replace(headerText, "AAAA", "A-_A", 1), ReasonMalformedSignature},
	{"signature shorter than any key's", strings.Replace(headerText, sigText, base64.StdEncoding.EncodeToString(make([]byte, 127)), 1), ReasonMalformedSignature},
	{"signature longer than any key's", strings.Replace(headerText, sigText, base64.StdEncoding.EncodeToString(make([]byte, 513)), 1), ReasonMalformedSignature},
}

func TestParseSignature(t *testing.T) {
	for _, tc := range headerCases {
		t.Run(tc.name, func(t *testing.T) {
			p, err := parseSignature([]string{tc.header})
			if tc.reason != "" {
				assertRefused(t, tc.reason, err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, goodName, p.keyID)
			assert.Equal(t, sigBytes, p.signature)
			assert.Equal(t, strings.Fields(listText), p.covered)
		})
	}
}

// padded returns the header with as many bytes as asked for.
func padded(size int) string {
	const start = `,x="`
	return headerText + start + strings.Repeat("x", size-len(headerText)-len(start)-1) + `"`
}

func TestBoundsOfTheSignatureHeader(t *testing.T) {
	_, err := parseSignature([]string{padded(maxSignatureHeader)})
	require.NoError(t, err)
	_, err = parseSignature([]string{padded(maxSignatureHeader + 1)})
	assertRefused(t, ReasonMalformedSignature, err)

	more := headerText
	for i := range maxParameters - 4 {
		more += fmt.Sprintf(",x%d=1", i)
	}
	_, err = parseSignature([]string{more})
	require.NoError(t, err)
	_, err = parseSignature([]string{more + ",y=1"})
	assertRefused(t, ReasonMalformedSignature, err)

	list := listText
	for i := range maxCovered - len(required) {
		list += fmt.Sprintf(" x%d", i)
	}
	covered, err := parseCovered(list)
	require.NoError(t, err)
	assert.Len(t, covered, maxCovered)
	_, err = parseCovered(list + " y")
	assertRefused(t, ReasonMalformedSignature, err)
}

// Where a parser of its own would pass them over too, the bytes are refused as a whole.
func TestControlCharactersAreInNoHeader(t *testing.T) {
	for _, c := range []string{"\x00", "\x01", "\n", "\r", "\x1f", "\x7f"} {
		_, err := parseSignature([]string{headerText + `,x="a` + c + `b"`})
		assertRefused(t, ReasonMalformedSignature, err)
	}
	_, err := parseSignature([]string{headerText + ",x=\"a\tb é\""})
	require.NoError(t, err)
}
