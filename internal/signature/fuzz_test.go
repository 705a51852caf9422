package signature

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// allocated returns how many bytes f allocates, and what else goes on at the time.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// allocationBound is what reading so many bytes may allocate. The fuzzing engine allocates at the
// same time.
func allocationBound(size int) uint64 {
	return uint64(256<<10 + 16*size)
}

func FuzzSignatureHeader(f *testing.F) {
	for _, tc := range headerCases {
		f.Add(tc.header)
	}
	for _, v := range readVectors(f).Vectors {
		f.Add(v.Headers["signature"])
	}
	for _, a := range attacks() {
		if c := a.make(f); c.index("Signature") >= 0 {
			f.Add(c.get("Signature"))
		}
	}
	f.Fuzz(func(t *testing.T, header string) {
		var p parameters
		var err error
		if n := allocated(func() { p, err = parseSignature([]string{header}) }); n > allocationBound(len(header)) {
			t.Errorf("%d bytes allocated for %d", n, len(header))
		}
		if err != nil {
			if _, ok := err.(*Refusal); !ok { //nolint:errorlint // It has to be a refusal and wrap nothing.
				t.Errorf("%q: %v", header, err)
			}
			return
		}
		if !isKeyName(p.keyID) || len(p.signature) < minSignature || len(p.signature) > maxSignature || len(p.covered) > maxCovered {
			t.Errorf("%q: %+v", header, p)
		}
		for _, name := range required {
			if !slices.Contains(p.covered, name) {
				t.Errorf("%q does not cover %s", header, name)
			}
		}
		if len(slices.Compact(slices.Sorted(slices.Values(p.covered)))) != len(p.covered) {
			t.Errorf("%q covers something twice", header)
		}
		// Written anew, it says the same.
		again, err := parseSignature([]string{`signature="` + strictBase64.EncodeToString(p.signature) +
			`" headers="` + strings.Join(p.covered, " ") + `" keyid="` + p.keyID + `" algorithm="rsa-sha256"`})
		require.NoError(t, err)
		assert.Equal(t, p, again)
	})
}

func FuzzKeyRecord(f *testing.F) {
	key := record(f, &goodKey(f).PublicKey)
	for _, one := range []string{
		key, readVectors(f).DNSTXT, "v=DKIM1; k=rsa; p=", "v=spf1 -all", "p=" + encodedKey(f, &goodKey(f).PublicKey), strings.ReplaceAll(key, "; ", " ;\r\n\t"),
		"v=DKIM1; h=sha1:sha256; s=email:*; t=y:s; n=x; g=; " + key[8:], "v=DKIM1; p=aGVsbG8=;",
	} {
		f.Add(one)
	}
	f.Fuzz(func(t *testing.T, record string) {
		var outcome string
		var s nameState
		if n := allocated(func() { s.keys, outcome = readKeys([]string{record, "hello"}) }); n > allocationBound(len(record)) {
			t.Errorf("%d bytes allocated for %d", n, len(record))
		}
		switch outcome {
		case LookupFound:
			require.Len(t, s.keys, 1)
			bits := s.keys[0].N.BitLen()
			if bits < minKeyBits || bits > maxKeyBits {
				t.Errorf("%q: %d bits", record, bits)
			}
			if !strings.Contains(record, "p") {
				t.Errorf("%q has no p", record)
			}
			s.verifies(make([]byte, 32), make([]byte, s.keys[0].Size()))
		case LookupRevoked, LookupUnusable:
			require.Empty(t, s.keys)
		default:
			t.Errorf("%q: %s", record, outcome)
		}
	})
}

func FuzzDigest(f *testing.F) {
	for _, tc := range digestCases {
		f.Add(tc.header, "x")
	}
	f.Fuzz(func(t *testing.T, header, body string) {
		var digests []digest
		var err error
		if n := allocated(func() { digests, err = parseDigest(header) }); n > allocationBound(len(header)) {
			t.Errorf("%d bytes allocated for %d", n, len(header))
		}
		if err != nil {
			if _, ok := err.(*Refusal); !ok { //nolint:errorlint // It has to be a refusal and wrap nothing.
				t.Errorf("%q: %v", header, err)
			}
			return
		}
		require.NotEmpty(t, digests)
		// Where they match, the digests stand in the header, letter by letter.
		if matches(digests, body) && !strings.Contains(header, sha256Of(body)) && !strings.Contains(header, sha512Of(body)) {
			t.Errorf("%q is not the digest of %q", header, body)
		}
		if !matches(digests, body) && header == "SHA-256="+sha256Of(body) {
			t.Errorf("%q is the digest of %q", header, body)
		}
	})
}

// FuzzRequest sends whole requests. The only ones that may get in say what one of the vectors says.
func FuzzRequest(f *testing.F) {
	vectors := readVectors(f)
	for _, v := range vectors.Vectors {
		f.Add([]byte(v.text()))
		f.Add([]byte(strings.Replace(v.text(), "POST /", "POST http://hooks.example.org/", 1)))
		f.Add([]byte(strings.ReplaceAll(v.text(), `",`, "\"\r\n ")))
	}
	for _, a := range attacks() {
		if raw := a.make(f).raw(); len(raw) < 4096 {
			f.Add([]byte(raw))
		}
	}
	v := vectorVerifier(f, &vectors)
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
		if n := allocated(func() { err = check(v, r) }); n > allocationBound(len(raw)) {
			t.Errorf("%d bytes allocated for %d", n, len(raw))
		}
		if err != nil {
			if _, ok := err.(*Refusal); !ok && !errors.Is(err, ErrKeyUnavailable) { //nolint:errorlint // It has to be a refusal and wrap nothing.
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		target, _ := targetOf(r.RequestURI)
		for _, one := range vectors.Vectors {
			same := strings.EqualFold(one.Method, r.Method) && one.RequestTarget == target && one.Headers["host"] == r.Host && one.Body == string(body)
			for _, name := range []string{"date", "digest", "x-copernica-id"} {
				same = same && slices.Equal(r.Header.Values(name), []string{one.Headers[name]})
			}
			if same {
				return
			}
		}
		t.Errorf("%q got in", raw)
	})
}

// TestAllocationIsBounded sends what is as large as a server lets through, and larger.
func TestAllocationIsBounded(t *testing.T) {
	const size = 1 << 20
	for name, header := range map[string]string{
		"commas":     strings.Repeat(",", size),
		"parameters": strings.Repeat("a=b,", size/4),
		"one name":   strings.Repeat("a", size),
		"one string": `headers="` + strings.Repeat("a ", size/2) + `"`,
		"not closed": `headers="` + strings.Repeat(`\"`, size/2),
	} {
		n := allocated(func() { _, _ = parseSignature([]string{header}) })
		assert.Less(t, n, uint64(64<<10), name)
		n = allocated(func() { _, _ = parseDigest(header) })
		assert.Less(t, n, uint64(64<<10), name)
		n = allocated(func() { _, _ = parseKeyRecord(header) })
		assert.Less(t, n, uint64(64<<10), name)
	}
	records := slices.Repeat([]string{strings.Repeat("a=b;", size/4)}, 100)
	assert.Less(t, allocated(func() { readKeys(records) }), uint64(64<<10))

	s := newSetting(t)
	c := newCall()
	c.set("X-Nonce", strings.Repeat("x", size))
	r := c.sign(t, goodKey(t)).request(t)
	assert.Less(t, allocated(func() { _, _ = s.Begin(r) }), uint64(64<<10))
}
