package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// requests is what there is to send.
type requests interface {
	// next returns a request as it goes over the wire, which is good until the next call, or nil when there are no more.
	next() []byte
}

// load sends requests over persistent connections and waits for the answers. It is one thread that calls the kernel and allocates next to
// nothing, because it shares the machine with the server that it measures.
type load struct {
	address     netip.AddrPort
	connections int
	requests    requests
	// rate is how many requests to send each second, whether or not the server keeps up; 0: each connection sends the next as soon as it has
	// its answer.
	rate float64
	// answered, if set, is called with each answer.
	answered func(status int)
}

// outcome is what came of a load.
type outcome struct {
	elapsed time.Duration
	// latencies are in units of resolution and in order.
	latencies []uint32
	// statuses is the number of answers with each status.
	statuses map[int]int
	// reconnects is the number of connections that the server closed.
	reconnects int
}

// answers is the number of requests that were answered.
func (o *outcome) answers() int {
	return len(o.latencies)
}

func (o *outcome) perSecond() float64 {
	return float64(o.answers()) / o.elapsed.Seconds()
}

// percentile returns the latency that so much of all do not exceed.
func (o *outcome) percentile(p float64) time.Duration {
	if len(o.latencies) == 0 {
		return 0
	}
	i := min(int(p*float64(len(o.latencies))), len(o.latencies)-1)
	return time.Duration(o.latencies[i]) * resolution
}

// connection is one to the server.
type connection struct {
	fd       int
	sent     time.Time
	busy     bool
	answer   []byte
	received int
}

// maxAnswer is the longest answer with its headers.
const maxAnswer = 4096

var errServerClosed = errors.New("the server closed the connection")

// run sends until the time is over or there is nothing left to send, and waits for the last answers.
func (l *load) run(duration time.Duration) (*outcome, error) {
	// The thread stays this one, so that the scheduler of Go has nothing to do.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	defer unix.Close(poll)
	all := make([]connection, l.connections)
	defer func() {
		for i := range all {
			if all[i].fd > 0 {
				_ = unix.Close(all[i].fd)
			}
		}
	}()
	idle := make([]int, 0, len(all))
	for i := range all {
		all[i].answer = make([]byte, maxAnswer)
		if err := l.connect(poll, all, i); err != nil {
			return nil, err
		}
		idle = append(idle, i)
	}

	r := &running{load: l, poll: poll, all: all, idle: idle, outcome: outcome{
		latencies: make([]uint32, 0, 1<<16), statuses: make(map[int]int),
	}}
	if err := r.run(duration); err != nil {
		return nil, err
	}
	return &r.outcome, nil
}

// running is a load that is being sent.
type running struct {
	*load
	outcome
	poll int
	all  []connection
	idle []int

	began, end time.Time
	sent       int
	exhausted  bool
	// same is the number of answers in a row with lastStatus, which are counted at once.
	lastStatus, same int
}

func (r *running) run(duration time.Duration) error {
	events := make([]unix.EpollEvent, len(r.all))
	r.began = time.Now()
	r.end = r.began.Add(duration)
	now := r.began
	timeout := maxWait
	if r.rate > 0 {
		timeout = time.Millisecond
	}
	for {
		for len(r.idle) > 0 && r.due(now) {
			i := r.idle[len(r.idle)-1]
			if err := r.send(i); err != nil {
				return err
			}
			if r.exhausted {
				break
			}
			r.idle = r.idle[:len(r.idle)-1]
		}
		if len(r.idle) == len(r.all) && (r.exhausted || !now.Before(r.end)) {
			break
		}
		n, err := unix.EpollWait(r.poll, events, int(timeout/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		if now = time.Now(); n == 0 && timeout == maxWait {
			return fmt.Errorf("no answer within %s", maxWait)
		}
		for _, event := range events[:max(n, 0)] {
			if err := r.receive(int(event.Fd)); err != nil {
				return err
			}
		}
	}
	r.elapsed = time.Since(r.began)
	r.count(0)
	slices.Sort(r.latencies)
	return nil
}

// due reports whether there is something to send now.
func (r *running) due(now time.Time) bool {
	return !r.exhausted && now.Before(r.end) && (r.rate == 0 || float64(r.sent) < r.rate*now.Sub(r.began).Seconds())
}

// send sends the next request, if there is one.
func (r *running) send(i int) error {
	request := r.requests.next()
	if request == nil {
		r.exhausted = true
		return nil
	}
	c := &r.all[i]
	c.busy, c.received, c.sent = true, 0, time.Now()
	if r.rate > 0 {
		// When it was due, so that the time counts for which it had to wait for a connection.
		c.sent = r.began.Add(time.Duration(float64(r.sent) / r.rate * float64(time.Second)))
	}
	r.sent++
	return write(c.fd, request)
}

// receive reads what a connection has, and sends the next request over it once the answer is complete.
func (r *running) receive(i int) error {
	c := &r.all[i]
	status, complete, err := c.read()
	if errors.Is(err, errServerClosed) {
		r.reconnects++
		if c.busy {
			// Nobody knows what became of the request.
			r.statuses[unanswered]++
			c.busy = false
			r.idle = append(r.idle, i)
		}
		return r.connect(r.poll, r.all, i)
	}
	if err != nil || !complete || !c.busy {
		return err
	}
	c.busy = false
	now := time.Now()
	r.latencies = append(r.latencies, uint32(min(now.Sub(c.sent), maxLatency)/resolution))
	r.count(status)
	if r.answered != nil {
		r.answered(status)
	}
	if r.due(now) {
		if err := r.send(i); err != nil || !r.exhausted {
			return err
		}
	}
	r.idle = append(r.idle, i)
	return nil
}

func (r *running) count(status int) {
	if status != r.lastStatus {
		if r.same > 0 {
			r.statuses[r.lastStatus] += r.same
		}
		r.lastStatus, r.same = status, 0
	}
	r.same++
}

// unanswered stands in statuses for the requests whose connection was closed before an answer.
const unanswered = -1

const (
	// maxWait is how long a server may be silent.
	maxWait = 60 * time.Second
	// resolution is that of the latencies, and maxLatency what fits in 32 bits.
	resolution = 100 * time.Nanosecond
	maxLatency = 400 * time.Second
)

// connect opens a connection in place of the one that was there.
func (l *load) connect(poll int, all []connection, i int) error {
	if all[i].fd > 0 {
		_ = unix.Close(all[i].fd)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	all[i].fd = fd
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(l.address.Port()), Addr: l.address.Addr().As4()}); err != nil {
		return fmt.Errorf("connect to %s: %w", l.address, err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("TCP_NODELAY: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("O_NONBLOCK: %w", err)
	}
	if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// write sends all of a request.
func write(fd int, request []byte) error {
	for len(request) > 0 {
		n, err := unix.Write(fd, request)
		switch {
		case err == nil:
			request = request[n:]
		case errors.Is(err, unix.EAGAIN):
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("poll: %w", err)
			}
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
			// The read that follows finds it out.
			return nil
		default:
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

var (
	endOfHeaders  = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
)

// read reads what there is, and returns the status of the answer and whether it is all there.
func (c *connection) read() (status int, complete bool, err error) {
	n, err := unix.Read(c.fd, c.answer[c.received:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, false, nil
	case errors.Is(err, unix.ECONNRESET), err == nil && n == 0:
		return 0, false, errServerClosed
	case err != nil:
		return 0, false, fmt.Errorf("read: %w", err)
	}
	c.received += n
	answer := c.answer[:c.received]
	headers := bytes.Index(answer, endOfHeaders)
	if headers < 0 {
		if c.received == len(c.answer) {
			return 0, false, errors.New("the headers of an answer are too long")
		}
		return 0, false, nil
	}
	const version = len("HTTP/1.1 ")
	if headers < version+3 {
		return 0, false, fmt.Errorf("no answer of HTTP: %q", answer)
	}
	if status, err = strconv.Atoi(string(answer[version : version+3])); err != nil {
		return 0, false, fmt.Errorf("no answer of HTTP: %w", err)
	}
	at := bytes.Index(answer[:headers], contentLength)
	if at < 0 {
		return 0, false, fmt.Errorf("an answer without Content-Length: %q", answer)
	}
	value, _, _ := bytes.Cut(answer[at+len(contentLength):], endOfHeaders[:2])
	size, err := strconv.Atoi(string(value))
	if err != nil {
		return 0, false, fmt.Errorf("Content-Length: %w", err)
	}
	length := headers + len(endOfHeaders) + size
	if length > len(c.answer) {
		return 0, false, errors.New("an answer is too long")
	}
	return status, c.received >= length, nil
}
