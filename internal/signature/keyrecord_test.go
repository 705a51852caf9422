package signature

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKeyRecord(t *testing.T) {
	key := goodKey()
	pkcs1 := x509.MarshalPKCS1PublicKey(&key.PublicKey)
	p := strings.TrimPrefix(keyRecord(key), "v=DKIM1; k=rsa; p=")
	encoded := base64.StdEncoding.EncodeToString
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ecDER, err := x509.MarshalPKIXPublicKey(&ecKey.PublicKey)
	require.NoError(t, err)

	for _, tc := range []struct {
		name, record string
		err          error
	}{
		{"as the sender has it", keyRecord(key), nil},
		{"ends in ;", keyRecord(key) + ";", nil},
		{"folded", "v=DKIM1;\r\n\tk = rsa ;\r\n p = " + p[:40] + "\r\n\t" + p[40:90] + " " + p[90:], nil},
		{"PKCS 1", "v=DKIM1; k=rsa; p=" + encoded(pkcs1), nil},
		{"other tags", "v=DKIM1; x=y; g=*; n=about the key; t=y:s; k=rsa; p=" + p, nil},
		{"type in capitals", keyRecord(key, "rsa", "RSA"), nil},
		{"hash allowed among others", "v=DKIM1; h=sha1 : SHA256:x; p=" + p, nil},
		{"for all services", "v=DKIM1; s=*; p=" + p, nil},
		{"for mail among others", "v=DKIM1; s=tlsrpt : email; p=" + p, nil},
		{"p first", "p=" + p + "; k=rsa", nil},
		{"as many tags as there may be", "p=" + p + ";" + numbered(maxTags-1, ";"), nil},
		{"as long as it may be", keyRecord(key) + "; n=" + strings.Repeat("x", maxRecord-len(keyRecord(key))-4), nil},

		{"revoked", "v=DKIM1; k=rsa; p=", errRevoked},
		{"revoked, with space", "v=DKIM1; k=rsa; p= \t;", errRevoked},
		{"revoked, with a reason", "v=DKIM1; n=compromised; p=; k=rsa", errRevoked},

		{"empty", "", errNoKey},
		{"SPF", "v=spf1 -all", errNoKey},
		{"no key", "v=DKIM1; k=rsa", errNoKey},
		{"version in lower case", keyRecord(key, "DKIM1", "dkim1"), errNoKey},
		{"version not first", "k=rsa; v=DKIM1; p=" + p, errNoKey},
		{"empty version", "v=; p=" + p, errNoKey},
		{"a tag twice", keyRecord(key) + "; p=" + p, errNoKey},
		{"an unknown tag twice", "v=DKIM1; x=1; x=2; p=" + p, errNoKey},
		{"a tag without a name", "v=DKIM1; =x; p=" + p, errNoKey},
		{"a tag without =", "v=DKIM1; x; p=" + p, errNoKey},
		{"two ;", "v=DKIM1;; p=" + p, errNoKey},
		{"another type", keyRecord(key, "rsa", "ed25519"), errNoKey},
		{"another hash", "v=DKIM1; h=sha1; p=" + p, errNoKey},
		{"another service", "v=DKIM1; s=tlsrpt; p=" + p, errNoKey},
		{"P is another tag", "v=DKIM1; P=" + p, errNoKey},
		{"not base64", keyRecord(key, p, "!"+p[1:]), errNoKey},
		{"not padded", keyRecord(key, p, encoded(append(pkcs1, 0, 0))[:188]), errNoKey},
		{"not a key", "v=DKIM1; p=aGVsbG8=", errNoKey},
		{"more than a key", keyRecord(key, p, encoded(append(pkcs1, 0))), errNoKey},
		{"ECDSA", keyRecord(key, p, encoded(ecDER)), errNoKey},
		{"too many tags", "p=" + p + ";" + numbered(maxTags, ";"), errNoKey},
		{"too long", keyRecord(key) + "; n=" + strings.Repeat("x", maxRecord-len(keyRecord(key))-3), errNoKey},
	} {
		got, err := parseKeyRecord(tc.record)
		require.ErrorIs(t, err, tc.err, tc.name)
		if tc.err == nil {
			assert.True(t, key.PublicKey.Equal(got), tc.name)
		}
	}
}

func TestKeyBounds(t *testing.T) {
	// modulus returns an odd number of so many bits, which is all that is checked.
	modulus := func(bits int) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return n.SetBit(n, 0, 1)
	}
	even := modulus(2048)
	even.SetBit(even, 0, 0)
	for _, tc := range []struct {
		name     string
		n        *big.Int
		e        int
		accepted bool
	}{
		{"512 bits", modulus(512), 65537, false},
		{"1023 bits", modulus(1023), 65537, false},
		{"1024 bits", modulus(1024), 65537, true},
		{"4096 bits", modulus(4096), 65537, true},
		{"4097 bits", modulus(4097), 65537, false},
		{"even modulus", even, 65537, false},
		{"exponent 1", modulus(2048), 1, false},
		{"exponent 3", modulus(2048), 3, true},
		{"even exponent", modulus(2048), 65536, false},
		{"largest exponent", modulus(2048), 1<<31 - 1, true},
		{"larger exponent", modulus(2048), 1<<31 + 1, false},
	} {
		public := &rsa.PublicKey{N: tc.n, E: tc.e}
		pkix, err := x509.MarshalPKIXPublicKey(public)
		require.NoError(t, err)
		for _, der := range [][]byte{pkix, x509.MarshalPKCS1PublicKey(public)} {
			key, err := parseKey(der)
			if !tc.accepted {
				require.ErrorIs(t, err, errNoKey, tc.name)
				continue
			}
			require.NoError(t, err, tc.name)
			// No accepted key makes verifying panic.
			s := nameState{keys: []*rsa.PublicKey{key}}
			assert.False(t, s.verifies(make([]byte, 32), make([]byte, key.Size())), tc.name)
		}
	}
}

func TestSeveralRecords(t *testing.T) {
	const spf, revoked = "v=spf1 -all", "v=DKIM1; p="
	one, two := keyRecord(goodKey()), keyRecord(otherKey())
	for _, tc := range []struct {
		name    string
		records []string
		keys    int
		outcome string
	}{
		{"none", nil, 0, LookupAbsent},
		{"two", []string{one, two}, 2, LookupFound},
		{"one of another kind first", []string{spf, one}, 1, LookupFound},
		{"one revoked", []string{revoked, two}, 1, LookupFound},
		{"all revoked", []string{revoked, "p="}, 0, LookupRevoked},
		{"revoked and unusable", []string{revoked, spf}, 0, LookupRevoked},
		{"unusable and revoked", []string{spf, revoked}, 0, LookupRevoked},
		{"unusable", []string{spf, "v=DKIM1; k=ed25519; p=x"}, 0, LookupUnusable},
		{"too many", slices.Repeat([]string{one}, 20), maxKeysPerName, LookupFound},
		{"one after too many", append(slices.Repeat([]string{spf}, maxRecords), one), 0, LookupUnusable},
	} {
		keys, outcome := readKeys(tc.records)
		assert.Len(t, keys, tc.keys, tc.name)
		assert.Equal(t, tc.outcome, outcome, tc.name)
	}
}
