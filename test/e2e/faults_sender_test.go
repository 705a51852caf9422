package e2e

import (
	"bytes"
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

// sender posts reports over many connections and tries each again until it is taken, like a sender of webhooks in a hurry.
type sender struct {
	url         string
	connections int
	client      *http.Client
	seed        uint64

	acknowledged atomic.Int64

	mutex    sync.Mutex
	requests int
	answers  map[string]int
	// cut are the numbers of requests that were sent and never answered, by message id.
	cut map[string]int
}

// What becomes of a request without an answer.
const (
	notConnected = "no connection"
	cutOff       = "cut off"
	timedOut     = "time-out"
)

func newSender(url string, connections int, seed uint64) *sender {
	return &sender{
		url:         url,
		connections: connections,
		seed:        seed,
		answers:     make(map[string]int),
		cut:         make(map[string]int),
		client: &http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections},
			Timeout:   5 * time.Second,
		},
	}
}

// send returns when every report in the list was answered with 200, as often as it is in the list.
func (s *sender) send(ctx context.Context, list []*failure) error {
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
				if err := s.insist(ctx, random, list[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	s.client.CloseIdleConnections()
	return context.Cause(ctx)
}

// insist sends a report until it is taken.
func (s *sender) insist(ctx context.Context, random *rand.Rand, r *failure) error {
	contentType, body := r.encode(random)
	for backoff := 5 * time.Millisecond; ; backoff = min(2*backoff, 100*time.Millisecond) {
		status, err := s.post(ctx, r, contentType, body)
		if err != nil {
			return err
		}
		if status == http.StatusOK {
			s.acknowledged.Add(1)
			return nil
		}
		if err := sleep(ctx, backoff/2+upTo(random, backoff)); err != nil {
			return err
		}
	}
}

// post sends a report once. The status is 0 when there was no answer. It is an error when there was one that a good report never gets.
func (s *sender) post(ctx context.Context, r *failure, contentType, body string) (status int, err error) {
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
	text, err := io.ReadAll(io.LimitReader(response.Body, 1000))
	if err != nil {
		// An answer that was cut off is an answer all the same: what its status promises has to hold.
		text = nil
	}
	s.note(response.Status)
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable:
		if response.Header.Get("Retry-After") == "" {
			return 0, errors.New("503 without Retry-After")
		}
	default:
		return 0, fmt.Errorf("answered with %s: %s\nto %s", response.Status, bytes.TrimSpace(text), body)
	}
	return response.StatusCode, nil
}

func (s *sender) noteUnanswered(r *failure, err error) {
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
	s.cut[r.id]++
}

func (s *sender) note(answer string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.requests++
	s.answers[answer]++
}

// withCopies returns a list to send in which one report in eight is there more than once: at once over several connections, or once more at any
// time later.
func withCopies(random *rand.Rand, reports []*failure) []*failure {
	type place struct {
		report *failure
		at     float64
	}
	n := len(reports)
	places := make([]place, 0, n+n/4)
	for i, r := range reports {
		at := float64(i)
		places = append(places, place{r, at})
		switch random.IntN(16) {
		case 0:
			for range 1 + random.IntN(3) {
				places = append(places, place{r, at})
			}
		case 1:
			places = append(places, place{r, at + random.Float64()*float64(n-i)})
		}
	}
	slices.SortStableFunc(places, func(a, b place) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	list := make([]*failure, 0, len(places))
	for _, p := range places {
		list = append(list, p.report)
	}
	return list
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func upTo(random *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(d)))
}
