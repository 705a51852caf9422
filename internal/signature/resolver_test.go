package signature

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
)

// shortTimeout gives each attempt less time.
type shortTimeout struct{ Resolver }

func (r shortTimeout) LookupTXT(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	return r.Resolver.LookupTXT(ctx, name)
}

func startDNS(t *testing.T) *signaturetest.DNSServer {
	t.Helper()
	dns := signaturetest.StartDNS()
	t.Cleanup(dns.Close)
	return dns
}

// TestLookup has a real DNS server answer in every way.
func TestLookup(t *testing.T) {
	good := keyRecord(goodKey())
	large := keyRecord(signaturetest.Key(4096, "size"))
	truncated := func(a signaturetest.Answer) signaturetest.Answer {
		a.Truncated = true
		return a
	}
	alias := signaturetest.TXT(good)
	alias.Alias = "key.example."
	const revoked = "v=DKIM1; k=rsa; p="
	for _, tc := range []struct {
		name    string
		answer  signaturetest.Answer
		keys    int
		outcome string
		tcp     bool
	}{
		{"one record", signaturetest.TXT(good), 1, LookupFound, false},
		{"split", signaturetest.Split(10, good), 1, LookupFound, false},
		{"split, 4096 bits", signaturetest.TXT(large), 1, LookupFound, false},
		{"several records", signaturetest.Split(100, "v=spf1 -all", large, good), 2, LookupFound, false},
		{"truncated", truncated(signaturetest.Split(200, large)), 1, LookupFound, true},
		{"truncated, then NXDOMAIN", truncated(signaturetest.RCode(dnsmessage.RCodeNameError)), 0, LookupAbsent, true},
		{"alias", alias, 1, LookupFound, false},
		{"NXDOMAIN", signaturetest.RCode(dnsmessage.RCodeNameError), 0, LookupAbsent, false},
		{"no TXT record", signaturetest.TXT(), 0, LookupAbsent, false},
		{"revoked", signaturetest.TXT(revoked), 0, LookupRevoked, false},
		{"no key", signaturetest.TXT("v=spf1 -all"), 0, LookupUnusable, false},
		{"SERVFAIL", signaturetest.RCode(dnsmessage.RCodeServerFailure), 0, LookupFailed, false},
		{"REFUSED", signaturetest.RCode(dnsmessage.RCodeRefused), 0, LookupFailed, false},
		{"NOTIMP", signaturetest.RCode(dnsmessage.RCodeNotImplemented), 0, LookupFailed, false},
		{"lame", signaturetest.Answer{NotRecursive: true}, 0, LookupFailed, false},
		{"timeout", signaturetest.Answer{Silent: true}, 0, LookupTimeout, false},
		{"truncated, then timeout", truncated(signaturetest.Answer{Silent: true}), 0, LookupTimeout, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dns := startDNS(t)
			dns.Set(goodName, tc.answer)
			keys, outcome := lookUpKeys(t.Context(), shortTimeout{NewResolver(dns.Address)}, goodName)
			assert.Len(t, keys, tc.keys)
			assert.Equal(t, tc.outcome, outcome)
			assert.Equal(t, tc.tcp, dns.Count(goodName, "tcp") > 0)
			assert.Equal(t, []string{goodName}, dns.Names(), "no search list")
		})
	}
	t.Run("no server", func(t *testing.T) {
		_, outcome := lookUpKeys(t.Context(), NewResolver("127.0.0.1:1"), goodName)
		assert.Equal(t, LookupFailed, outcome)
	})
}

func TestCloseEndsLookups(t *testing.T) {
	dns := startDNS(t)
	dns.Set(goodName, signaturetest.Answer{Silent: true})
	f := newFixture(t, func(o *Options) { o.Resolver = NewResolver(dns.Address) })
	r := parse(t, newRequest(goodKey()).Sign())
	done := make(chan string)
	go func() { done <- f.check(r) }()
	require.Eventually(t, func() bool { return dns.Count(goodName) > 0 }, 10*time.Second, time.Millisecond)
	began := time.Now()
	f.Close()
	assert.Equal(t, keyUnavailable, <-done)
	assert.Less(t, time.Since(began), 2*time.Second)
}

func TestNewResolverOfTheSystem(t *testing.T) {
	r := NewResolver("")
	assert.True(t, r.PreferGo)
	dns := startDNS(t)
	conn, err := r.Dial(t.Context(), "udp", dns.Address)
	require.NoError(t, err, "the server that the system names")
	assert.Equal(t, dns.Address, conn.RemoteAddr().String())
	require.NoError(t, conn.Close())
}
