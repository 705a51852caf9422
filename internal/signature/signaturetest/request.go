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
	Method, Target, Proto string
	Host                  string      // empty: no Host header
	Header                [][2]string // names and values in the order in which they are sent
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
		Method: http.MethodPost, Target: "/failures", Proto: "HTTP/1.1", Host: Host,
		Key: key, KeyID: KeyName, Algorithm: "rsa-sha256", Hash: crypto.SHA256,
		Covered: []string{
			"(request-target)", "host", "date", "content-length", "content-type", "x-copernica-id", "digest", "x-nonce",
		},
		Parameters: `keyId="{keyId}",algorithm="{algorithm}",headers="{headers}",signature="{signature}"`,
	}
	r.Add("Date", time.Now().UTC().Format(http.TimeFormat))
	r.Add("Content-Type", "application/x-www-form-urlencoded")
	r.Add("X-Copernica-ID", Account)
	r.Add("X-Nonce", rand.Text())
	r.SetBody(body)
	return r
}

// Clone returns a copy.
func (r *Request) Clone() *Request {
	c := *r
	c.Header, c.Covered = slices.Clone(r.Header), slices.Clone(r.Covered)
	return &c
}

func (r *Request) index(name string) int {
	return slices.IndexFunc(r.Header, func(h [2]string) bool { return strings.EqualFold(h[0], name) })
}

// Get returns the first value of a header, or nothing.
func (r *Request) Get(name string) string {
	if i := r.index(name); i >= 0 {
		return r.Header[i][1]
	}
	return ""
}

// Set replaces the first value of a header, or adds it.
func (r *Request) Set(name, value string) {
	if i := r.index(name); i >= 0 {
		r.Header[i][1] = value
		return
	}
	r.Add(name, value)
}

// Add adds a value of a header.
func (r *Request) Add(name, value string) {
	r.Header = append(r.Header, [2]string{name, value})
}

// Remove removes all values of a header.
func (r *Request) Remove(name string) {
	r.Header = slices.DeleteFunc(r.Header, func(h [2]string) bool { return strings.EqualFold(h[0], name) })
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
	r.Remove("Content-Length")
	r.Set("Transfer-Encoding", "chunked")
}

// Sign sets the Signature header (draft-cavage-http-signatures-10, section 2) and returns r.
func (r *Request) Sign() *Request {
	lines := make([]string, 0, len(r.Covered))
	for _, name := range r.Covered {
		name = strings.ToLower(name)
		var values []string
		switch name {
		case "(request-target)":
			values = []string{strings.ToLower(r.Method) + " " + r.Target}
		case "host":
			values = []string{r.Host}
		}
		for _, h := range r.Header {
			if strings.EqualFold(h[0], name) {
				values = append(values, strings.TrimSpace(h[1]))
			}
		}
		lines = append(lines, name+": "+strings.Join(values, ", "))
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
	for _, h := range r.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
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

var keys struct {
	sync.Mutex

	made map[string]*rsa.PrivateKey
}

// Key returns the key of that many bits and that name, which is made when it is first asked for.
// Below 1024 bits it takes GODEBUG=rsa1024min=0.
func Key(bits int, name string) *rsa.PrivateKey {
	keys.Lock()
	defer keys.Unlock()
	id := fmt.Sprint(bits, name)
	if key := keys.made[id]; key != nil {
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
	if keys.made == nil {
		keys.made = make(map[string]*rsa.PrivateKey)
	}
	keys.made[id] = key
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
