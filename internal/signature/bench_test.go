package signature

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
)

// BenchmarkVerify is a whole check. It may take 1.3 times as long as BenchmarkBareRSA.
func BenchmarkVerify(b *testing.B) {
	f, vectors := newVectorFixture(b)
	vector := vectors.Requests["form_all_headers"]
	r := parse(b, vector)
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(vector.Body))
		require.Equal(b, accepted, f.check(r))
	}
}

// BenchmarkBareRSA is what every check needs.
func BenchmarkBareRSA(b *testing.B) {
	key := signaturetest.Key(2048, "")
	sum := sha256.Sum256([]byte("x"))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], sig))
	}
}

// BenchmarkRefused has calls that are refused before RSA: each may take 10 µs.
func BenchmarkRefused(b *testing.B) {
	for _, a := range []attack{
		{name: "no_signature", after: remove("Signature")},
		{name: "garbage", after: set("Signature", strings.Repeat(`a="b",`, 600))},
		{name: "date", after: set("Date", "Sat, 21 Nov 2020 10:15:00 GMT")},
		{name: "malformed_date", after: set("Date", "now")},
		{name: "key", after: set("Signature", headerWith("one.", "none."))},
	} {
		b.Run(a.name, func(b *testing.B) {
			f := newFixture(b)
			r := parse(b, a.signed())
			b.ReportAllocs()
			for b.Loop() {
				_, err := f.Begin(r)
				require.Error(b, err)
			}
		})
	}
}
