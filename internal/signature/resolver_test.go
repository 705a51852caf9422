package signature

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dnsServer is a real DNS server on loopback, by UDP and TCP, that answers as it is told.
type dnsServer struct {
	address  string
	udp, tcp atomic.Int64

	mu     sync.Mutex
	answer func(w dns.ResponseWriter, q *dns.Msg)
	names  []string
}

func (s *dnsServer) set(answer func(w dns.ResponseWriter, q *dns.Msg)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// ServeDNS implements dns.Handler.
func (s *dnsServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	answer := s.answer
	s.names = append(s.names, q.Question[0].Name)
	s.mu.Unlock()
	if isTCP(w) {
		s.tcp.Add(1)
	} else {
		s.udp.Add(1)
	}
	answer(w, q)
}

// asked returns the names that were asked for.
func (s *dnsServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

func isTCP(w dns.ResponseWriter) bool {
	_, ok := w.RemoteAddr().(*net.TCPAddr)
	return ok
}

// listenOnOnePort returns a port that is free for both UDP and TCP. One that is free for the one
// may be taken for the other.
func listenOnOnePort(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // It listens on loopback.
		require.NoError(t, err)
		listener, err := net.Listen("tcp", packets.LocalAddr().String()) //nolint:noctx // It listens on loopback.
		if err == nil {
			return packets, listener
		}
		require.NoError(t, packets.Close())
	}
	t.Fatal("there is no port that is free for both")
	return nil, nil
}

func startDNS(t *testing.T) *dnsServer {
	t.Helper()
	s := &dnsServer{}
	packets, listener := listenOnOnePort(t)
	s.address = packets.LocalAddr().String()
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: listener, Handler: s}} {
		var wg sync.WaitGroup
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		wg.Go(func() { assert.NoError(t, server.ActivateAndServe()) })
		<-started
		t.Cleanup(func() {
			assert.NoError(t, server.Shutdown())
			wg.Wait()
		})
	}
	return s
}

// txt answers with records, each in parts.
func txt(records ...[]string) func(w dns.ResponseWriter, q *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		for _, parts := range records {
			m.Answer = append(m.Answer, &dns.TXT{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60},
				Txt: parts,
			})
		}
		_ = w.WriteMsg(m)
	}
}

func rcode(code int) func(w dns.ResponseWriter, q *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, code))
	}
}

func silence(dns.ResponseWriter, *dns.Msg) {}

// truncated answers by UDP that the answer is too long for it.
func truncated(next func(w dns.ResponseWriter, q *dns.Msg)) func(w dns.ResponseWriter, q *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if isTCP(w) {
			next(w, q)
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.Truncated = true
		_ = w.WriteMsg(m)
	}
}

// split cuts a record into parts of at most 255 bytes, and more if wanted.
func split(s string, size int) []string {
	var parts []string
	for len(s) > size {
		parts, s = append(parts, s[:size]), s[size:]
	}
	return append(parts, s)
}

// impatient gives each attempt less time.
type impatient struct{ Resolver }

func (r impatient) LookupTXT(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	return r.Resolver.LookupTXT(ctx, name)
}

func newRealSetting(t *testing.T) (*setting, *dnsServer) {
	t.Helper()
	server := startDNS(t)
	return newSetting(t, func(o *Options) { o.Resolver = impatient{NewResolver(server.address)} }), server
}

func TestRealDNS(t *testing.T) {
	good := record(t, &goodKey(t).PublicKey)
	large := record(t, &testKey(t, 4096, "size").PublicKey)
	for _, tc := range []struct {
		name        string
		answer      func(w dns.ResponseWriter, q *dns.Msg)
		large       bool
		reason      string
		unavailable bool
		outcome     string
		tcp         bool
	}{
		{name: "healthy", answer: txt(split(good, 255)), outcome: LookupFound},
		{name: "split", answer: txt(split(good, 10)), outcome: LookupFound},
		{name: "split, 4096 bits", answer: txt(split(large, 255)), large: true, outcome: LookupFound},
		{name: "several records", answer: txt([]string{"v=spf1 -all"}, split(large, 100), []string{good}), outcome: LookupFound},
		{name: "truncated", answer: truncated(txt(split(large, 200))), large: true, tcp: true, outcome: LookupFound},
		{name: "truncated, then NXDOMAIN", answer: truncated(rcode(dns.RcodeNameError)), tcp: true, reason: ReasonNoKey, outcome: LookupAbsent},
		{name: "alias", answer: func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.RecursionAvailable = true
			m.Answer = []dns.RR{
				&dns.CNAME{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "key.example."},
				&dns.TXT{Hdr: dns.RR_Header{Name: "key.example.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{good}},
			}
			_ = w.WriteMsg(m)
		}, outcome: LookupFound},
		{name: "NXDOMAIN", answer: rcode(dns.RcodeNameError), reason: ReasonNoKey, outcome: LookupAbsent},
		{name: "no TXT record", answer: txt(), reason: ReasonNoKey, outcome: LookupAbsent},
		{name: "revoked", answer: txt([]string{"v=DKIM1; k=rsa; p="}), reason: ReasonRevokedKey, outcome: LookupRevoked},
		{name: "no key", answer: txt([]string{"v=spf1 -all"}), reason: ReasonUnusableKey, outcome: LookupUnusable},
		{name: "SERVFAIL", answer: rcode(dns.RcodeServerFailure), unavailable: true, outcome: LookupFailed},
		{name: "REFUSED", answer: rcode(dns.RcodeRefused), unavailable: true, outcome: LookupFailed},
		{name: "NOTIMP", answer: rcode(dns.RcodeNotImplemented), unavailable: true, outcome: LookupFailed},
		{name: "lame", answer: rcode(dns.RcodeSuccess), unavailable: true, outcome: LookupFailed},
		{name: "timeout", answer: silence, unavailable: true, outcome: LookupTimeout},
		{name: "truncated, then timeout", answer: truncated(silence), tcp: true, unavailable: true, outcome: LookupTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, server := newRealSetting(t)
			server.set(tc.answer)
			key := goodKey(t)
			if tc.large {
				key = testKey(t, 4096, "size")
			}
			err := s.send(t, goodName, key)
			switch {
			case tc.unavailable:
				assertUnavailable(t, err)
				assert.NotContains(t, err.Error(), "copernica")
			case tc.reason != "":
				assertRefused(t, tc.reason, err)
			default:
				require.NoError(t, err)
			}
			assert.Equal(t, map[string]int{tc.outcome: 1}, s.seen.get())
			assert.Equal(t, tc.tcp, server.tcp.Load() > 0)
			for _, name := range server.asked() {
				assert.Equal(t, goodName+".", name, "no search list")
			}
		})
	}
}

// TestRealDNSClose closes while the server is silent.
func TestRealDNSClose(t *testing.T) {
	server := startDNS(t)
	s := newSetting(t, func(o *Options) { o.Resolver = NewResolver(server.address) })
	asked := make(chan struct{}, 8)
	server.set(func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
	done := make(chan error)
	r := newCall().sign(t, goodKey(t)).request(t)
	go func() { done <- check(s.Verifier, r) }()
	<-asked
	began := time.Now()
	s.Close()
	assertUnavailable(t, <-done)
	assert.Less(t, time.Since(began), 2*time.Second)
}

func TestNoServer(t *testing.T) {
	s := newSetting(t, func(o *Options) { o.Resolver = NewResolver("127.0.0.1:1") })
	assertUnavailable(t, s.send(t, goodName, goodKey(t)))
}

func TestNewResolverOfTheSystem(t *testing.T) {
	r := NewResolver("")
	assert.True(t, r.PreferGo)
	server := startDNS(t)
	conn, err := r.Dial(t.Context(), "udp", server.address)
	require.NoError(t, err, "the server that the system names")
	assert.Equal(t, server.address, conn.RemoteAddr().String())
	require.NoError(t, conn.Close())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.LookupTXT(ctx, goodName+".")
	require.Error(t, err)
}
