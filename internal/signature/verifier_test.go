package signature

import (
	"context"
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

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
)

type change func(r *signaturetest.Request)

// attack is a request that is refused, or one that is accepted although it looks odd.
type attack struct {
	name          string
	before, after change // before it is signed, and after
	reason        string // empty: it is accepted
}

func cover(names ...string) change {
	return func(r *signaturetest.Request) { r.Covered = names }
}

func coverToo(name string) change {
	return func(r *signaturetest.Request) { r.Covered = append(r.Covered, name) }
}

func set(name, value string) change {
	return func(r *signaturetest.Request) { r.Set(name, value) }
}

func add(name, value string) change {
	return func(r *signaturetest.Request) { r.Add(name, value) }
}

func remove(name string) change {
	return func(r *signaturetest.Request) { r.Remove(name) }
}

func host(host string) change {
	return func(r *signaturetest.Request) { r.Host = host }
}

func target(target string) change {
	return func(r *signaturetest.Request) { r.Target = target }
}

func date(ago time.Duration) change {
	return set("Date", signedAt.Add(-ago).Format(http.TimeFormat))
}

func chunked(r *signaturetest.Request) {
	r.SetChunked()
}

// signatureOf replaces the signature by so many zero bytes.
func signatureOf(size int) change {
	return func(r *signaturetest.Request) {
		old := parameterIn(r.Get("Signature"), "signature")
		r.Set("Signature", strings.Replace(r.Get("Signature"), old, base64.StdEncoding.EncodeToString(make([]byte, size)), 1))
	}
}

// fold writes the Signature header as the sender's sample does.
func fold(r *signaturetest.Request) {
	s := r.Get("Signature")
	s = strings.NewReplacer(`",signature="`, "\"\r\n     signature=\"", " content-length", "\r\n    Content-Length").Replace(s)
	end := len(s) - 40
	r.Set("Signature", s[:end]+"\r\n       "+s[end:])
}

// parameterIn returns a parameter of a Signature header.
func parameterIn(header, name string) string {
	_, rest, _ := strings.Cut(header, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// attacks are what the whole check makes of requests. What a header may look like is in
// header_test.go and digest_test.go, and dates in TestDates.
func attacks() []attack {
	const hostName, path = signaturetest.Host, "/failures?a=%2F"
	all := []attack{
		{"as the sender does it", nil, nil, ""},
		{"mixed case", cover("(Request-Target)", "Host", "DATE", "Content-length", "X-Copernica-ID", "Digest"), nil, ""},

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
		{"account with underscores", remove("X-Copernica-ID"), add("X_Copernica_ID", signaturetest.Account), ReasonMissingHeader},
		{"Host empty", host(""), nil, ReasonEmptyHeader},

		// Account, host, date.
		{"another account", set("X-Copernica-ID", "environment-12345"), nil, ReasonUnknownAccount},
		{"account in another case", set("X-Copernica-ID", "Environment-1234"), nil, ReasonUnknownAccount},
		{"account changed", nil, set("X-Copernica-ID", "environment-1"), ReasonSignatureMismatch},
		{"another host", host("hooks.example.com"), nil, ReasonUnknownHost},
		{"host with a port", host(hostName + ":8550"), nil, ReasonUnknownHost},
		{"host with a dot", host(hostName + "."), nil, ReasonUnknownHost},
		{"host in another case", host("Hooks.Example.ORG"), nil, ""},
		{"host changed in case", nil, host("Hooks.Example.ORG"), ReasonSignatureMismatch},
		{"old", date(5*time.Minute + time.Second), nil, ReasonOld},
		{"ahead", date(-time.Minute - time.Second), nil, ReasonFuture},
		{"no date", set("Date", "now"), nil, ReasonMalformedDate},
		{"date changed", nil, date(-time.Second), ReasonSignatureMismatch},

		// The request line.
		{"method changed", nil, func(r *signaturetest.Request) { r.Method = "PUT" }, ReasonSignatureMismatch},
		{"query changed", nil, target("/failures?a=/"), ReasonSignatureMismatch},
		{"path encoded", nil, target("/%66ailures?a=%2F"), ReasonSignatureMismatch},
		{"dots in the path", nil, target("/x/../failures?a=%2F"), ReasonSignatureMismatch},
		{"query removed", nil, target("/failures"), ReasonSignatureMismatch},
		{"two slashes", target("//failures"), nil, ""},
		{"absolute form", nil, target("http://" + hostName + path), ""},
		{"absolute form without a path", target("/?a=%2F"), target("HTTPS://" + hostName + "?a=%2F"), ""},
		{"absolute form without path and query", target("/"), target("http://" + hostName), ""},
		{"absolute form of another host", nil, target("http://evil.example" + path), ReasonUnknownHost},
		{"absolute form of another scheme", target("ftp://" + hostName + "/failures"), nil, ReasonMalformedTarget},
		{"asterisk form", func(r *signaturetest.Request) { r.Method, r.Target = "OPTIONS", "*" }, nil, ReasonMalformedTarget},
		{"authority form", func(r *signaturetest.Request) { r.Method, r.Target = "CONNECT", hostName+":443" }, nil, ReasonMalformedTarget},

		// The body.
		{"SHA-512", func(r *signaturetest.Request) { r.Set("Digest", signaturetest.SHA512(r.Body)) }, nil, ""},
		{"MD5", set("Digest", "MD5=1B2M2Y8AsgTpgAmY7PhCfg=="), nil, ReasonUnsupportedDigest},
		{"no digest", set("Digest", "SHA-256"), nil, ReasonMalformedDigest},
		{"repeated digest", set("Digest", x256+","+x256), nil, ReasonRepeatedDigest},
		{"digest of another body", set("Digest", x256), nil, ReasonDigestMismatch},
		{"body changed", nil, func(r *signaturetest.Request) { r.Body = "h" + r.Body[1:] }, ReasonDigestMismatch},
		{"body and digest changed", nil, func(r *signaturetest.Request) { r.SetBody("id=2") }, ReasonSignatureMismatch},
		{"no body", func(r *signaturetest.Request) { r.SetBody("") }, nil, ""},
		{"chunked", nil, chunked, ""},
		{"chunked, another length signed", set("Content-Length", "31"), chunked, ReasonSignatureMismatch},
		{"covers what net/http removes", coverToo("transfer-encoding"), chunked, ReasonMissingHeader},

		// The Signature header.
		{"no Signature", nil, remove("Signature"), ReasonMissingSignature},
		{"two Signatures", nil, add("signature", headerText), ReasonRepeatedSignature},
		{"repeated keyId", nil, set("Signature", `keyId="evil",`+headerText), ReasonRepeatedParameter},
		{"created", nil, set("Signature", headerText+",created=1795256100"), ReasonForbiddenParameter},
		{"no keyId", nil, set("Signature", headerWith("keyId", "x")), ReasonMissingParameter},
		{"another parameter", func(r *signaturetest.Request) { r.Parameters += `,opaque="a\"b"` }, nil, ""},
		{"another algorithm", func(r *signaturetest.Request) { r.Algorithm = "hs2019" }, nil, ReasonUnsupportedAlgorithm},
		{"keyId in another case", func(r *signaturetest.Request) { r.KeyID = strings.ToUpper(goodName) }, nil, ""},
		{"another domain", func(r *signaturetest.Request) { r.KeyID = "one._domainkey.evil.com" }, nil, ReasonUnknownSelector},
		{"folded, without a comma, as in the sender's sample", nil, fold, ""},
		{"another signature", nil, signatureOf(128), ReasonSignatureMismatch},
		{"a signature of another size than the key's", nil, signatureOf(256), ReasonSignatureMismatch},
	}
	for i, name := range required {
		all = append(all, attack{"not covered: " + name, cover(slices.Delete(slices.Clone(required[:]), i, i+1)...), nil, ReasonUncoveredHeader})
	}
	for _, name := range []string{"Date", "Digest", "X-Copernica-ID", "X-Nonce"} {
		all = append(all,
			attack{"removed: " + name, nil, remove(name), ReasonMissingHeader},
			attack{"emptied: " + name, nil, set(name, " "), ReasonEmptyHeader},
			attack{"repeated: " + name, func(r *signaturetest.Request) { r.Add(name, r.Get(name)) }, nil, ReasonRepeatedHeader},
		)
	}
	return all
}

// signed returns the request, ready to be sent.
func (a *attack) signed() *signaturetest.Request {
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
			if a.reason == "" {
				require.NoError(t, err)
				assert.Equal(t, signaturetest.Account, account)
				return
			}
			assertRefused(t, a.reason, err)
			assert.Equal(t, "the call is refused: "+a.reason, err.Error())
			assert.Empty(t, account)
		})
	}
}

func TestEveryReasonIsTested(t *testing.T) {
	// The first three by keys_test.go, the last is the caller's.
	tested := map[string]bool{ReasonNoKey: true, ReasonRevokedKey: true, ReasonUnusableKey: true, ReasonNotChecked: true}
	for _, a := range attacks() {
		tested[a.reason] = true
	}
	delete(tested, "")
	assert.ElementsMatch(t, Reasons, slices.Collect(maps.Keys(tested)))
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
			assertRefused(t, reason, err)
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

// TestEveryByteCounts changes each byte of what is covered and of the signature. Only the case of
// the method may change: the draft has it signed in lower case.
func TestEveryByteCounts(t *testing.T) {
	f, vectors := newVectorFixture(t)
	for name, vector := range vectors.Requests {
		t.Run(name, func(t *testing.T) {
			values := map[string]string{"method": vector.Method, "target": vector.Target, "host": vector.Host, "body": vector.Body}
			put := map[string]func(r *signaturetest.Request, value string){
				"method": func(r *signaturetest.Request, value string) { r.Method = value },
				"target": func(r *signaturetest.Request, value string) { r.Target = value },
				"host":   func(r *signaturetest.Request, value string) { r.Host = value },
				"body":   func(r *signaturetest.Request, value string) { r.Body = value },
			}
			header := vector.Get("Signature")
			values["signature"] = parameterIn(header, "signature")
			put["signature"] = func(r *signaturetest.Request, value string) {
				r.Set("Signature", strings.Replace(header, values["signature"], value, 1))
			}
			for _, name := range strings.Fields(parameterIn(header, "headers"))[2:] {
				values[name] = vector.Get(name)
				put[name] = func(r *signaturetest.Request, value string) { r.Set(name, value) }
			}

			for part, value := range values {
				require.NotEmpty(t, value, part)
				for i := range len(value) {
					for _, b := range otherBytes(value[i], i) {
						other := value[:i] + string([]byte{b}) + value[i+1:]
						changed := vector.Clone()
						put[part](changed, other)
						err := f.check(unparsed(changed))
						if part == "method" && strings.EqualFold(other, value) {
							require.NoError(t, err, "%s %q", part, other)
						} else if _, refused := err.(*Refusal); !refused { //nolint:errorlint // It wraps nothing.
							t.Fatalf("%s %q: %v", part, other, err)
						}
					}
				}
			}
		})
	}
}

// TestSignatureHeaderChanged changes each byte of the Signature header before the signature. Only
// other spellings are accepted: names and the algorithm in another case, and other separators.
func TestSignatureHeaderChanged(t *testing.T) {
	f, vectors := newVectorFixture(t)
	vector := vectors.Requests["form_all_headers"]
	header := vector.Get("Signature")
	accepted := 0
	for i := range strings.Index(header, `signature="`) + len(`signature="`) {
		for _, b := range append(otherBytes(header[i], i), header[i]^0x20, ' ') {
			if b == header[i] {
				continue
			}
			changed := vector.Clone()
			changed.Set("Signature", header[:i]+string([]byte{b})+header[i+1:])
			err := f.check(unparsed(changed))
			if _, refused := err.(*Refusal); refused { //nolint:errorlint // It wraps nothing.
				continue
			}
			require.NoError(t, err, "%q at %d", b, i)
			accepted++
			sameLetter := 'A' <= b&^0x20 && b&^0x20 <= 'Z' && b^0x20 == header[i]
			separator := strings.ContainsRune(separators, rune(header[i])) && strings.ContainsRune(separators, rune(b))
			assert.True(t, sameLetter || separator, "%q at %d", b, i)
		}
	}
	assert.Positive(t, accepted)
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
		{attack{"prefix and absolute form", target("/hooks/x"), target("http://" + signaturetest.Host + "/x"), ""}, prefix("/hooks")},
		{attack{"no hosts", host("other.example:1"), nil, ""}, hosts()},
		{attack{"host with a port", host("hooks.example.org:8443"), nil, ""}, hosts("a.example", "Hooks.Example.org:8443")},
		{attack{"host without the port", nil, nil, ReasonUnknownHost}, hosts("hooks.example.org:8443")},
		{attack{"several accounts", nil, nil, ""}, accounts("account-1", signaturetest.Account)},
		{attack{"other accounts", nil, nil, ReasonUnknownAccount}, accounts("account-1")},
	} {
		err := newFixture(t, tc.option).check(parse(t, tc.signed()))
		if tc.reason == "" {
			require.NoError(t, err, tc.name)
		} else {
			assertRefused(t, tc.reason, err, tc.name)
		}
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
		_, err := f.Begin(unparsed(a.signed()))
		assertRefused(t, a.reason, err, a.name)
	}
}

// TestOverSockets sends calls with net/http's client to its server.
func TestOverSockets(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("http2=%t chunked=%t", http2, chunked), func(t *testing.T) {
				f := newFixture(t, func(o *Options) { o.Hosts = nil })
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					assert.Equal(t, http2, r.ProtoMajor == 2)
					assert.Equal(t, chunked, r.ContentLength < 0)
					assert.NoError(t, f.check(r))
					w.WriteHeader(http.StatusNoContent)
				}))
				server.EnableHTTP2 = http2
				server.StartTLS()
				defer server.Close()

				signed := newRequest(goodKey())
				signed.Host = strings.TrimPrefix(server.URL, "https://")
				signed.Sign()
				var body io.Reader = strings.NewReader(signed.Body)
				if chunked {
					body = io.MultiReader(body)
				}
				r, err := http.NewRequestWithContext(t.Context(), signed.Method, server.URL+signed.Target, body)
				require.NoError(t, err)
				for _, h := range signed.Header {
					r.Header.Set(h[0], h[1])
				}
				r.Header.Del("Content-Length")
				response, err := server.Client().Do(r)
				require.NoError(t, err)
				assert.Equal(t, http.StatusNoContent, response.StatusCode)
				require.NoError(t, response.Body.Close())
			})
		}
	}
}

func TestKeySizes(t *testing.T) {
	for _, bits := range []int{1024, 2048, 3072, 4096} {
		f := newFixture(t)
		key := signaturetest.Key(bits, "size")
		f.dns.set(goodName, keyRecord(key))
		require.NoError(t, f.send(t, goodName, key), bits)
		assertRefused(t, ReasonSignatureMismatch, f.send(t, goodName, goodKey()))
	}
}

func TestBeginEndsWithTheRequest(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.dns.setHook(func(lookup context.Context, _ string) {
		cancel()
		<-lookup.Done()
	})
	_, err := f.Begin(parse(t, newRequest(goodKey()).Sign()).WithContext(ctx))
	assertUnavailable(t, err)
	require.ErrorIs(t, err, context.Canceled)
	assert.NotContains(t, err.Error(), "copernica", "an error holds nothing of the request")
}

func TestFinishReturnsTheErrorOfReading(t *testing.T) {
	r := parse(t, newRequest(goodKey()).Sign())
	r.Body = http.MaxBytesReader(nil, r.Body, 3)
	require.ErrorAs(t, newFixture(t).check(r), new(*http.MaxBytesError))
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
		err := checkDate(tc.text, signedAt, DefaultMaxAge)
		if tc.reason == "" {
			require.NoError(t, err, tc.text)
		} else {
			assertRefused(t, tc.reason, err, tc.text)
		}
	}
}
