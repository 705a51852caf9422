package signature

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// numberOf is an odd number of so many bits, which is all that reading a key looks at.
func numberOf(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.SetBit(n, 0, 1)
}

func TestKeyRecord(t *testing.T) {
	key := &goodKey(t).PublicKey
	p := encodedKey(t, key)
	pkcs1 := base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(key))
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	edKey, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)

	for name, record := range map[string]string{
		"as the sender has it":                 "v=DKIM1; k=rsa; p=" + p,
		"only a key":                           "p=" + p,
		"no k":                                 "v=DKIM1; p=" + p,
		"ends in ;":                            "v=DKIM1; k=rsa; p=" + p + ";",
		"ends in ; and space":                  "v=DKIM1;k=rsa;p=" + p + "; ",
		"folded":                               "v=DKIM1;\r\n\tk = rsa ;\r\n p = " + p[:40] + "\r\n\t" + p[40:90] + " " + p[90:],
		"PKCS 1":                               "v=DKIM1; k=rsa; p=" + pkcs1,
		"unknown tags and those of no concern": "v=DKIM1; x=y; g=*; n=about the key; t=y:s; k=rsa; p=" + p,
		"k in capitals":                        "v=DKIM1; k=RSA; p=" + p,
		"hash allowed":                         "v=DKIM1; h=sha256; p=" + p,
		"hash allowed among others":            "v=DKIM1; h=sha1 : SHA256:x; p=" + p,
		"for all services":                     "v=DKIM1; s=*; p=" + p,
		"for mail":                             "v=DKIM1; s=email; p=" + p,
		"for mail among others":                "v=DKIM1; s=tlsrpt : email; p=" + p,
		"p first":                              "p=" + p + "; k=rsa",
	} {
		got, err := parseKeyRecord(record)
		require.NoError(t, err, name)
		assert.True(t, key.Equal(got), name)
	}

	for name, record := range map[string]string{
		"empty":         "v=DKIM1; k=rsa; p=",
		"only space":    "v=DKIM1; k=rsa; p= \t;",
		"of any kind":   "p=",
		"with a reason": "v=DKIM1; n=compromised; p=; k=rsa",
	} {
		_, err := parseKeyRecord(record)
		require.ErrorIs(t, err, errRevoked, name)
	}

	for name, record := range map[string]string{
		"nothing":               "",
		"space":                 " ",
		"no tags":               "hello",
		"SPF":                   "v=spf1 -all",
		"no key":                "v=DKIM1; k=rsa",
		"another version":       "v=DKIM2; p=" + p,
		"version in lower case": "v=dkim1; p=" + p,
		"version not first":     "k=rsa; v=DKIM1; p=" + p,
		"empty version":         "v=; p=" + p,
		"a tag twice":           "v=DKIM1; p=" + p + "; p=" + p,
		"an unknown tag twice":  "v=DKIM1; x=1; x=2; p=" + p,
		"revoked and not":       "v=DKIM1; p=; p=" + p,
		"a tag without a name":  "v=DKIM1; =x; p=" + p,
		"a tag without =":       "v=DKIM1; x; p=" + p,
		"k without =":           "v=DKIM1; k; p=" + p,
		"two ;":                 "v=DKIM1;; p=" + p,
		"another kind":          "v=DKIM1; k=ed25519; p=" + p,
		"empty kind":            "v=DKIM1; k=; p=" + p,
		"another hash":          "v=DKIM1; h=sha1; p=" + p,
		"no hash":               "v=DKIM1; h=; p=" + p,
		"another service":       "v=DKIM1; s=tlsrpt; p=" + p,
		"P is another tag":      "v=DKIM1; P=" + p,
		"not base64":            "v=DKIM1; p=" + p[:20] + "!" + p[21:],
		"not padded":            "v=DKIM1; p=" + strings.TrimRight(encodedKey(t, &rsa.PublicKey{N: numberOf(1032), E: 3}), "=") + "A",
		"cut":                   "v=DKIM1; p=" + p[:100],
		"not a key":             "v=DKIM1; p=aGVsbG8=",
		"more than a key":       "v=DKIM1; p=" + base64.StdEncoding.EncodeToString(append(x509.MarshalPKCS1PublicKey(key), 0)),
		"a key of another kind": "v=DKIM1; p=" + encodedKey(t, &ecKey.PublicKey),
		"Ed25519":               "v=DKIM1; k=rsa; p=" + encodedKey(t, edKey),
		"Ed25519 in itself":     "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(edKey),
		"too many tags": strings.Repeat("v=DKIM1;", 1) + strings.Join(slices.Collect(func(yield func(string) bool) {
			for c := 'a'; c <= 'q'; c++ {
				if !yield(string([]rune{c, c}) + "=1") {
					return
				}
			}
		}), ";") + ";p=" + p,
		"too long": "v=DKIM1; n=" + strings.Repeat("x", maxRecord) + "; p=" + p,
	} {
		_, err := parseKeyRecord(record)
		require.ErrorIs(t, err, errNoKey, name)
	}
}

func TestKeysThatAreLetIn(t *testing.T) {
	even := numberOf(2048)
	even.SetBit(even, 0, 0)
	for _, tc := range []struct {
		name string
		key  rsa.PublicKey
		in   bool
	}{
		{"512 bits", rsa.PublicKey{N: numberOf(512), E: 65537}, false},
		{"1023 bits", rsa.PublicKey{N: numberOf(1023), E: 65537}, false},
		{"1024 bits", rsa.PublicKey{N: numberOf(1024), E: 65537}, true},
		{"1025 bits", rsa.PublicKey{N: numberOf(1025), E: 65537}, true},
		{"2048 bits", rsa.PublicKey{N: numberOf(2048), E: 65537}, true},
		{"4096 bits", rsa.PublicKey{N: numberOf(4096), E: 65537}, true},
		{"4097 bits", rsa.PublicKey{N: numberOf(4097), E: 65537}, false},
		{"8192 bits", rsa.PublicKey{N: numberOf(8192), E: 65537}, false},
		{"an even modulus", rsa.PublicKey{N: even, E: 65537}, false},
		{"exponent 1", rsa.PublicKey{N: numberOf(2048), E: 1}, false},
		{"exponent 2", rsa.PublicKey{N: numberOf(2048), E: 2}, false},
		{"exponent 3", rsa.PublicKey{N: numberOf(2048), E: 3}, true},
		{"an even exponent", rsa.PublicKey{N: numberOf(2048), E: 65536}, false},
		{"the largest exponent", rsa.PublicKey{N: numberOf(2048), E: 1<<31 - 1}, true},
		{"a larger exponent", rsa.PublicKey{N: numberOf(2048), E: 1<<31 + 1}, false},
	} {
		for _, der := range [][]byte{mustDER(t, &tc.key), x509.MarshalPKCS1PublicKey(&tc.key)} {
			key, err := parseKey(der)
			if !tc.in {
				require.ErrorIs(t, err, errNoKey, tc.name)
				continue
			}
			require.NoError(t, err, tc.name)
			// What is let in must not make verifying panic.
			assert.False(t, (&nameState{keys: []*rsa.PublicKey{key}}).verifies(make([]byte, 32), make([]byte, key.Size())), tc.name)
		}
	}
}

func mustDER(tb testing.TB, key any) []byte {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(tb, err)
	return der
}

func TestSeveralRecords(t *testing.T) {
	one, two := record(t, &goodKey(t).PublicKey), record(t, &testKey(t, 1024, "second").PublicKey)
	many := slices.Repeat([]string{one}, 20)
	for _, tc := range []struct {
		name    string
		records []string
		keys    int
		outcome string
	}{
		{"none", nil, 0, LookupAbsent},
		{"one", []string{one}, 1, LookupFound},
		{"two", []string{one, two}, 2, LookupFound},
		{"one of another kind first", []string{"v=spf1 -all", one}, 1, LookupFound},
		{"one revoked", []string{"v=DKIM1; p=", two}, 1, LookupFound},
		{"all revoked", []string{"v=DKIM1; p=", "p="}, 0, LookupRevoked},
		{"revoked and unusable", []string{"v=DKIM1; p=", "hello"}, 0, LookupRevoked},
		{"unusable and revoked", []string{"hello", "v=DKIM1; p="}, 0, LookupRevoked},
		{"unusable", []string{"hello", "v=DKIM1; k=ed25519; p=x"}, 0, LookupUnusable},
		{"too many", many, maxKeysOfAName, LookupFound},
		{"one after too many", append(slices.Repeat([]string{"hello"}, maxRecords), one), 0, LookupUnusable},
	} {
		keys, outcome := readKeys(tc.records)
		assert.Len(t, keys, tc.keys, tc.name)
		assert.Equal(t, tc.outcome, outcome, tc.name)
	}
}

func TestKeyNames(t *testing.T) {
	assert.True(t, isKeyName(strings.Repeat("a", 63)+keyDomain))
	assert.True(t, isKeyName("1"+keyDomain))
	assert.True(t, isKeyName("x-1"+keyDomain))
	assert.False(t, isKeyName(strings.Repeat("a", 64)+keyDomain))
	assert.False(t, isKeyName("a"+keyDomain+"."))
	assert.False(t, isKeyName(keyDomain))
	assert.False(t, isKeyName("\u00e9"+keyDomain))
}

func TestBoundsOfAKeyRecord(t *testing.T) {
	_, ok := parseTags("a=" + strings.Repeat("x", maxRecord-2))
	assert.True(t, ok)
	_, ok = parseTags("a=" + strings.Repeat("x", maxRecord-1))
	assert.False(t, ok)
	list := ""
	for i := range maxTags {
		list += fmt.Sprintf("t%d=1;", i)
	}
	tags, ok := parseTags(list)
	assert.True(t, ok)
	assert.Len(t, tags, maxTags)
	_, ok = parseTags(list + "u=1")
	assert.False(t, ok)
}
