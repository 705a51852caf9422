//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var (
	strangers = flag.Int("strangers", 400, "how many connections the attacks of TestStrangers keep open; docs/security.md has those with 4000")
	siegeTime = flag.Duration("strangers.time", 3*time.Second, "how long each of the attacks of TestStrangers takes")
)

// The limits of examples/kubernetes/values.yaml. The chart sets GOMEMLIMIT to four fifths of what a
// pod may have.
const (
	podMemory = 512 << 20
	goMemory  = "409MiB"
)

// strangerAttacks are what somebody who can only reach the port may send over a connection, and
// then waits. None of it is a request that is read to its end.
var strangerAttacks = []struct {
	name     string
	protocol string // of TLS; empty: without
	send     func(w io.Writer) error
}{
	{"connections that send nothing", "", func(io.Writer) error { return nil }},
	{"a header of 31 KiB, not ended", "", func(w io.Writer) error { return sendAll(w, header31KiB) }},
	{"a header of 1 MB", "", func(w io.Writer) error { return sendAll(w, header1MB) }},
	{"a body that nobody asked for", "", func(w io.Writer) error {
		return sendAll(w, "POST /failures HTTP/1.1\r\nHost: x\r\nContent-Length: 262144\r\n\r\n"+strings.Repeat("x", 200_000))
	}},
	{"a ClientHello of 60 KB, not ended", "none", func(w io.Writer) error {
		hello := "\x01\x00\xf0\x00\x03\x03" + strings.Repeat("x", 60_000)
		for len(hello) > 0 {
			n := min(len(hello), 16_000)
			if err := sendAll(w, "\x16\x03\x01"+string([]byte{byte(n >> 8), byte(n)})+hello[:n]); err != nil {
				return err
			}
			hello = hello[n:]
		}
		return nil
	}},
	{"plain text to the port of TLS", "none", func(w io.Writer) error { return sendAll(w, "GET / HTTP/1.1\r\n\r\n") }},
	{"a TLS connection that sends nothing", "h2", func(io.Writer) error { return nil }},
	{"HTTP/2: a header of 31 KiB, not ended", "h2", func(w io.Writer) error {
		return http2Start(w, func(framer *http2.Framer) error {
			block := http2Header31KiB
			if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10]}); err != nil {
				return err
			}
			return framer.WriteContinuation(1, false, block[16<<10:])
		})
	}},
	{"HTTP/2: 100 streams, each with a header of 31 KiB and no body", "h2", func(w io.Writer) error {
		return http2Start(w, func(framer *http2.Framer) error {
			for stream := range uint32(100) {
				block := http2Header31KiB
				if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*stream + 1, BlockFragment: block[:16<<10]}); err != nil {
					return err
				}
				if err := framer.WriteContinuation(2*stream+1, true, block[16<<10:]); err != nil {
					return err
				}
			}
			return nil
		})
	}},
	{"HTTP/2: the announcement of a frame of 1 MiB", "h2", func(w io.Writer) error {
		return http2Start(w, func(*http2.Framer) error { return sendAll(w, "\x10\x00\x00\x00\x00\x00\x00\x00\x01x") })
	}},
	{"HTTP/2: settings and pings without end", "h2", func(w io.Writer) error {
		return http2Start(w, func(framer *http2.Framer) error {
			for {
				if err := framer.WritePing(false, [8]byte{}); err != nil {
					return err
				}
				if err := framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096}); err != nil {
					return err
				}
			}
		})
	}},
}

// They are made once, so that the attacks cost little.
var (
	header31KiB, header1MB = smallHeaders(31 << 10), smallHeaders(1_000_000)
	http2Header31KiB       = http2Header(31 << 10)
)

func sendAll(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// smallHeaders is the start of a request with as many headers as so many bytes may have.
func smallHeaders(size int) string {
	var b strings.Builder
	b.WriteString("POST /failures HTTP/1.1\r\nHost: x\r\n")
	for i := 0; b.Len() < size-7; i++ {
		fmt.Fprintf(&b, "%04s:\r\n", strconv.FormatInt(int64(i), 36))
	}
	return b.String()
}

func http2Start(w io.Writer, then func(*http2.Framer) error) error {
	if err := sendAll(w, http2.ClientPreface); err != nil {
		return err
	}
	framer := http2.NewFramer(w, nil)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	return then(framer)
}

// http2Header is the header of a call of many small fields, encoded anew each time.
func http2Header(size int) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSize(0)
	// Encoding into memory does not fail.
	_ = encoder.WriteField(hpack.HeaderField{Name: ":method", Value: "POST"})
	_ = encoder.WriteField(hpack.HeaderField{Name: ":scheme", Value: "https"})
	_ = encoder.WriteField(hpack.HeaderField{Name: ":path", Value: "/failures"})
	// Each field counts 32 bytes more than it has.
	for i := 0; i*36 < size-500; i++ {
		_ = encoder.WriteField(hpack.HeaderField{Name: strconv.FormatInt(int64(i+100_000), 36), Sensitive: true})
	}
	for block.Len() <= 16<<10 {
		_ = encoder.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("~", 100), Sensitive: true})
	}
	return block.Bytes()
}

// TestStrangers has many connections make each of the attacks at once, again whenever they are
// closed, on a collector with the memory of a pod. It has to live, and to let in all that the
// sender signs meanwhile.
func TestStrangers(t *testing.T) {
	if err := allowFiles(uint64(*strangers) + 500); err != nil {
		t.Skipf("%d connections: %v", *strangers, err)
	}
	t.Setenv("GOMEMLIMIT", goMemory)
	folder := certificates(t)
	servers := startNameServer(t)
	servers.set(goodName, texts(keyRecord(t, goodKey(t))))
	table := "| Attack | Sent | Connections in all | Peak memory | Good calls | p50, slowest | Lines of log |\n|---|---|---|---|---|---|---|\n"
	for _, attack := range strangerAttacks {
		t.Run(attack.name, func(t *testing.T) {
			var args []string
			if attack.protocol != "" {
				args = []string{
					"--set", "receivers::smtp_failure::http::tls::cert_file=" + filepath.Join(folder, "server.pem"),
					"--set", "receivers::smtp_failure::http::tls::key_file=" + filepath.Join(folder, "server.key"),
				}
			}
			c, address := startSigned(t, servers.address, args...)
			good := &signedSender{address: address, tls: attack.protocol != ""}
			// The key is known from here on.
			if err := good.send(t, "private-first"); err != nil {
				t.Fatal(err)
			}
			lines := strings.Count(c.output.String(), "\n")

			ctx, cancel := context.WithTimeout(t.Context(), *siegeTime)
			defer cancel()
			var sent, opened atomic.Int64
			var group sync.WaitGroup
			for range *strangers {
				group.Go(func() {
					for ctx.Err() == nil {
						if err := assault(ctx, address, attack.protocol, &sent, attack.send); err != nil {
							_ = sleep(ctx, rand.N(50*time.Millisecond))
							continue
						}
						opened.Add(1)
					}
				})
			}
			calls := 0
			for ; ctx.Err() == nil; calls++ {
				if err := good.send(t, fmt.Sprint("private-", calls)); err != nil {
					t.Errorf("good call %d: %v", calls, err)
				}
				_ = sleep(ctx, 50*time.Millisecond)
			}
			group.Wait()

			select {
			case <-c.exited:
				t.Errorf("the collector ended: %v", c.err)
			default:
			}
			peak := peakOf(t, c)
			if peak > podMemory {
				t.Errorf("the collector took %s", mebibytes(peak))
			}
			lines = strings.Count(c.output.String(), "\n") - lines
			if lines > 50 {
				t.Errorf("%d lines of log", lines)
			}
			table += fmt.Sprintf("| %s | %d MB | %d | %s | %d of %d | %s | %d |\n", attack.name, sent.Load()/1e6, opened.Load(),
				mebibytes(peak), len(good.took), calls+1, good.percentiles(), lines)
		})
	}
	t.Logf("%d connections, %s each\n\n%s", *strangers, *siegeTime, table)
}

// countingConn counts what is written.
type countingConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// assault opens a connection, sends, and waits until it is closed or ctx is done.
func assault(ctx context.Context, address, protocol string, sent *atomic.Int64, send func(io.Writer) error) error {
	var conn net.Conn
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	conn = countingConn{conn, sent}
	if protocol == "h2" {
		tlsConn := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
		if err := tlsConn.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = tlsConn
	}
	// What is refused while it is sent is closed too.
	_ = send(conn)
	_, _ = io.Copy(io.Discard, conn)
	return nil
}

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// peakOf returns the most memory that the collector has had.
func peakOf(t *testing.T, c *collector) uint64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.Pid))
	match := peakLine.FindSubmatch(status)
	if err != nil || match == nil {
		t.Errorf("no VmHWM: %v", err)
		return 0
	}
	kibibytes, err := strconv.ParseUint(string(match[1]), 10, 64)
	if err != nil {
		t.Error(err)
	}
	return kibibytes << 10
}

// signedSender sends well-signed calls, each over a connection of its own.
type signedSender struct {
	address string
	tls     bool
	keyID   string
	key     signingKey
	took    []time.Duration
}

func (s *signedSender) send(t *testing.T, id string) error {
	t.Helper()
	key := s.key
	if key == nil {
		key = goodKey(t)
	}
	call := newSignedCall(key, id)
	if s.keyID != "" {
		call.keyID = s.keyID
	}
	call.add("Connection", "close")
	call.sign(t)
	began := time.Now()
	w, err := dial(s.address)
	if err != nil {
		return err
	}
	defer w.Close()
	if s.tls {
		w.Conn = tls.Client(w.Conn, &tls.Config{InsecureSkipVerify: true})
		w.reader.Reset(w.Conn)
	}
	got, err := w.exchange(call.raw())
	if err == nil && got.status != http.StatusOK {
		err = fmt.Errorf("%d after %s", got.status, time.Since(began))
	}
	if err == nil {
		s.took = append(s.took, time.Since(began))
	}
	return err
}

func (s *signedSender) percentiles() string {
	if len(s.took) == 0 {
		return "none"
	}
	_, figures, _ := strings.Cut(percentiles(s.took), "p50 ")
	p50, rest, _ := strings.Cut(figures, ",")
	_, slowest, _ := strings.Cut(rest, "slowest ")
	return p50 + ", " + slowest
}

// TestFirstCallUnderAFlood floods a collector with made-up names of keys right after its start, and
// counts how often the first call of the sender gets in: always, where the store has the name of
// its key, and where the flood is no faster than unknown names are looked up.
func TestFirstCallUnderAFlood(t *testing.T) {
	trials := 1
	if *strangers > 1000 {
		trials = 10
	}
	servers := startNameServer(t)
	servers.set(goodName, texts(keyRecord(t, goodKey(t))))
	for _, rate := range []int{50, 1000} {
		in := 0
		for trial := range trials {
			c, address := startSigned(t, servers.address)
			ctx, cancel := context.WithCancel(t.Context())
			var group sync.WaitGroup
			group.Go(func() {
				ticker := time.NewTicker(time.Second / time.Duration(rate))
				defer ticker.Stop()
				for i := 0; ctx.Err() == nil; i++ {
					<-ticker.C
					group.Go(func() {
						call := newSignedCall(nil, "private-flood")
						call.parameters = strings.Replace(call.parameters, "{signature}", strings.Repeat("A", 342)+"==", 1)
						call.key, call.keyID = goodKey(t), fmt.Sprintf("x%d-%d%s", trial, i, keySuffix)
						call.sign(t)
						_, _ = exchangeOnce(address, call.raw())
					})
				}
			})
			_ = sleep(ctx, 3*time.Second)
			good := &signedSender{address: address}
			if err := good.send(t, "private-good"); err == nil {
				in++
			} else if rate < 200 {
				t.Errorf("at %d forged calls a second: %v", rate, err)
			}
			cancel()
			group.Wait()
			c.kill()
		}
		t.Logf("%d forged calls a second: the first call got in %d of %d times", rate, in, trials)
	}
}
