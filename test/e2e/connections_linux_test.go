package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
)

var (
	attackConnections = flag.Int("attack.connections", 400,
		"how many connections the attacks of TestConnectionAttacks keep open; docs/security.md has those with 2000")
	attackTime = flag.Duration("attack.time", 2*time.Second,
		"how long each of the attacks of TestConnectionAttacks takes")
)

// memoryOf returns VmRSS (memory now) or VmHWM (most so far) of the collector, in MiB.
func memoryOf(t *testing.T, c *collector, name string) int {
	t.Helper()
	kibibytes, err := strconv.Atoi(statusField(t, c.Pid, name))
	assert.NoError(t, err)
	return kibibytes >> 10
}

// goodSender sends well-signed calls over separate connections and notes how long they take.
type goodSender struct {
	address string
	tls     bool
	took    []time.Duration
}

func (g *goodSender) send() error {
	raw, began := signedCall(fmt.Sprint("private-good-", len(g.took))).Sign().Raw(), time.Now()
	w, err := dial(g.address)
	if err != nil {
		return err
	}
	defer w.Close()
	if g.tls {
		w.Conn = tls.Client(w.Conn, &tls.Config{InsecureSkipVerify: true})
		w.reader.Reset(w.Conn)
	}
	got, err := w.exchange(raw)
	g.took = append(g.took, time.Since(began))
	if err != nil || got != accepted {
		return fmt.Errorf("a well-signed call after %s: %+v, %w", time.Since(began), got, err)
	}
	return nil
}

// percentiles tells how long the calls took.
func (g *goodSender) percentiles() string {
	slices.Sort(g.took)
	at := func(share float64) time.Duration {
		return g.took[int(share*float64(len(g.took)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%d, p50 %s, p99 %s, slowest %s", len(g.took), at(0.5), at(0.99), at(1))
}

// connectionAttack is what somebody who can only reach the port may send over a connection.
type connectionAttack struct {
	name     string
	protocol string // of TLS; empty: without
	send     func(conn net.Conn) error
	// timeout is how long a connection may take until it is ended, with slowSettings; 0: any time.
	timeout time.Duration
}

var slowSettings = []string{
	"receivers::smtp_failure::http::read_header_timeout=1s", "receivers::smtp_failure::http::read_timeout=2s",
}

func connectionAttacks(t *testing.T) []connectionAttack {
	t.Helper()
	badlySigned := signedCall("private-attack")
	badlySigned.Del("Connection")
	badlySigned.Key = otherKey()
	badlySigned.SetBody(strings.Repeat("x", 10_000))
	unsigned, chunked := badlySigned.Sign().Clone(), badlySigned.Clone()
	unsigned.Del("Signature")
	chunked.SetChunked()
	return []connectionAttack{
		{"connections that send nothing", "", sends(""), 0},
		{"a header of 31 KiB, not ended", "", sends(smallHeaders(31 << 10)), 0},
		{"a header of 1 MB", "", sends(smallHeaders(1_000_000)), 0},
		{
			"a header, byte after byte", "", sendsSlowly(strings.TrimSuffix(badlySigned.Head(), "\r\n") + "X: "),
			time.Second,
		},
		{
			"a body that nobody asked for", "",
			sends("POST /failures HTTP/1.1\r\nHost: x\r\nContent-Length: 262144\r\n\r\n" +
				strings.Repeat("x", 200_000)), 0,
		},
		{"a body of an unsigned call, byte after byte", "", sendsSlowly(unsigned.Head()), 2 * time.Second},
		{"a body of a badly signed call, byte after byte", "", sendsSlowly(badlySigned.Head()), 2 * time.Second},
		{
			"a body whose length is signed and not sent, byte after byte", "", sendsSlowly(chunked.Head() + "2710\r\n"),
			2 * time.Second,
		},
		{"badly signed calls", "", floods(t, badlySigned), 0},
		{
			"a ClientHello of 60 KB, not ended", "none",
			sends(tlsRecords("\x01\x00\xf0\x00\x03\x03" + strings.Repeat("x", 60_000))), 0,
		},
		{"plain text to the port of TLS", "none", sends("GET / HTTP/1.1\r\n\r\n"), 0},
		{"a TLS connection that sends nothing", "h2", sends(""), 0},
		{"HTTP/2: a header of 31 KiB, not ended", "h2", http2Sends(func(framer *http2.Framer) error {
			return http2Headers(framer, 1, false)
		}), 0},
		{
			"HTTP/2: 100 streams, each with a header of 31 KiB and no body", "h2",
			http2Sends(func(framer *http2.Framer) error {
				for stream := range uint32(100) {
					if err := http2Headers(framer, 2*stream+1, true); err != nil {
						return err
					}
				}
				return nil
			}), 0,
		},
		{"HTTP/2: the announcement of a frame of 1 MiB", "h2", sends(http2.ClientPreface +
			"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x10\x00\x00\x00\x00\x00\x00\x00\x01x"), 0},
		{"HTTP/2: settings and pings without end", "h2", http2Sends(func(framer *http2.Framer) error {
			for {
				err := errors.Join(framer.WritePing(false, [8]byte{}),
					framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096}))
				if err != nil {
					return err
				}
			}
		}), 0},
	}
}

func sends(text string) func(net.Conn) error {
	return func(conn net.Conn) error {
		_, err := io.WriteString(conn, text)
		return err
	}
}

// sendsSlowly sends the start at once, and then byte after byte until the connection is closed.
func sendsSlowly(start string) func(net.Conn) error {
	return func(conn net.Conn) error {
		for text := start; ; text = "x" {
			if _, err := io.WriteString(conn, text); err != nil {
				return err
			}
			time.Sleep(rand.N(400 * time.Millisecond))
		}
	}
}

// floods sends calls like one that is badly signed, as fast as they are refused.
func floods(t *testing.T, badlySigned *signaturetest.Request) func(net.Conn) error {
	t.Helper()
	calls := []string{badlySigned.Raw()} // costs an RSA verification
	for _, change := range []func(*signaturetest.Request){
		func(r *signaturetest.Request) { // costs a hash of the body
			r.Key = goodKey()
			r.Set("Digest", signaturetest.SHA256(""))
		},
		func(r *signaturetest.Request) { r.KeyID = "one._domainkey.evil.com" },
		func(r *signaturetest.Request) { r.Algorithm = "hs2019" },
	} {
		r := badlySigned.Clone()
		change(r)
		calls = append(calls, r.Sign().Raw())
	}
	return func(conn net.Conn) error {
		w := &rawConn{conn, bufio.NewReader(conn)}
		for i := rand.IntN(len(calls)); ; i++ {
			got, err := w.exchange(calls[i%len(calls)])
			if err != nil {
				return err
			}
			assert.Equal(t, refused, got)
		}
	}
}

// tlsRecords returns TLS records of a handshake.
func tlsRecords(handshake string) (text string) {
	for part := range slices.Chunk([]byte(handshake), 16_000) {
		text += "\x16\x03\x01" + string([]byte{byte(len(part) >> 8), byte(len(part))}) + string(part)
	}
	return text
}

// smallHeaders returns the start of a request with as many headers as so many bytes may have.
func smallHeaders(size int) string {
	var b strings.Builder
	b.WriteString("POST /failures HTTP/1.1\r\nHost: x\r\n")
	for i := 0; b.Len() < size-7; i++ {
		fmt.Fprintf(&b, "%04s:\r\n", strconv.FormatInt(int64(i), 36))
	}
	return b.String()
}

func http2Sends(then func(*http2.Framer) error) func(net.Conn) error {
	return func(conn net.Conn) error {
		framer := http2.NewFramer(conn, nil)
		if err := errors.Join(sends(http2.ClientPreface)(conn), framer.WriteSettings()); err != nil {
			return err
		}
		return then(framer)
	}
}

// http2Header31KiB is the header of a call of many small fields, encoded anew each time.
var http2Header31KiB = func() []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSize(0)
	// Encoding into memory does not fail.
	_ = encoder.WriteField(hpack.HeaderField{Name: ":method", Value: "POST"})
	_ = encoder.WriteField(hpack.HeaderField{Name: ":scheme", Value: "https"})
	_ = encoder.WriteField(hpack.HeaderField{Name: ":path", Value: "/failures"})
	// Each field counts 32 bytes more than it has.
	for i := 0; i*36 < 31<<10-500; i++ {
		_ = encoder.WriteField(hpack.HeaderField{Name: strconv.FormatInt(int64(i+100_000), 36), Sensitive: true})
	}
	for block.Len() <= 16<<10 {
		_ = encoder.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("~", 100), Sensitive: true})
	}
	return block.Bytes()
}()

func http2Headers(framer *http2.Framer, stream uint32, ended bool) error {
	return errors.Join(
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: http2Header31KiB[:16<<10]}),
		framer.WriteContinuation(stream, ended, http2Header31KiB[16<<10:]))
}

// TestConnectionAttacks makes each of the attacks over many connections, reopened when closed, on a
// collector with the memory of a pod in examples/kubernetes/values.yaml. It must go on running and
// accept the well-signed calls, and no others.
func TestConnectionAttacks(t *testing.T) {
	const podMemory = 512 // MiB; the chart sets GOMEMLIMIT to four fifths of it
	t.Setenv("GOMEMLIMIT", "409MiB")
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	needed := uint64(*attackConnections) + 500
	files.Cur, files.Max = max(files.Cur, needed), max(files.Max, needed)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Skipf("%d open files: %v", needed, err)
	}
	folder, dns := certificates(t), startDNS(t)
	table := "| Attack | Sent | Connections in all | Peak memory | Good calls | Lines of log |\n" +
		"|---|---|---|---|---|---|\n"
	for _, attack := range connectionAttacks(t) {
		t.Run(attack.name, func(t *testing.T) {
			c := newSigned(t, dns)
			if attack.protocol != "" {
				c.set("receivers::smtp_failure::http::tls::cert_file="+filepath.Join(folder, "server.pem"),
					"receivers::smtp_failure::http::tls::key_file="+filepath.Join(folder, "server.key"))
			}
			if attack.timeout > 0 {
				c.set(slowSettings...)
			}
			c.start(t)
			good := &goodSender{address: c.address, tls: attack.protocol != ""}
			require.NoError(t, good.send(), "the key is known from here on")
			lines := strings.Count(c.output.String(), "\n")

			ctx, cancel := context.WithTimeout(t.Context(), *attackTime)
			defer cancel()
			var sent, opened atomic.Int64
			var group sync.WaitGroup
			for range *attackConnections {
				group.Go(func() {
					for ctx.Err() == nil {
						if err := attack.once(ctx, t, c.address, &sent); err != nil {
							_ = sleep(ctx, rand.N(50*time.Millisecond))
							continue
						}
						opened.Add(1)
					}
				})
			}
			for ctx.Err() == nil {
				if err := good.send(); err != nil {
					t.Error(err)
				}
				_ = sleep(ctx, 50*time.Millisecond)
			}
			group.Wait()

			c.checkRunning(t)
			assert.Equal(t, len(good.took), tallyOf(t, c)["requests accepted"])
			peak := memoryOf(t, c, "VmHWM")
			assert.LessOrEqual(t, peak, podMemory)
			lines = strings.Count(c.output.String(), "\n") - lines
			assert.LessOrEqual(t, lines, 50, "lines of log")
			table += fmt.Sprintf("| %s | %d MB | %d | %d MiB | %s | %d |\n", attack.name, sent.Load()/1e6,
				opened.Load(), peak, good.percentiles(), lines)
		})
	}
	t.Logf("%d connections, %s each\n\n%s", *attackConnections, *attackTime, table)
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

// once opens a connection, sends, and waits until it is closed or ctx is done. With a timeout it
// waits longer, to check that the connection is closed in time.
func (a *connectionAttack) once(ctx context.Context, t *testing.T, address string, sent *atomic.Int64) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if a.timeout > 0 {
		// A deadline that falls into a moment without a processor is noticed late.
		const lateness = 5 * time.Second
		limited, cancel := context.WithTimeout(t.Context(), a.timeout+lateness)
		defer cancel()
		defer func() { assert.NoError(t, limited.Err(), "a connection was still open long after the deadline") }()
		ctx = limited
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var counting net.Conn = countingConn{conn, sent}
	if a.protocol == http2.NextProtoTLS {
		secure := tls.Client(counting, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{a.protocol}})
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		counting = secure
	}
	// What is refused while it is sent is closed too.
	_ = a.send(counting)
	_, _ = io.Copy(io.Discard, counting)
	return nil
}

// TestFirstCallUnderAFlood floods a collector that has just started with made-up names of keys. The
// first call of the sender is accepted if unknown names are looked up as fast as they come.
func TestFirstCallUnderAFlood(t *testing.T) {
	trials := 1
	if *attackConnections > 1000 {
		trials = 10
	}
	dns := startDNS(t)
	forged := signedCall("private-flood").Sign()
	for _, rate := range []int{50, 1000} {
		in := 0
		for trial := range trials {
			c := newSigned(t, dns).start(t)
			ctx, cancel := context.WithCancel(t.Context())
			var group sync.WaitGroup
			group.Go(func() {
				for i := 0; sleep(ctx, time.Second/time.Duration(rate)) == nil; i++ {
					group.Go(func() {
						name := fmt.Sprintf("x%d-%d%s", trial, i, signaturetest.KeyDomain)
						_, _ = exchangeOnce(c.address, strings.Replace(forged.Raw(), signaturetest.KeyName, name, 1))
					})
				}
			})
			_ = sleep(ctx, 3*time.Second)
			if err := (&goodSender{address: c.address}).send(); err == nil {
				in++
			} else {
				assert.Greater(t, rate, 200, err)
			}
			cancel()
			group.Wait()
			c.kill()
		}
		t.Logf("%d forged calls a second: the first call got in %d of %d times", rate, in, trials)
	}
}
