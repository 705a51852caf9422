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

// load sends requests over connections that stay open and waits for the responses. It is one thread
// that calls the kernel and allocates hardly anything, since it shares the machine with the server
// that it measures.
type load struct {
	address     netip.AddrPort
	connections int
	next        requests
	// rate is the number of requests to send each second, whether or not the server keeps up. With
	// 0 each connection sends the next request as soon as it has a response.
	rate float64
	// onResponse, if set, is called with the status of each response.
	onResponse func(status int)
}

// outcome is what came of a load.
type outcome struct {
	elapsed   time.Duration
	latencies []time.Duration // ascending
	statuses  map[int]int     // number of responses by status
}

func (o *outcome) perSecond() float64 {
	return float64(len(o.latencies)) / o.elapsed.Seconds()
}

// percentile returns the latency that a share of the requests did not exceed, in microseconds.
func (o *outcome) percentile(share float64) float64 {
	if len(o.latencies) == 0 {
		return 0
	}
	return microseconds(o.latencies[min(int(share*float64(len(o.latencies))), len(o.latencies)-1)])
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

const (
	maxSilence  = 60 * time.Second // without a response
	maxResponse = 4096             // bytes, headers included
)

// connection is one to the server. It has at most one request under way.
type connection struct {
	fd       int
	sent     time.Time
	response []byte
}

// running is a load that is being sent.
type running struct {
	*load
	outcome

	all        []connection
	idle       []int // a queue, so that all connections are used
	began, end time.Time
	sent       int
	exhausted  bool
}

// run sends until the time is over or there is nothing left to send, and waits for the last
// responses.
func (l *load) run(duration time.Duration) *outcome {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	poll := must(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	defer unix.Close(poll)
	r := &running{load: l, outcome: outcome{statuses: make(map[int]int)}}
	for i := range l.connections {
		fd := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		defer unix.Close(fd) //nolint:gocritic // All are closed at the end.
		check(
			unix.Connect(fd, &unix.SockaddrInet4{Port: int(l.address.Port()), Addr: l.address.Addr().As4()}),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
			unix.SetNonblock(fd, true),
			unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}),
		)
		r.all = append(r.all, connection{fd: fd, response: make([]byte, 0, maxResponse)})
		r.idle = append(r.idle, i)
	}
	r.began = time.Now()
	r.end = r.began.Add(duration)
	r.loop(poll)
	r.elapsed = time.Since(r.began)
	slices.Sort(r.latencies)
	return &r.outcome
}

func (r *running) loop(poll int) {
	events := make([]unix.EpollEvent, len(r.all))
	timeout := maxSilence
	if r.rate > 0 {
		timeout = time.Millisecond
	}
	last := time.Now()
	for {
		r.sendDue()
		if len(r.idle) == len(r.all) && (r.exhausted || !time.Now().Before(r.end)) {
			return
		}
		n, err := unix.EpollWait(poll, events, int(timeout.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			check(err)
		case n > 0:
			last = time.Now()
		case time.Since(last) >= maxSilence:
			check(fmt.Errorf("no response within %s", maxSilence))
		}
		for _, event := range events[:n] {
			r.receive(int(event.Fd))
			r.sendDue()
		}
	}
}

// sendDue sends what is due over idle connections.
func (r *running) sendDue() {
	for len(r.idle) > 0 && !r.exhausted {
		now := time.Now()
		if !now.Before(r.end) {
			return
		}
		if r.rate > 0 {
			// The wait for a connection counts as latency too.
			due := r.began.Add(time.Duration(float64(r.sent) / r.rate * float64(time.Second)))
			if due.After(now) {
				return
			}
			now = due
		}
		request := r.next()
		if request == nil {
			r.exhausted = true
			return
		}
		c := &r.all[r.idle[0]]
		r.idle = append(r.idle[:0], r.idle[1:]...)
		c.sent, c.response = now, c.response[:0]
		r.sent++
		// Nothing else is under way over this connection, so the request fits into its buffer.
		if n := must(unix.Write(c.fd, request)); n < len(request) {
			check(fmt.Errorf("sent %d of %d bytes", n, len(request)))
		}
	}
}

// receive reads what a connection has, and takes note of the response once it is complete.
func (r *running) receive(i int) {
	c := &r.all[i]
	n, err := unix.Read(c.fd, c.response[len(c.response):maxResponse])
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil || n == 0 {
		check(fmt.Errorf("%s closed a connection, or its response is too long: %w", r.address, err))
	}
	c.response = c.response[:len(c.response)+n]
	status := statusOf(c.response)
	if status == 0 {
		return
	}
	r.latencies = append(r.latencies, time.Since(c.sent))
	r.statuses[status]++
	if r.onResponse != nil {
		r.onResponse(status)
	}
	r.idle = append(r.idle, i)
}

// statusOf returns the status of a response, or 0 if a part of it is missing.
func statusOf(response []byte) int {
	head, body, ok := bytes.Cut(response, []byte("\r\n\r\n"))
	if !ok {
		return 0
	}
	_, length, _ := bytes.Cut(response, []byte("\r\nContent-Length: "))
	length, _, _ = bytes.Cut(length, []byte("\r\n"))
	if len(body) < must(strconv.Atoi(string(length))) {
		return 0
	}
	return must(strconv.Atoi(string(head[len("HTTP/1.1 "):len("HTTP/1.1 200")])))
}
