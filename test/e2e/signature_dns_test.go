package e2e

import (
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// nameServer is a DNS server on a loopback port, over UDP and TCP.
type nameServer struct {
	address string
	servers []*dns.Server

	mutex sync.Mutex
	zone  map[string]dnsAnswer
	asked map[string]int // by network and name
}

// dnsAnswer fills in the answer to a question for TXT, or says that there is none.
type dnsAnswer func(network string, message *dns.Msg) (answered bool)

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	n := &nameServer{zone: make(map[string]dnsAnswer), asked: make(map[string]int)}
	var (
		listener net.Listener
		packets  net.PacketConn
		err      error
	)
	// A port that is free for TCP may be taken for UDP.
	for range 10 {
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		n.address = listener.Addr().String()
		if packets, err = net.ListenPacket("udp", n.address); err == nil {
			break
		}
		_ = listener.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	n.servers = []*dns.Server{
		{Listener: listener, Handler: n.over("tcp")},
		{PacketConn: packets, Handler: n.over("udp")},
	}
	for _, server := range n.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			if err := server.ActivateAndServe(); err != nil {
				t.Errorf("the DNS server ended: %v", err)
			}
		}()
		<-started
	}
	t.Cleanup(n.stop)
	return n
}

func (n *nameServer) stop() {
	for _, server := range n.servers {
		// It fails only when it was stopped before.
		_ = server.Shutdown()
	}
}

func (n *nameServer) over(network string) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		name := strings.TrimSuffix(question.Question[0].Name, ".")
		n.mutex.Lock()
		n.asked[network+" "+name]++
		answer := n.zone[strings.ToLower(name)]
		n.mutex.Unlock()

		message := new(dns.Msg).SetReply(question)
		message.RecursionAvailable = true
		if answer == nil {
			answer = withCode(dns.RcodeNameError)
		}
		if !answer(network, message) {
			return
		}
		if options := question.IsEdns0(); options != nil && network == "udp" {
			message.Truncate(int(options.UDPSize()))
		}
		// Who asked may be gone.
		_ = w.WriteMsg(message)
	})
}

func (n *nameServer) set(name string, answer dnsAnswer) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.zone[name] = answer
}

// count returns how often a name was asked for, over both networks or one.
func (n *nameServer) count(name string, networks ...string) int {
	if len(networks) == 0 {
		networks = []string{"udp", "tcp"}
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	total := 0
	for _, network := range networks {
		total += n.asked[network+" "+name]
	}
	return total
}

// names returns what was asked for, in the case in which it was.
func (n *nameServer) names() []string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	names := make(map[string]bool)
	for asked := range n.asked {
		_, name, _ := strings.Cut(asked, " ")
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func withCode(code int) dnsAnswer {
	return func(_ string, message *dns.Msg) bool {
		message.Rcode = code
		return true
	}
}

func silent(string, *dns.Msg) bool {
	return false
}

// parts cuts a record into strings of that many bytes.
func parts(record string, size int) []string {
	var cut []string
	for part := range slices.Chunk([]byte(record), size) {
		cut = append(cut, string(part))
	}
	return cut
}

// texts answers with TXT records, of which each is cut into strings of at most 255 bytes.
func texts(records ...string) dnsAnswer {
	cut := make([][]string, 0, len(records))
	for _, record := range records {
		cut = append(cut, parts(record, 255))
	}
	return splitTexts(cut...)
}

// splitTexts answers with TXT records of these strings.
func splitTexts(records ...[]string) dnsAnswer {
	return func(_ string, message *dns.Msg) bool {
		for _, record := range records {
			header := dns.RR_Header{Name: message.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}
			message.Answer = append(message.Answer, &dns.TXT{Hdr: header, Txt: record})
		}
		return true
	}
}

// truncated answers over UDP that the answer does not fit, and that there is more over TCP.
func truncated(answer dnsAnswer) dnsAnswer {
	return func(network string, message *dns.Msg) bool {
		if network == "udp" {
			message.Truncated = true
			return true
		}
		return answer(network, message)
	}
}
