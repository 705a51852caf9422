package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// sender posts reports over many connections and tries each again until it is accepted.
type sender struct {
	url         string
	connections int
	client      *http.Client
	seed        uint64

	accepted atomic.Int64

	mutex     sync.Mutex
	requests  int
	responses map[string]int
	// cut are the numbers of requests that were sent and never answered, by message id.
	cut map[string]int
}

// What becomes of a request without a response.
const (
	notConnected = "no connection"
	cutOff       = "cut off"
	timedOut     = "timeout"
)

func newSender(url string, connections int, seed uint64) *sender {
	return &sender{
		url: url, connections: connections, seed: seed, responses: make(map[string]int), cut: make(map[string]int),
		client: &http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections},
			Timeout:   5 * time.Second,
		},
	}
}

// send returns when every report in the list was accepted, as often as it is in the list.
func (s *sender) send(ctx context.Context, list []*report) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for worker := range s.connections {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(s.seed, uint64(worker)))
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				if err := s.retry(ctx, random, list[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	s.client.CloseIdleConnections()
	return context.Cause(ctx)
}

// retry sends a report until it is accepted.
func (s *sender) retry(ctx context.Context, random *rand.Rand, r *report) error {
	for backoff := 5 * time.Millisecond; ; backoff = min(2*backoff, 100*time.Millisecond) {
		status, err := s.post(ctx, random, r)
		if err != nil {
			return err
		}
		if status == http.StatusOK {
			s.accepted.Add(1)
			return nil
		}
		if err := sleep(ctx, backoff/2+upTo(random, backoff)); err != nil {
			return err
		}
	}
}

// post sends a report once. The status is 0 when there was no response. It is an error when there
// was one that a good report never gets.
func (s *sender) post(ctx context.Context, random *rand.Rand, r *report) (status int, err error) {
	contentType, body := r.encode(random)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", contentType)
	response, err := s.client.Do(request)
	if err != nil {
		s.noteUnanswered(r, err)
		return 0, ctx.Err()
	}
	defer response.Body.Close()
	// The status of a response that was cut off has to hold all the same.
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
	s.note(response.Status)
	switch {
	case response.StatusCode == http.StatusOK:
	case response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != "":
	default:
		return 0, fmt.Errorf("%s, Retry-After %q: %s\nto %s", response.Status, response.Header.Get("Retry-After"),
			text, body)
	}
	return response.StatusCode, nil
}

func (s *sender) noteUnanswered(r *report, err error) {
	var (
		network   net.Error
		operation *net.OpError
	)
	if errors.As(err, &operation) && operation.Op == "dial" {
		s.note(notConnected)
		return
	}
	if errors.As(err, &network) && network.Timeout() {
		s.note(timedOut)
	} else {
		s.note(cutOff)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.cut[r.ID]++
}

func (s *sender) note(response string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.requests++
	s.responses[response]++
}

// withCopies returns a list to send in which one report in eight is there more than once: at once
// over several connections, or once more at any time later.
func withCopies(random *rand.Rand, reports []*report) []*report {
	type place struct {
		report *report
		at     float64
	}
	var places []place
	for i, r := range reports {
		at := float64(i)
		places = append(places, place{r, at})
		switch random.IntN(16) {
		case 0:
			places = append(places, slices.Repeat([]place{{r, at}}, 1+random.IntN(3))...)
		case 1:
			places = append(places, place{r, at + random.Float64()*float64(len(reports)-i)})
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.at, b.at) })
	list := make([]*report, len(places))
	for i, p := range places {
		list[i] = p.report
	}
	return list
}

func upTo(random *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(d)))
}
