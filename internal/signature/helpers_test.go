package signature

import (
	"bufio"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// vectorFile is testdata/vectors/signature.json: calls signed by the senders' own reference signer.
type vectorFile struct {
	KeyID   string   `json:"key_id"`
	DNSTXT  string   `json:"dns_txt"`
	Date    string   `json:"date"`
	Vectors []vector `json:"vectors"`
}

type vector struct {
	Name              string            `json:"name"`
	Method            string            `json:"method"`
	RequestTarget     string            `json:"request_target"`
	Headers           map[string]string `json:"headers"`
	Body              string            `json:"body"`
	ReferenceVerifies bool              `json:"reference_verifies"`
}

func readVectors(tb testing.TB) vectorFile {
	tb.Helper()
	text, err := os.ReadFile("../../testdata/vectors/signature.json")
	require.NoError(tb, err)
	var f vectorFile
	require.NoError(tb, json.Unmarshal(text, &f))
	require.NotEmpty(tb, f.Vectors)
	return f
}

// request is the request as net/http gives it to a handler, for values too that it would not let
// through.
func (v *vector) request() *http.Request {
	r := &http.Request{
		Method: v.Method, RequestURI: v.RequestTarget, Host: v.Headers["host"], Header: make(http.Header),
		Body: io.NopCloser(strings.NewReader(v.Body)),
	}
	for name, value := range v.Headers {
		if name != "host" {
			r.Header.Set(name, value)
		}
	}
	return r
}

// text is the request as it is sent.
func (v *vector) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", v.Method, v.RequestTarget)
	for _, name := range slices.Sorted(maps.Keys(v.Headers)) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, v.Headers[name])
	}
	return b.String() + "\r\n" + v.Body
}

// vectorVerifier is a verifier for the vectors, at their time.
func vectorVerifier(tb testing.TB, f *vectorFile) *Verifier {
	tb.Helper()
	at, err := http.ParseTime(f.Date)
	require.NoError(tb, err)
	dns := newFakeDNS()
	dns.set(f.KeyID, f.DNSTXT)
	v := NewVerifier(Options{
		Accounts: []string{goodAccount}, Hosts: []string{goodHost}, Resolver: dns, Now: func() time.Time { return at },
	})
	tb.Cleanup(v.Close)
	return v
}

// fakeDNS answers from a map, and counts.
type fakeDNS struct {
	mu      sync.Mutex
	records map[string][]string
	errs    map[string]error // wins over records
	asked   map[string]int
	hook    func(ctx context.Context, name string) // before the answer
	most    int
	current int
}

func newFakeDNS() *fakeDNS {
	return &fakeDNS{records: make(map[string][]string), errs: make(map[string]error), asked: make(map[string]int)}
}

func (d *fakeDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	d.mu.Lock()
	d.asked[name]++
	d.current++
	d.most = max(d.most, d.current)
	hook := d.hook
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.current--
		d.mu.Unlock()
	}()
	if hook != nil {
		hook(ctx, name)
	}
	if err := ctx.Err(); err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsTimeout: errors.Is(err, context.DeadlineExceeded)}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.errs[name]; err != nil {
		return nil, err
	}
	records, ok := d.records[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return records, nil
}

// set makes the name answer with records, or with what is not there if there are none.
func (d *fakeDNS) set(keyID string, records ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.errs, keyID+".")
	if len(records) == 0 {
		delete(d.records, keyID+".")
		return
	}
	d.records[keyID+"."] = records
}

// fail makes goodName fail.
func (d *fakeDNS) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errs[goodName+"."] = err
}

func (d *fakeDNS) setHook(hook func(ctx context.Context, name string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

func (d *fakeDNS) answers(keyID string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.records[keyID+"."]
}

func (d *fakeDNS) count(keyID string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[keyID+"."]
}

func (d *fakeDNS) total() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, asked := range d.asked {
		n += asked
	}
	return n
}

var (
	errServfail = &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	errTimedOut = &net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true}
)

// counts is an Observe that counts.
type counts struct {
	mu sync.Mutex
	by map[string]int
}

func (c *counts) observe(outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = make(map[string]int)
	}
	c.by[outcome]++
}

func (c *counts) get() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.by)
}

var (
	keysMu    sync.Mutex
	keysByTag = make(map[string]*rsa.PrivateKey)
)

// testKey returns a key of so many bits, for each name another one.
func testKey(tb testing.TB, bits int, name string) *rsa.PrivateKey {
	tb.Helper()
	keysMu.Lock()
	defer keysMu.Unlock()
	tag := fmt.Sprint(name, bits)
	if keysByTag[tag] == nil {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		require.NoError(tb, err)
		keysByTag[tag] = key
	}
	return keysByTag[tag]
}

func goodKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	return testKey(tb, 1024, "good")
}

// record is the DKIM key record of a key.
func record(tb testing.TB, key *rsa.PublicKey) string {
	tb.Helper()
	return "v=DKIM1; k=rsa; p=" + encodedKey(tb, key)
}

func encodedKey(tb testing.TB, key any) string {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(tb, err)
	return base64.StdEncoding.EncodeToString(der)
}

func sha256Of(body string) string {
	sum := sha256.Sum256([]byte(body))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func sha512Of(body string) string {
	sum := sha512.Sum512([]byte(body))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const (
	goodName    = "one._domainkey.copernica.com"
	goodAccount = "environment-1234"
	goodHost    = "hooks.example.org"
)

var signedAt = time.Date(2026, time.November, 21, 10, 15, 0, 0, time.UTC)

// call is a call to be signed and sent. What is in it is signed as it is; sent, it may be changed.
type call struct {
	method, target, host, body string
	header                     [][2]string

	keyID, algorithm string
	covered          []string
	// signedTarget and signedHost are what is signed where that is not what is sent.
	signedTarget string
}

func newCall() *call {
	c := &call{
		method: "POST", target: "/failures?a=%2F", host: goodHost, body: "id=1&recipient=a%40example.org",
		keyID: goodName, algorithm: "rsa-sha256",
		covered: []string{"(request-target)", "host", "date", "content-length", "content-type", "x-copernica-id", "digest", "x-nonce"},
	}
	c.header = [][2]string{
		{"Date", signedAt.Format(http.TimeFormat)},
		{"Content-Length", fmt.Sprint(len(c.body))},
		{"Content-Type", "application/x-www-form-urlencoded"},
		{"X-Copernica-ID", goodAccount},
		{"Digest", "SHA-256=" + sha256Of(c.body)},
		{"X-Nonce", "fsd9f2"},
	}
	return c
}

func (c *call) index(name string) int {
	return slices.IndexFunc(c.header, func(h [2]string) bool { return strings.EqualFold(h[0], name) })
}

func (c *call) get(name string) string {
	return c.header[c.index(name)][1]
}

func (c *call) set(name, value string) {
	if i := c.index(name); i >= 0 {
		c.header[i][1] = value
		return
	}
	c.add(name, value)
}

func (c *call) add(name, value string) {
	c.header = append(c.header, [2]string{name, value})
}

func (c *call) remove(name string) {
	c.header = slices.DeleteFunc(c.header, func(h [2]string) bool { return strings.EqualFold(h[0], name) })
}

func (c *call) setBody(body string) {
	c.body = body
	c.set("Content-Length", fmt.Sprint(len(body)))
	c.set("Digest", "SHA-256="+sha256Of(body))
}

// signature returns the signature, written anew from the draft and not with the code under test.
func (c *call) signature(tb testing.TB, key *rsa.PrivateKey) string {
	tb.Helper()
	var lines []string
	for _, name := range c.covered {
		name = strings.ToLower(name)
		var value string
		switch name {
		case "(request-target)":
			value = strings.ToLower(c.method) + " " + c.target
			if c.signedTarget != "" {
				value = strings.ToLower(c.method) + " " + c.signedTarget
			}
		case "host":
			value = c.host
		default:
			var all []string
			for _, h := range c.header {
				if strings.EqualFold(h[0], name) {
					all = append(all, strings.TrimSpace(h[1]))
				}
			}
			value = strings.Join(all, ", ")
		}
		lines = append(lines, name+": "+value)
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	require.NoError(tb, err)
	return base64.StdEncoding.EncodeToString(sig)
}

// sign adds the Signature header.
func (c *call) sign(tb testing.TB, key *rsa.PrivateKey) *call {
	tb.Helper()
	c.set("Signature", `keyId="`+c.keyID+`",algorithm="`+c.algorithm+`",headers="`+strings.Join(c.covered, " ")+`",signature="`+c.signature(tb, key)+`"`)
	return c
}

// raw is the call as it is sent.
func (c *call) raw() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", c.method, c.target, c.host)
	for _, h := range c.header {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	b.WriteString(c.body)
	return b.String()
}

// request is the call as net/http reads it.
func (c *call) request(tb testing.TB) *http.Request {
	tb.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(c.raw())))
	require.NoError(tb, err)
	return r
}

// setting is a verifier and what it is made of.
type setting struct {
	*Verifier

	dns  *fakeDNS
	seen *counts
}

// newSetting returns a verifier of calls that goodKey signs, which the DNS has by goodName, with a
// clock that stands at signedAt.
func newSetting(tb testing.TB, change ...func(*Options)) *setting {
	tb.Helper()
	s := &setting{dns: newFakeDNS(), seen: &counts{}}
	s.dns.set(goodName, record(tb, &goodKey(tb).PublicKey))
	o := Options{
		Accounts: []string{goodAccount}, Hosts: []string{goodHost}, MaxAge: 5 * time.Minute,
		Resolver: s.dns, Now: func() time.Time { return signedAt }, Observe: s.seen.observe,
	}
	for _, f := range change {
		f(&o)
	}
	s.Verifier = NewVerifier(o)
	tb.Cleanup(s.Close)
	return s
}

// check checks a whole call.
func check(v *Verifier, r *http.Request) error {
	c, err := v.Begin(r)
	if err != nil {
		return err
	}
	_, err = c.Finish(r.Context())
	return err
}

// send checks a call, signed now by the key that the name has.
func (s *setting) send(tb testing.TB, keyID string, key *rsa.PrivateKey) error {
	tb.Helper()
	c := newCall()
	c.keyID = keyID
	c.set("Date", s.now().UTC().Format(http.TimeFormat))
	c.sign(tb, key)
	return check(s.Verifier, c.request(tb))
}

func reasonOf(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Reason
	}
	return fmt.Sprintf("no refusal but %v", err)
}

func assertRefused(tb testing.TB, reason string, err error, why ...any) {
	tb.Helper()
	assert.Equal(tb, reason, reasonOf(err), why...)
	assert.NotErrorIs(tb, err, ErrKeyUnavailable)
}

func assertUnavailable(tb testing.TB, err error, why ...any) {
	tb.Helper()
	if _, refused := errors.AsType[*Refusal](err); refused || !errors.Is(err, ErrKeyUnavailable) {
		tb.Error(append([]any{err}, why...)...)
	}
}
