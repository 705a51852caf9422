package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeClock is a clock on which a sleep is over at once, and moves the time.
type fakeClock struct {
	mutex sync.Mutex
	time  time.Time
}

func newClock() *fakeClock {
	return &fakeClock{time: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
}

func (c *fakeClock) now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.time
}

func (c *fakeClock) sleep(ctx context.Context, d time.Duration) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.time = c.time.Add(d)
	return ctx.Err()
}

func (c *fakeClock) clock() clock {
	return clock{now: c.now, sleep: c.sleep}
}

// server keeps the bodies that it gets and answers as told.
type server struct {
	*httptest.Server
	mutex  sync.Mutex
	bodies []string
	dials  int
}

// startServer answers the n-th request, from 1, with what answer gives, or 200.
func startServer(t *testing.T, answer func(n int, w http.ResponseWriter) int) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.mutex.Lock()
		s.bodies = append(s.bodies, r.Header.Get("Content-Type")+" "+string(body))
		n := len(s.bodies)
		s.mutex.Unlock()
		status := http.StatusOK
		if answer != nil {
			status = answer(n, w)
		}
		w.WriteHeader(status)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mutex.Lock()
			s.dials++
			s.mutex.Unlock()
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// play runs the command against the server, and returns its exit code, its output and what it recorded.
func play(t *testing.T, c *fakeClock, url string, args ...string) (code int, output string, records []recorded) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "record.jsonl")
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append([]string{"-url", url, "-record", file, "-run", "run"}, args...), &stdout, &stderr, c.clock())
	assert.Empty(t, stderr.String())

	lines, err := os.ReadFile(file)
	require.NoError(t, err)
	for decoder := json.NewDecoder(bytes.NewReader(lines)); decoder.More(); {
		var r recorded
		require.NoError(t, decoder.Decode(&r))
		records = append(records, r)
	}
	return code, stdout.String(), records
}

func TestDayIsPlayed(t *testing.T) {
	s, c := startServer(t, nil), newClock()
	start := c.now()
	code, output, records := play(t, c, s.URL, "-reports", "200", "-repeats", "0.2", "-day", "15m", "-connections", "3")

	assert.Zero(t, code)
	assert.Equal(t, 15*time.Minute, c.now().Sub(start), "the day takes as long as it is told to")
	require.Len(t, records, 200)

	sent := map[string]int{}
	for _, body := range s.bodies {
		sent[body]++
	}
	assert.Len(t, sent, 200, "a repeat is the same bytes")
	ids, repeated := map[string]bool{}, 0
	for _, r := range records {
		ids[r.ID] = true
		repeated += r.Sends - 1
		assert.Equal(t, http.StatusOK, r.Status)
	}
	assert.Len(t, ids, 200, "each report is recorded once")
	assert.InDelta(t, 40, repeated, 20)
	assert.Len(t, s.bodies, 200+repeated)
	assert.Regexp(t, `^200 reports, 0 not accepted; `+itoa(len(s.bodies))+` requests \(200: `+itoa(len(s.bodies))+`\) in 15m0s\n$`, output)
	assert.LessOrEqual(t, s.dials, 3+1, "connections are kept, and one was the wait for the server")
}

func itoa(n int) string {
	text, _ := json.Marshal(n)
	return string(text)
}

func TestRecordSaysWhatWasSent(t *testing.T) {
	s, c := startServer(t, nil), newClock()
	_, _, records := play(t, c, s.URL, "-reports", "300", "-repeats", "0", "-connections", "1")
	require.Len(t, records, 300)

	day := makeDay(1, "run", 1, 300, 0)
	for i, r := range records {
		want := day[i]
		assert.Equal(t, recorded{
			ID: want.id, Recipient: want.recipient, Tags: append([]string{}, want.tags...), State: want.state, Code: want.code, Extended: want.extended,
			Type: want.kind, Action: want.action, Description: want.description, Time: r.Time, Sends: 1, Status: http.StatusOK,
		}, r)
		if _, posted, _ := strings.Cut(s.bodies[i], " "); r.Time == 0 {
			assert.NotContains(t, posted, "time=")
			assert.NotContains(t, posted, `"time":`)
		} else {
			assert.Contains(t, posted, itoa(int(r.Time)))
			assert.InDelta(t, newClock().time.Add(time.Duration(float64(want.at)/96)).Unix(), r.Time, 61, "about now")
		}
	}
}

func TestUnavailableIsTriedAgain(t *testing.T) {
	s := startServer(t, func(n int, w http.ResponseWriter) int {
		if n <= 3 {
			w.Header().Set("Retry-After", "2")
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	c := newClock()
	code, output, records := play(t, c, s.URL, "-reports", "1", "-repeats", "0")
	assert.Zero(t, code)
	assert.Contains(t, output, "1 reports, 0 not accepted; 4 requests (200: 1, 503: 3)")
	require.Len(t, records, 1)
	assert.Equal(t, 4, records[0].Sends)
	assert.Equal(t, http.StatusOK, records[0].Status)
	assert.Len(t, slices.Compact(slices.Clone(s.bodies)), 1, "the same bytes each time")
}

func TestLostConnectionIsTriedAgain(t *testing.T) {
	s := startServer(t, func(n int, _ http.ResponseWriter) int {
		if n == 1 {
			panic(http.ErrAbortHandler)
		}
		return http.StatusOK
	})
	code, output, _ := play(t, newClock(), s.URL, "-reports", "1", "-repeats", "0")
	assert.Zero(t, code)
	assert.Contains(t, output, "2 requests (200: 1, no answer: 1)")
}

func TestNotAcceptedIsAnError(t *testing.T) {
	for name, test := range map[string]struct {
		status, requests int
	}{
		"for good":    {http.StatusBadRequest, 1},
		"for so long": {http.StatusServiceUnavailable, maxAttempts},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, func(int, http.ResponseWriter) int { return test.status })
			code, output, records := play(t, newClock(), s.URL, "-reports", "1", "-repeats", "0")
			assert.Equal(t, 1, code)
			assert.Contains(t, output, "1 reports, 1 not accepted")
			assert.Len(t, s.bodies, test.requests)
			require.Len(t, records, 1)
			assert.Equal(t, test.status, records[0].Status)
		})
	}
}

func TestRefusedRepeatTakesNothingBack(t *testing.T) {
	s := startServer(t, func(n int, _ http.ResponseWriter) int {
		if n > 1 {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	code, _, records := play(t, newClock(), s.URL, "-reports", "1", "-repeats", "1")
	assert.Zero(t, code)
	require.Len(t, records, 1)
	assert.Equal(t, http.StatusOK, records[0].Status)
	assert.Equal(t, 2, records[0].Sends)
}

func TestStopFinishesWhatHasBegun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	s := startServer(t, func(n int, _ http.ResponseWriter) int {
		if n == 20 {
			stop()
		}
		return http.StatusOK
	})
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"-url", s.URL, "-reports", "1000", "-repeat", "-repeats", "1"}, &stdout, &stderr, newClock().clock())
	assert.Zero(t, code, "nothing that was sent was refused")
	assert.Less(t, len(s.bodies), 100)
	assert.Equal(t, 1, strings.Count(stdout.String(), "0 not accepted"), "the summary is there")
}

func TestDaysFollowEachOther(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	s := startServer(t, func(n int, _ http.ResponseWriter) int {
		if n == 25 {
			stop()
		}
		return http.StatusOK
	})
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"-url", s.URL, "-reports", "10", "-repeat", "-repeats", "0", "-run", "r"}, &stdout, &stderr, newClock().clock())
	assert.Zero(t, code)
	assert.Equal(t, 3, strings.Count(stdout.String(), "\n"), "a line for each day")
	assert.True(t, slices.ContainsFunc(s.bodies, func(body string) bool { return strings.Contains(body, "r-3-0000") }))
}

func TestServerThatStartsLaterIsWaitedFor(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())

	c := newClock()
	sleeps := 0
	starting := c.clock()
	starting.sleep = func(ctx context.Context, d time.Duration) error {
		if sleeps++; sleeps == 3 {
			listener, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.NotFoundHandler()}}
			server.Start()
			t.Cleanup(server.Close)
		}
		return c.sleep(ctx, d)
	}
	sender := newSender("http://"+address, 1, nil, starting)
	require.NoError(t, sender.awaitServer(t.Context()))
	assert.Equal(t, 3, sleeps)
}

func TestServerThatNeverStarts(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	url := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())

	var stdout, stderr bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"-url", url}, &stdout, &stderr, newClock().clock()))
	assert.Contains(t, stderr.String(), "nothing takes connections at "+url+" after 1m0s")

	stopped, stop := context.WithCancel(t.Context())
	stop()
	require.ErrorIs(t, newSender(url, 1, nil, newClock().clock()).awaitServer(stopped), context.Canceled)
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
		assert.Equal(t, test.code, run(t.Context(), test.args, &stdout, &stderr, newClock().clock()), "%v", test.args)
		assert.Contains(t, stderr.String(), test.want)
		assert.Empty(t, stdout.String())
	}
}

type brokenWriter struct{}

var errBroken = errors.New("disk full")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestRecordThatCannotBeWritten(t *testing.T) {
	s := startServer(t, nil)
	sender := newSender(s.URL, 1, brokenWriter{}, newClock().clock())
	sender.play(t.Context(), makeDay(1, "run", 1, 3, 0), time.Second)
	require.ErrorIs(t, sender.recordErr, errBroken)
	assert.Len(t, s.bodies, 3, "the reports are sent all the same")
}

func TestRunsDiffer(t *testing.T) {
	first := randomRun()
	assert.Len(t, first, 8)
	assert.NotEqual(t, first, randomRun())
}

func TestWallClock(t *testing.T) {
	assert.WithinDuration(t, time.Now(), wallClock.now(), time.Minute)
	require.NoError(t, wallClock.sleep(t.Context(), time.Microsecond))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	require.ErrorIs(t, wallClock.sleep(stopped, time.Hour), context.Canceled)
}
