// Package signature tells whether a call comes from the sender of one's own account: it checks the Digest of the body (RFC 3230), the
// Signature over the header (draft-cavage-http-signatures, of which the sender's reference names version 10) and looks the key for it
// up in DNS (RFC 6376, section 3.6.1).
//
// It is stricter than the draft: the request target, Host, Date, Digest and X-Copernica-ID have to be covered, whatever is covered has
// to be there once and not empty, and RSA with SHA-256 is the only algorithm. What a call says, whether it came before and which status
// a refusal becomes is left to the caller.
package signature

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"time"
)

// DefaultMaxAge is the age of a call that is let in when Options name none.
const DefaultMaxAge = 5 * time.Minute

// Options say which calls are let in.
type Options struct {
	// Accounts are the values of X-Copernica-ID that are let in, exactly as they are sent.
	Accounts []string
	// Hosts are the values of Host that are let in, in any case, with the port if one is sent. Empty: any.
	Hosts []string
	// SignedPathPrefix is what a proxy took off the path: it is put before the request target's path, byte for byte.
	SignedPathPrefix string
	// MaxAge is how old the Date of a call may be. Zero: DefaultMaxAge.
	MaxAge time.Duration
	// Resolver looks up the keys. Nil: the system's.
	Resolver Resolver
	// Now tells the time. Nil: time.Now.
	Now func() time.Time
	// Observe is told how each lookup of a key ended, by one of the Lookup constants. It may be called from several goroutines at once.
	Observe func(outcome string)
}

// Verifier checks that a call comes from one of the accounts. It is safe for concurrent use. Close ends what it does in the background.
type Verifier struct {
	accounts map[string]struct{}
	hosts    map[string]struct{}
	prefix   string
	post     string // what comes before the path of a POST
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
	v := &Verifier{
		accounts: make(map[string]struct{}, len(o.Accounts)),
		hosts:    make(map[string]struct{}, len(o.Hosts)),
		prefix:   o.SignedPathPrefix,
		post:     beforePath(http.MethodPost, o.SignedPathPrefix),
		maxAge:   o.MaxAge,
		now:      o.Now,
		keys:     newKeyCache(o.Resolver, o.Now, o.Observe),
	}
	for _, account := range o.Accounts {
		v.accounts[account] = struct{}{}
	}
	for _, host := range o.Hosts {
		v.hosts[lower(host)] = struct{}{}
	}
	return v
}

// Close ends the lookups that are under way and waits for them. Calls whose key is not at hand get ErrKeyUnavailable from then on.
// It may be called more than once.
func (v *Verifier) Close() {
	v.keys.close()
}

// Begin makes all checks that need neither the body nor a lookup. It reads nothing of the body and keeps nothing of the request.
// The error is a Refusal.
func (v *Verifier) Begin(r *http.Request) (*Call, error) {
	// This and room are on the stack; room is enough for what the sender signs.
	var names [maxCovered]string
	p, headers, err := parseSignature(r.Header["Signature"], names[:0])
	if err != nil {
		return nil, err
	}
	target := v.post
	if r.Method != http.MethodPost {
		target = beforePath(r.Method, v.prefix)
	}
	var room [512]byte
	c, signed, err := readCovered(r, headers, target, room[:0])
	if err != nil {
		return nil, err
	}
	if _, known := v.accounts[c.account]; !known {
		return nil, refuse(ReasonUnknownAccount)
	}
	if len(v.hosts) > 0 {
		if _, known := v.hosts[lower(c.host)]; !known {
			return nil, refuse(ReasonUnknownHost)
		}
	}
	if err := checkDate(c.date, v.now(), v.maxAge); err != nil {
		return nil, err
	}
	digest, err := parseDigest(c.digest)
	if err != nil {
		return nil, err
	}
	if err := v.keys.refused(p.keyID); err != nil {
		return nil, err
	}
	call := &Call{verifier: v, account: c.account, keyID: p.keyID, signature: p.signature, digest: digest}
	if c.lengthAt >= 0 {
		call.signed, call.lengthAt = bytes.Clone(signed), c.lengthAt
	} else {
		call.sum = sha256.Sum256(signed)
	}
	return call, nil
}

// Call is a call that passed Begin. Nobody has vouched for it until Finish has returned nil.
type Call struct {
	verifier  *Verifier
	account   string
	keyID     string
	signature []byte
	digest    digest
	// sum is the hash of what was signed. If the length of the body has to be put into that, signed is the rest and lengthAt where it goes.
	sum      [sha256.Size]byte
	signed   []byte
	lengthAt int
	// authentic says that the signature was checked.
	authentic bool
}

// Account returns the X-Copernica-ID of the call.
func (c *Call) Account() string {
	return c.account
}

// Authenticate checks the signature before the body is there, so that nobody without a key can make the server read one. It returns false
// when that cannot be done because the length of the body is signed and not known yet; Finish does it then. It waits for the key if
// that has to be looked up, until ctx is done. The error is a Refusal or wraps ErrKeyUnavailable.
func (c *Call) Authenticate(ctx context.Context) (done bool, err error) {
	if c.signed != nil {
		return false, nil
	}
	if err := c.verifier.keys.verify(ctx, c.keyID, c.sum[:], c.signature); err != nil {
		return false, err
	}
	c.authentic = true
	return true, nil
}

// Finish checks the digest of the body, as it came before anything was decompressed, and then the signature, unless
// Authenticate has. It waits for the key if that has to be looked up, until ctx is done. The error is a Refusal or wraps ErrKeyUnavailable.
func (c *Call) Finish(ctx context.Context, body []byte) error {
	if !c.digest.matches(body) {
		return refuse(ReasonDigestMismatch)
	}
	if c.authentic {
		return nil
	}
	if c.signed != nil {
		c.sum = sumWithLength(c.signed, c.lengthAt, len(body))
	}
	return c.verifier.keys.verify(ctx, c.keyID, c.sum[:], c.signature)
}
