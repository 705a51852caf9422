package e2e

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// signingKey signs with RSA and PKCS #1 v1.5.
type signingKey interface {
	Public() crypto.PublicKey
	Sign(rand io.Reader, sum []byte, hash crypto.SignerOpts) ([]byte, error)
}

// plainKey is a key of a size that crypto/rsa does not make, or makes very slowly. It has as many primes as it takes to be quick.
type plainKey struct{ n, d *big.Int }

const exponent = 65537

func newPlainKey(bits int) (*plainKey, error) {
	one := big.NewInt(1)
	primes := max(2, bits/1024)
	for {
		n, phi := big.NewInt(1), big.NewInt(1)
		for i := range primes {
			size := bits / primes
			if i == primes-1 {
				size = bits - n.BitLen()
			}
			prime, err := rand.Prime(rand.Reader, size)
			if err != nil {
				return nil, err
			}
			n.Mul(n, prime)
			phi.Mul(phi, prime.Sub(prime, one))
		}
		// The product may be a bit short.
		if d := new(big.Int).ModInverse(big.NewInt(exponent), phi); d != nil && n.BitLen() == bits {
			return &plainKey{n, d}, nil
		}
	}
}

// Public returns the key to verify with.
func (k *plainKey) Public() crypto.PublicKey {
	return &rsa.PublicKey{N: k.n, E: exponent}
}

// Sign signs a sum of SHA-256 (RFC 8017, section 8.2.1).
func (k *plainKey) Sign(_ io.Reader, sum []byte, _ crypto.SignerOpts) ([]byte, error) {
	// DigestInfo, section 9.2, note 1.
	info, err := hex.DecodeString("3031300d060960864801650304020105000420")
	if err != nil {
		return nil, err
	}
	info = append(info, sum...)
	size := (k.n.BitLen() + 7) / 8
	message := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-len(info)-3)...)
	message = append(append(message, 0), info...)
	return new(big.Int).Exp(new(big.Int).SetBytes(message), k.d, k.n).FillBytes(make([]byte, size)), nil
}

var signingKeys struct {
	sync.Mutex
	byName map[string]signingKey
}

// keyOf returns the key of that many bits, and of that name if several are needed. It is made once.
func keyOf(t *testing.T, bits int, name string) signingKey {
	t.Helper()
	signingKeys.Lock()
	defer signingKeys.Unlock()
	id := fmt.Sprint(bits, name)
	if key := signingKeys.byName[id]; key != nil {
		return key
	}
	var (
		key signingKey
		err error
	)
	if bits >= 1024 && bits <= 4096 {
		key, err = rsa.GenerateKey(rand.Reader, bits)
	} else {
		key, err = newPlainKey(bits)
	}
	if err != nil {
		t.Fatal(err)
	}
	if signingKeys.byName == nil {
		signingKeys.byName = make(map[string]signingKey)
	}
	signingKeys.byName[id] = key
	return key
}

func goodKey(t *testing.T) signingKey {
	t.Helper()
	return keyOf(t, 2048, "")
}

// keyRecord is the DKIM key record of a key.
func keyRecord(t *testing.T, key signingKey) string {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
}

func sha256Of(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "SHA-256=" + base64.StdEncoding.EncodeToString(sum[:])
}

func sha512Of(body string) string {
	sum := sha512.Sum512([]byte(body))
	return "SHA-512=" + base64.StdEncoding.EncodeToString(sum[:])
}

const (
	keySuffix     = "._domainkey.copernica.com"
	goodName      = "one" + keySuffix
	signedHost    = "hooks.example.org"
	signedAccount = "environment-1234"
)

// signedCall is a call that is signed as the draft says and then sent byte by byte, so that anything in it can be wrong.
type signedCall struct {
	method, target, version, host string

	header  [][2]string
	body    string
	chunked bool

	key              signingKey
	keyID, algorithm string
	covered          []string
	// parameters is the Signature header, with the names of its values in braces.
	parameters string
	// hash is what is signed; SHA-256 unless it is set.
	hash crypto.Hash
	// signed changes what is signed.
	signed func(lines []string) []string
}

// newSignedCall returns a call as the senders make them, which is not signed yet.
func newSignedCall(key signingKey, id string) *signedCall {
	c := &signedCall{
		method: http.MethodPost, target: "/failures", version: "HTTP/1.1", host: signedHost,
		key: key, keyID: goodName, algorithm: "rsa-sha256",
		covered:    strings.Fields("(request-target) host date content-length content-type x-copernica-id digest x-nonce"),
		parameters: `keyId="{keyId}",algorithm="{algorithm}",headers="{headers}",signature="{signature}"`,
		hash:       crypto.SHA256,
	}
	c.header = [][2]string{
		{"Date", time.Now().UTC().Format(http.TimeFormat)},
		{"Content-Type", "application/x-www-form-urlencoded"},
		{"X-Copernica-ID", signedAccount},
		{"X-Nonce", "private-nonce-" + rand.Text()},
		{"Content-Length", ""},
		{"Digest", ""},
	}
	c.setBody("id=" + id + "&type=failure&recipient=private-person%40private.example&state=rcptto&code=550&extended=5.1.1" +
		"&description=550+5.1.1+%3Cprivate-person%40private.example%3E+private-text")
	return c
}

func (c *signedCall) set(name, value string) {
	for i, h := range c.header {
		if strings.EqualFold(h[0], name) {
			c.header[i][1] = value
			return
		}
	}
	c.add(name, value)
}

func (c *signedCall) add(name, value string) {
	c.header = append(c.header, [2]string{name, value})
}

func (c *signedCall) get(name string) string {
	for _, h := range c.header {
		if strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}

func (c *signedCall) remove(name string) {
	c.header = slices.DeleteFunc(c.header, func(h [2]string) bool { return strings.EqualFold(h[0], name) })
}

func (c *signedCall) setBody(body string) {
	c.body = body
	c.set("Content-Length", fmt.Sprint(len(body)))
	c.set("Digest", sha256Of(body))
}

// setChunked sends the body in chunks and no Content-Length.
func (c *signedCall) setChunked() {
	c.chunked = true
	c.remove("Content-Length")
	c.add("Transfer-Encoding", "chunked")
}

func (c *signedCall) uncover(name string) {
	c.covered = slices.DeleteFunc(c.covered, func(covered string) bool { return covered == name })
}

// sign adds the Signature header.
func (c *signedCall) sign(t *testing.T) {
	t.Helper()
	var lines []string
	for _, name := range c.covered {
		name = strings.ToLower(name)
		var value string
		switch {
		case name == "(request-target)":
			value = strings.ToLower(c.method) + " " + c.target
		case name == "host":
			value = c.host
		case name == "content-length" && c.chunked:
			value = fmt.Sprint(len(c.body))
		default:
			var values []string
			for _, h := range c.header {
				if strings.EqualFold(h[0], name) {
					values = append(values, strings.TrimSpace(h[1]))
				}
			}
			value = strings.Join(values, ", ")
		}
		lines = append(lines, name+": "+value)
	}
	if c.signed != nil {
		lines = c.signed(lines)
	}
	hash := c.hash.New()
	_, _ = io.WriteString(hash, strings.Join(lines, "\n"))
	signature, err := c.key.Sign(rand.Reader, hash.Sum(nil), c.hash)
	if err != nil {
		t.Fatal(err)
	}
	c.add("Signature", strings.NewReplacer(
		"{keyId}", c.keyID, "{algorithm}", c.algorithm, "{headers}", strings.Join(c.covered, " "),
		"{signature}", base64.StdEncoding.EncodeToString(signature),
	).Replace(c.parameters))
}

// head is what is sent before the body.
func (c *signedCall) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\n", c.method, c.target, c.version)
	if c.host != "" {
		fmt.Fprintf(&b, "Host: %s\r\n", c.host)
	}
	for _, h := range c.header {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	return b.String() + "\r\n"
}

// raw is all that is sent.
func (c *signedCall) raw() string {
	if !c.chunked {
		return c.head() + c.body
	}
	half := len(c.body) / 2
	return fmt.Sprintf("%s%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", c.head(), half, c.body[:half], len(c.body)-half, c.body[half:])
}

// reply is an answer, without what differs from one time to the next.
type reply struct {
	status int
	header string
	body   string
}

// wire is one connection.
type wire struct {
	net.Conn
	reader *bufio.Reader
}

func dial(address string) (*wire, error) {
	connection, err := net.DialTimeout("tcp", address, deadline)
	if err != nil {
		return nil, err
	}
	return &wire{connection, bufio.NewReader(connection)}, nil
}

// exchange sends bytes and reads an answer.
func (w *wire) exchange(raw string) (reply, error) {
	if err := w.SetDeadline(time.Now().Add(deadline)); err != nil {
		return reply{}, err
	}
	if _, err := io.WriteString(w, raw); err != nil {
		return reply{}, fmt.Errorf("send: %w", err)
	}
	return w.read()
}

func (w *wire) read() (reply, error) {
	response, err := http.ReadResponse(w.reader, nil)
	if err != nil {
		return reply{}, fmt.Errorf("read the answer: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, fmt.Errorf("read the answer: %w", err)
	}
	response.Header.Del("Date")
	// A body that was not read ends the connection, and one that was does not.
	response.Header.Del("Connection")
	var header strings.Builder
	if err := response.Header.Write(&header); err != nil {
		return reply{}, err
	}
	return reply{response.StatusCode, header.String(), string(body)}, nil
}

// exchangeOnce does that over a connection of its own.
func exchangeOnce(address, raw string) (reply, error) {
	w, err := dial(address)
	if err != nil {
		return reply{}, err
	}
	defer w.Close()
	return w.exchange(raw)
}
