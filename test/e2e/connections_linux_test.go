package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
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

const fewConnections = 500

var (
	attackConnections = flag.Int("attack.connections", 400,
		"how many connections the attacks of TestConnectionAttacks keep open; docs/security.md has those with 2000")
	attackTime = flag.Duration("attack.time", 3*time.Second,
		"how long each of the attacks of TestConnectionAttacks takes")
	slowConnections = flag.Int("slow.connections", fewConnections,
		"how many slow connections TestSlowConnections keeps open; with more than the default it runs for a minute, "+
			"with the receiver's own timeouts")
	slowBody = flag.Int("slow.body", 0,
		"how many bytes of a body the slow connections send at once before they are slow, at most 262144 less 1000")
)

// allowFiles raises the limit of open files of this process, and so of those that it starts.
func allowFiles(t *testing.T, n int) {
	t.Helper()
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	limit.Cur, limit.Max = max(limit.Cur, uint64(n)), max(limit.Max, uint64(n))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("%d open files: %v", n, err)
	}
}

// memoryOf returns a line of the memory in the collector's status, in MiB: VmRSS is that of now,
// VmHWM the most so far.
func memoryOf(t *testing.T, c *collector, name string) int {
	t.Helper()
	kibibytes, err := strconv.Atoi(statusField(t, c.Pid, name))
	assert.NoError(t, err)
	return kibibytes >> 10
}

// goodSender sends well-signed calls and notes how long they take.
type goodSender struct {
	address string
	tls     bool
	next    atomic.Int64

	mutex sync.Mutex
	took  []time.Duration
}

// send sends a call over a connection that is kept or, without one, a connection of its own.
func (g *goodSender) send(kept *wire) error {
	r := signedCall(fmt.Sprint("private-good-", g.next.Add(1)))
	if kept != nil {
		r.Remove("Connection")
	}
	raw, began, w := r.Sign().Raw(), time.Now(), kept
	if kept == nil {
		var err error
		if w, err = dial(g.address); err != nil {
			return err
		}
		defer w.Close()
		if g.tls {
			w.Conn = tls.Client(w.Conn, &tls.Config{InsecureSkipVerify: true})
			w.reader.Reset(w.Conn)
		}
	}
	got, err := w.exchange(raw)
	if err == nil && got != accepted {
		err = fmt.Errorf("%+v", got)
	}
	if err != nil {
		return fmt.Errorf("a well-signed call after %s: %w", time.Since(began), err)
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.took = append(g.took, time.Since(began))
	return nil
}

// take returns how long calls took since it was last called, with percentiles as text.
func (g *goodSender) take() (n int, percentiles string) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	took := g.took
	g.took = nil
	if len(took) == 0 {
		return 0, "none"
	}
	slices.Sort(took)
	at := func(share float64) time.Duration {
		return took[int(share*float64(len(took)-1))].Round(100 * time.Microsecond)
	}
	return len(took), fmt.Sprintf("%d, p50 %s, p99 %s, slowest %s", len(took), at(0.5), at(0.99), at(1))
}

// connectionAttacks are what somebody who can only reach the port may send over a connection, and
// then waits. None of it is a request that is read to its end.
var connectionAttacks = []struct {
	name     string
	protocol string // of TLS; empty: without
	send     func(w io.Writer) error
}{
	{"connections that send nothing", "", sends("")},
	{"a header of 31 KiB, not ended", "", sends(smallHeaders(31 << 10))},
	{"a header of 1 MB", "", sends(smallHeaders(1_000_000))},
	{
		"a body that nobody asked for", "",
		sends("POST /failures HTTP/1.1\r\nHost: x\r\nContent-Length: 262144\r\n\r\n" + strings.Repeat("x", 200_000)),
	},
	{
		"a ClientHello of 60 KB, not ended", "none",
		sends(records("\x01\x00\xf0\x00\x03\x03" + strings.Repeat("x", 60_000))),
	},
	{"plain text to the port of TLS", "none", sends("GET / HTTP/1.1\r\n\r\n")},
	{"a TLS connection that sends nothing", "h2", sends("")},
	{"HTTP/2: a header of 31 KiB, not ended", "h2", http2Sends(func(framer *http2.Framer) error {
		return http2Headers(framer, 1, false)
	})},
	{
		"HTTP/2: 100 streams, each with a header of 31 KiB and no body", "h2",
		http2Sends(func(framer *http2.Framer) error {
			for stream := range uint32(100) {
				if err := http2Headers(framer, 2*stream+1, true); err != nil {
					return err
				}
			}
			return nil
		}),
	},
	{
		"HTTP/2: the announcement of a frame of 1 MiB", "h2",
		sends(http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" +
			"\x10\x00\x00\x00\x00\x00\x00\x00\x01x"),
	},
	{"HTTP/2: settings and pings without end", "h2", http2Sends(func(framer *http2.Framer) error {
		for {
			err := errors.Join(framer.WritePing(false, [8]byte{}),
				framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096}))
			if err != nil {
				return err
			}
		}
	})},
}

func sends(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// records returns TLS records of a handshake.
func records(handshake string) (text string) {
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

func http2Sends(then func(*http2.Framer) error) func(io.Writer) error {
	return func(w io.Writer) error {
		framer := http2.NewFramer(w, nil)
		if err := errors.Join(sends(http2.ClientPreface)(w), framer.WriteSettings()); err != nil {
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

// TestConnectionAttacks has many connections make each of the attacks at once, again whenever they
// are closed, on a collector with the memory that examples/kubernetes/values.yaml gives a pod. It
// has to live, and to accept all that the sender signs meanwhile.
func TestConnectionAttacks(t *testing.T) {
	const podMemory = 512 // MiB; the chart sets GOMEMLIMIT to four fifths of it
	t.Setenv("GOMEMLIMIT", "409MiB")
	allowFiles(t, *attackConnections+500)
	folder, dns := certificates(t), startDNS(t)
	table := "| Attack | Sent | Connections in all | Peak memory | Good calls | Lines of log |\n" +
		"|---|---|---|---|---|---|\n"
	for _, attack := range connectionAttacks {
		t.Run(attack.name, func(t *testing.T) {
			c := newSigned(t, dns)
			if attack.protocol != "" {
				c.set("receivers::smtp_failure::http::tls::cert_file="+filepath.Join(folder, "server.pem"),
					"receivers::smtp_failure::http::tls::key_file="+filepath.Join(folder, "server.key"))
			}
			c.start(t)
			good := &goodSender{address: c.address, tls: attack.protocol != ""}
			require.NoError(t, good.send(nil), "the key is known from here on")
			lines := strings.Count(c.output.String(), "\n")

			ctx, cancel := context.WithTimeout(t.Context(), *attackTime)
			defer cancel()
			var sent, opened atomic.Int64
			var group sync.WaitGroup
			for range *attackConnections {
				group.Go(func() {
					for ctx.Err() == nil {
						if err := attackOnce(ctx, c.address, attack.protocol, &sent, attack.send); err != nil {
							_ = sleep(ctx, rand.N(50*time.Millisecond))
							continue
						}
						opened.Add(1)
					}
				})
			}
			for ctx.Err() == nil {
				if err := good.send(nil); err != nil {
					t.Error(err)
				}
				_ = sleep(ctx, 50*time.Millisecond)
			}
			group.Wait()

			c.checkRunning(t)
			peak := memoryOf(t, c, "VmHWM")
			assert.LessOrEqual(t, peak, podMemory)
			lines = strings.Count(c.output.String(), "\n") - lines
			assert.LessOrEqual(t, lines, 50, "lines of log")
			_, percentiles := good.take()
			table += fmt.Sprintf("| %s | %d MB | %d | %d MiB | %s | %d |\n", attack.name, sent.Load()/1e6,
				opened.Load(), peak, percentiles, lines)
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

// attackOnce opens a connection, sends, and waits until it is closed or ctx is done.
func attackOnce(ctx context.Context, address, protocol string, sent *atomic.Int64, send func(io.Writer) error) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var counting net.Conn = countingConn{conn, sent}
	if protocol == http2.NextProtoTLS {
		secure := tls.Client(counting, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		counting = secure
	}
	// What is refused while it is sent is closed too.
	_ = send(counting)
	_, _ = io.Copy(io.Discard, counting)
	return nil
}

// TestFirstCallUnderAFlood floods a collector with made-up names of keys right after its start. The
// first call of the sender gets in where the flood is no faster than unknown names are looked up.
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
			if err := (&goodSender{address: c.address}).send(nil); err == nil {
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

// The ways to be slow.
var slowWays = []string{"header", "body of an unsigned call", "body of a badly signed call"}

// slowSenders open connections, send byte after byte until the collector has enough, and begin
// again.
type slowSenders struct {
	address            string
	pause              time.Duration // between two bytes of a connection
	timeouts           []time.Duration
	starts             []string // what is sent at once
	opened, concurrent atomic.Int64
	dials              chan struct{} // so many dial at once

	mutex     sync.Mutex
	longest   []time.Duration
	responses []map[int]int // by status
	kept      int           // still open long after the deadline
}

// A deadline that falls into a moment without a processor is noticed late.
const lateness = 5 * time.Second

func (s *slowSenders) run(ctx context.Context, i int) {
	for ; ctx.Err() == nil; i++ {
		s.dials <- struct{}{}
		w, err := dial(s.address)
		<-s.dials
		if err != nil {
			// The queue of the listener is full; so it is for anybody.
			_ = sleep(ctx, 100*time.Millisecond)
			continue
		}
		s.opened.Add(1)
		s.concurrent.Add(1)
		began := time.Now()
		status, ended := s.trickle(w, i%len(slowWays), began)
		_ = w.Close()
		s.concurrent.Add(-1)
		s.mutex.Lock()
		if ended {
			s.longest[i%len(slowWays)] = max(s.longest[i%len(slowWays)], time.Since(began))
			s.responses[i%len(slowWays)][status]++
		} else {
			s.kept++
		}
		s.mutex.Unlock()
	}
}

// trickle sends byte after byte, and returns when the connection is closed, or long after it should
// have been.
func (s *slowSenders) trickle(w *wire, way int, began time.Time) (status int, ended bool) {
	latest := began.Add(s.timeouts[way] + lateness)
	text := s.starts[way]
	for next := began; next.Before(latest); next = next.Add(s.pause/2 + rand.N(s.pause)) {
		// While there is nothing to write, it is read, so that the end is noticed when it comes.
		_ = w.SetDeadline(next)
		response, err := w.read()
		if err == nil {
			status = response.status
			_, err = w.read()
		}
		var network net.Error
		if !errors.As(err, &network) || !network.Timeout() {
			return status, true
		}
		_ = w.SetDeadline(latest)
		if _, err := io.WriteString(w, text); err != nil {
			return status, true
		}
		text = "x"
	}
	return status, false
}

// flood sends badly signed calls as fast as they are answered, until ctx is done.
func flood(ctx context.Context, t *testing.T, address string, calls []string, answered *atomic.Int64) {
	for ctx.Err() == nil {
		w, err := dial(address)
		for i := 0; err == nil && ctx.Err() == nil; i++ {
			var got reply
			if got, err = w.exchange(calls[i%len(calls)]); err == nil {
				assert.Equal(t, refused, got)
				answered.Add(1)
			}
		}
		if w != nil {
			_ = w.Close()
		}
		assert.NoError(t, err, "a call of the flood")
	}
}

// TestSlowConnections keeps many connections open that send byte after byte, and floods the
// collector with badly signed calls. What is well signed still has to be accepted, the deadlines
// have to end every slow connection, and memory has to stay bounded.
func TestSlowConnections(t *testing.T) {
	connections, headerTimeout, bodyTimeout := *slowConnections, 10*time.Second, 30*time.Second
	length, pause := time.Minute, 2*time.Second
	allowFiles(t, connections+500)
	c := newSigned(t, startDNS(t))
	if connections <= fewConnections {
		headerTimeout, bodyTimeout, length, pause = 2*time.Second, 4*time.Second, 8*time.Second, 200*time.Millisecond
		c.set("receivers::smtp_failure::http::read_header_timeout=2s", "receivers::smtp_failure::http::read_timeout=4s")
	}
	c.start(t)
	before := memoryOf(t, c, "VmRSS")

	sign := func(change func(*signaturetest.Request)) *signaturetest.Request {
		r := signedCall("private-attack")
		r.Remove("Connection")
		change(r)
		return r.Sign()
	}
	begun := strings.Repeat("x", *slowBody)
	badlySigned := sign(func(r *signaturetest.Request) {
		r.Key = otherKey()
		r.SetBody(begun + strings.Repeat("x", 1000))
	})
	unsigned := badlySigned.Clone()
	unsigned.Remove("Signature")
	slow := &slowSenders{
		address: c.address, pause: pause, dials: make(chan struct{}, 256),
		timeouts: []time.Duration{headerTimeout, bodyTimeout, bodyTimeout},
		starts: []string{
			strings.TrimSuffix(badlySigned.Head(), "\r\n") + "X-Slow: ",
			unsigned.Head() + begun, badlySigned.Head() + begun,
		},
		longest:   make([]time.Duration, len(slowWays)),
		responses: []map[int]int{{}, {}, {}},
	}
	good := &goodSender{address: c.address}
	sendGood := func(n int, over <-chan struct{}) {
		kept, err := dial(c.address)
		if err != nil {
			t.Error(err)
			return
		}
		defer kept.Close()
		for i := range n {
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
			}
			// By turns over the connection and over one of its own.
			if err := good.send([]*wire{nil, kept}[i%2]); err != nil {
				t.Error(err)
				return
			}
		}
	}
	sendGood(20, nil)
	quiet, quietPercentiles := good.take()

	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var group sync.WaitGroup
	for i := range connections {
		group.Go(func() { slow.run(ctx, i) })
	}
	// With very many, the first are ended and begin again before the last have begun.
	for slow.concurrent.Load() < int64(connections) && slow.opened.Load() < int64(connections) {
		require.NoError(t, sleep(ctx, time.Millisecond), "%d slow connections are open", slow.concurrent.Load())
	}
	var answered atomic.Int64
	calls := []string{
		// The first costs an RSA verification, the second a hash of the body.
		sign(func(r *signaturetest.Request) { r.Key = otherKey() }).Raw(),
		sign(func(r *signaturetest.Request) { r.Set("Digest", signaturetest.SHA256("")) }).Raw(),
		sign(func(r *signaturetest.Request) { r.KeyID = "one._domainkey.evil.com" }).Raw(),
		sign(func(r *signaturetest.Request) { r.Algorithm = "hs2019" }).Raw(),
		unsigned.Raw(),
	}
	for range 16 {
		group.Go(func() { flood(ctx, t, c.address, calls, &answered) })
	}
	peak, fewest := before, int64(connections)
	group.Go(func() {
		for sleep(ctx, 100*time.Millisecond) == nil {
			peak, fewest = max(peak, memoryOf(t, c, "VmRSS")), min(fewest, slow.concurrent.Load())
		}
	})
	for range 4 {
		group.Go(func() { sendGood(1<<30, ctx.Done()) })
	}
	group.Wait()
	meanwhile, meanwhilePercentiles := good.take()

	assert.Equal(t, quiet+meanwhile, tallyOf(t, c)["requests accepted"], "calls with 200")
	assert.GreaterOrEqual(t, meanwhile, 20, "good calls")
	assert.Positive(t, answered.Load(), "calls of the flood")
	assert.Zero(t, slow.kept, "slow connections that were open long after the deadline")
	for way, name := range slowWays {
		assert.NotEmpty(t, slow.responses[way], "ended connections with a slow %s", name)
		assert.Zero(t, slow.responses[way][http.StatusOK], "accepted calls with a slow %s", name)
	}
	// What a collector has anyway, and for each connection the buffers of net/http, the stack of
	// its goroutine, and the body as far as it was read, in a buffer that doubles, of which the
	// garbage collector lets as much again be in the way.
	assert.LessOrEqual(t, peak, 256+connections*(64<<10+4**slowBody)>>20)
	// Nothing of it is left behind: the next call is as quick as ever.
	after := memoryOf(t, c, "VmRSS")
	sendGood(20, nil)
	_, calmPercentiles := good.take()
	printTable(t, [][2]any{
		{"sent at once of each slow body", fmt.Sprintf("%d bytes", *slowBody)},
		{"slow connections", fmt.Sprintf("%d, at least %d open at any time, %d in all", connections, fewest,
			slow.opened.Load())},
		{
			"ended by the deadlines, by status",
			fmt.Sprintf("header (%s): %v, the longest after %s; body (%s): %v, the longest after %s", headerTimeout,
				slow.responses[0], slow.longest[0].Round(10*time.Millisecond), bodyTimeout, slow.responses[1:],
				max(slow.longest[1], slow.longest[2]).Round(10*time.Millisecond)),
		},
		{"badly signed calls answered with 401", answered.Load()},
		{"good calls before", quietPercentiles},
		{"good calls meanwhile", meanwhilePercentiles},
		{"good calls after", calmPercentiles},
		{
			"memory of the collector (VmRSS)",
			fmt.Sprintf("%d MiB before, %d MiB at most, %d MiB after", before, peak, after),
		},
	})
}
