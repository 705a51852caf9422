package smtpfailurereceiver

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
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
	report := typicalReport(t)
	resource, err := newResource(nil)
	require.NoError(t, err)

	for _, stage := range []struct {
		name    string
		ceiling float64
		run     func()
	}{
		{"decode a form", 4, decoding(t, new(webhook.Decoder).Form, typical)},
		{"decode JSON", 4, decoding(t, new(webhook.Decoder).JSON, typicalJSON+"1}")},
		{"verify, bare RSA included", 40, verifying(t)},
		{"begin and commit", 1, committing(t, report)},
		{"begin a repeat", 0, repeating(t)},
		{"build a log record", 32, func() { newLogs(report, resource, "test") }},
		{"count", 0, counting(t, 1000, report)},
		{"send 1,000 series", 7100, flushing(t, 1000)},
		{"a form from headers to answer", 56, sendFrom(t, "form")},
		{"JSON from headers to answer", 56, sendFrom(t, "JSON")},
		{"a repeat from headers to answer", 18, sendFrom(t, "repeat")},
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
	s, dns := newSigner(t)
	verifier := signature.NewVerifier(signature.Options{Accounts: []string{"environment-1234"}, MaxAge: time.Hour, Resolver: dns, Now: time.Now})
	t.Cleanup(verifier.Close)
	request, body := newForm(t.Context(), "http://hooks.example.com"+defaultPath, typical), []byte(typical)
	request.RequestURI = defaultPath
	s.sign(t, request, body, "environment-1234")
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

// memoryLedger is that of a receiver without storage.
func memoryLedger(t *testing.T) (*ledger.Ledger[labels], *counters) {
	t.Helper()
	r, err := newReceiver(receivertest.NewNopSettings(metadata.Type), defaultConfig())
	require.NoError(t, err)
	r.counters = newCounters(r.config, r.now())
	l, err := r.openLedger(t.Context(), componenttest.NewNopHost())
	require.NoError(t, err)
	return l, r.counters
}

func committing(t *testing.T, report *webhook.Event) func() {
	t.Helper()
	l, c := memoryLedger(t)
	n := 0
	return func() {
		n++
		attempt, _, err := l.Begin(t.Context(), ledger.ID{byte(n), byte(n >> 8), byte(n >> 16)})
		require.NoError(t, err)
		counts := c.counts(report)
		_, err = attempt.Commit(t.Context(), ledger.Accepted, counts.byMetric)
		require.NoError(t, err)
		counts.free()
	}
}

func repeating(t *testing.T) func() {
	t.Helper()
	l, c := memoryLedger(t)
	attempt, _, err := l.Begin(t.Context(), ledger.ID{})
	require.NoError(t, err)
	_, err = attempt.Commit(t.Context(), ledger.Accepted, c.counts(&webhook.Event{Class: smtpstatus.ClassUnknown}).byMetric)
	require.NoError(t, err)
	return func() {
		if _, known, err := l.Begin(t.Context(), ledger.ID{}); known != ledger.Accepted || err != nil {
			t.Fatal(known, err)
		}
	}
}

func counting(t *testing.T, series int, report *webhook.Event) func() {
	t.Helper()
	c := withSeries(series)
	return func() { count(c, report) }
}

func flushing(t *testing.T, series int) func() {
	t.Helper()
	c := withSeries(series)
	resource, err := newResource(nil)
	require.NoError(t, err)
	// The first time there are zeros only.
	flush(c, resource)
	return func() { flush(c, resource) }
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
