// Package signature tells whether a call comes from the sender of one's own account: it checks the
// Digest of the body (RFC 3230), the Signature over the header (draft-cavage-http-signatures, of
// which the sender's reference names version 10) and looks the key for it up in DNS (RFC 6376,
// section 3.6.1).
//
// It is stricter than the draft: the request target, Host, Date, Digest and X-Copernica-ID have to
// be covered, whatever is covered has to be there once and not empty, and RSA with SHA-256 is the
// only algorithm. What a call says, whether it came before and which status a refusal becomes is
// left to the caller.
package signature

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"strconv"
	"time"
)

// DefaultMaxAge is the age of a call that is let in when Options name none.
const DefaultMaxAge = 5 * time.Minute

// Options say which calls are let in.
type Options struct {
	// Accounts are the values of X-Copernica-ID that are let in, exactly as they are sent.
	Accounts []string
	// Hosts are the values of Host that are let in, in any case, with the port if one is sent.
	// Empty: any.
	Hosts []string
	// SignedPathPrefix is what a proxy took off the path: it is put before the request target's
	// path, byte for byte.
	SignedPathPrefix string
	// MaxAge is how old the Date of a call may be. Zero: DefaultMaxAge.
	MaxAge time.Duration
	// Resolver looks up the keys. Nil: the system's.
	Resolver Resolver
	// Now tells the time. Nil: time.Now.
	Now func() time.Time
	// Observe is told how each lookup of a key ended, by one of the Lookup constants. It may be
	// called from several goroutines at once.
	Observe func(outcome string)
	// KnownKeys are names of keys that verified calls in an earlier run, those used longest ago
	// first.
	KnownKeys []string
	// OnKnownKeys is told the names of keys that have verified calls whenever they change.
	OnKnownKeys func(names []string)
}

// Verifier checks that a call comes from one of the accounts. It is safe for concurrent use.
type Verifier struct {
	accounts map[string]bool
	hosts    map[string]bool
	prefix   string
	maxAge   time.Duration
	now      func() time.Time
	keys     *keyCache
}

// NewVerifier returns a verifier that knows no key yet. It starts nothing until a call needs a key.
func NewVerifier(o Options) *Verifier {
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Resolver == nil {
		o.Resolver = NewResolver("")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observe == nil {
		o.Observe = func(string) {}
	}
	if o.OnKnownKeys == nil {
		o.OnKnownKeys = func([]string) {}
	}
	v := &Verifier{
		accounts: make(map[string]bool, len(o.Accounts)),
		hosts:    make(map[string]bool, len(o.Hosts)),
		prefix:   o.SignedPathPrefix,
		maxAge:   o.MaxAge,
		now:      o.Now,
		keys:     newKeyCache(o),
	}
	for _, account := range o.Accounts {
		v.accounts[account] = true
	}
	for _, host := range o.Hosts {
		v.hosts[lower(host)] = true
	}
	return v
}

// Close ends the lookups that are under way and waits for them. Calls whose key is not cached get
// ErrKeyUnavailable from then on. It may be called more than once.
func (v *Verifier) Close() {
	v.keys.close()
}

// Begin checks the header of a call and its signature, and waits for the key if that has to be
// looked up. It reads nothing of the body: nobody without a key can make the server read one, but
// where the length of the body is signed and not sent. Finish checks the rest. The error is a
// Refusal or wraps ErrKeyUnavailable.
//
// What is signed by nobody looks the same, and takes the same time, whichever account it names.
func (v *Verifier) Begin(r *http.Request) (*Call, error) {
	p, err := parseSignature(r.Header["Signature"])
	if err != nil {
		return nil, err
	}
	values, signed, err := readCovered(r, p.covered, v.prefix)
	if err != nil {
		return nil, err
	}
	if len(v.hosts) > 0 && !v.hosts[lower(values["host"])] {
		return nil, refuse(ReasonUnknownHost)
	}
	if err := checkDate(values["date"], v.now(), v.maxAge); err != nil {
		return nil, err
	}
	digests, err := parseDigest(values["digest"])
	if err != nil {
		return nil, err
	}
	c := &Call{
		verifier: v, account: values[accountHeader], parameters: p, signed: signed, digests: digests, body: r.Body,
	}
	if signed.lengthMissing {
		return c, nil
	}
	if err := c.authenticate(r.Context()); err != nil {
		return nil, err
	}
	return c, nil
}

// Call is a call that passed Begin, and its body, which is hashed while it is read. Nobody has
// vouched for the body until Finish has returned nil.
type Call struct {
	parameters

	verifier      *Verifier
	account       string
	signed        signingString
	digests       []digest
	body          io.ReadCloser
	length        int64 // of what was read
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
	return n, err //nolint:wrapcheck // It is read as the body is.
}

// Close implements io.Closer.
func (c *Call) Close() error {
	return c.body.Close() //nolint:wrapcheck // It is closed as the body is.
}

// Finish reads what is left of the body, checks its digest and then the signature, unless Begin
// has, and returns the account. The error is a Refusal, wraps ErrKeyUnavailable, or is that of
// reading.
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
		if err := c.authenticate(ctx); err != nil {
			return "", err
		}
	}
	return c.account, nil
}

// authenticate checks the signature, and only then the account: whoever can sign as the sender
// knows its accounts.
func (c *Call) authenticate(ctx context.Context) error {
	text := c.signed.before
	if c.signed.lengthMissing {
		text = c.signed.before + strconv.FormatInt(c.length, 10) + c.signed.after
	}
	sum := sha256.Sum256([]byte(text))
	if err := c.verifier.keys.verify(ctx, c.keyID, sum[:], c.signature); err != nil {
		return err
	}
	if !c.verifier.accounts[c.account] {
		return refuse(ReasonUnknownAccount)
	}
	c.authenticated = true
	return nil
}
