// Package signature checks whether a call comes from the sender of one's own account: the Digest of
// the body (RFC 3230) and the Signature over the header (draft-cavage-http-signatures-10, which the
// sender's reference names), with keys from DNS (RFC 6376, section 3.6.1).
//
// It is stricter than the draft, as docs/security.md says. Replays are left to the caller.
package signature

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// DefaultMaxAge is a good value of Options.MaxAge.
const DefaultMaxAge = 5 * time.Minute

// Options are the options of a Verifier. Hosts, SignedPathPrefix and KnownKeys may be empty.
type Options struct {
	Accounts         []string      // accepted values of X-Copernica-ID, as they are sent
	Hosts            []string      // accepted values of Host in any case, with the port if any; empty: all
	SignedPathPrefix string        // what a proxy stripped off the path
	MaxAge           time.Duration // of the Date of a call
	Resolver         Resolver      // of the keys
	Now              func() time.Time

	// Observe is called with the outcome of each lookup of a key, one of Lookups, from several
	// goroutines at once.
	Observe func(outcome string)
	// KnownKeys are names of keys that verified calls in an earlier run, least recently used first.
	KnownKeys []string
	// OnKnownKeys is called with the names of keys that have verified calls when they change.
	OnKnownKeys func(names []string)
}

// Verifier checks that a call comes from one of the accounts. It is safe for concurrent use.
type Verifier struct {
	options Options
	keys    *keyCache
}

// NewVerifier returns a verifier. It starts nothing until a call needs a key.
func NewVerifier(o Options) *Verifier {
	return &Verifier{options: o, keys: newKeyCache(o)}
}

// Close cancels the lookups under way and waits for them. Calls whose key is not cached get
// ErrKeyUnavailable from then on. It may be called more than once.
func (v *Verifier) Close() {
	v.keys.close()
}

// Begin checks the header of a call and its signature, and waits for the key if that has to be
// looked up. The error is a Refusal or wraps ErrKeyUnavailable.
//
// It does not read the body, so that nobody without a key can make the server read one. Where the
// length of the body is signed and not sent, the signature is checked by Finish.
func (v *Verifier) Begin(r *http.Request) (*Call, error) {
	p, err := parseSignature(r.Header["Signature"])
	if err != nil {
		return nil, err
	}
	values, err := readCovered(r, p.covered, v.options.SignedPathPrefix)
	if err != nil {
		return nil, err
	}
	isHost := func(host string) bool { return lower(host) == lower(values["host"]) }
	if len(v.options.Hosts) > 0 && !slices.ContainsFunc(v.options.Hosts, isHost) {
		return nil, refuse(ReasonUnknownHost)
	}
	if err := checkDate(values["date"], v.options.Now(), v.options.MaxAge); err != nil {
		return nil, err
	}
	digests, err := parseDigest(values["digest"])
	if err != nil {
		return nil, err
	}
	c := &Call{parameters: p, verifier: v, values: values, digests: digests, body: r.Body}
	if len(values) == len(p.covered) {
		if err := c.authenticate(r.Context()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Call is a call that passed Begin, and its body, which is hashed while it is read. The body must
// not be trusted until Finish has returned nil.
type Call struct {
	parameters

	verifier      *Verifier
	values        map[string]string // of what is covered
	digests       []digest
	body          io.ReadCloser
	length        int64 // read so far
	authenticated bool
}

// Authenticated reports whether the signature was checked. If not, anybody may have made the call.
func (c *Call) Authenticated() bool {
	return c.authenticated
}

// Read implements io.Reader.
func (c *Call) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	for _, d := range c.digests {
		_, _ = d.Write(p[:n]) // A hash never fails.
	}
	c.length += int64(n)
	return n, err
}

// Close implements io.Closer.
func (c *Call) Close() error {
	return c.body.Close()
}

// Finish reads the rest of the body, checks its digest, checks the signature unless Begin has, and
// returns the account. The error is a Refusal, wraps ErrKeyUnavailable, or is that of reading.
func (c *Call) Finish(ctx context.Context) (account string, err error) {
	if _, err := io.Copy(io.Discard, c); err != nil {
		return "", err
	}
	for _, d := range c.digests {
		if !d.matches() {
			return "", refuse(ReasonDigestMismatch)
		}
	}
	if !c.authenticated {
		c.values[contentLength] = strconv.FormatInt(c.length, 10)
		if err := c.authenticate(ctx); err != nil {
			return "", err
		}
	}
	return c.values[accountHeader], nil
}

// authenticate checks the signature, and only then the account, so that nobody else can find out
// which accounts there are.
func (c *Call) authenticate(ctx context.Context) error {
	sum := sha256.Sum256(signingString(c.covered, c.values))
	if err := c.verifier.keys.verify(ctx, c.keyID, sum[:], c.signature); err != nil {
		return err
	}
	if !slices.Contains(c.verifier.options.Accounts, c.values[accountHeader]) {
		return refuse(ReasonUnknownAccount)
	}
	c.authenticated = true
	return nil
}
