package signature

import (
	"bufio"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// vectorVerifier is a verifier for the vectors, at their time.
func vectorVerifier(tb testing.TB, f *vectorFile) *Verifier {
	tb.Helper()
	v, _ := vectorVerifierAndClock(tb, f)
	return v
}

func vectorVerifierAndClock(tb testing.TB, f *vectorFile) (*Verifier, *clock) {
	tb.Helper()
	at, err := http.ParseTime(f.Date)
	require.NoError(tb, err)
	dns := newFakeDNS()
	dns.set(f.KeyID, f.DNSTXT)
	clock := &clock{now: at}
	v := NewVerifier(Options{Accounts: []string{goodAccount}, Hosts: []string{goodHost}, Resolver: dns, Now: clock.Now})
	tb.Cleanup(v.Close)
	return v, clock
}

func TestVectors(t *testing.T) {
	f := readVectors(t)
	for _, one := range f.Vectors {
		t.Run(one.Name, func(t *testing.T) {
			require.True(t, one.ReferenceVerifies)
			v := vectorVerifier(t, &f)
			require.NoError(t, check(t.Context(), v, one.request(), one.Body))

			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(one.text())))
			require.NoError(t, err)
			c, err := v.Begin(r)
			require.NoError(t, err)
			assert.Equal(t, goodAccount, c.Account())
			require.NoError(t, c.Finish(t.Context(), []byte(one.Body)))
			require.NoError(t, c.Finish(t.Context(), []byte(one.Body)), "a call may be finished again")
		})
	}
}

func TestASignatureIsCheckedWithoutTheBodyWhereItCanBe(t *testing.T) {
	f := readVectors(t)
	for _, one := range f.Vectors {
		t.Run(one.Name, func(t *testing.T) {
			v := vectorVerifier(t, &f)
			c, err := v.Begin(one.request())
			require.NoError(t, err)
			done, err := c.Authenticate(t.Context())
			require.NoError(t, err)
			assert.True(t, done)
			assert.Equal(t, refuse(ReasonDigestMismatch), c.Finish(t.Context(), []byte(one.Body+"x")))
			require.NoError(t, c.Finish(t.Context(), []byte(one.Body)))

			forged := one.request()
			forged.Header.Set("Signature", strings.Replace(forged.Header.Get("Signature"), `signature="`, `signature="AAAA`, 1))
			c, err = v.Begin(forged)
			if err == nil {
				done, err = c.Authenticate(t.Context())
				assert.False(t, done)
			}
			var refusal *Refusal
			require.ErrorAs(t, err, &refusal)
			if one.Headers["content-length"] == "" || !strings.Contains(one.Headers["signature"], "content-length") {
				return
			}

			// Chunked: the length that was signed is known with the body only.
			chunked := one.request()
			chunked.Header.Del("Content-Length")
			chunked.ContentLength = -1
			c, err = v.Begin(chunked)
			require.NoError(t, err)
			done, err = c.Authenticate(t.Context())
			require.NoError(t, err)
			assert.False(t, done)
			require.NoError(t, c.Finish(t.Context(), []byte(one.Body)))
		})
	}
}

// otherBytes returns what is put in the place of a byte: every other one. With the race detector those that differ in one bit and those
// that mean something, because it makes this many times slower.
var otherBytes = func(byte) []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}

// TestVectorsChanged puts every other byte in the place of every byte of what is covered, and of the signature.
//
// By rule a change of the method's case is none: the draft has it signed in lower case. Nothing else is let through.
func TestVectorsChanged(t *testing.T) {
	f := readVectors(t)
	for _, one := range f.Vectors {
		t.Run(one.Name, func(t *testing.T) {
			t.Parallel()
			v := vectorVerifier(t, &f)
			require.NoError(t, check(t.Context(), v, one.request(), one.Body))

			parts := map[string]func(changed *vector, value string){
				"method": func(c *vector, value string) { c.Method = value },
				"target": func(c *vector, value string) { c.RequestTarget = value },
				"body":   func(c *vector, value string) { c.Body = value },
			}
			values := map[string]string{"method": one.Method, "target": one.RequestTarget, "body": one.Body}
			covered := parameterOf(t, one.Headers["signature"], "headers")
			for _, name := range strings.Fields(covered)[1:] {
				parts[name] = func(c *vector, value string) { c.Headers[name] = value }
				values[name] = one.Headers[name]
			}
			sig := parameterOf(t, one.Headers["signature"], "signature")
			values["signature"] = sig
			parts["signature"] = func(c *vector, value string) {
				c.Headers["signature"] = strings.Replace(one.Headers["signature"], sig, value, 1)
			}

			var tried, same atomic.Int64
			for part, put := range parts {
				value := values[part]
				require.NotEmpty(t, value, part)
				for i := range len(value) {
					for _, b := range otherBytes(value[i]) {
						if b == value[i] {
							continue
						}
						changed := one
						changed.Headers = maps.Clone(one.Headers)
						other := value[:i] + string([]byte{b}) + value[i+1:]
						put(&changed, other)
						err := check(t.Context(), v, changed.request(), changed.Body)
						tried.Add(1)
						if part == "method" && strings.EqualFold(other, value) {
							require.NoError(t, err, "%s %q", part, other)
							same.Add(1)
							continue
						}
						if _, ok := err.(*Refusal); !ok { //nolint:errorlint // It has to be a refusal and wrap nothing.
							t.Fatalf("%s %q: %v", part, other, err)
						}
					}
				}
			}
			assert.EqualValues(t, len(one.Method), same.Load())
			t.Logf("%d changes, %d of them equal by rule", tried.Load(), same.Load())
		})
	}
}

// TestVectorsSignatureHeaderChanged does the same to the rest of the Signature header, which no signature covers. What is let through
// there is only another spelling of the same: another case of a name or of the algorithm, another separator.
func TestVectorsSignatureHeaderChanged(t *testing.T) {
	f := readVectors(t)
	one := f.Vectors[0]
	v, clock := vectorVerifierAndClock(t, &f)
	value := one.Headers["signature"]
	label := strings.Index(value, f.KeyID)
	end := strings.Index(value, `signature="`) + len(`signature="`)
	through := 0
	for i := range end {
		for _, b := range otherBytes(value[i]) {
			if b == value[i] {
				continue
			}
			changed := one
			changed.Headers = maps.Clone(one.Headers)
			changed.Headers["signature"] = value[:i] + string([]byte{b}) + value[i+1:]
			if label <= i && i < label+len("one") {
				// Another name has to be looked up, and there is a limit to those.
				clock.advance(strangerEvery)
			}
			if err := check(t.Context(), v, changed.request(), changed.Body); err != nil {
				if _, ok := err.(*Refusal); !ok { //nolint:errorlint // See above.
					t.Fatalf("%d %q: %v", i, b, err)
				}
				continue
			}
			through++
			sameLetter := isLetterOrDigit(b) && '9' < b && b^0x20 == value[i]
			separators := strings.ContainsRune(", \t", rune(value[i])) && strings.ContainsRune(", \t", rune(b))
			assert.True(t, sameLetter || separators, "%q at %d", b, i)
		}
	}
	assert.Positive(t, through)
}

// parameterOf finds a parameter of a Signature header as the vectors write it.
func parameterOf(tb testing.TB, header, name string) string {
	tb.Helper()
	_, rest, ok := strings.Cut(header, name+`="`)
	require.True(tb, ok)
	value, _, ok := strings.Cut(rest, `"`)
	require.True(tb, ok)
	return value
}
