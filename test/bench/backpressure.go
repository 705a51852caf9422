package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	backpressureConnections = 64
	// slowness is how long a slow backend takes for each record: with as many at once as there are connections, a few hundred records a second.
	slowness = 200 * time.Millisecond
	// recovery is how soon the first report has to be accepted once the backend works again.
	recovery = time.Second
	// backlog is how much more memory than with a backend that works may be held, whatever ails it.
	backlog = 64 << 20
)

// backend takes records as a backend of OTLP does, or fails to.
type backend struct {
	address string
	server  *http.Server

	mutex sync.Mutex
	// hanging is closed when the backend does not hang, or no longer.
	hanging chan struct{}
	slow    bool
	ended   chan struct{} // closed when it no longer listens
}

func newBackend() (*backend, error) {
	b := &backend{hanging: make(chan struct{})}
	close(b.hanging)
	err := b.revive("127.0.0.1:0")
	return b, err
}

// revive starts to listen.
func (b *backend) revive(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	b.address = listener.Addr().String()
	b.ended = make(chan struct{})
	b.server = &http.Server{Handler: b, ReadHeaderTimeout: deadline}
	server, ended := b.server, b.ended
	go func() {
		defer close(ended)
		// It ends when it is killed.
		_ = server.Serve(listener)
	}()
	return nil
}

// kill closes the port, so that connections are refused.
func (b *backend) kill() error {
	err := b.server.Close()
	<-b.ended
	return err
}

// hang takes connections and never answers, until it is healed.
func (b *backend) hang() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.hanging = make(chan struct{})
}

// unhang answers again.
func (b *backend) unhang() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	close(b.hanging)
}

func (b *backend) setSlow(slow bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.slow = slow
}

// ServeHTTP implements http.Handler.
func (b *backend) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	// Who sends may be gone.
	_, _ = io.Copy(io.Discard, req.Body)
	b.mutex.Lock()
	hanging, slow := b.hanging, b.slow
	b.mutex.Unlock()
	select {
	case <-hanging:
	case <-req.Context().Done():
		return
	}
	if slow {
		select {
		case <-time.After(slowness):
		case <-req.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// ailment is a way in which a backend fails, and how it is ended.
type ailment struct {
	name      string
	ail, heal func() error
	// accepts reports whether reports are accepted nevertheless.
	accepts bool
}

// runBackpressure puts a backend behind the receiver that fails in each way in turn, while more is sent than it could take.
func (o *options) runBackpressure(ctx context.Context) (err error) {
	b, err := newBackend()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.kill()) }()
	s, err := start(ctx, ours, o.ours, []string{"BENCH_BACKEND=http://" + b.address}, o.config("ours", "backend")...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()

	fmt.Printf("%d connections, each phase %s:\n\n", backpressureConnections, o.phase)
	fmt.Println("| backend | 200 | 503 | others | p50 | p99 | memory held | peak | first 200 after it healed |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
	nothing := func() error { return nil }
	works := ailment{"works", nothing, nothing, true}
	p := &pressure{options: o, backend: b, server: s, requests: newTypical()}
	for _, a := range []ailment{
		works,
		{"refuses connections", b.kill, func() error { return b.revive(b.address) }, false},
		works,
		{"takes them and hangs", func() error { b.hang(); return nil }, func() error { b.unhang(); return nil }, false},
		works,
		{fmt.Sprintf("takes %s for each record", slowness), func() error { b.setSlow(true); return nil }, func() error { b.setSlow(false); return nil }, true},
		works,
	} {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := p.phase(a); err != nil {
			return fmt.Errorf("backend %s: %w", a.name, err)
		}
	}
	counted, err := s.counted(failuresCounter, p.accepted)
	if err != nil {
		return err
	}
	fmt.Printf("\nAnswered with 200: %d, counted: %d.\n", p.accepted, counted)
	if counted != p.accepted {
		p.wrong = errors.Join(p.wrong, errors.New("the counter is wrong"))
	}
	return p.wrong
}

// pressure is what is sent, and what came of it so far.
type pressure struct {
	*options
	backend  *backend
	server   *server
	requests requests
	accepted int
	healthy  float64 // memory held in the first phase
	wrong    error
}

// phase lets the backend fail for a while, and goes on until a report is accepted.
func (p *pressure) phase(a ailment) error {
	if err := a.ail(); err != nil {
		return err
	}
	var healed, first atomic.Int64
	healing := make(chan error, 1)
	timer := time.AfterFunc(p.options.phase, func() {
		err := a.heal()
		healed.Store(time.Now().UnixNano())
		healing <- err
	})
	defer timer.Stop()
	statuses := make(map[int]int)
	sending := &load{address: p.server.address, connections: backpressureConnections, requests: p.requests}
	sending.answered = func(status int) {
		if healed.Load() == 0 {
			statuses[status]++
		} else if status == http.StatusOK {
			first.CompareAndSwap(0, time.Now().UnixNano())
		}
	}
	got, err := sending.run(p.options.phase + 2*recovery)
	if err != nil {
		return err
	}
	if err := <-healing; err != nil {
		return err
	}
	m, err := p.server.look()
	if err != nil {
		return err
	}
	p.accepted += got.statuses[http.StatusOK]
	others := 0
	for _, status := range slices.Sorted(maps.Keys(got.statuses)) {
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			others += got.statuses[status]
		}
	}
	took := time.Duration(first.Load() - healed.Load())
	fmt.Printf("| %s | %d | %d | %d | %s | %s | %.0f MiB | %.0f MiB | %s |\n", a.name, statuses[http.StatusOK], statuses[http.StatusServiceUnavailable], others,
		microseconds(float64(got.percentile(0.50))), microseconds(float64(got.percentile(0.99))), m.held/mebibyte, m.peak/mebibyte, took.Round(10*time.Microsecond))
	switch {
	case first.Load() == 0 || took > recovery:
		p.fail(a, "it did not recover")
	case others > 0:
		p.fail(a, fmt.Sprintf("other answers than 200 and 503: %v", got.statuses))
	case !a.accepts && statuses[http.StatusServiceUnavailable] == 0:
		p.fail(a, "no 503")
	case a.accepts && statuses[http.StatusOK] == 0:
		p.fail(a, "no 200")
	}
	if p.healthy == 0 {
		p.healthy = m.peak
	}
	if m.peak > p.healthy+backlog {
		p.fail(a, fmt.Sprintf("its memory grew from %.0f to %.0f MiB", p.healthy/mebibyte, m.peak/mebibyte))
	}
	return nil
}

func (p *pressure) fail(a ailment, what string) {
	p.wrong = errors.Join(p.wrong, fmt.Errorf("backend %s: %s", a.name, what))
}
