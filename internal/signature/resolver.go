package signature

import (
	"cmp"
	"context"
	"crypto/rsa"
	"errors"
	"net"
	"time"
)

// Resolver looks up TXT records. It joins the strings of a record, and its error for a name that
// does not exist is a *net.DNSError with IsNotFound. *net.Resolver does that.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// NewResolver returns a resolver that asks the DNS server at address (host and port), or the
// system's servers if address is empty. It is Go's own: those of C libraries do not distinguish
// failures.
func NewResolver(address string) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, system string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, network, cmp.Or(address, system))
			if err != nil {
				return nil, err
			}
			// The resolver waits until the deadline of ctx even if ctx is cancelled. It gives each
			// connection a context of its own.
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			return conn, nil
		},
	}
}

// The outcomes of the lookup of a key.
const (
	LookupFound    = "found"
	LookupAbsent   = "absent"   // there is no such name
	LookupRevoked  = "revoked"  // the key is revoked
	LookupUnusable = "unusable" // no record of the name is a key that may be used
	LookupTimeout  = "timeout"
	LookupFailed   = "failed"
	LookupLimited  = "limited" // not made, because too many unknown keys were waiting
)

// Lookups are all outcomes of a lookup.
var Lookups = [...]string{
	LookupFound, LookupAbsent, LookupRevoked, LookupUnusable, LookupTimeout, LookupFailed, LookupLimited,
}

// A lookup that times out is tried again: a packet may have been lost.
const (
	attempts       = 2
	attemptTimeout = 2500 * time.Millisecond
)

// lookUpKeys looks up the keys of a name. The dot makes the name absolute: no search list is tried.
func lookUpKeys(ctx context.Context, resolver Resolver, name string) (keys []*rsa.PublicKey, outcome string) {
	for range attempts {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		records, err := resolver.LookupTXT(attempt, name+".")
		expired := attempt.Err() != nil
		cancel()

		failure, isDNS := errors.AsType[*net.DNSError](err)
		switch {
		case err == nil:
			return readKeys(records)
		case isDNS && failure.IsNotFound:
			return nil, LookupAbsent
		case ctx.Err() != nil, !expired && (!isDNS || !failure.IsTimeout):
			return nil, LookupFailed
		}
	}
	return nil, LookupTimeout
}
