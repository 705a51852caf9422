//go:build linux || darwin

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const fewConnections = 500

var (
	slowConnections = flag.Int("slow.connections", fewConnections,
		"how many slow connections TestSlowConnections keeps open; with more than the default it runs for a minute, with the receiver's own timeouts")
	slowBodySize = flag.Int("slow.body", 0, "how many bytes of a body the slow connections of TestSlowConnections send at once before they are slow, at most 262144 less 1000")
)

// siege is how long TestSlowConnections takes and what the receiver's timeouts are.
type siege struct {
	connections                  int
	headerTimeout, bodyTimeout   time.Duration
	length, pause                time.Duration // of it all, and between two bytes of a connection
	args                         []string
	filesPerProcess, memoryLimit uint64
}

func newSiege(connections int) *siege {
	s := &siege{
		connections: connections, headerTimeout: 10 * time.Second, bodyTimeout: 30 * time.Second, length: time.Minute, pause: 2 * time.Second,
		filesPerProcess: uint64(connections) + 500,
		// What a collector has anyway, and for each connection the buffers of net/http, the stack of its goroutine, and the body as far as it was
		// read, in a buffer that doubles, of which the garbage collector lets as much again be in the way.
		memoryLimit: 256<<20 + uint64(connections)*(64<<10+4*uint64(*slowBodySize)),
	}
	if connections <= fewConnections {
		s.headerTimeout, s.bodyTimeout, s.length, s.pause = 2*time.Second, 4*time.Second, 8*time.Second, 200*time.Millisecond
		s.args = []string{
			"--set", "receivers::smtp_failure::http::read_header_timeout=" + s.headerTimeout.String(),
			"--set", "receivers::smtp_failure::http::read_timeout=" + s.bodyTimeout.String(),
		}
	}
	return s
}

// A deadline that falls into a moment without a processor is noticed late.
const lateness = 5 * time.Second

const (
	floodSenders = 16
	goodSenders  = 4
	goodPause    = 20 * time.Millisecond
)

// TestSlowConnections keeps many connections open that send byte after byte, floods the collector with badly signed calls, and checks that what
// is well signed still gets its 200, that the deadlines end every slow connection, and that memory stays bounded.
func TestSlowConnections(t *testing.T) {
	s := newSiege(*slowConnections)
	if err := allowFiles(s.filesPerProcess); err != nil {
		t.Skipf("%d connections take %d open files: %v", s.connections, s.filesPerProcess, err)
	}
	servers := startNameServer(t)
	servers.set(goodName, texts(keyRecord(t, goodKey(t))))
	c, address := startSigned(t, servers.address, s.args...)
	before := memoryOf(t, c)

	ctx, cancel := context.WithTimeout(t.Context(), s.length)
	defer cancel()
	slow, flood, good := newSlowSenders(t, s, address), newFlood(t, address), newGoodSenders(address)
	good.send(t, 20, nil)
	quiet := good.take()

	var group sync.WaitGroup
	for i := range s.connections {
		group.Go(func() { slow.run(ctx, i) })
	}
	if !slow.wait(ctx) {
		t.Fatalf("only %d of %d slow connections were open after %s", slow.open.Load(), s.connections, s.length)
	}
	opened := slow.open.Load()
	floodContext, endFlood := context.WithCancel(ctx)
	defer endFlood()
	for i := range floodSenders {
		group.Go(func() { flood.run(floodContext, i) })
	}
	peak := before
	var fewest int64 = 1 << 62
	group.Go(func() {
		for ctx.Err() == nil {
			peak = max(peak, memoryOf(t, c))
			fewest = min(fewest, slow.open.Load())
			time.Sleep(100 * time.Millisecond) // between two looks at the memory
		}
	})
	for range goodSenders {
		group.Go(func() { good.send(t, 1<<30, ctx.Done()) })
	}
	group.Wait()
	besieged := good.take()

	c.eventually(t, "every call was counted", func() bool {
		return int(tallyOf(t, c, requestsMetric)["accepted"]) >= len(quiet)+len(besieged)
	})
	counted := tallyOf(t, c, requestsMetric)
	if n := int(counted["accepted"]); n != len(quiet)+len(besieged) {
		t.Errorf("%d calls were accepted, %d answered with 200", n, len(quiet)+len(besieged))
	}
	if len(besieged) < 20 {
		t.Errorf("only %d good calls were made", len(besieged))
	}
	flood.check(t)
	slow.check(t)
	if peak > s.memoryLimit {
		t.Errorf("the collector took %d MiB, want at most %d MiB", peak>>20, s.memoryLimit>>20)
	}
	after := memoryOf(t, c)
	// Nothing of it is left behind: the next call is as quick as ever.
	good.send(t, 20, nil)
	calm := good.take()

	w := t.Output()
	fmt.Fprintf(w, "| Figure | Value |\n|---|---|\n")
	for _, row := range [][2]string{
		{"sent at once of each slow body", fmt.Sprintf("%d bytes", *slowBodySize)},
		{"slow connections", fmt.Sprintf("%d opened, at least %d open at any time, %d in all", opened, fewest, slow.opened.Load())},
		{"ended by the deadlines", fmt.Sprintf("header (%s): %d, the longest after %s; body (%s): %d, the longest after %s",
			s.headerTimeout, slow.ended[slowHeader].count, slow.ended[slowHeader].longest.Round(10*time.Millisecond),
			s.bodyTimeout, slow.ended[slowRefused].count+slow.ended[slowBody].count,
			max(slow.ended[slowRefused].longest, slow.ended[slowBody].longest).Round(10*time.Millisecond))},
		{"flood: badly signed calls answered", fmt.Sprintf("%d with 401 by %d senders, %.0f a second", flood.answered.Load(), floodSenders, float64(flood.answered.Load())/flood.lasted().Seconds())},
		{"good calls before", percentiles(quiet)},
		{"good calls meanwhile", percentiles(besieged)},
		{"good calls after", percentiles(calm)},
		{"good calls not answered with 200", fmt.Sprint(good.failed.Load())},
		{"memory of the collector (VmRSS)", fmt.Sprintf("%s before, %s at most, %s after", mebibytes(before), mebibytes(peak), mebibytes(after))},
	} {
		fmt.Fprintf(w, "| %s | %s |\n", row[0], row[1])
	}
}

// percentiles sums up how long calls took.
func percentiles(took []time.Duration) string {
	slices.Sort(took)
	at := func(share float64) time.Duration {
		return took[int(share*float64(len(took)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%d, all 200: p50 %s, p99 %s, slowest %s", len(took), at(0.5), at(0.99), at(1))
}

// allowFiles raises the limit of open files of this process, and so of those that it starts.
func allowFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= n {
		return nil
	}
	limit.Cur = n
	limit.Max = max(limit.Max, n)
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

var residentLine = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

// memoryOf returns the resident memory of the collector, or 0 where the system does not tell.
func memoryOf(t *testing.T, c *collector) uint64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	match := residentLine.FindSubmatch(status)
	if err != nil || match == nil {
		t.Errorf("no VmRSS: %v", err)
		return 0
	}
	kibibytes, err := strconv.ParseUint(string(match[1]), 10, 64)
	if err != nil {
		t.Error(err)
	}
	return kibibytes << 10
}

func mebibytes(n uint64) string {
	return fmt.Sprintf("%d MiB", n>>20)
}

// The ways to be slow.
const (
	slowHeader  = iota // with the header
	slowRefused        // with the body of a call that is refused for its header
	slowBody           // with the body of a call whose header is as it should be, but for the signature
	waysToBeSlow
)

// slowSenders open connections, send byte after byte until the collector has enough, and begin again.
type slowSenders struct {
	siege   *siege
	address string
	starts  [waysToBeSlow]string // what is sent at once

	opened, open atomic.Int64
	dials        chan struct{} // so many dial at once

	mutex sync.Mutex
	ended [waysToBeSlow]struct {
		count   int
		longest time.Duration
		answers map[int]int
	}
	kept int // still open long after the deadline
}

func newSlowSenders(t *testing.T, s *siege, address string) *slowSenders {
	t.Helper()
	slow := &slowSenders{siege: s, address: address, dials: make(chan struct{}, 256)}
	call := newSignedCall(keyOf(t, 2048, "another"), "private-slow")
	sent := strings.Repeat("x", *slowBodySize)
	call.setBody(sent + strings.Repeat("x", 1000))
	slow.starts[slowRefused] = call.head() + sent
	// As long as the test lasts, the date is neither too old nor too far ahead.
	call.sign(t)
	slow.starts[slowBody] = call.head() + sent
	slow.starts[slowHeader] = strings.TrimSuffix(call.head(), "\r\n") + "X-Slow: "
	for i := range slow.ended {
		slow.ended[i].answers = make(map[int]int)
	}
	return slow
}

// wait returns when all were open at once, or ctx is done.
func (s *slowSenders) wait(ctx context.Context) bool {
	for s.open.Load() < int64(s.siege.connections) {
		// With very many, the first are ended and begin again before the last have begun.
		if s.opened.Load() >= int64(s.siege.connections) {
			return true
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return false
		}
	}
	return true
}

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
		s.open.Add(1)
		s.trickle(w, i%waysToBeSlow)
		s.open.Add(-1)
	}
}

// trickle sends byte after byte, and returns when the connection is closed: also when all else is over, so that each is seen to end.
func (s *slowSenders) trickle(w *wire, way int) {
	defer w.Close()
	began := time.Now()
	limit := s.siege.bodyTimeout
	if way == slowHeader {
		limit = s.siege.headerTimeout
	}
	latest := began.Add(limit + lateness)
	status := 0
	text := s.starts[way]
	for next := began; ; next = next.Add(s.siege.pause/2 + rand.N(s.siege.pause)) {
		if next.After(latest) {
			s.mutex.Lock()
			s.kept++
			s.mutex.Unlock()
			return
		}
		// While there is nothing to write, it is read, so that the end is noticed when it comes.
		_ = w.SetDeadline(next)
		answer, err := w.read()
		if err == nil {
			status = answer.status
			_, err = w.read()
		}
		var network net.Error
		if !errors.As(err, &network) || !network.Timeout() {
			s.note(way, time.Since(began), status)
			return
		}
		_ = w.SetDeadline(latest)
		if _, err := io.WriteString(w, text); err != nil {
			s.note(way, time.Since(began), status)
			return
		}
		text = "x"
	}
}

func (s *slowSenders) note(way int, took time.Duration, status int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	e := &s.ended[way]
	e.count++
	e.longest = max(e.longest, took)
	e.answers[status]++
}

func (s *slowSenders) check(t *testing.T) {
	t.Helper()
	if s.kept > 0 {
		t.Errorf("%d slow connections were still open %s after the deadline", s.kept, lateness)
	}
	for way, name := range []string{"header", "body of a refused call", "body"} {
		e := s.ended[way]
		t.Logf("slow %s: %d ended, answers %v", name, e.count, e.answers)
		if e.count == 0 {
			t.Errorf("no connection with a slow %s was ended", name)
		}
		if e.answers[200] > 0 {
			t.Errorf("%d calls with a slow %s were let in", e.answers[200], name)
		}
	}
}

// flood sends badly signed calls as fast as they are answered.
type flood struct {
	address  string
	calls    []string
	answered atomic.Int64

	mutex        sync.Mutex
	began, ended time.Time
	others       map[string]int
}

func newFlood(t *testing.T, address string) *flood {
	t.Helper()
	f := &flood{address: address, others: make(map[string]int)}
	for _, prepare := range []func(*signedCall){
		func(c *signedCall) { c.key = keyOf(t, 2048, "another") }, // costs an RSA verification
		func(c *signedCall) { c.set("Digest", sha256Of("")) },     // costs a hash of the body
		func(c *signedCall) { c.keyID = "one._domainkey.evil.com" },
		func(c *signedCall) { c.algorithm = "hs2019" },
	} {
		call := newSignedCall(goodKey(t), "private-flood")
		prepare(call)
		call.sign(t)
		f.calls = append(f.calls, call.raw())
	}
	unsigned := newSignedCall(goodKey(t), "private-flood")
	f.calls = append(f.calls, unsigned.raw())
	return f
}

// run sends over one connection, and over another when that ends.
func (f *flood) run(ctx context.Context, i int) {
	f.mutex.Lock()
	if f.began.IsZero() {
		f.began = time.Now()
	}
	f.mutex.Unlock()
	for ctx.Err() == nil {
		w, err := dial(f.address)
		if err != nil {
			f.other(err.Error())
			continue
		}
		for ; err == nil && ctx.Err() == nil; i++ {
			var got reply
			got, err = w.exchange(f.calls[i%len(f.calls)])
			switch {
			case err != nil:
				f.other(err.Error())
			case got == refused:
				f.answered.Add(1)
			default:
				f.other(fmt.Sprintf("%+v", got))
			}
		}
		_ = w.Close()
	}
	f.mutex.Lock()
	f.ended = time.Now()
	f.mutex.Unlock()
}

func (f *flood) other(what string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.others[what]++
}

func (f *flood) lasted() time.Duration {
	return f.ended.Sub(f.began)
}

func (f *flood) check(t *testing.T) {
	t.Helper()
	if f.answered.Load() == 0 {
		t.Error("nothing of the flood was answered")
	}
	for what, n := range f.others {
		t.Errorf("%d calls of the flood ended in: %s", n, what)
	}
}

// goodSendersGroup sends well-signed calls, by turns over connections of their own and over one that stays.
type goodSendersGroup struct {
	address string
	next    atomic.Int64
	failed  atomic.Int64

	mutex sync.Mutex
	took  []time.Duration
}

func newGoodSenders(address string) *goodSendersGroup {
	return &goodSendersGroup{address: address}
}

// take returns how long the calls took since it was last called.
func (g *goodSendersGroup) take() []time.Duration {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	took := g.took
	g.took = nil
	return took
}

// send sends n calls one after the other, or fewer if it is over before.
func (g *goodSendersGroup) send(t *testing.T, n int, over <-chan struct{}) {
	var kept *wire
	defer func() {
		if kept != nil {
			_ = kept.Close()
		}
	}()
	for i := range n {
		select {
		case <-over:
			return
		case <-time.After(goodPause):
		}
		call := newSignedCall(goodKey(t), fmt.Sprint("private-good-", g.next.Add(1)))
		once := i%2 == 0
		if once {
			call.add("Connection", "close")
		}
		call.sign(t)
		raw := call.raw()

		began := time.Now()
		var (
			got reply
			err error
		)
		if once {
			got, err = exchangeOnce(g.address, raw)
		} else {
			if kept == nil {
				kept, err = dial(g.address)
			}
			if err == nil {
				got, err = kept.exchange(raw)
			}
		}
		took := time.Since(began)
		if err != nil || got != accepted {
			g.failed.Add(1)
			t.Errorf("a well-signed call was answered after %s with %+v, %v", took, got, err)
			return
		}
		g.mutex.Lock()
		g.took = append(g.took, took)
		g.mutex.Unlock()
	}
}
