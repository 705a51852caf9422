// Package signaturetest signs requests as the sender does and serves keys by DNS, for tests of
// what checks signatures.
//
//	dns := signaturetest.StartDNS()
//	defer dns.Close()
//	key := signaturetest.Key(2048, "")
//	dns.Set(signaturetest.KeyName, signaturetest.TXT(signaturetest.KeyRecord(key)))
//
//	r := signaturetest.NewRequest(key, "id=1&code=550")
//	r.Set("X-Nonce", "1") // before Sign: is signed and sent
//	r.Sign()
//	r.Body = "id=2"       // after Sign: is sent, but is not what was signed
//	io.WriteString(conn, r.Raw())
//
// As in net/http/httptest, what cannot be done panics.
package signaturetest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What a request from NewRequest has.
const (
	KeyDomain = "._domainkey.copernica.com"
	KeyName   = "one" + KeyDomain
	Host      = "hooks.example.org"
	Account   = "environment-1234"
)

// Request is a request that can be wrong in everything: nothing of it is checked.
type Request struct {
	http.Header // sent as it is, sorted by name

	Method, Target, Proto string
	Host                  string // empty: no Host header
	Body                  string

	// What Sign uses.
	Key              crypto.Signer
	KeyID, Algorithm string
	Covered          []string // names of what is signed, in that order
	Hash             crypto.Hash
	// Parameters is the Signature header with {keyId}, {algorithm}, {headers} and {signature}.
	Parameters string
	// EditSigned changes the lines that are signed, if it is set.
	EditSigned func(lines []string) []string
}

// NewRequest returns a request as the sender makes it, from now, which is not signed yet.
func NewRequest(key crypto.Signer, body string) *Request {
	r := &Request{
		Header: make(http.Header), Method: http.MethodPost, Target: "/failures", Proto: "HTTP/1.1", Host: Host,
		Key: key, KeyID: KeyName, Algorithm: "rsa-sha256", Hash: crypto.SHA256,
		Covered: []string{
			"(request-target)", "host", "date", "content-length", "content-type", "x-copernica-id", "digest", "x-nonce",
		},
		Parameters: `keyId="{keyId}",algorithm="{algorithm}",headers="{headers}",signature="{signature}"`,
	}
	r.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	r.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Set("X-Copernica-ID", Account)
	r.Set("X-Nonce", rand.Text())
	r.SetBody(body)
	return r
}

// Clone returns a copy.
func (r *Request) Clone() *Request {
	c := *r
	c.Header, c.Covered = r.Header.Clone(), slices.Clone(r.Covered)
	return &c
}

// SetBody sets the body and the Content-Length and Digest of it.
func (r *Request) SetBody(body string) {
	r.Body = body
	r.Set("Content-Length", strconv.Itoa(len(body)))
	r.Set("Digest", SHA256(body))
}

// SetChunked has the body sent in chunks, without a Content-Length. The sender signs one, so it
// comes after Sign.
func (r *Request) SetChunked() {
	r.Del("Content-Length")
	r.Set("Transfer-Encoding", "chunked")
}

// Sign sets the Signature header (draft-cavage-http-signatures-10, section 2) and returns r.
func (r *Request) Sign() *Request {
	lines := make([]string, 0, len(r.Covered))
	for _, name := range r.Covered {
		name = strings.ToLower(name)
		value := strings.TrimSpace(strings.Join(r.Values(name), ", "))
		switch name {
		case "(request-target)":
			value = strings.ToLower(r.Method) + " " + r.Target
		case "host":
			value = r.Host
		}
		lines = append(lines, name+": "+value)
	}
	if r.EditSigned != nil {
		lines = r.EditSigned(lines)
	}
	hash := r.Hash.New()
	_, _ = io.WriteString(hash, strings.Join(lines, "\n")) // A hash never fails.
	signature, err := r.Key.Sign(rand.Reader, hash.Sum(nil), r.Hash)
	if err != nil {
		panic(err)
	}
	r.Set("Signature", strings.NewReplacer(
		"{keyId}", r.KeyID,
		"{algorithm}", r.Algorithm,
		"{headers}", strings.Join(r.Covered, " "),
		"{signature}", base64.StdEncoding.EncodeToString(signature),
	).Replace(r.Parameters))
	return r
}

// Head returns what is sent before the body.
func (r *Request) Head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\n", r.Method, r.Target, r.Proto)
	if r.Host != "" {
		fmt.Fprintf(&b, "Host: %s\r\n", r.Host)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	return b.String() + "\r\n"
}

// Raw returns all that is sent. What is sent in chunks is sent in two.
func (r *Request) Raw() string {
	if r.Get("Transfer-Encoding") != "chunked" {
		return r.Head() + r.Body
	}
	half := len(r.Body) / 2
	first, second := r.Body[:half], r.Body[half:]
	return fmt.Sprintf("%s%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", r.Head(), len(first), first, len(second), second)
}

// SHA256 returns the Digest header of a body by SHA-256.
func SHA256(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "SHA-256=" + base64.StdEncoding.EncodeToString(sum[:])
}

// SHA512 returns the Digest header of a body by SHA-512.
func SHA512(body string) string {
	sum := sha512.Sum512([]byte(body))
	return "SHA-512=" + base64.StdEncoding.EncodeToString(sum[:])
}

var (
	keysMu sync.Mutex
	keys   = make(map[string]*rsa.PrivateKey)
)

// Key returns the key of that many bits and that name, which is made when it is first asked for.
// Below 1024 bits it takes GODEBUG=rsa1024min=0.
func Key(bits int, name string) *rsa.PrivateKey {
	keysMu.Lock()
	defer keysMu.Unlock()
	id := fmt.Sprint(bits, name)
	if key := keys[id]; key != nil {
		return key
	}
	primes := 2
	if bits > 2048 {
		// Two primes of that size take seconds to find, and who verifies cannot tell.
		primes = bits / 512
	}
	key, err := rsa.GenerateMultiPrimeKey(rand.Reader, primes, bits) //nolint:staticcheck // The key protects nothing.
	if err != nil {
		panic(err)
	}
	keys[id] = key
	return key
}

// KeyRecord returns the DKIM key record of a key (RFC 6376, section 3.6.1).
func KeyRecord(key crypto.Signer) string {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}
