package signature

import (
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
)

type (
	req    = signaturetest.Request
	change = func(r *req)
)

// attack is a request that is refused, or one that is accepted although it looks odd.
type attack struct {
	name          string
	before, after change // before it is signed, and after
	reason        string // empty: it is accepted
}

func cover(names ...string) change {
	return func(r *req) { r.Covered = names }
}

func coverToo(name string) change {
	return func(r *req) { r.Covered = append(r.Covered, name) }
}

func set(name, value string) change {
	return func(r *req) { r.Set(name, value) }
}

// add adds a header without changing the case of its name.
func add(name, value string) change {
	return func(r *req) { r.Header[name] = append(r.Header[name], value) }
}

func remove(name string) change {
	return func(r *req) { r.Del(name) }
}

func host(host string) change {
	return func(r *req) { r.Host = host }
}

func target(target string) change {
	return func(r *req) { r.Target = target }
}

// attacks are what the whole check makes of requests. What a header may look like is in
// header_test.go and digest_test.go, and dates in TestDates.
func attacks() []attack {
	const hostName, path = signaturetest.Host, "/failures?a=%2F"
	all := []attack{
		{"as the sender does it", nil, nil, ""},
		{"mixed case", cover("(Request-Target)", "Host", "DATE", "X-Copernica-ID", "Digest"), nil, ""},

		// What is covered.
		{"only what has to be", cover(required[:]...), nil, ""},
		{"in another order", cover("digest", "x-copernica-id", "date", "host", "(request-target)"), nil, ""},
		{"repeated", coverToo("DATE"), nil, ReasonRepeatedHeader},
		{"absent", coverToo("x-absent"), nil, ReasonMissingHeader},
		{"no name", coverToo("x;nonce"), nil, ReasonMalformedSignature},
		{"too long", set("X-Nonce", strings.Repeat("x", maxSigned)), nil, ReasonMalformedHeader},
		{"not ASCII", set("X-Nonce", "caf\xe9 \u00e9"), nil, ""},
		{"repeated Digest in another case", nil, add("DIGEST", signaturetest.SHA256("")), ReasonRepeatedHeader},
		{"another account beside", nil, add("X-Copernica-ID", "environment-2"), ReasonRepeatedHeader},
		{"underscores", remove("X-Copernica-ID"), add("X_Copernica_ID", signaturetest.Account), ReasonMissingHeader},
		{"Host empty", host(""), nil, ReasonEmptyHeader},

		// Account, host, date.
		{"another account", set("X-Copernica-ID", "environment-12345"), nil, ReasonUnknownAccount},
		{"account in another case", set("X-Copernica-ID", "Environment-1234"), nil, ReasonUnknownAccount},
		{"account changed", nil, set("X-Copernica-ID", "environment-1"), ReasonSignatureMismatch},
		{"another host", host("hooks.example.com"), nil, ReasonUnknownHost},
		{"host with a port", host(hostName + ":8550"), nil, ReasonUnknownHost},
		{"host in another case", host("Hooks.Example.ORG"), nil, ""},
		{"host changed in case", nil, host("Hooks.Example.ORG"), ReasonSignatureMismatch},
		{"old", set("Date", "Sat, 21 Nov 2026 10:09:59 GMT"), nil, ReasonOld},
		{"ahead", set("Date", "Sat, 21 Nov 2026 10:16:01 GMT"), nil, ReasonFuture},
		{"no date", set("Date", "now"), nil, ReasonMalformedDate},
		{"date changed", nil, set("Date", "Sat, 21 Nov 2026 10:15:01 GMT"), ReasonSignatureMismatch},

		// The request line.
		{"method changed", nil, func(r *req) { r.Method = "PUT" }, ReasonSignatureMismatch},
		{"query changed", nil, target("/failures?a=/"), ReasonSignatureMismatch},
		{"path encoded", nil, target("/%66ailures?a=%2F"), ReasonSignatureMismatch},
		{"two slashes", target("//failures"), nil, ""},
		{"absolute form", nil, target("http://" + hostName + path), ""},
		{"absolute form without a path", target("/?a=%2F"), target("HTTPS://" + hostName + "?a=%2F"), ""},
		{"absolute form without path and query", target("/"), target("http://" + hostName), ""},
		{"absolute form of another host", nil, target("http://evil.example" + path), ReasonUnknownHost},
		{"absolute form of another scheme", target("ftp://" + hostName + "/failures"), nil, ReasonMalformedTarget},
		{"asterisk form", func(r *req) { r.Method, r.Target = "OPTIONS", "*" }, nil, ReasonMalformedTarget},
		{"authority form", func(r *req) { r.Method, r.Target = "CONNECT", "x:443" }, nil, ReasonMalformedTarget},

		// The body.
		{"SHA-512", func(r *req) { r.Set("Digest", signaturetest.SHA512(r.Body)) }, nil, ""},
		{"MD5", set("Digest", "MD5=1B2M2Y8AsgTpgAmY7PhCfg=="), nil, ReasonUnsupportedDigest},
		{"no digest", set("Digest", "SHA-256"), nil, ReasonMalformedDigest},
		{"repeated digest", set("Digest", x256+","+x256), nil, ReasonRepeatedDigest},
		{"digest of another body", set("Digest", x256), nil, ReasonDigestMismatch},
		{"body changed", nil, func(r *req) { r.Body = "h" + r.Body[1:] }, ReasonDigestMismatch},
		{"body and digest changed", nil, func(r *req) { r.SetBody("id=2") }, ReasonSignatureMismatch},
		{"no body", func(r *req) { r.SetBody("") }, nil, ""},
		{"chunked", nil, (*req).SetChunked, ""},
		{"chunked, another length signed", set("Content-Length", "31"), (*req).SetChunked, ReasonSignatureMismatch},
		{"covers what net/http removes", coverToo("transfer-encoding"), (*req).SetChunked, ReasonMissingHeader},

		// The Signature header.
		{"no Signature", nil, remove("Signature"), ReasonMissingSignature},
		{"two Signatures", nil, add("signature", headerText), ReasonRepeatedSignature},
		{"repeated keyId", nil, set("Signature", `keyId="evil",`+headerText), ReasonRepeatedParameter},
		{"created", nil, set("Signature", headerText+",created=1795256100"), ReasonForbiddenParameter},
		{"no keyId", nil, set("Signature", headerWith("keyId", "x")), ReasonMissingParameter},
		{"another parameter", func(r *req) { r.Parameters += `,opaque="a\"b"` }, nil, ""},
		{"another algorithm", func(r *req) { r.Algorithm = "hs2019" }, nil, ReasonUnsupportedAlgorithm},
		{"keyId in another case", func(r *req) { r.KeyID = strings.ToUpper(goodName) }, nil, ""},
		{"another domain", func(r *req) { r.KeyID = "one._domainkey.evil.com" }, nil, ReasonUnknownSelector},
		{"folded, without a comma, as in the sender's sample", func(r *req) {
			r.Parameters = strings.Replace(r.Parameters, `",signature`, "\"\r\n    signature", 1)
		}, nil, ""},
		{"another signature", nil, set("Signature", headerText), ReasonSignatureMismatch},
		{"a signature of another size", nil, set("Signature", withSignatureOf(256)), ReasonSignatureMismatch},
	}
	for i, name := range required {
		rest := slices.Delete(slices.Clone(required[:]), i, i+1)
		all = append(all, attack{"not covered: " + name, cover(rest...), nil, ReasonUncoveredHeader})
	}
	for _, name := range []string{"Date", "Digest", "X-Copernica-ID", "X-Nonce"} {
		all = append(all,
			attack{"removed: " + name, nil, remove(name), ReasonMissingHeader},
			attack{"emptied: " + name, nil, set(name, " "), ReasonEmptyHeader},
			attack{"repeated: " + name, func(r *req) { r.Add(name, r.Get(name)) }, nil, ReasonRepeatedHeader},
		)
	}
	return all
}

// signed returns the request, ready to be sent.
func (a *attack) signed() *req {
	r := newRequest(goodKey())
	if a.before != nil {
		a.before(r)
	}
	r.Sign()
	if a.after != nil {
		a.after(r)
	}
	return r
}

func TestAttacks(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			f := newFixture(t)
			account := ""
			c, err := f.Begin(parse(t, a.signed()))
			if err == nil {
				account, err = c.Finish(t.Context())
			}
			// Keys are looked up only for what is right in all that can be checked without one.
			lookups := 0
			switch a.reason {
			case "", ReasonSignatureMismatch, ReasonUnknownAccount, ReasonDigestMismatch:
				lookups = 1
			}
			assert.Equal(t, lookups, f.dns.count())
			assert.Equal(t, a.reason, outcomeOf(err))
			if a.reason == accepted {
				assert.Equal(t, signaturetest.Account, account)
			} else {
				require.EqualError(t, err, "the call is refused: "+a.reason)
			}
		})
	}
}

func TestEveryReasonIsTested(t *testing.T) {
	// The first three by keys_test.go, the last is the caller's.
	tested := []string{ReasonNoKey, ReasonRevokedKey, ReasonUnusableKey, ReasonNotChecked}
	for _, a := range attacks() {
		if a.reason != "" && !slices.Contains(tested, a.reason) {
			tested = append(tested, a.reason)
		}
	}
	assert.ElementsMatch(t, Reasons, tested)
}

// TestAccountsAreNotDisclosed sends calls with a wrong signature for accounts that are accepted and
// that are not.
func TestAccountsAreNotDisclosed(t *testing.T) {
	for keyID, reason := range map[string]string{goodName: ReasonSignatureMismatch, "none" + keyDomain: ReasonNoKey} {
		for _, account := range []string{signaturetest.Account, "environment-1233", "account-1234"} {
			f := newFixture(t)
			r := newRequest(otherKey())
			r.KeyID = keyID
			r.Set("X-Copernica-ID", account)
			_, err := f.Begin(parse(t, r.Sign()))
			assert.Equal(t, reason, outcomeOf(err))
			assert.Equal(t, 1, f.dns.count())
		}
	}
}

func TestVectors(t *testing.T) {
	f, vectors := newVectorFixture(t)
	for name, vector := range vectors.Requests {
		t.Run(name, func(t *testing.T) {
			c, err := f.Begin(parse(t, vector))
			require.NoError(t, err)
			assert.True(t, c.Authenticated())
			body, err := io.ReadAll(c)
			require.NoError(t, err)
			assert.Equal(t, vector.Body, string(body))
			account, err := c.Finish(t.Context())
			require.NoError(t, err)
			assert.Equal(t, vector.Get("X-Copernica-ID"), account)
			require.NoError(t, c.Close())

			if !strings.Contains(vector.Get("Signature"), "content-length") {
				return
			}
			// In chunks, the length that was signed is known after the body only.
			chunked := vector.Clone()
			chunked.SetChunked()
			c, err = f.Begin(parse(t, chunked))
			require.NoError(t, err)
			assert.False(t, c.Authenticated())
			_, err = c.Finish(t.Context())
			require.NoError(t, err)
			assert.True(t, c.Authenticated())
		})
	}
}

var exhaustive = flag.Bool("exhaustive", false, "put every byte in every place of a request, which takes minutes")

// otherBytes are bytes to put in the place of one: all others, or two, of which one differs in one
// bit and one has a meaning.
func otherBytes(b byte, at int) []byte {
	var others []byte
	if *exhaustive {
		for other := range 256 {
			others = append(others, byte(other))
		}
	} else {
		const meaningful = "\x00\t\n \",=\xff"
		others = []byte{b ^ 1<<(at%8), meaningful[at%len(meaningful)]}
	}
	return slices.DeleteFunc(others, func(other byte) bool { return other == b })
}

// otherSpelling reports whether a part of a request means the same with b at i: in another case, or
// with another separator. The signature itself has one spelling.
func otherSpelling(part, value string, i int, b byte) bool {
	const last = `signature="`
	parameter := part == "signature" && i < strings.Index(value, last)+len(last)
	letter := b^0x20 == value[i] && unicode.IsLetter(rune(b))
	separator := strings.IndexByte(separators, b) >= 0 && strings.IndexByte(separators, value[i]) >= 0
	return part == "method" && letter || parameter && (letter || separator)
}

// TestEveryByteCounts changes each byte of what is covered and of the Signature header.
func TestEveryByteCounts(t *testing.T) {
	parts := func(r *req) map[string]*string {
		parts := map[string]*string{"method": &r.Method, requestTarget: &r.Target, "host": &r.Host, "body": &r.Body}
		for name, values := range r.Header {
			parts[strings.ToLower(name)] = &values[0]
		}
		return parts
	}
	f, vectors := newVectorFixture(t)
	for name, vector := range vectors.Requests {
		t.Run(name, func(t *testing.T) {
			p, err := parseSignature([]string{vector.Get("Signature")})
			require.NoError(t, err)
			spellings := 0
			for _, part := range append(p.covered, "method", "body", "signature") {
				value := *parts(vector)[part]
				require.NotEmpty(t, value, part)
				for i := range len(value) {
					for _, b := range otherBytes(value[i], i) {
						changed := vector.Clone()
						*parts(changed)[part] = value[:i] + string([]byte{b}) + value[i+1:]
						got := f.check(unparsed(changed))
						if got == accepted && otherSpelling(part, value, i, b) {
							spellings++
						} else if !slices.Contains(Reasons[:], got) {
							t.Fatalf("%q at %d of %s: %q", b, i, part, got)
						}
					}
				}
			}
			assert.Positive(t, spellings)
		})
	}
}

func TestOptions(t *testing.T) {
	hosts := func(hosts ...string) func(*Options) { return func(o *Options) { o.Hosts = hosts } }
	accounts := func(accounts ...string) func(*Options) { return func(o *Options) { o.Accounts = accounts } }
	prefix := func(prefix string) func(*Options) { return func(o *Options) { o.SignedPathPrefix = prefix } }
	for _, tc := range []struct {
		attack

		option func(*Options)
	}{
		{attack{"prefix", target("/hooks/copernica/failures"), target("/failures"), ""}, prefix("/hooks/copernica")},
		{attack{"prefix that was not signed", nil, nil, ReasonSignatureMismatch}, prefix("/hooks")},
		{attack{"prefix, absolute form", target("/y/x"), target("http://hooks.example.org/x"), ""}, prefix("/y")},
		{attack{"no hosts", host("other.example:1"), nil, ""}, hosts()},
		{attack{"host with a port", host("hooks.example.org:8443"), nil, ""}, hosts("x", "Hooks.Example.org:8443")},
		{attack{"host without the port", nil, nil, ReasonUnknownHost}, hosts("hooks.example.org:8443")},
		{attack{"several accounts", nil, nil, ""}, accounts("account-1", signaturetest.Account)},
		{attack{"other accounts", nil, nil, ReasonUnknownAccount}, accounts("account-1")},
	} {
		assert.Equal(t, tc.reason, newFixture(t, tc.option).check(parse(t, tc.signed())), tc.name)
	}
}

// TestUnparsedRequests has requests that net/http does not read.
func TestUnparsedRequests(t *testing.T) {
	f := newFixture(t)
	for _, a := range []attack{
		{"no target", nil, target(""), ReasonMalformedTarget},
		{"control character in the target", nil, target("/\x01"), ReasonMalformedTarget},
		{"another line", nil, set("X-Nonce", "1\nx-other: 2"), ReasonMalformedHeader},
		{"NUL in Signature", nil, set("Signature", headerText+"\x00"), ReasonMalformedSignature},
	} {
		assert.Equal(t, a.reason, f.check(unparsed(a.signed())), a.name)
	}
}

// TestHTTP2 sends calls with and without a length through net/http's client and server.
func TestHTTP2(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Hosts = nil })
	var lengths []int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		assert.Equal(t, 2, r.ProtoMajor)
		lengths = append(lengths, r.ContentLength)
		assert.Equal(t, accepted, f.check(r))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	signed := newRequest(goodKey())
	signed.Host = strings.TrimPrefix(server.URL, "https://")
	signed.Sign()
	for _, body := range []io.Reader{strings.NewReader(signed.Body), io.MultiReader(strings.NewReader(signed.Body))} {
		r, err := http.NewRequestWithContext(t.Context(), signed.Method, server.URL+signed.Target, body)
		require.NoError(t, err)
		r.Header = signed.Header
		response, err := server.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
	assert.Equal(t, []int64{int64(len(signed.Body)), -1}, lengths)
}

func TestBeginEndsWithTheRequest(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.dns.setHook(func(lookup context.Context, _ string) {
		cancel()
		<-lookup.Done()
	})
	_, err := f.Begin(parse(t, newRequest(goodKey()).Sign()).WithContext(ctx))
	assert.Equal(t, keyUnavailable, outcomeOf(err))
	require.ErrorIs(t, err, context.Canceled)
	assert.NotContains(t, err.Error(), "copernica", "an error holds nothing of the request")
}

func TestFinishReturnsTheErrorOfReading(t *testing.T) {
	r := parse(t, newRequest(goodKey()).Sign())
	r.Body = http.MaxBytesReader(nil, r.Body, 3)
	c, err := newFixture(t).Begin(r)
	require.NoError(t, err)
	_, err = c.Finish(t.Context())
	require.ErrorAs(t, err, new(*http.MaxBytesError))
}

func TestDates(t *testing.T) {
	for _, tc := range []struct {
		text   string
		reason string
	}{
		{"Sat, 21 Nov 2026 10:15:00 GMT", ""},
		{"Saturday, 21-Nov-26 10:15:00 GMT", ""},
		{"Sat Nov 21 10:15:00 2026", ""},
		{"Sat, 21 Nov 2026 10:15:00 +0000", ""},
		{"Sat, 21 Nov 2026 11:15:00 +0100", ""},
		{"Sat, 21 Nov 2026 05:15:00 -0500", ""},
		{"Sat, 21 Nov 26 10:15:00 +0000", ""},
		{"Sat, 21 Nov 26 11:15:00 +0100", ""},
		{"Sat, 21 Nov 26 10:15:00 GMT", ""},
		{"Sat, 21 Nov 2026 10:10:00 GMT", ""},
		{"Sat, 21 Nov 2026 10:09:59 GMT", ReasonOld},
		{"Sat, 21 Nov 0026 10:15:00 GMT", ReasonOld},
		{"Sun, 1 Nov 2026 10:15:00 GMT", ReasonOld},
		{"Sat, 21 Nov 2026 10:16:00 GMT", ""},
		{"Sat, 21 Nov 2026 10:16:01 GMT", ReasonFuture},
		{"", ReasonMalformedDate},
		{"2026-11-21T10:15:00Z", ReasonMalformedDate},
		{"1795256100", ReasonMalformedDate},
		{"Sat, 21 Nov 2026 10:15:00", ReasonMalformedDate},
		{"Sat, 21 Nov 2026 10:15:00 CET", ReasonMalformedDate},
		{"Sat, 21 Nov 2026 10:15:00 +00:00", ReasonMalformedDate},
		{"Saturday, 21-Nov-26 10:15:00 EST", ReasonMalformedDate},
		{"Sat, 31 Nov 2026 10:15:00 GMT", ReasonMalformedDate},
		{"Sat, 21 Nov 2026 10:15:00 GMT, Sat, 21 Nov 2026 10:15:00 GMT", ReasonMalformedDate},
	} {
		assert.Equal(t, tc.reason, outcomeOf(checkDate(tc.text, signedAt, DefaultMaxAge)), tc.text)
	}
}
