package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// server is a server in memory, for tests in a synctest bubble. It keeps the bodies it gets, and
// responds with the statuses in turn, of which 0 aborts the connection, and with 200 after the
// last.
type server struct {
	statuses    []int
	connections chan net.Conn
	onRequest   func(n int) // if not nil; n is from 1

	mutex  sync.Mutex
	bodies []string
	dials  int
}

func newServer(t *testing.T, statuses ...int) *server {
	t.Helper()
	s := &server{statuses: statuses, connections: make(chan net.Conn)}
	h := &http.Server{Handler: s}
	go func() { _ = h.Serve(s) }()
	t.Cleanup(func() { _ = h.Close() })
	return s
}

func (s *server) dial(context.Context, string, string) (net.Conn, error) {
	s.mutex.Lock()
	s.dials++
	s.mutex.Unlock()
	client, server := net.Pipe()
	s.connections <- server
	return client, nil
}

func (s *server) Accept() (net.Conn, error) {
	if connection, ok := <-s.connections; ok {
		return connection, nil
	}
	return nil, net.ErrClosed
}

func (s *server) Close() error {
	close(s.connections)
	return nil
}

func (s *server) Addr() net.Addr { return &net.TCPAddr{} }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.bodies = append(s.bodies, string(body))
	n := len(s.bodies)
	if s.onRequest != nil {
		s.onRequest(n)
	}
	if n <= len(s.statuses) {
		if s.statuses[n-1] == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(s.statuses[n-1])
	}
}

// runSender runs the command against the server, and returns its exit code, its output and what it
// recorded.
func runSender(t *testing.T, s *server, args ...string) (code int, output string, records []report) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "record.jsonl")
	args = append([]string{"-url", "http://collector/failures", "-record", file, "-run", "run"}, args...)
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), args, &stdout, &stderr, s.dial)
	assert.Empty(t, stderr.String())

	lines, err := os.ReadFile(file)
	require.NoError(t, err)
	for decoder := json.NewDecoder(bytes.NewReader(lines)); decoder.More(); {
		var r report
		require.NoError(t, decoder.Decode(&r))
		records = append(records, r)
	}
	return code, stdout.String(), records
}

func TestDayIsPlayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, start := newServer(t), time.Now()
		code, output, records := runSender(t, s, "-reports", "200", "-deliveries", "50", "-repeats", "0.2", "-connections", "3")
		assert.Zero(t, code)
		assert.Equal(t, 15*time.Minute, time.Since(start))
		assert.LessOrEqual(t, s.dials, 3+1, "connections are kept, and one was the wait for the server")

		line := func(r report) string {
			text, err := json.Marshal(r)
			require.NoError(t, err)
			return string(text)
		}
		var got, want []string
		for _, r := range records {
			assert.True(t, r.Time == 0 || r.Time >= start.Unix()-60 && r.Time <= time.Now().Unix(), r.Time)
			r.Time = 0
			got = append(got, line(r))
		}
		day, sends := makeDay(1, "run", 1, 200, 0.2), 0
		for _, r := range append(day, makeDeliveries(1, "run", 1, day, 50)...) {
			r.Sends, r.Status = 1+len(r.repeats), http.StatusOK
			want = append(want, line(*r))
			sends += r.Sends
		}
		assert.ElementsMatch(t, want, got)
		assert.Len(t, s.bodies, sends)
		slices.Sort(s.bodies)
		assert.Len(t, slices.Compact(s.bodies), 250, "a repeat is the same bytes")
		assert.Equal(t, fmt.Sprintf("250 reports, 0 not accepted; %d requests (200: %d) in 15m0s\n", sends, sends), output)
	})
}

func TestResponses(t *testing.T) {
	for name, test := range map[string]struct {
		statuses []int
		repeats  string
		code     int
		output   string
		status   int
	}{
		"unavailable":        {[]int{503, 503, 503}, "0", 0, "0 not accepted; 4 requests (200: 1, 503: 3)", 200},
		"lost connection":    {[]int{0}, "0", 0, "0 not accepted; 2 requests (200: 1, no response: 1)", 200},
		"refused repeat":     {[]int{200, 400}, "1", 0, "0 not accepted; 2 requests (200: 1, 400: 1)", 200},
		"refused":            {[]int{400}, "0", 1, "1 not accepted; 1 requests (400: 1)", 400},
		"always unavailable": {slices.Repeat([]int{503}, maxAttempts), "0", 1, "1 not accepted; 8 requests (503: 8)", 503},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, test.statuses...)
				code, output, records := runSender(t, s, "-reports", "1", "-repeats", test.repeats)
				assert.Equal(t, test.code, code)
				assert.Contains(t, output, "1 reports, "+test.output)
				require.Len(t, records, 1)
				assert.Equal(t, len(s.bodies), records[0].Sends)
				assert.Equal(t, test.status, records[0].Status)
			})
		})
	}
}

func TestStopFinishesWhatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := newServer(t)
		s.onRequest = func(n int) {
			if n == 25 {
				stop()
			}
		}
		var stdout, stderr bytes.Buffer
		args := []string{"-url", "http://collector", "-reports", "10", "-repeat", "-repeats", "0", "-run", "r"}
		assert.Zero(t, run(ctx, args, &stdout, &stderr, s.dial))
		assert.Equal(t, 3, strings.Count(stdout.String(), " 0 not accepted"), "a line for each day")
		assert.Less(t, len(s.bodies), 30)
		assert.Contains(t, s.bodies[len(s.bodies)-1], "r-3-0000")
	})
}

func TestAwaitServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dials := newServer(t), 0
		sender := newSender("http://collector", 1, io.Discard, func(ctx context.Context, network, address string) (net.Conn, error) {
			assert.Equal(t, "collector:80", address)
			if dials++; dials < 3 {
				return nil, errors.New("refused")
			}
			return s.dial(ctx, network, address)
		})
		require.NoError(t, sender.awaitServer(t.Context()))
		assert.Equal(t, 3, dials)

		var stdout, stderr bytes.Buffer
		never := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }
		start := time.Now()
		assert.Equal(t, 1, run(t.Context(), []string{"-url", "http://collector"}, &stdout, &stderr, never))
		assert.Equal(t, "nothing takes connections at http://collector: refused\n", stderr.String())
		assert.Equal(t, time.Minute, time.Since(start))
	})
}

func TestFlags(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "played"},
		{[]string{"-url", "localhost:8550"}, 2, "-url"},
		{[]string{"-reports", "0"}, 2, "-reports 0"},
		{[]string{"-deliveries", "-1"}, 2, "-deliveries -1"},
		{[]string{"-day", "0s"}, 2, "-day 0s"},
		{[]string{"-repeats", "2"}, 2, "-repeats 2"},
		{[]string{"-repeats", "NaN"}, 2, "-repeats NaN"},
		{[]string{"-connections", "0"}, 2, "-connections 0"},
		{[]string{"-nonsense"}, 2, "-nonsense"},
		{[]string{"argument"}, 2, `"argument"`},
		{[]string{"-record", filepath.Join(t.TempDir(), "none", "file")}, 1, "no such file"},
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, test.code, run(t.Context(), test.args, &stdout, &stderr, nil), "%v", test.args)
		assert.Contains(t, stderr.String(), test.want)
		assert.Empty(t, stdout.String())
	}
}

func TestRecordThatCannotBeWritten(t *testing.T) {
	closed, err := os.Create(filepath.Join(t.TempDir(), "record.jsonl"))
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		sender := newSender("http://collector", 1, closed, s.dial)
		sender.play(t.Context(), makeDay(1, "run", 1, 3, 0), time.Second)
		require.ErrorIs(t, sender.recordErr, os.ErrClosed)
		assert.Len(t, s.bodies, 3, "the reports are sent all the same")
	})
}
