// Package otlpsink is a backend that takes OTLP over HTTP and can be made to fail, for tests and
// benchmarks.
package otlpsink

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// Mode is how a sink treats requests.
type Mode int

const (
	// Accept takes each request and answers at once. It is the mode of a new sink.
	Accept Mode = iota
	// Refuse takes nothing and answers 503.
	Refuse
	// Stall takes nothing, holds each request until the mode changes, and then answers 503.
	Stall
	// HoldResponse takes each request but holds the response until the mode changes, so that the
	// exporter times out and sends the request again.
	HoldResponse
	// Slow takes each request and answers after SlowDelay.
	Slow
	// Down does not listen, and all connections are closed.
	Down
)

// SlowDelay is how long a request takes in the mode Slow.
const SlowDelay = 200 * time.Millisecond

// Request is one that was taken. Of Logs and Metrics one is set, which one depends on Path.
type Request struct {
	Path    string
	Header  http.Header
	Logs    plog.Logs
	Metrics pmetric.Metrics
}

// Sink is a backend. Its methods may be called at any time.
type Sink struct {
	// URL is what exporters add the path of a signal to, such as http://127.0.0.1:4318.
	URL string

	address string
	accept  func(*Request) error

	mutex          sync.Mutex
	server         *http.Server
	mode           Mode
	signals        []string      // those that the mode is for; none: all
	changed        chan struct{} // closed when the mode changes
	errs           []error
	unacknowledged int
}

// Start starts a sink that listens on an address and calls accept for each request that it takes,
// one at a time. Without accept, requests are taken unread. When accept returns an error, or a
// request cannot be decoded, the response is 400 and Errors returns the error.
func Start(address string, accept func(*Request) error) (*Sink, error) {
	s := &Sink{address: address, accept: accept, changed: make(chan struct{})}
	if err := s.listen(); err != nil {
		return nil, err
	}
	s.URL = "http://" + s.address
	return s, nil
}

func (s *Sink) listen() error {
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("start the sink: %w", err)
	}
	// It is the same one when it listens again, even if any port was asked for.
	s.address = listener.Addr().String()
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func(server *http.Server) {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(err)
		}
	}(s.server)
	return nil
}

// SetMode changes how requests are treated from now on: those of the signals ("logs", "metrics"),
// while others are accepted, or all if no signal is given.
func (s *Sink) SetMode(mode Mode, signals ...string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	before := s.mode
	s.mode, s.signals = mode, signals
	close(s.changed)
	s.changed = make(chan struct{})
	switch {
	case mode == Down && before != Down:
		return s.server.Close()
	case mode != Down && before == Down:
		return s.listen()
	}
	return nil
}

// Close stops the sink, whatever its mode.
func (s *Sink) Close() error {
	return s.SetMode(Down)
}

// Errors returns what went wrong with requests.
func (s *Sink) Errors() []error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.errs)
}

// Unacknowledged returns the number of log records that were taken without the exporter being told,
// as far as the sink can know.
func (s *Sink) Unacknowledged() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.unacknowledged
}

func (s *Sink) fail(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.errs = append(s.errs, err)
}

// ServeHTTP implements http.Handler.
func (s *Sink) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	received, err := s.read(req)
	if err != nil {
		if req.Context().Err() == nil {
			s.fail(err)
		}
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	mode, changed, err := s.take(received)
	if err != nil {
		s.fail(err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}

	switch mode {
	case Stall, HoldResponse:
		wait(req, changed)
	case Slow:
		wait(req, time.After(SlowDelay))
	}
	if !takes(mode) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", req.Header.Get("Content-Type"))
	if isJSON(req) {
		_, err = io.WriteString(w, "{}")
	}
	if s.accept == nil {
		return
	}
	// Only with a flush it shows whether the connection is still there.
	if err = errors.Join(err, http.NewResponseController(w).Flush(), req.Context().Err()); err != nil {
		s.mutex.Lock()
		s.unacknowledged += received.Logs.LogRecordCount()
		s.mutex.Unlock()
	}
}

// take hands a request to accept if the mode says so, and returns the mode and what is closed when
// it changes.
func (s *Sink) take(received *Request) (Mode, <-chan struct{}, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	mode := s.mode
	if len(s.signals) > 0 && !slices.ContainsFunc(s.signals, func(signal string) bool {
		return strings.HasSuffix(received.Path, "/v1/"+signal)
	}) {
		mode = Accept
	}
	if s.accept == nil || !takes(mode) {
		return mode, s.changed, nil
	}
	return mode, s.changed, s.accept(received)
}

func takes(mode Mode) bool {
	return mode == Accept || mode == HoldResponse || mode == Slow
}

func wait[T any](req *http.Request, until <-chan T) {
	select {
	case <-until:
	case <-req.Context().Done():
	}
}

// read reads and decodes a request.
func (s *Sink) read(req *http.Request) (*Request, error) {
	received := &Request{
		Path: req.URL.Path, Header: req.Header, Logs: plog.NewLogs(), Metrics: pmetric.NewMetrics(),
	}
	if s.accept == nil {
		_, err := io.Copy(io.Discard, req.Body)
		return received, err
	}
	reader := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if reader, err = gzip.NewReader(req.Body); err != nil {
			return nil, err
		}
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	var (
		logs    plog.Unmarshaler    = new(plog.ProtoUnmarshaler)
		metrics pmetric.Unmarshaler = new(pmetric.ProtoUnmarshaler)
	)
	if isJSON(req) {
		logs, metrics = new(plog.JSONUnmarshaler), new(pmetric.JSONUnmarshaler)
	}
	switch {
	case strings.HasSuffix(received.Path, "/v1/logs"):
		received.Logs, err = logs.UnmarshalLogs(body)
	case strings.HasSuffix(received.Path, "/v1/metrics"):
		received.Metrics, err = metrics.UnmarshalMetrics(body)
	default:
		err = fmt.Errorf("a request for %s", received.Path)
	}
	return received, err
}

func isJSON(req *http.Request) bool {
	return req.Header.Get("Content-Type") == "application/json"
}
