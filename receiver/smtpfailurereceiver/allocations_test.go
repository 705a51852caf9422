package smtpfailurereceiver

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// TestAllocations holds each stage of a report's way to so many allocations: unlike time, they are the same on every machine, and most of what a
// request costs beside the HTTP server grows with them. Where other modules allocate too there is some room for newer versions of them.
func TestAllocations(t *testing.T) {
	// What is allocated once in a while, such as room for more reports, is less than one for each.
	const runs = 200
	if raceDetector {
		t.Skip("the race detector makes sync.Pool forget at random; scripts/test.sh runs this test without it")
	}
	if testing.CoverMode() != "" {
		t.Skip("what counts coverage keeps functions from being inlined; scripts/test.sh runs this test without it")
	}
	batch := []*queuedEvent{queued(typicalReport(t))}
	resource := newResource(nil)

	for _, stage := range []struct {
		name    string
		ceiling float64
		run     func()
	}{
		{"decode a form", 14, decoding(t, new(webhook.Decoder).Form, typical)},
		{"decode JSON", 36, decoding(t, new(webhook.Decoder).JSON, typicalJSON+"1}")},
		{"verify, bare RSA included", 36, verifying(t)},
		{"build a log record", 33, func() { newLogs(batch, resource, "test") }},
		{"count", 9, counting(t, 1000)},
		{"send 1,000 series", 14100, flushing(t, 1000)},
		{"a form from headers to answer", 80, sendFrom(t, "form")},
		{"JSON from headers to answer", 103, sendFrom(t, "JSON")},
		{"a repeat from headers to answer", 29, sendFrom(t, "repeat")},
	} {
		t.Run(stage.name, func(t *testing.T) {
			if got := testing.AllocsPerRun(runs, stage.run); got > stage.ceiling {
				t.Errorf("%.0f allocations, at most %.0f before: find what allocates with the benchmark of this stage and -memprofile, or raise the ceiling for a reason",
					got, stage.ceiling)
			} else {
				t.Logf("%.0f allocations, at most %.0f", got, stage.ceiling)
			}
		})
	}
}

func decoding(t *testing.T, decode func(webhook.Call) (*webhook.Event, error), body string) func() {
	t.Helper()
	_, err := decode(webhook.Call{Body: body})
	require.NoError(t, err)
	return func() { _, _ = decode(webhook.Call{Body: body}) }
}

func verifying(t *testing.T) func() {
	t.Helper()
	verifier := signature.NewVerifier(signature.Options{
		Accounts: []string{"environment-1234"}, MaxAge: time.Hour, Resolver: keyRecords(), Now: time.Now,
		Observe: func(string) {}, OnKnownKeys: func([]string) {},
	})
	t.Cleanup(verifier.Close)
	request := newForm(t.Context(), "http://hooks.example.com"+defaultPath, typical)
	request.RequestURI = defaultPath
	sign(request, typical, "environment-1234")
	check := func() error {
		request.Body = io.NopCloser(strings.NewReader(typical))
		call, err := verifier.Begin(request)
		if err != nil {
			return err
		}
		_, err = call.Finish(t.Context())
		return err
	}
	require.NoError(t, check())
	return func() { _ = check() }
}

func counting(t *testing.T, series int) func() {
	t.Helper()
	l, c := withSeries(t, series)
	one := queued(typicalReport(t))
	return func() { count(t, l, c, one) }
}

func flushing(t *testing.T, series int) func() {
	t.Helper()
	l, c := withSeries(t, series)
	resource := newResource(nil)
	// The first time there are zeros only.
	flush(t, l, c, resource)
	return func() { flush(t, l, c, resource) }
}

// sendFrom sends requests of one of requestCases.
func sendFrom(t *testing.T, name string) func() {
	t.Helper()
	for _, rc := range requestCases {
		if rc.name == name {
			send := rc.start(t)
			n := 0
			return func() {
				send(n)
				n++
			}
		}
	}
	require.FailNow(t, "there is no such case")
	return nil
}
