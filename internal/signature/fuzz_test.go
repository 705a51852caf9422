package signature

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
)

// allocated returns how many bytes f allocates, and what else runs meanwhile.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// assertBounded checks that f allocates little for so many bytes. The fuzzing engine allocates at
// the same time.
func assertBounded(t *testing.T, size int, f func()) {
	t.Helper()
	if n := allocated(f); n > 256<<10+16*size {
		t.Errorf("%d bytes allocated for %d", n, size)
	}
}

func FuzzSignatureHeader(f *testing.F) {
	for _, tc := range headerCases {
		f.Add(tc.header)
	}
	_, vectors := newVectorFixture(f)
	for _, vector := range vectors.Requests {
		f.Add(vector.Get("Signature"))
	}
	f.Fuzz(func(t *testing.T, header string) {
		var p parameters
		var err error
		assertBounded(t, len(header), func() { p, err = parseSignature([]string{header}) })
		if err != nil {
			assert.Contains(t, Reasons, outcomeOf(err))
			return
		}
		assert.True(t, isKeyName(p.keyID))
		assert.True(t, minSignature <= len(p.signature) && len(p.signature) <= maxSignature)
		assert.LessOrEqual(t, len(p.covered), maxCovered)
		assert.Subset(t, p.covered, required)
		assert.Len(t, slices.Compact(slices.Sorted(slices.Values(p.covered))), len(p.covered), "nothing is repeated")
		// Written anew, it is the same.
		again, err := parseSignature([]string{`signature="` + strictBase64.EncodeToString(p.signature) +
			`" headers="` + strings.Join(p.covered, " ") + `" keyid="` + p.keyID + `" algorithm="rsa-sha256"`})
		require.NoError(t, err)
		assert.Equal(t, p, again)
	})
}

func FuzzKeyRecord(f *testing.F) {
	_, vectors := newVectorFixture(f)
	for _, record := range []string{
		vectors.KeyRecord, keyRecord(goodKey()), keyRecord(goodKey(), "; ", " ;\r\n\t"),
		keyRecord(goodKey(), "k=rsa", "h=sha1:sha256; s=email:*; t=y:s; n=x; g="),
		"v=DKIM1; k=rsa; p=", "v=spf1 -all", "v=DKIM1; p=aGVsbG8=;",
	} {
		f.Add(record)
	}
	f.Fuzz(func(t *testing.T, record string) {
		var outcome string
		var s nameState
		assertBounded(t, len(record), func() { s.keys, outcome = readKeys([]string{record, "hello"}) })
		if outcome != LookupFound {
			assert.Contains(t, []string{LookupRevoked, LookupUnusable}, outcome)
			assert.Empty(t, s.keys)
			return
		}
		require.Len(t, s.keys, 1)
		bits := s.keys[0].N.BitLen()
		assert.True(t, minKeyBits <= bits && bits <= maxKeyBits)
		assert.Contains(t, record, "p")
		s.verifies(make([]byte, 32), make([]byte, s.keys[0].Size()))
	})
}

func FuzzDigest(f *testing.F) {
	for _, tc := range digestCases {
		f.Add(tc.header, "x")
	}
	f.Fuzz(func(t *testing.T, header, body string) {
		var digests []digest
		var err error
		assertBounded(t, len(header), func() { digests, err = parseDigest(header) })
		if err != nil {
			assert.Contains(t, Reasons, outcomeOf(err))
			return
		}
		require.NotEmpty(t, digests)
		// Where they match, a digest of the body is in the header.
		_, sha256, _ := strings.Cut(signaturetest.SHA256(body), "=")
		_, sha512, _ := strings.Cut(signaturetest.SHA512(body), "=")
		if matches(digests, body) && !strings.Contains(header, sha256) && !strings.Contains(header, sha512) {
			t.Errorf("%q is not the digest of %q", header, body)
		}
		if !matches(digests, body) && header == signaturetest.SHA256(body) {
			t.Errorf("%q is the digest of %q", header, body)
		}
	})
}

// FuzzRequest sends whole requests. Those that are accepted have to be one of the vectors.
func FuzzRequest(f *testing.F) {
	fixture, vectors := newVectorFixture(f)
	for _, vector := range vectors.Requests {
		f.Add([]byte(vector.Raw()))
		f.Add([]byte(strings.Replace(vector.Raw(), "POST /", "POST http://hooks.example.org/", 1)))
		f.Add([]byte(strings.ReplaceAll(vector.Raw(), `",`, "\"\r\n ")))
	}
	for _, a := range attacks() {
		if raw := a.signed().Raw(); len(raw) < 4096 {
			f.Add([]byte(raw))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, 256<<10))
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var outcome string
		assertBounded(t, len(raw), func() { outcome = fixture.check(r) })
		if outcome != accepted {
			assert.Contains(t, append(Reasons[:], keyUnavailable), outcome)
			return
		}
		target, _ := targetOf(r.RequestURI)
		for _, vector := range vectors.Requests {
			same := strings.EqualFold(vector.Method, r.Method) && vector.Target == target &&
				vector.Host == r.Host && vector.Body == string(body)
			for _, name := range []string{"Date", "Digest", "X-Copernica-ID"} {
				same = same && slices.Equal(r.Header.Values(name), []string{vector.Get(name)})
			}
			if same {
				return
			}
		}
		t.Errorf("%q was accepted", raw)
	})
}

// TestAllocationIsBounded reads what is as large as a server accepts, and larger.
func TestAllocationIsBounded(t *testing.T) {
	const size, bound = 1 << 20, 64 << 10
	for name, text := range map[string]string{
		"commas":     strings.Repeat(",", size),
		"parameters": strings.Repeat("a=b,", size/4),
		"one name":   strings.Repeat("a", size),
		"one string": `headers="` + strings.Repeat("a ", size/2) + `"`,
		"not closed": `headers="` + strings.Repeat(`\"`, size/2),
	} {
		assert.Less(t, allocated(func() { _, _ = parseSignature([]string{text}) }), bound, name)
		assert.Less(t, allocated(func() { _, _ = parseDigest(text) }), bound, name)
		assert.Less(t, allocated(func() { _, _ = parseKeyRecord(text) }), bound, name)
	}
	records := slices.Repeat([]string{strings.Repeat("a=b;", size/4)}, 100)
	assert.Less(t, allocated(func() { readKeys(records) }), bound)

	f := newFixture(t)
	signed := newRequest(goodKey())
	signed.Set("X-Nonce", strings.Repeat("x", size))
	r := parse(t, signed.Sign())
	assert.Less(t, allocated(func() { _, _ = f.Begin(r) }), bound)
}
