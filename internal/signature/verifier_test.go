package signature

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// attack is a call that must not get in, or that must although it looks odd.
type attack struct {
	name string
	// sign changes the call before it is signed, so that the signature is good and only the rule is
	// against it.
	sign func(c *call)
	// send changes it after.
	send func(c *call)
	// edit changes the Signature header.
	edit func(header string) string
	// reason is that of the refusal; empty: it gets in.
	reason string
}

func cover(names ...string) func(c *call) {
	return func(c *call) { c.covered = names }
}

func signHeader(name, value string) func(c *call) {
	return func(c *call) { c.set(name, value) }
}

func sendHeader(name, value string) func(c *call) {
	return signHeader(name, value)
}

func replace(old, with string) func(string) string {
	return func(header string) string {
		if !strings.Contains(header, old) {
			panic(old + " is not in " + header)
		}
		return strings.Replace(header, old, with, 1)
	}
}

var needed = []string{"(request-target)", "host", "date", "x-copernica-id", "digest"}

func without(name string) []string {
	var rest []string
	for _, one := range needed {
		if one != name {
			rest = append(rest, one)
		}
	}
	return rest
}

func md5Of(body string) string {
	sum := md5.Sum([]byte(body))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func sha1Of(body string) string {
	sum := sha1.Sum([]byte(body))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const theBody = "id=1&recipient=a%40example.org"

func attacks() []attack {
	long := strings.Repeat("a", 64)
	all := []attack{
		{name: "as the sender does it"},

		// What has to be covered, and what is covered.
		{name: "covers only what has to be", sign: cover(needed...)},
		{name: "covers in another order", sign: cover("digest", "x-copernica-id", "date", "host", "(request-target)")},
		{name: "does not cover the request target", sign: cover(without("(request-target)")...), reason: ReasonUncoveredHeader},
		{name: "does not cover host", sign: cover(without("host")...), reason: ReasonUncoveredHeader},
		{name: "does not cover date", sign: cover(without("date")...), reason: ReasonUncoveredHeader},
		{name: "does not cover digest", sign: cover(without("digest")...), reason: ReasonUncoveredHeader},
		{name: "does not cover x-copernica-id", sign: cover(without("x-copernica-id")...), reason: ReasonUncoveredHeader},
		{name: "covers only date, as the draft has it without a list", sign: cover("date"), edit: replace(`headers="date",`, ""), reason: ReasonMissingParameter},
		{name: "covers nothing", edit: replace(`headers="(request-target) host date content-length content-type x-copernica-id digest x-nonce"`, `headers=""`), reason: ReasonMissingParameter},
		{name: "covers a header twice", sign: cover(append(needed, "date")...), reason: ReasonRepeatedHeader},
		{name: "covers a header twice in another case", sign: cover(append(needed, "DATE")...), reason: ReasonRepeatedHeader},
		{name: "covers a header that is absent", sign: cover(append(needed, "x-absent")...), reason: ReasonMissingHeader},
		{name: "covers a header that is empty", sign: func(c *call) {
			c.add("X-Empty", "")
			c.covered = append(needed, "x-empty") //nolint:gocritic // needed is full.
		}, reason: ReasonEmptyHeader},
		{name: "covers a header that comes twice", sign: func(c *call) { c.add("X-Nonce", "another") }, reason: ReasonRepeatedHeader},
		{name: "covers what is no name", sign: cover(append(needed, "x;nonce")...), reason: ReasonMalformedSignature},
		{name: "covers (created)", sign: cover(append(needed, "(created)")...), reason: ReasonMalformedSignature},
		{name: "covers too much", sign: func(c *call) {
			c.covered = needed
			for i := range maxCovered {
				name := fmt.Sprintf("x-%d", i)
				c.add(name, "1")
				c.covered = append(c.covered, name)
			}
		}, reason: ReasonMalformedSignature},
		{name: "covers a value that is too long", sign: signHeader("X-Nonce", strings.Repeat("x", maxSigned)), reason: ReasonMalformedHeader},
		{name: "covers a value that is not ASCII", sign: signHeader("X-Nonce", "caf\xe9 \u00e9")},
		{name: "mixed case as in the sender's sample", sign: cover("(request-target)", "Host", "Date", "Content-length", "Content-type", "X-Copernica-ID", "Digest", "X-nonce")},

		{name: "date absent", send: func(c *call) { c.remove("Date") }, reason: ReasonMissingHeader},
		{name: "date twice", send: func(c *call) { c.add("Date", c.get("Date")) }, reason: ReasonRepeatedHeader},
		{name: "date empty", send: sendHeader("Date", ""), reason: ReasonEmptyHeader},
		{name: "digest absent", send: func(c *call) { c.remove("Digest") }, reason: ReasonMissingHeader},
		{name: "digest twice", send: func(c *call) { c.add("Digest", c.get("Digest")) }, reason: ReasonRepeatedHeader},
		{name: "digest twice and one in another case", send: func(c *call) { c.add("DIGEST", "SHA-256="+sha256Of("")) }, reason: ReasonRepeatedHeader},
		{name: "digest empty", send: sendHeader("Digest", " "), reason: ReasonEmptyHeader},
		{name: "account absent", send: func(c *call) { c.remove("X-Copernica-ID") }, reason: ReasonMissingHeader},
		{name: "account twice", send: func(c *call) { c.add("X-Copernica-ID", "environment-2") }, reason: ReasonRepeatedHeader},
		{name: "account empty", send: sendHeader("X-Copernica-ID", ""), reason: ReasonEmptyHeader},
		{name: "account with underscores is another header", send: func(c *call) {
			c.remove("X-Copernica-ID")
			c.add("X_Copernica_ID", goodAccount)
		}, reason: ReasonMissingHeader},
		{name: "host empty", sign: func(c *call) { c.host = "" }, reason: ReasonEmptyHeader},

		// Who, where, when.
		{name: "another account, well signed", sign: signHeader("X-Copernica-ID", "environment-12345"), reason: ReasonUnknownAccount},
		{name: "the account in another case", sign: signHeader("X-Copernica-ID", "Environment-1234"), reason: ReasonUnknownAccount},
		{name: "another account in place of the one signed", send: sendHeader("X-Copernica-ID", "environment-1"), reason: ReasonSignatureMismatch},
		{name: "another host, well signed", sign: func(c *call) { c.host = "hooks.example.com" }, reason: ReasonUnknownHost},
		{name: "the host with a port", sign: func(c *call) { c.host = goodHost + ":8550" }, reason: ReasonUnknownHost},
		{name: "the host with a dot", sign: func(c *call) { c.host = goodHost + "." }, reason: ReasonUnknownHost},
		{name: "the host in another case", sign: func(c *call) { c.host = "Hooks.Example.ORG" }},
		{name: "the host in another case than the one signed", send: func(c *call) { c.host = "Hooks.Example.ORG" }, reason: ReasonSignatureMismatch},
		{name: "as old as it may be", sign: signHeader("Date", signedAt.Add(-5*time.Minute).Format(http.TimeFormat))},
		{name: "too old", sign: signHeader("Date", signedAt.Add(-5*time.Minute-time.Second).Format(http.TimeFormat)), reason: ReasonOld},
		{name: "as far ahead as it may be", sign: signHeader("Date", signedAt.Add(time.Minute).Format(http.TimeFormat))},
		{name: "too far ahead", sign: signHeader("Date", signedAt.Add(time.Minute+time.Second).Format(http.TimeFormat)), reason: ReasonFuture},
		{name: "of another age", sign: signHeader("Date", "Sat, 21 Nov 0026 10:15:00 GMT"), reason: ReasonOld},
		{name: "date is none", sign: signHeader("Date", "now"), reason: ReasonMalformedDate},
		{name: "date of a zone's name", sign: signHeader("Date", "Sat, 21 Nov 2026 10:15:00 XYZ"), reason: ReasonMalformedDate},
		{name: "another date in place of the one signed", send: sendHeader("Date", signedAt.Add(time.Second).Format(http.TimeFormat)), reason: ReasonSignatureMismatch},
		{name: "date as RFC 2822", sign: signHeader("Date", "Sat, 21 Nov 2026 10:15:00 +0000")},
		{name: "date as RFC 2822 in another zone", sign: signHeader("Date", "Sat, 21 Nov 2026 11:15:00 +0100")},
		{name: "date as RFC 822, as the reference signer's example", sign: signHeader("Date", "Sat, 21 Nov 26 10:15:00 +0000")},

		// The request line.
		{name: "another method", send: func(c *call) { c.method = "PUT" }, reason: ReasonSignatureMismatch},
		{name: "another query", send: func(c *call) { c.target = "/failures?a=/" }, reason: ReasonSignatureMismatch},
		{name: "another spelling of the path", send: func(c *call) { c.target = "/%66ailures?a=%2F" }, reason: ReasonSignatureMismatch},
		{name: "dots in the path", send: func(c *call) { c.target = "/x/../failures?a=%2F" }, reason: ReasonSignatureMismatch},
		{name: "no query", send: func(c *call) { c.target = "/failures" }, reason: ReasonSignatureMismatch},
		{name: "two slashes", sign: func(c *call) { c.target = "//failures" }},
		{name: "absolute form", sign: func(c *call) {
			c.target, c.signedTarget = "http://"+goodHost+"/failures?a=%2F", "/failures?a=%2F"
		}},
		{name: "absolute form without a path", sign: func(c *call) { c.target, c.signedTarget = "HTTPS://"+goodHost+"?a=%2F", "/?a=%2F" }},
		{name: "absolute form without path and query", sign: func(c *call) { c.target, c.signedTarget = "http://"+goodHost, "/" }},
		{name: "absolute form of another host", send: func(c *call) { c.target = "http://evil.example" + c.target }, reason: ReasonUnknownHost},
		{name: "absolute form of another scheme", sign: func(c *call) { c.target = "ftp://" + goodHost + "/failures" }, reason: ReasonMalformedTarget},
		{name: "asterisk form", sign: func(c *call) { c.method, c.target = "OPTIONS", "*" }, reason: ReasonMalformedTarget},
		{name: "authority form", sign: func(c *call) { c.method, c.target, c.host = "CONNECT", goodHost+":443", goodHost }, reason: ReasonMalformedTarget},

		// The digest. There are more in digest_test.go.
		{name: "digest in lower case", sign: signHeader("Digest", "sha-256="+sha256Of(theBody))},
		{name: "SHA-512", sign: signHeader("Digest", "SHA-512="+sha512Of(theBody))},
		{name: "both", sign: signHeader("Digest", "SHA-512="+sha512Of(theBody)+",SHA-256="+sha256Of(theBody))},
		{name: "both and one wrong", sign: signHeader("Digest", "SHA-256="+sha256Of(theBody)+",SHA-512="+sha512Of("")), reason: ReasonDigestMismatch},
		{name: "both and the other wrong", sign: signHeader("Digest", "SHA-256="+sha256Of("")+",SHA-512="+sha512Of(theBody)), reason: ReasonDigestMismatch},
		{name: "a good one beside one that is not known", sign: signHeader("Digest", "UNIXsum=30637, SHA-256="+sha256Of(theBody))},
		{name: "a good one beside a wrong MD5, which is worth nothing either way", sign: signHeader("Digest", "MD5="+md5Of("")+", SHA-256="+sha256Of(theBody))},
		{name: "MD5 alone", sign: signHeader("Digest", "md5="+md5Of(theBody)), reason: ReasonUnsupportedDigest},
		{name: "SHA alone", sign: signHeader("Digest", "SHA="+sha1Of(theBody)), reason: ReasonUnsupportedDigest},
		{name: "one digest twice", sign: signHeader("Digest", "SHA-256="+sha256Of(theBody)+", sha-256="+sha256Of(theBody)), reason: ReasonRepeatedDigest},
		{name: "digest is none", sign: signHeader("Digest", "SHA-256"), reason: ReasonMalformedDigest},
		{name: "another body", send: func(c *call) { c.body = strings.Replace(c.body, "id=1", "id=2", 1) }, reason: ReasonDigestMismatch},
		{name: "another body and its digest", send: func(c *call) { c.setBody("id=2") }, reason: ReasonSignatureMismatch},
		{name: "no body", sign: func(c *call) { c.setBody("") }},

		// Content-Length.
		{name: "chunked, signed with the length", send: func(c *call) {
			c.remove("Content-Length")
			c.add("Transfer-Encoding", "chunked")
			c.body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(c.body), c.body)
		}},
		{name: "chunked, signed with another length", sign: signHeader("Content-Length", "31"), send: func(c *call) {
			c.remove("Content-Length")
			c.add("Transfer-Encoding", "chunked")
			c.body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(c.body), c.body)
		}, reason: ReasonSignatureMismatch},
		{name: "covers what net/http takes out of the header", sign: cover(append(needed, "transfer-encoding")...), send: func(c *call) {
			c.remove("Content-Length")
			c.add("Transfer-Encoding", "chunked")
			c.body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(c.body), c.body)
		}, reason: ReasonMissingHeader},

		// The Signature header. There are more in header_test.go.
		{name: "no signature", send: func(c *call) { c.remove("Signature") }, reason: ReasonMissingSignature},
		{name: "two signatures", send: func(c *call) { c.add("signature", c.get("Signature")) }, reason: ReasonRepeatedSignature},
		{name: "keyId twice", edit: func(s string) string { return `keyId="evil._domainkey.copernica.com",` + s }, reason: ReasonRepeatedParameter},
		{name: "created", edit: func(s string) string { return s + `,created=1795256100` }, reason: ReasonForbiddenParameter},
		{name: "expires", edit: func(s string) string { return s + `,Expires="1795256100"` }, reason: ReasonForbiddenParameter},
		{name: "another parameter", edit: func(s string) string { return s + `,opaque="a\"b"` }},
		{name: "the algorithm in capitals", edit: replace("rsa-sha256", "RSA-SHA256")},
		{name: "no algorithm", edit: replace(`algorithm="rsa-sha256",`, ""), reason: ReasonMissingParameter},
		{name: "no keyId", edit: replace(`keyId="one._domainkey.copernica.com",`, ""), reason: ReasonMissingParameter},
		{name: "folded, without a comma, as the sender's sample", edit: func(s string) string {
			s = replace(`",signature="`, "\"\r\n     signature=\"")(s)
			s = replace(` content-length`, "\r\n       Content-Length")(s)
			end := len(s) - 40
			return s[:end] + "\r\n       " + s[end:]
		}},
		{name: "a signature of something else", edit: func(s string) string {
			return replace(parameter(s, "signature"), base64.StdEncoding.EncodeToString(make([]byte, 128)))(s)
		}, reason: ReasonSignatureMismatch},
		{name: "a signature of another size than the key's", edit: func(s string) string {
			return replace(parameter(s, "signature"), base64.StdEncoding.EncodeToString(make([]byte, 256)))(s)
		}, reason: ReasonSignatureMismatch},
	}
	for _, algorithm := range []string{"hs2019", "hmac-sha256", "rsa-sha1", "rsa-md5", "rsa-sha512", "ecdsa-sha256", "ed25519", "none"} {
		all = append(all, attack{name: "algorithm " + algorithm, edit: replace("rsa-sha256", algorithm), reason: ReasonUnsupportedAlgorithm})
	}
	for keyID, in := range map[string]bool{
		"ONE._DomainKey.Copernica.COM":       true,
		"one._domainkey.copernica.com.":      false,
		"_domainkey.copernica.com":           false,
		"._domainkey.copernica.com":          false,
		"a.one._domainkey.copernica.com":     false,
		"one._domainkey.mail.copernica.com":  false,
		"one._domainkey.copernica.com.evil":  false,
		"one._domainkey.evilcopernica.com":   false,
		"one.domainkey.copernica.com":        false,
		"one.copernica.com":                  false,
		"copernica.com":                      false,
		"evil.com/.copernica.com":            false,
		"evil.com/._domainkey.copernica.com": false,
		"o_e._domainkey.copernica.com":       false,
		"-one._domainkey.copernica.com":      false,
		"one-._domainkey.copernica.com":      false,
		"o\u212Ae._domainkey.copernica.com":  false,
		"one._domain\u212Aey.copernica.com":  false,
		"*._domainkey.copernica.com":         false,
		" one._domainkey.copernica.com":      false,
		"one._domainkey.copernica.com ":      false,
		long + "._domainkey.copernica.com":   false,
	} {
		a := attack{name: "keyId " + keyID, sign: func(c *call) { c.keyID = keyID }, reason: ReasonUnknownSelector}
		if in {
			a.reason = ""
		}
		all = append(all, a)
	}
	return all
}

// parameter returns a parameter of a Signature header.
func parameter(header, name string) string {
	_, rest, _ := strings.Cut(header, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// make returns the call, ready to be sent.
func (a *attack) make(tb testing.TB) *call {
	tb.Helper()
	c := newCall()
	if a.sign != nil {
		a.sign(c)
	}
	c.sign(tb, goodKey(tb))
	if a.edit != nil {
		c.set("Signature", a.edit(c.get("Signature")))
	}
	if a.send != nil {
		a.send(c)
	}
	return c
}

func TestAttacks(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			s := newSetting(t)
			c, err := s.Begin(a.make(t).request(t))
			account := ""
			if err == nil {
				account, err = c.Finish(t.Context())
			}

			// Cheap first: only a call that is right in all that can be told without the key has it
			// looked up.
			switch a.reason {
			case "", ReasonSignatureMismatch, ReasonUnknownAccount, ReasonDigestMismatch:
				assert.Equal(t, 1, s.dns.total())
			default:
				assert.Zero(t, s.dns.total())
			}
			if a.reason == "" {
				require.NoError(t, err)
				assert.Equal(t, goodAccount, account)
				return
			}
			assertRefused(t, a.reason, err)
			assert.Equal(t, "the call is refused: "+a.reason, err.Error())
			assert.Empty(t, account)
		})
	}
}

func TestEveryReasonIsShown(t *testing.T) {
	// The first three in keys_test.go, the last is the caller's.
	shown := map[string]bool{ReasonNoKey: true, ReasonRevokedKey: true, ReasonUnusableKey: true, ReasonNotChecked: true}
	for _, a := range attacks() {
		if a.reason != "" {
			shown[a.reason] = true
		}
	}
	for _, reason := range Reasons {
		assert.True(t, shown[reason], reason)
		delete(shown, reason)
	}
	assert.Empty(t, shown, "not in Reasons")
}

// TestAccountsLookTheSame has calls that nobody signed name an account that is let in, and others.
func TestAccountsLookTheSame(t *testing.T) {
	for _, keyID := range []string{goodName, "none" + keyDomain} {
		var asked []int
		var reasons []string
		for _, account := range []string{goodAccount, "environment-1233", "account-1234"} {
			s := newSetting(t)
			c := newCall()
			c.keyID = keyID
			c.set("X-Copernica-ID", account)
			_, err := s.Begin(c.sign(t, testKey(t, 1024, "second")).request(t))
			asked, reasons = append(asked, s.dns.total()), append(reasons, reasonOf(err))
		}
		assert.Len(t, slices.Compact(asked), 1)
		assert.Len(t, slices.Compact(reasons), 1)
	}
}

func TestVectors(t *testing.T) {
	f := readVectors(t)
	for _, one := range f.Vectors {
		t.Run(one.Name, func(t *testing.T) {
			require.True(t, one.ReferenceVerifies)
			v := vectorVerifier(t, &f)
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(one.text())))
			require.NoError(t, err)
			c, err := v.Begin(r)
			require.NoError(t, err)
			assert.True(t, c.Authenticated())
			body, err := io.ReadAll(c)
			require.NoError(t, err)
			assert.Equal(t, one.Body, string(body))
			account, err := c.Finish(t.Context())
			require.NoError(t, err)
			assert.Equal(t, goodAccount, account)
			require.NoError(t, c.Close())

			changed := one
			changed.Body = one.Body[:len(one.Body)-1]
			assertRefused(t, ReasonDigestMismatch, check(v, changed.request()))

			if !strings.Contains(one.Headers["signature"], "content-length") {
				return
			}
			// Chunked: the length that was signed is known with the body only.
			chunked := one.request()
			chunked.Header.Del("Content-Length")
			chunked.ContentLength = -1
			c, err = v.Begin(chunked)
			require.NoError(t, err)
			assert.False(t, c.Authenticated())
			_, err = c.Finish(t.Context())
			require.NoError(t, err)
			assert.True(t, c.Authenticated())
		})
	}
}

var exhaustive = flag.Bool("exhaustive", false, "put every byte in every place of a call, which takes minutes")

// otherBytes are put in the place of a byte: every other one, or two, one that differs in one bit
// and one that means something.
func otherBytes(b byte, at int) []byte {
	if !*exhaustive {
		const meaningful = "\x00\t\n \",=\xff"
		return []byte{b ^ 1<<(at%8), meaningful[at%len(meaningful)]}
	}
	var all []byte
	for other := range 256 {
		all = append(all, byte(other))
	}
	return all
}

// TestEveryByteCounts puts other bytes in the place of each byte of what is covered, and of the
// signature.
//
// By rule a change of the method's case is none: the draft has it signed in lower case. Nothing
// else is let through.
func TestEveryByteCounts(t *testing.T) {
	f := readVectors(t)
	for _, one := range f.Vectors {
		t.Run(one.Name, func(t *testing.T) {
			v := vectorVerifier(t, &f)
			parts := map[string]func(changed *vector, value string){
				"method": func(c *vector, value string) { c.Method = value },
				"target": func(c *vector, value string) { c.RequestTarget = value },
				"body":   func(c *vector, value string) { c.Body = value },
			}
			values := map[string]string{"method": one.Method, "target": one.RequestTarget, "body": one.Body}
			for _, name := range strings.Fields(parameter(one.Headers["signature"], "headers"))[1:] {
				parts[name] = func(c *vector, value string) { c.Headers[name] = value }
				values[name] = one.Headers[name]
			}
			sig := parameter(one.Headers["signature"], "signature")
			values["signature"] = sig
			parts["signature"] = func(c *vector, value string) {
				c.Headers["signature"] = strings.Replace(one.Headers["signature"], sig, value, 1)
			}

			for part, put := range parts {
				value := values[part]
				require.NotEmpty(t, value, part)
				for i := range len(value) {
					for _, b := range otherBytes(value[i], i) {
						if b == value[i] {
							continue
						}
						changed := one
						changed.Headers = maps.Clone(one.Headers)
						other := value[:i] + string([]byte{b}) + value[i+1:]
						put(&changed, other)
						err := check(v, changed.request())
						if part == "method" && strings.EqualFold(other, value) {
							require.NoError(t, err, "%s %q", part, other)
							continue
						}
						if _, ok := err.(*Refusal); !ok { //nolint:errorlint // It has to be a refusal and wrap nothing.
							t.Fatalf("%s %q: %v", part, other, err)
						}
					}
				}
			}
		})
	}
}

// TestSignatureHeaderChanged does the same to the rest of the Signature header, which no signature
// covers. What is let through there is only another spelling of the same: another case of a name or
// of the algorithm, another separator.
func TestSignatureHeaderChanged(t *testing.T) {
	f := readVectors(t)
	one := f.Vectors[0]
	v := vectorVerifier(t, &f)
	value := one.Headers["signature"]
	through := 0
	for i := range strings.Index(value, `signature="`) + len(`signature="`) {
		for _, b := range append(otherBytes(value[i], i), value[i]^0x20, ' ') {
			if b == value[i] {
				continue
			}
			changed := one
			changed.Headers = maps.Clone(one.Headers)
			changed.Headers["signature"] = value[:i] + string([]byte{b}) + value[i+1:]
			if err := check(v, changed.request()); err != nil {
				if _, ok := err.(*Refusal); !ok { //nolint:errorlint // See above.
					t.Fatalf("%d %q: %v", i, b, err)
				}
				continue
			}
			through++
			sameLetter := 'A' <= b&^0x20 && b&^0x20 <= 'Z' && b^0x20 == value[i]
			separators := strings.ContainsRune(separators, rune(value[i])) && strings.ContainsRune(separators, rune(b))
			assert.True(t, sameLetter || separators, "%q at %d", b, i)
		}
	}
	assert.Positive(t, through)
}

func TestOptions(t *testing.T) {
	hosts := func(hosts ...string) func(*Options) { return func(o *Options) { o.Hosts = hosts } }
	prefix := func(prefix string) func(*Options) { return func(o *Options) { o.SignedPathPrefix = prefix } }
	for _, tc := range []struct {
		name   string
		option func(*Options)
		sign   func(*call)
		reason string
	}{
		{"prefix of the signed path", prefix("/hooks/copernica"), func(c *call) { c.signedTarget = "/hooks/copernica/failures?a=%2F" }, ""},
		{"a prefix that was not signed", prefix("/hooks"), func(*call) {}, ReasonSignatureMismatch},
		{"prefix and absolute form", prefix("/hooks"), func(c *call) {
			c.target, c.signedTarget = "http://"+goodHost+"/failures", "/hooks/failures"
		}, ""},
		{"no hosts: any", hosts(), func(c *call) { c.host = "other.example:1" }, ""},
		{"host with a port", hosts("a.example", "Hooks.Example.org:8443"), func(c *call) { c.host = "hooks.example.org:8443" }, ""},
		{"host without the port", hosts("hooks.example.org:8443"), func(*call) {}, ReasonUnknownHost},
		{"several accounts", func(o *Options) { o.Accounts = []string{"account-1", goodAccount} }, func(*call) {}, ""},
		{"other accounts", func(o *Options) { o.Accounts = []string{"account-1"} }, func(*call) {}, ReasonUnknownAccount},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSetting(t, tc.option)
			c := newCall()
			tc.sign(c)
			err := check(s.Verifier, c.sign(t, goodKey(t)).request(t))
			if tc.reason != "" {
				assertRefused(t, tc.reason, err)
				return
			}
			require.NoError(t, err)
		})
	}
}

func TestDefaults(t *testing.T) {
	v := NewVerifier(Options{Accounts: []string{goodAccount}})
	defer v.Close()
	assert.Equal(t, DefaultMaxAge, v.maxAge)
	assert.WithinDuration(t, time.Now(), v.now(), time.Minute)
	v.keys.observe(LookupFound)
	v.keys.onKnownKeys(nil)
}

// TestNotFromTheWire are requests that net/http lets nobody send.
func TestNotFromTheWire(t *testing.T) {
	s := newSetting(t)
	for _, tc := range []struct {
		reason string
		change func(r *http.Request)
	}{
		{ReasonMalformedTarget, func(r *http.Request) { r.RequestURI = "" }},
		{ReasonMalformedTarget, func(r *http.Request) { r.RequestURI = "/\x01" }},
		{ReasonMalformedHeader, func(r *http.Request) { r.Header.Set("X-Nonce", "1\nx-other: 2") }},
		{ReasonMalformedSignature, func(r *http.Request) { r.Header.Set("Signature", r.Header.Get("Signature")+"\x00") }},
	} {
		r := newCall().sign(t, goodKey(t)).request(t)
		tc.change(r)
		_, err := s.Begin(r)
		assertRefused(t, tc.reason, err)
	}
}

// TestOverSockets sends calls through net/http's own client and server, HTTP/1.1 and HTTP/2, with a
// length and without.
func TestOverSockets(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("http2=%t chunked=%t", http2, chunked), func(t *testing.T) {
				s := newSetting(t, func(o *Options) { o.Hosts = nil })
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					assert.Equal(t, http2, r.ProtoMajor == 2)
					assert.Equal(t, chunked, r.ContentLength < 0)
					assert.NoError(t, check(s.Verifier, r))
					w.WriteHeader(http.StatusNoContent)
				}))
				server.EnableHTTP2 = http2
				server.StartTLS()
				defer server.Close()

				c := newCall()
				c.host = strings.TrimPrefix(server.URL, "https://")
				c.sign(t, goodKey(t))
				var body io.Reader = strings.NewReader(c.body)
				if chunked {
					body = io.MultiReader(body)
				}
				req, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.target, body)
				require.NoError(t, err)
				for _, h := range c.header {
					if h[0] != "Content-Length" {
						req.Header.Set(h[0], h[1])
					}
				}
				res, err := server.Client().Do(req)
				require.NoError(t, err)
				assert.Equal(t, http.StatusNoContent, res.StatusCode)
				require.NoError(t, res.Body.Close())
			})
		}
	}
}

// TestKeySizes has calls signed with keys of every size that is let in.
func TestKeySizes(t *testing.T) {
	for _, bits := range []int{1024, 2048, 3072, 4096} {
		s := newSetting(t)
		key := testKey(t, bits, "size")
		s.dns.set(goodName, record(t, &key.PublicKey))
		require.NoError(t, s.send(t, goodName, key), bits)
		assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, goodKey(t)))
	}
}

func TestBeginEndsWithTheRequest(t *testing.T) {
	s := newSetting(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.dns.setHook(func(lookup context.Context, _ string) {
		cancel()
		<-lookup.Done()
	})
	err := check(s.Verifier, newCall().sign(t, goodKey(t)).request(t).WithContext(ctx))
	assertUnavailable(t, err)
	require.ErrorIs(t, err, context.Canceled)
	assert.NotContains(t, err.Error(), "copernica", "an error holds nothing of the request")
}

func TestFinishReturnsTheErrorOfReading(t *testing.T) {
	s := newSetting(t)
	r := newCall().sign(t, goodKey(t)).request(t)
	r.Body = http.MaxBytesReader(nil, r.Body, 3)
	c, err := s.Begin(r)
	require.NoError(t, err)
	_, err = c.Finish(t.Context())
	require.ErrorAs(t, err, new(*http.MaxBytesError))
}

func TestDates(t *testing.T) {
	for _, text := range []string{
		"Sat, 21 Nov 2026 10:15:00 GMT",
		"Saturday, 21-Nov-26 10:15:00 GMT",
		"Sat Nov 21 10:15:00 2026",
		"Sat, 21 Nov 2026 10:15:00 +0000",
		"Sat, 21 Nov 2026 11:15:00 +0100",
		"Sat, 21 Nov 2026 05:15:00 -0500",
		"Sat, 21 Nov 26 10:15:00 +0000",
		"Sat, 21 Nov 26 11:15:00 +0100",
		"Sat, 21 Nov 26 10:15:00 GMT",
	} {
		at, ok := parseDate(text)
		assert.True(t, ok, text)
		assert.True(t, signedAt.Equal(at), "%s: %s", text, at)
	}
	at, ok := parseDate("Sun, 1 Nov 2026 10:15:00 GMT")
	assert.True(t, ok)
	assert.Equal(t, 1, at.Day())
	for _, text := range []string{
		"", "2026-11-21T10:15:00Z", "1795256100", "Sat, 21 Nov 2026 10:15:00", "Sat, 21 Nov 2026 10:15:00 CET", "Sat, 21 Nov 2026 10:15:00 +00:00",
		"Saturday, 21-Nov-26 10:15:00 EST", "Sat, 31 Nov 2026 10:15:00 GMT", "Sat, 21 Nov 2026 10:15:00 GMT, Sat, 21 Nov 2026 10:15:00 GMT",
	} {
		assertRefused(t, ReasonMalformedDate, checkDate(text, signedAt, 0))
	}
}
