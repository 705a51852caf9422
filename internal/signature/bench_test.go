package signature

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkVerify is a whole check. It may take 1.3 times as long as BenchmarkBareRSA.
func BenchmarkVerify(b *testing.B) {
	f := readVectors(b)
	// A vector, because to make a key of 2048 bits takes a different time each time.
	v, one := vectorVerifier(b, &f), &f.Vectors[0]
	r := one.request()
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(one.Body))
		if err := check(v, r); err != nil {
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

// BenchmarkRefused are calls that are refused before RSA: each may take 10 µs.
func BenchmarkRefused(b *testing.B) {
	for _, bc := range []struct {
		name   string
		change func(c *call)
	}{
		{"no_signature", func(c *call) { c.remove("Signature") }},
		{"garbage", func(c *call) { c.set("Signature", strings.Repeat(`a="b",`, 600)) }},
		{"date", func(c *call) { c.set("Date", "Sat, 21 Nov 2020 10:15:00 GMT") }},
		{"malformed_date", func(c *call) { c.set("Date", "now") }},
		{"key", func(c *call) { c.set("Signature", strings.Replace(c.get("Signature"), "one.", "none.", 1)) }},
	} {
		b.Run(bc.name, func(b *testing.B) {
			s := newSetting(b)
			c := newCall().sign(b, goodKey(b))
			bc.change(c)
			r := c.request(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Begin(r); err == nil {
					b.Fatal("it got in")
				}
			}
		})
	}
}
