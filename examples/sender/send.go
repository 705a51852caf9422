package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
)

const (
	maxAttempts    = 8
	firstPause     = 250 * time.Millisecond
	longestPause   = 5 * time.Second
	connectFor     = time.Minute
	connectPause   = 250 * time.Millisecond
	requestTimeout = 30 * time.Second
)

// clock is the time, and a way to let it pass that ends early with the context.
type clock struct {
	now   func() time.Time
	sleep func(ctx context.Context, d time.Duration) error
}

var wallClock = clock{
	now: time.Now,
	sleep: func(ctx context.Context, d time.Duration) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	},
}

// sender plays days against a URL and keeps the tally.
type sender struct {
	url         string
	connections int
	client      *http.Client
	clock       clock
	record      *json.Encoder // nil: nothing is recorded

	mutex     sync.Mutex
	answers   map[string]int // by status, or "no answer"
	reports   int
	refused   int // reports that were never answered with 200
	recordErr error
}

func newSender(address string, connections int, record io.Writer, clock clock) *sender {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		MaxIdleConnsPerHost: connections,
		MaxConnsPerHost:     connections,
	}
	s := &sender{
		url:         address,
		connections: connections,
		client:      &http.Client{Transport: transport, Timeout: requestTimeout},
		clock:       clock,
		answers:     map[string]int{},
	}
	if record != nil {
		s.record = json.NewEncoder(record)
		s.record.SetEscapeHTML(false)
	}
	return s
}

// awaitServer returns once something accepts connections at the URL. A collector that starts along with the sender needs a moment.
func (s *sender) awaitServer(ctx context.Context) error {
	u, err := url.Parse(s.url)
	if err != nil {
		return err
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	for deadline := s.clock.now().Add(connectFor); ; {
		dialer := net.Dialer{Timeout: longestPause}
		connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
		if err == nil {
			return connection.Close()
		}
		if !s.clock.now().Before(deadline) {
			return fmt.Errorf("nothing takes connections at %s after %s: %w", s.url, connectFor, err)
		}
		if err := s.clock.sleep(ctx, connectPause); err != nil {
			return err
		}
	}
}

// call is one delivery of a report, the first or a repeat.
type call struct {
	at    time.Duration
	entry *entry
}

// entry is what is known of a report while its day is played.
type entry struct {
	report *report
	// The body is written once, at the first call, so that a repeat is the same bytes.
	write sync.Once
	body  []byte
	time  int64

	// The rest is guarded by the sender's mutex.
	left   int // calls that have not ended
	sends  int
	status int
}

// play sends the reports of a day in the given time, and returns when the last one is answered. When the context ends, calls that
// have begun are finished and no others are made.
func (s *sender) play(ctx context.Context, day []*report, length time.Duration) {
	entries, calls := schedule(day)
	queue := make(chan call)
	var workers sync.WaitGroup
	for range s.connections {
		workers.Go(func() {
			for c := range queue {
				s.deliver(ctx, c.entry)
			}
		})
	}

	start := s.clock.now()
	for _, c := range calls {
		due := start.Add(time.Duration(float64(c.at) / float64(dayLength) * float64(length)))
		if wait := due.Sub(s.clock.now()); wait > 0 && s.clock.sleep(ctx, wait) != nil {
			break
		}
		select {
		case queue <- c:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(queue)
	workers.Wait()
	// The day ends when it ends, so that days that follow each other keep their length.
	if wait := start.Add(length).Sub(s.clock.now()); wait > 0 {
		_ = s.clock.sleep(ctx, wait)
	}

	// Those whose repeat was not made any more.
	for _, e := range entries {
		if e.sends > 0 && e.left > 0 {
			s.close(e)
		}
	}
}

// schedule puts reports and repeats in the order of time.
func schedule(day []*report) ([]*entry, []call) {
	entries := make([]*entry, 0, len(day))
	calls := make([]call, 0, len(day))
	for _, r := range day {
		e := &entry{report: r, left: 1 + len(r.repeats)}
		entries = append(entries, e)
		calls = append(calls, call{r.at, e})
		for _, at := range r.repeats {
			calls = append(calls, call{at, e})
		}
	}
	slices.SortStableFunc(calls, func(a, b call) int { return cmp.Compare(a.at, b.at) })
	return entries, calls
}

// deliver makes one call, and makes it again while there is no answer or one that asks for that.
func (s *sender) deliver(ctx context.Context, e *entry) {
	e.write.Do(func() {
		now := s.clock.now()
		e.body, e.time = e.report.body(now), e.report.failed(now)
	})
	pause := firstPause
	for attempt := 1; ; attempt++ {
		status, after, err := s.post(e)
		s.count(e, status, err)
		if err == nil && status != http.StatusServiceUnavailable || attempt == maxAttempts {
			break
		}
		// A sender that has been told to stop leaves the rest.
		if s.clock.sleep(ctx, min(max(pause, after), longestPause)) != nil {
			break
		}
		pause *= 2
	}

	s.mutex.Lock()
	e.left--
	ended := e.left == 0
	s.mutex.Unlock()
	if ended {
		s.close(e)
	}
}

// post makes one request. It is not cut off when the sender is told to stop, since what came of it would be unknown.
func (s *sender) post(e *entry) (status int, after time.Duration, err error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.url, bytes.NewReader(e.body))
	if err != nil {
		return 0, 0, err
	}
	request.Header.Set("Content-Type", e.report.encoding.contentType)
	request.Header.Set("User-Agent", "smtp-failure-example-sender")
	response, err := s.client.Do(request)
	if err != nil {
		return 0, 0, err
	}
	// Read to its end, the connection can be used again.
	_, readErr := io.Copy(io.Discard, response.Body)
	if err := errors.Join(readErr, response.Body.Close()); err != nil {
		return 0, 0, err
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		after = time.Duration(seconds) * time.Second
	}
	return response.StatusCode, after, nil
}

func (s *sender) count(e *entry, status int, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	answer := "no answer"
	if err == nil {
		answer = strconv.Itoa(status)
		// What was accepted once stays accepted, whatever a repeat is told.
		if e.status != http.StatusOK {
			e.status = status
		}
	}
	s.answers[answer]++
	e.sends++
}

// recorded is the line that -record writes for a report: its variables as sent, with time as a number, how often it was sent, and
// the answer, 200 if there ever was one.
type recorded struct {
	ID          string   `json:"id"`
	Recipient   string   `json:"recipient"`
	Tags        []string `json:"tags"`
	State       string   `json:"state"`
	Code        string   `json:"code"`
	Extended    string   `json:"extended"`
	Type        string   `json:"type"`
	Action      string   `json:"action"`
	Description string   `json:"description"`
	Time        int64    `json:"time"`
	Sends       int      `json:"sends"`
	Status      int      `json:"status"`
}

// close counts a report for which no more calls are made, and records it.
func (s *sender) close(e *entry) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.reports++
	if e.status != http.StatusOK {
		s.refused++
	}
	if s.record == nil || s.recordErr != nil {
		return
	}
	r := e.report
	tags := r.tags
	if tags == nil {
		tags = []string{}
	}
	s.recordErr = s.record.Encode(recorded{
		r.id, r.recipient, tags, r.state, r.code, r.extended, r.kind, r.action, r.description, e.time, e.sends, e.status,
	})
}

// summary is the tally so far as one line.
func (s *sender) summary(took time.Duration) string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	requests := 0
	var answers []string
	for _, answer := range slices.Sorted(maps.Keys(s.answers)) {
		requests += s.answers[answer]
		answers = append(answers, fmt.Sprintf("%s: %d", answer, s.answers[answer]))
	}
	return fmt.Sprintf("%d reports, %d not accepted; %d requests (%s) in %s",
		s.reports, s.refused, requests, strings.Join(answers, ", "), took.Round(100*time.Millisecond))
}
