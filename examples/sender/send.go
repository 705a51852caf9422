package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	maxAttempts    = 8
	firstPause     = 250 * time.Millisecond
	longestPause   = 5 * time.Second
	connectFor     = time.Minute
	requestTimeout = 30 * time.Second
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// sender plays days against a URL and counts what comes of them.
type sender struct {
	url         string
	connections int
	dial        dialFunc
	client      *http.Client
	record      *json.Encoder

	mutex     sync.Mutex     // guards the rest, and what changes of reports
	responses map[string]int // by status, or "no response"
	reports   int
	refused   int // reports that never got 200
	recordErr error
}

func newSender(address string, connections int, record io.Writer, dial dialFunc) *sender {
	s := &sender{
		url:         address,
		connections: connections,
		dial:        dial,
		client: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         dial,
			MaxIdleConnsPerHost: connections,
			MaxConnsPerHost:     connections,
		}},
		record:    json.NewEncoder(record),
		responses: map[string]int{},
	}
	s.record.SetEscapeHTML(false)
	return s
}

// awaitServer waits until the URL accepts connections, as a collector that starts along with the
// sender does after a moment.
func (s *sender) awaitServer(ctx context.Context) error {
	u, err := url.Parse(s.url)
	if err != nil {
		return err
	}
	address := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme]))
	ctx, cancel := context.WithTimeout(ctx, connectFor)
	defer cancel()
	for {
		connection, err := s.dial(ctx, "tcp", address)
		if err == nil {
			return connection.Close()
		}
		if sleep(ctx, firstPause); ctx.Err() != nil {
			return fmt.Errorf("nothing takes connections at %s: %w", s.url, err)
		}
	}
}

// sleep returns after a time, or when the context ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// call is one delivery of a report, the first or a repeat.
type call struct {
	at     time.Duration
	report *report
}

// play sends the reports of a day in the given time, and returns when the last one has its response.
// When the context ends, calls that have begun are finished and no others are made.
func (s *sender) play(ctx context.Context, day []*report, length time.Duration) {
	var calls []call
	for _, r := range day {
		r.pending = 1 + len(r.repeats)
		calls = append(calls, call{r.at, r})
		for _, at := range r.repeats {
			calls = append(calls, call{at, r})
		}
	}
	slices.SortStableFunc(calls, func(a, b call) int { return cmp.Compare(a.at, b.at) })

	start := time.Now()
	var sending errgroup.Group
	sending.SetLimit(s.connections)
	for _, c := range calls {
		due := start.Add(time.Duration(float64(c.at) / float64(dayLength) * float64(length)))
		if sleep(ctx, time.Until(due)); ctx.Err() != nil {
			break
		}
		c.report.write(time.Now())
		sending.Go(func() error {
			s.send(ctx, c.report)
			return nil
		})
	}
	_ = sending.Wait() // no call returns an error
	// So that days that follow each other keep their length.
	sleep(ctx, time.Until(start.Add(length)))

	for _, r := range day {
		if r.Sends > 0 && r.pending > 0 { // its repeat was not sent any more
			s.finish(r)
		}
	}
}

// send makes one call, and makes it again while there is no response or one that asks for that.
func (s *sender) send(ctx context.Context, r *report) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		status, after := s.post(r)
		s.count(r, status)
		if status != noAnswer && status != http.StatusServiceUnavailable || attempt == maxAttempts {
			break
		}
		if sleep(ctx, min(max(pause, after), longestPause)); ctx.Err() != nil {
			break
		}
		pause *= 2
	}

	s.mutex.Lock()
	r.pending--
	done := r.pending == 0
	s.mutex.Unlock()
	if done {
		s.finish(r)
	}
}

// noAnswer is the status of a request without a response.
const noAnswer = 0

// post makes one request, and returns the status and the Retry-After of the response. It does not
// end with the sender's context, since it would be unknown what came of it.
func (s *sender) post(r *report) (status int, after time.Duration) {
	body := bytes.NewReader(r.body)
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.url, body) //nolint:gosec // the user's
	if err != nil {
		return noAnswer, 0
	}
	request.Header.Set("Content-Type", r.encoding.contentType)
	request.Header.Set("User-Agent", "smtp-failure-example-sender")
	response, err := s.client.Do(request) //nolint:gosec // the same
	if err != nil {
		return noAnswer, 0
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return noAnswer, 0
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	return response.StatusCode, time.Duration(seconds) * time.Second
}

func (s *sender) count(r *report, status int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	response := "no response"
	if status != noAnswer {
		response = strconv.Itoa(status)
	}
	s.responses[response]++
	r.Sends++
	// What was accepted once stays accepted, whatever a repeat gets.
	if status != noAnswer && r.Status != http.StatusOK {
		r.Status = status
	}
}

// finish counts a report for which no more calls are made, and records it.
func (s *sender) finish(r *report) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.reports++
	if r.Status != http.StatusOK {
		s.refused++
	}
	if s.recordErr == nil {
		s.recordErr = s.record.Encode(r)
	}
}

// summary returns the counts so far as one line.
func (s *sender) summary(took time.Duration) string {
	requests := 0
	var responses []string
	for _, response := range slices.Sorted(maps.Keys(s.responses)) {
		requests += s.responses[response]
		responses = append(responses, fmt.Sprintf("%s: %d", response, s.responses[response]))
	}
	return fmt.Sprintf("%d reports, %d not accepted; %d requests (%s) in %s",
		s.reports, s.refused, requests, strings.Join(responses, ", "), took.Round(100*time.Millisecond))
}
