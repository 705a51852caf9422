package signature

import (
	"context"
	"crypto/rsa"
	"errors"
	"net"
	"time"
)

// Resolver looks up TXT records. It joins the parts of a record, and tells a name that does not
// exist from other failures by a *net.DNSError that says IsNotFound. *net.Resolver does.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// NewResolver returns a resolver that asks the DNS server at address, host and port, or the
// system's servers if address is empty. It is Go's own, because those of C libraries do not tell
// all failures apart.
func NewResolver(address string) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, system string) (net.Conn, error) {
			server := address
			if server == "" {
				server = system
			}
			var d net.Dialer
			conn, err := d.DialContext(ctx, network, server)
			if err != nil {
				return nil, err
			}
			// The resolver minds the deadline of its context while it waits for the answer, but not
			// that it is cancelled. It gives each connection a context of its own, which is over
			// when the connection is.
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			return conn, nil
		},
	}
}

// How the lookup of a key ended, all there are.
const (
	LookupFound    = "found"
	LookupAbsent   = "absent"   // there is no such name
	LookupRevoked  = "revoked"  // the key is revoked
	LookupUnusable = "unusable" // no record of the name is a key that may be used
	LookupTimeout  = "timeout"
	LookupFailed   = "failed"
	LookupLimited  = "limited" // it was not made, because too many unknown names were waiting
)

// Lookups are all of them.
var Lookups = [...]string{
	LookupFound, LookupAbsent, LookupRevoked, LookupUnusable, LookupTimeout, LookupFailed, LookupLimited,
}

// A lookup is made twice if there is no answer to the first, which may have been lost.
const (
	attempts       = 2
	attemptTimeout = 2500 * time.Millisecond
)

// lookUp looks up the keys of a name. The name is asked for as an absolute one, so that no search
// list is tried.
func lookUp(ctx context.Context, resolver Resolver, name string) (keys []*rsa.PublicKey, outcome string) {
	for range attempts {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		records, err := resolver.LookupTXT(attempt, name+".")
		expired := attempt.Err() != nil
		cancel()

		var failure *net.DNSError
		isDNS := errors.As(err, &failure)
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
