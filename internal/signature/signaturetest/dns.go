package signaturetest

import (
	"encoding/binary"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// maxUDP is what fits into a response over UDP, in bytes. Go's resolver asks for as much.
const maxUDP = 1232

// Answer is the answer to questions for the TXT records of a name. The zero Answer is that the name
// exists and has none.
type Answer struct {
	Records      [][]string // each in strings of at most 255 bytes
	RCode        dnsmessage.RCode
	Alias        string        // an absolute name that has the records instead, by a CNAME
	Truncated    bool          // over UDP the response is a truncated one, as if it did not fit
	Silent       bool          // no response, or with Truncated none over TCP
	NotRecursive bool          // the server does not recurse: lame if there are no records
	Delay        time.Duration // before the response
}

// TXT returns an answer with records, each cut into strings of 255 bytes.
func TXT(records ...string) Answer {
	return Split(255, records...)
}

// Split returns an answer with records, each cut into strings of so many bytes.
func Split(size int, records ...string) Answer {
	var a Answer
	for _, record := range records {
		var parts []string
		for part := range slices.Chunk([]byte(record), size) {
			parts = append(parts, string(part))
		}
		a.Records = append(a.Records, parts)
	}
	return a
}

// RCode returns an answer with a code and nothing else.
func RCode(code dnsmessage.RCode) Answer {
	return Answer{RCode: code}
}

// query is a question over "udp" or "tcp".
type query struct{ network, name string }

// DNSServer answers questions for TXT records over UDP and TCP. It is safe for concurrent use.
type DNSServer struct {
	// Address is host and port, on loopback.
	Address string

	packets  net.PacketConn
	listener net.Listener
	serving  sync.WaitGroup

	mu      sync.Mutex
	answers map[string]Answer
	queries map[query]int
}

// StartDNS starts a server, for which no name exists yet. Close has to be called.
func StartDNS() *DNSServer {
	s := &DNSServer{answers: make(map[string]Answer), queries: make(map[query]int)}
	for s.packets == nil {
		var err error
		if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			panic(err)
		}
		s.Address = s.listener.Addr().String()
		// A port that is free for TCP may be taken for UDP.
		if s.packets, err = net.ListenPacket("udp", s.Address); err != nil {
			_ = s.listener.Close()
		}
	}
	s.serving.Go(s.serveUDP)
	s.serving.Go(s.serveTCP)
	return s
}

// Close stops the server and waits for the answers under way. It may be called more than once.
func (s *DNSServer) Close() {
	_ = s.packets.Close()
	_ = s.listener.Close()
	s.serving.Wait()
}

// Set sets the answer to questions for a name.
func (s *DNSServer) Set(name string, answer Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[name] = answer
}

// Count returns how often a name was asked for, over the networks named or over both.
func (s *DNSServer) Count(name string, networks ...string) int {
	if len(networks) == 0 {
		networks = []string{"udp", "tcp"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, network := range networks {
		n += s.queries[query{network, name}]
	}
	return n
}

// Names returns the names that were asked for, as they were spelt.
func (s *DNSServer) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make(map[string]bool)
	for q := range s.queries {
		names[q.name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func (s *DNSServer) serveUDP() {
	buf := make([]byte, 512)
	for {
		n, from, err := s.packets.ReadFrom(buf)
		if err != nil {
			return
		}
		message := slices.Clone(buf[:n])
		s.serving.Go(func() {
			if response := s.respond("udp", message); response != nil {
				_, _ = s.packets.WriteTo(response, from) // Who asked may be gone.
			}
		})
	}
}

func (s *DNSServer) serveTCP() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.serving.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			message := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, message); err != nil {
				return
			}
			if response := s.respond("tcp", message); response != nil {
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(response))), response...))
				return
			}
			_, _ = io.Copy(io.Discard, conn) // Until the client closes it.
		})
	}
}

// respond returns the response to a message, or nil if there is none.
func (s *DNSServer) respond(network string, message []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(message); err != nil || len(m.Questions) != 1 {
		return nil
	}
	owner := m.Questions[0].Name
	name := strings.TrimSuffix(owner.String(), ".")
	s.mu.Lock()
	s.queries[query{network, name}]++
	answer, exists := s.answers[strings.ToLower(name)]
	s.mu.Unlock()
	if !exists {
		answer = RCode(dnsmessage.RCodeNameError)
	}

	time.Sleep(answer.Delay)
	m.Response, m.RecursionAvailable, m.Additionals = true, !answer.NotRecursive, nil
	m.Truncated = answer.Truncated && network == "udp"
	if !m.Truncated {
		if answer.Silent {
			return nil
		}
		m.RCode = answer.RCode
		add := func(body dnsmessage.ResourceBody) {
			header := dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: 60}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
		}
		if answer.Alias != "" {
			alias := dnsmessage.MustNewName(answer.Alias)
			add(&dnsmessage.CNAMEResource{CNAME: alias})
			owner = alias
		}
		for _, record := range answer.Records {
			add(&dnsmessage.TXTResource{TXT: record})
		}
	}
	response, err := m.Pack()
	if network == "udp" && len(response) > maxUDP {
		m.Truncated, m.Answers = true, nil
		response, err = m.Pack()
	}
	if err != nil {
		panic(err)
	}
	return response
}
