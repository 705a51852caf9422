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
	sigText    = strings.Repeat("A", 171) + "=" // 128 zero bytes
	listText   = "(request-target) host date digest x-copernica-id"
	headerText = `keyId="` + goodName + `",algorithm="rsa-sha256",headers="` + listText +
		`",signature="` + sigText + `"`
)

// numbered returns x0=1, x1=1 and so on.
func numbered(n int, separator string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("x%d=1", i)
	}
	return strings.Join(all, separator)
}

// headerWith returns headerText with new text for the first of old.
func headerWith(old, text string) string {
	if !strings.Contains(headerText, old) {
		panic(old + " is not in " + headerText)
	}
	return strings.Replace(headerText, old, text, 1)
}

// withSignatureOf returns headerText with a signature of so many bytes.
func withSignatureOf(size int) string {
	return headerWith(sigText, base64.StdEncoding.EncodeToString(make([]byte, size)))
}

// padded returns headerText with another parameter that makes it so long.
func padded(size int) string {
	return headerText + `,x="` + strings.Repeat("x", size-len(headerText)-5) + `"`
}

var headerCases = []struct{ name, header, reason string }{
	{"as it is", headerText, ""},
	{"separated by white space", strings.ReplaceAll(headerText, `",`, `" `+"\t"), ""},
	{"empty elements", ", ," + strings.ReplaceAll(headerText, `",`, `",,`) + " ,", ""},
	{"white space around =", strings.ReplaceAll(headerText, `="`, ` = "`), ""},
	{"names in another case", strings.NewReplacer("keyId", "KEYID", "headers", "hEaders").Replace(headerText), ""},
	{"algorithm in another case", headerWith("rsa-sha256", "RSA-SHA256"), ""},
	{"list in another case", headerWith(listText, strings.ToUpper(listText)), ""},
	{"in another order", `headers="` + listText + `",` + headerWith(`headers="`+listText+`",`, ""), ""},
	{"unknown parameters", `nonce="a,b=\"c\"",v=1,` + headerText, ""},
	{"white space in the signature", headerWith(sigText, " "+sigText[:70]+" \t"+sigText[70:]+" "), ""},
	{"white space in the list", headerWith("host date", "  host \t date "), ""},
	{"white space of Unicode in the list", headerWith("host date", "host\u2003date\u00a0"), ""},
	{"other characters", headerText + ",x=\"a\tb é\"", ""},
	{"as long as it may be", padded(maxSignatureHeader), ""},
	{"as many parameters as there may be", headerText + "," + numbered(maxParameters-4, ","), ""},
	{"signature of the largest key", withSignatureOf(maxSignature), ""},

	{"empty", "", ReasonMissingParameter},
	{"only separators", " , ", ReasonMissingParameter},
	{"no separator", headerWith(`",alg`, `"alg`), ReasonMalformedSignature},
	{"not closed", strings.TrimSuffix(headerText, `"`), ReasonMalformedSignature},
	{"closed by an escaped quote", strings.TrimSuffix(headerText, `"`) + `\"`, ReasonMalformedSignature},
	{"ends in a backslash", strings.TrimSuffix(headerText, `"`) + `\`, ReasonMalformedSignature},
	{"no =", headerText + ",x", ReasonMalformedSignature},
	{"no name", headerText + `,="x"`, ReasonMalformedSignature},
	{"no value", headerText + `,x=`, ReasonMalformedSignature},
	{"name is no token", headerText + `,x y="z"`, ReasonMalformedSignature},
	{"scheme in front", "Signature " + headerText, ReasonMalformedSignature},
	{"a token where a string has to be", headerWith(`"rsa-sha256"`, `rsa-sha256`), ReasonMalformedSignature},
	{"escaped", headerWith(`"rsa-sha256"`, `"rsa\-sha256"`), ReasonUnsupportedAlgorithm},
	{"NUL", headerText + ",x=\"\x00\"", ReasonMalformedSignature},
	{"LF", headerText + ",x=\"\n\"", ReasonMalformedSignature},
	{"too long", padded(maxSignatureHeader + 1), ReasonMalformedSignature},
	{"too many parameters", headerText + "," + numbered(maxParameters-3, ","), ReasonMalformedSignature},
	{"an unknown one twice", headerText + `,x=1,X="2"`, ReasonRepeatedParameter},
	{"keyId twice", `keyid="x",` + headerText, ReasonRepeatedParameter},
	{"an empty one twice", headerText + `,algorithm=""`, ReasonRepeatedParameter},
	{"created", headerText + `,created=1795256100`, ReasonForbiddenParameter},
	{"expires", headerText + `,Expires="1795256100"`, ReasonForbiddenParameter},
	{"no keyId", headerWith("keyId", "x"), ReasonMissingParameter},
	{"no algorithm", headerWith("algorithm", "x"), ReasonMissingParameter},
	{"no list", headerWith("headers", "x"), ReasonMissingParameter},
	{"an empty list", headerWith(listText, ""), ReasonMissingParameter},
	{"signature without padding", headerWith(sigText, strings.TrimRight(sigText, "=")), ReasonMalformedSignature},
	{"signature with other padding bits", headerWith("AA="+`"`, "AB="+`"`), ReasonMalformedSignature},
	{"signature for URLs", headerWith("AAAA", "A-_A"), ReasonMalformedSignature},
	{"signature shorter than any key's", withSignatureOf(minSignature - 1), ReasonMalformedSignature},
	{"signature longer than any key's", withSignatureOf(maxSignature + 1), ReasonMalformedSignature},
	{"covers what is no name", headerWith(" date", " da;te"), ReasonMalformedSignature},
	{"covers a header twice", headerWith(" date", " date DATE"), ReasonRepeatedHeader},
	{"covers too little", headerWith(" date", ""), ReasonUncoveredHeader},
}

func TestParseSignature(t *testing.T) {
	for _, tc := range headerCases {
		p, err := parseSignature([]string{tc.header})
		require.Equal(t, tc.reason, outcomeOf(err), tc.name)
		if err != nil {
			continue
		}
		assert.Equal(t, goodName, p.keyID, tc.name)
		assert.Empty(t, strings.Trim(string(p.signature), "\x00"), tc.name)
		assert.Equal(t, strings.Fields(listText), p.covered, tc.name)
	}
	for algorithm := range strings.FieldsSeq("hs2019 hmac-sha256 rsa-sha1 rsa-md5 rsa-sha512 ed25519 none") {
		_, err := parseSignature([]string{headerWith("rsa-sha256", algorithm)})
		assert.Equal(t, ReasonUnsupportedAlgorithm, outcomeOf(err), algorithm)
	}
}

func TestParseCoveredBound(t *testing.T) {
	list := listText
	for i := range maxCovered - len(required) {
		list += fmt.Sprintf(" x%d", i)
	}
	covered, err := parseCovered(list)
	require.NoError(t, err)
	assert.Len(t, covered, maxCovered)
	_, err = parseCovered(list + " y")
	assert.Equal(t, ReasonMalformedSignature, outcomeOf(err))
}

func TestKeyNames(t *testing.T) {
	for name, reason := range map[string]string{
		"ONE._DomainKey.Copernica.COM":       accepted,
		"1" + keyDomain:                      accepted,
		"x-1" + keyDomain:                    accepted,
		strings.Repeat("a", 63) + keyDomain:  accepted,
		strings.Repeat("a", 64) + keyDomain:  ReasonUnknownSelector,
		"one._domainkey.copernica.com.":      ReasonUnknownSelector,
		keyDomain:                            ReasonUnknownSelector,
		"a.one" + keyDomain:                  ReasonUnknownSelector,
		"one._domainkey.copernica.com.evil":  ReasonUnknownSelector,
		"one._domainkey.evilcopernica.com":   ReasonUnknownSelector,
		"evil.com/._domainkey.copernica.com": ReasonUnknownSelector,
		"o_e" + keyDomain:                    ReasonUnknownSelector,
		"-one" + keyDomain:                   ReasonUnknownSelector,
		"one-" + keyDomain:                   ReasonUnknownSelector,
		"*" + keyDomain:                      ReasonUnknownSelector,
		" one" + keyDomain:                   ReasonUnknownSelector,
		"\u00e9" + keyDomain:                 ReasonUnknownSelector,
		"o\u212Ae" + keyDomain:               ReasonUnknownSelector, // the sign for kelvin, whose lower case is k
		"one._domain\u212Aey.copernica.com":  ReasonUnknownSelector,
	} {
		_, err := parseSignature([]string{headerWith(goodName, name)})
		assert.Equal(t, reason, outcomeOf(err), name)
	}
}
