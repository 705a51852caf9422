package signature

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// vectorCall is a call with a key of 2048 bits that is at hand: a vector, because to make a key takes a different time each time.
func vectorCall(b *testing.B) (v *Verifier, r *http.Request, body []byte) {
	b.Helper()
	f := readVectors(b)
	v, one := vectorVerifier(b, &f), &f.Vectors[0]
	require.NoError(b, check(b.Context(), v, one.request(), one.Body))
	return v, one.request(), []byte(one.Body)
}

// BenchmarkVerify is a whole check. It may take 1.3 times as long as BenchmarkBareRSA.
func BenchmarkVerify(b *testing.B) {
	v, r, body := vectorCall(b)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		call, err := v.Begin(r)
		if err != nil {
			b.Fatal(err)
		}
		if err := call.Finish(ctx, body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareRSA is what no check can do without.
func BenchmarkBareRSA(b *testing.B) {
	key := testKey(b, 2048, "size")
	sum := sha256.Sum256([]byte(theBody))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], sig); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBesideRSA is what a whole check does beside BenchmarkBareRSA, which varies by more from one run to the next.
func BenchmarkBesideRSA(b *testing.B) {
	v, r, body := vectorCall(b)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		call, err := v.Begin(r)
		if err != nil || !call.digest.matches(body) {
			b.Fatal(err)
		}
		set, _, err := v.keys.get(ctx, call.keyID)
		if err != nil {
			b.Fatal(err)
		}
		v.keys.confirm(call.keyID, set)
	}
}

// BenchmarkRefused are calls that are refused before RSA: each may take 10 µs.
func BenchmarkRefused(b *testing.B) {
	for _, bc := range []struct {
		name   string
		change func(c *call)
		body   string
	}{
		{"no_signature", func(c *call) { c.remove("Signature") }, theBody},
		{"garbage", func(c *call) { c.set("Signature", strings.Repeat(`a="b",`, 600)) }, theBody},
		{"account", func(c *call) { c.set("X-Copernica-ID", "environment-1") }, theBody},
		{"date", func(c *call) { c.set("Date", "Sat, 21 Nov 2020 10:15:00 GMT") }, theBody},
		{"malformed_date", func(c *call) { c.set("Date", "now") }, theBody},
		{"digest", func(*call) {}, theBody + "&x=1"},
		{"key", func(c *call) { c.set("Signature", strings.Replace(c.get("Signature"), "one.", "none.", 1)) }, theBody},
	} {
		b.Run(bc.name, func(b *testing.B) {
			s := newSetting(b)
			c := newCall().sign(b, goodKey(b))
			bc.change(c)
			r, body := c.request(b), []byte(bc.body)
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				call, err := s.Begin(r)
				if err == nil {
					err = call.Finish(ctx, body)
				}
				if err == nil {
					b.Fatal("it got in")
				}
			}
		})
	}
}

// BenchmarkRefusedBody is a call whose largest body has another digest: there is no way around hashing it.
func BenchmarkRefusedBody(b *testing.B) {
	s := newSetting(b)
	r, body := newCall().sign(b, goodKey(b)).request(b), bytes.Repeat([]byte("x"), 256<<10)
	ctx := b.Context()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		call, err := s.Begin(r)
		require.NoError(b, err)
		if call.Finish(ctx, body) == nil {
			b.Fatal("it got in")
		}
	}
}

var _ Resolver = (*fakeDNS)(nil)
