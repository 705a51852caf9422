package smtpfailurereceiver

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
)

// Every request has one span, whoever answers it, and what the collector does for it is below that span.
func TestSpans(t *testing.T) {
	config := configOf(t, "ownership_files: [{name: a.txt, content: a}]")
	signed := configOf(t, "signature: {accounts: [environment-1234]}")
	for _, tc := range []struct {
		name         string
		config       *Config
		method, path string
		status       int
		outcome      string
		below        []string // names of the spans that are below
	}{
		{"a report", config, http.MethodPost, defaultPath, 200, "accepted", []string{"POST", "receiver/smtp_failure/LogsReceived"}},
		{"an ownership file", config, http.MethodGet, "/a.txt", 200, "ownership_file", nil},
		{"another path", config, http.MethodPost, "/x", 404, "not_found", []string{"POST"}},
		{"no signature", signed, http.MethodPost, defaultPath, 401, "unauthorized", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := startRun(t, tc.config, asItIs)
			request := newForm(t.Context(), "http://"+run.receiver.listener.Addr().String()+tc.path, "id=1")
			request.Method = tc.method
			answer, err := do(http.DefaultClient, request)
			require.NoError(t, err)
			require.Equal(t, tc.status, answer.status)

			// The answer may arrive before the span ends.
			var span trace.ReadOnlySpan
			require.Eventually(t, func() bool {
				for _, ended := range run.telemetry.SpanRecorder.Ended() {
					if ended.Name() == "receiver/smtp_failure/Request" {
						span = ended
					}
				}
				return span != nil
			}, patience, time.Millisecond)
			assert.ElementsMatch(t, []attribute.KeyValue{
				attribute.String("outcome", tc.outcome), attribute.Int("http.response.status_code", tc.status),
			}, span.Attributes())
			assert.Equal(t, codes.Unset, span.Status().Code)
			assert.Equal(t, tc.below, below(run.telemetry.SpanRecorder.Ended(), span))
		})
	}
}

// below returns the names of the spans below one, from the outermost inwards. Each has at most one below it.
func below(all []trace.ReadOnlySpan, span trace.ReadOnlySpan) []string {
	var names []string
	for found := true; found; {
		found = false
		for _, other := range all {
			if other.Parent().SpanID() == span.SpanContext().SpanID() {
				names, span, found = append(names, other.Name()), other, true
				break
			}
		}
	}
	return names
}

// A fault of the collector's is an error in its span.
func TestSpanOfAnAnswerThatIsOurFault(t *testing.T) {
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) {
		r.logs = logsThat(func(context.Context, plog.Logs) error { panic("at the processor") })
	})
	assert.Equal(t, http.StatusInternalServerError, run.post(t, "id=1").status)
	require.Eventually(t, func() bool {
		for _, ended := range run.telemetry.SpanRecorder.Ended() {
			if ended.Name() == "receiver/smtp_failure/Request" {
				return ended.Status().Code == codes.Error
			}
		}
		return false
	}, patience, time.Millisecond)
}
