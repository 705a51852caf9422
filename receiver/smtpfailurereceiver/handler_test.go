package smtpfailurereceiver

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/multierr"
)

func TestResponseDependsOnPipelines(t *testing.T) {
	for _, tc := range []struct {
		outcome    string
		consume    func() error
		status     int
		retryAfter string
		counted    int64
	}{
		{"accepted", func() error { return nil }, 200, "", 1},
		{"unavailable", func() error { return errors.New("queue is full") }, 503, retryAfter, 0},
		{"refused", func() error { return consumererror.NewPermanent(errors.New("no such index")) }, 400, "", 1},
		{"panic", func() error { panic("in a processor") }, 500, "", 0},
	} {
		t.Run(tc.outcome, func(t *testing.T) {
			run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) {
				r.logs = logsFunc(func(context.Context, plog.Logs) error { return tc.consume() })
			})
			response := run.post(t, "id=1&code=550")
			assert.Equal(t, tc.status, response.status)
			assert.Equal(t, tc.retryAfter, response.header.Get("Retry-After"))
			assert.Equal(t, "1", run.count(t, requests(tc.outcome, tc.status)))
			require.NoError(t, run.receiver.Shutdown(t.Context()))
			assert.Equal(t, tc.counted, totals(run.metrics)[failuresMetric])
		})
	}
}

func TestErrorIsPermanentOnlyIfAllAre(t *testing.T) {
	later := errors.New("later")
	never := consumererror.NewPermanent(errors.New("never"))
	for _, tc := range []struct {
		name      string
		err       error
		permanent bool
	}{
		{"one, later", later, false},
		{"one, never", never, true},
		{"wrapped", fmt.Errorf("pipeline: %w", never), true},
		{"all never", errors.Join(never, never), true},
		{"all later", errors.Join(later, later), false},
		{"one of two later", errors.Join(never, later), false},
		{"one of two later, wrapped", fmt.Errorf("fan-out: %w", multierr.Append(later, never)), false},
		{"permanent around both", consumererror.NewPermanent(errors.Join(later, later)), true},
		{"nested", errors.Join(never, errors.Join(never, later)), false},
	} {
		assert.Equal(t, tc.permanent, isPermanent(tc.err), tc.name)
	}
}

func TestHandlersThatEndOtherwiseAreCounted(t *testing.T) {
	run := startRun(t, defaultConfig())
	for _, tc := range []struct {
		cause   any
		written string // what the handler wrote before
		outcome string
		status  int
	}{
		{"early", "", "panic", 500},
		{"late", "partly", "panic", 200},
		{http.ErrAbortHandler, "", "aborted", 0},
		{http.ErrAbortHandler, "partly", "aborted", 200},
		{nil, "", "other", 200},
	} {
		handler := run.receiver.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if tc.written != "" {
				_, _ = io.WriteString(w, tc.written)
			}
			if tc.cause != nil {
				panic(tc.cause)
			}
		}))
		serve := func() { handler.ServeHTTP(httptest.NewRecorder(), newForm(t.Context(), defaultPath, "")) }
		if tc.outcome == "aborted" {
			assert.PanicsWithValue(t, http.ErrAbortHandler, serve, "net/http closes the connection for it")
		} else {
			assert.NotPanics(t, serve)
		}
		assert.Equal(t, "1", run.count(t, requests(tc.outcome, tc.status)), "%v after %q", tc.cause, tc.written)
	}
}

func TestClientThatHangsUpStopsNothing(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	consumed := make(chan error, 1)
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) {
		r.logs = logsFunc(func(ctx context.Context, _ plog.Logs) error {
			close(arrived)
			<-gone
			consumed <- ctx.Err()
			return nil
		})
	})
	ctx, hangUp := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := do(http.DefaultClient, newForm(ctx, run.url(), "id=1"))
		assert.ErrorIs(t, err, context.Canceled)
	}()
	<-arrived
	hangUp()
	<-ended
	close(gone)
	assert.NoError(t, <-consumed, "the pipelines' context is not cancelled")
	require.NoError(t, run.receiver.Shutdown(t.Context()))
	assert.Equal(t, int64(1), totals(run.metrics)[failuresMetric])
}

func TestIncompleteBody(t *testing.T) {
	config := defaultConfig()
	config.HTTP.ReadTimeout = 50 * time.Millisecond
	run := startRun(t, config)
	address := run.receiver.listener.Addr()
	const head = "POST /failures HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nContent-Encoding: "
	for _, coding := range []string{"identity", "gzip", "snappy"} {
		assert.Equal(t, http.StatusRequestTimeout, statusFrom(t, dial(t, address, head+coding+"\r\n\r\n\x1f")), coding)
	}
	require.NoError(t, dial(t, address, head+"\r\n\r\nid=1").Close())
	incomplete := func() bool { return run.count(t, requests("incomplete", 400)) == "1" }
	require.Eventually(t, incomplete, testTimeout, time.Millisecond)
	assert.Equal(t, "3", run.count(t, requests("too_slow", 408)))
	assert.Zero(t, run.logs.LogRecordCount())
}

func TestBodyLimit(t *testing.T) {
	config := defaultConfig()
	config.HTTP.MaxRequestBodySize = 10
	run := startRun(t, config)
	for body, status := range map[string]int{"id=1234567": 200, "id=12345678": 413} {
		for _, length := range []int64{int64(len(body)), -1} { // -1: the length is not sent
			request := newForm(t.Context(), run.url(), body)
			request.ContentLength = length
			response, err := do(http.DefaultClient, request)
			require.NoError(t, err)
			assert.Equal(t, status, response.status, "%s with length %d", body, length)
		}
	}
	assert.Equal(t, "2", run.count(t, requests("too_large", 413)))
}

func TestContentTypes(t *testing.T) {
	for _, tc := range []struct {
		contentType, charset string
		taken                bool
	}{
		{"", "", true},
		{" ", "", true},
		{"Application/X-WWW-Form-Urlencoded ; Charset=UTF-8", "UTF-8", true},
		{`application/json;charset="koi8-r"`, "koi8-r", true},
		{"application/json; charset", "", true},
		{"application/json; charset=latin1; charset=utf-8", "", true},
		{"text/plain", "", false},
		{"application/json/x", "", false},
	} {
		decode, charset := decoderFor(tc.contentType)
		assert.Equal(t, tc.taken, decode != nil, tc.contentType)
		assert.Equal(t, tc.charset, charset, tc.contentType)
	}
}

func TestContentCodings(t *testing.T) {
	for _, tc := range []struct{ codings, want []string }{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{" Identity , IDENTITY"}, nil},
		{[]string{"GZip"}, []string{"gzip"}},
		{[]string{"identity, X-GZIP"}, []string{"gzip"}},
		{[]string{"gzip", "identity"}, []string{"gzip"}},
		{[]string{"x-gzip", "br"}, []string{"gzip, br"}},
	} {
		header := http.Header{"Content-Encoding": tc.codings}
		normalizeEncoding(header)
		assert.Equal(t, tc.want, header["Content-Encoding"], "%q", tc.codings)
	}
}

// The receiver knows these errors of confighttp by their texts.
func TestConfighttpErrorTexts(t *testing.T) {
	config := defaultConfig()
	config.HTTP.MaxRequestBodySize = 100
	run := startRun(t, config)
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	_, err := io.WriteString(writer, "id=1")
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	zipped.Bytes()[zipped.Len()-8]++ // of the checksum
	for _, tc := range []struct {
		name, coding, body string
		status             int
	}{
		{"unknown coding", "br", "id=1", http.StatusUnsupportedMediaType},
		{"two codings", "gzip, gzip", "id=1", http.StatusUnsupportedMediaType},
		{"not compressed", "gzip", "id=1", http.StatusBadRequest},
		{"wrong checksum", "gzip", zipped.String(), http.StatusBadRequest},
		{"large when decoded", "snappy", "\xff\xff\x7f" + strings.Repeat("x", 50), http.StatusRequestEntityTooLarge},
		{"large as it is", "snappy", "\x05" + strings.Repeat("x", 200), http.StatusRequestEntityTooLarge},
	} {
		request := newForm(t.Context(), run.url(), tc.body)
		request.Header.Set("Content-Encoding", tc.coding)
		got, err := do(http.DefaultClient, request)
		require.NoError(t, err)
		assert.Equal(t, tc.status, got.status, tc.name)
	}
}

// authenticator is an extension that authenticates one token.
type authenticator struct {
	component.StartFunc
	component.ShutdownFunc
}

func (authenticator) Authenticate(ctx context.Context, sources map[string][]string) (context.Context, error) {
	if got := sources["Authorization"]; len(got) == 1 && got[0] == "Bearer secret" {
		return ctx, nil
	}
	return ctx, errors.New("authorization of jane@example.com is wrong")
}

func TestAuthentication(t *testing.T) {
	file := filepath.Join(t.TempDir(), "smtpeter.txt")
	require.NoError(t, os.WriteFile(file, []byte("1a2b3c\n"), 0o600))
	id := component.MustNewID("authenticator")
	config := defaultConfig()
	config.HTTP.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: id}})
	config.OwnershipFiles = []OwnershipFileConfig{{Name: "check.txt", File: file}}
	host := &hostWith{extensions: map[component.ID]component.Component{id: authenticator{}}}
	run := startRunOn(t, host, config)
	address := run.receiver.listener.Addr()

	for authorization, want := range map[string]string{
		"":              "401 Unauthorized\nContent-Type: text/plain; charset=utf-8\n\nunauthorized\n",
		"Bearer wrong":  "401 Unauthorized\nContent-Type: text/plain; charset=utf-8\n\nunauthorized\n",
		"Bearer secret": "200 OK\n",
	} {
		got := exchangeRaw(t, address, []byte("POST /failures HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+
			"Authorization: "+authorization+"\r\nContent-Length: 4\r\n\r\nid=1"))
		assert.Equal(t, want, got, "without what the authenticator says")
	}
	assert.Equal(t, 1, run.logs.LogRecordCount())

	// Ownership files need no credentials.
	got := exchangeRaw(t, address, []byte("GET /check.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	assert.Equal(t, "200 OK\nContent-Type: text/plain; charset=utf-8\n\n1a2b3c\n", got)
}

// hiding is a writer that hides what it wraps.
type hiding struct{ http.ResponseWriter }

func TestMiddlewareMayWrapTheWriter(t *testing.T) {
	run := startWithMiddleware(t, defaultConfig(), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { next.ServeHTTP(hiding{w}, req) })
	})
	assert.Equal(t, http.StatusOK, run.post(t, "id=1").status)
	assert.Equal(t, http.StatusBadRequest, run.post(t, "no=id").status)
	assert.Equal(t, "1", run.count(t, requests("accepted", 200)))
	assert.Equal(t, "1", run.count(t, requests("invalid", 400)))
}

func TestRequestRewrittenByMiddlewareIsRefused(t *testing.T) {
	for line, rewrite := range map[string]func(*http.Request){
		"POST /hooks/failures": func(r *http.Request) { r.URL.Path = strings.TrimPrefix(r.URL.Path, "/hooks") },
		"post /failures":       func(r *http.Request) { r.Method = strings.ToUpper(r.Method) },
	} {
		prepare := func(r *smtpFailureReceiver) { r.resolver = records{} }
		wrap := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rewrite(r)
				next.ServeHTTP(w, r)
			})
		}
		run := startWithMiddleware(t, signedConfig("environment-1"), wrap, prepare)
		got := exchangeRaw(t, run.receiver.listener.Addr(),
			[]byte(line+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 13\r\n\r\nid=1&code=550"))
		assert.Equal(t, unauthorized, got, line)
		assert.Zero(t, run.logs.LogRecordCount())
		const refusals = "otelcol_smtp_failure_refusals{reason=not_checked,receiver=smtp_failure}"
		assert.Equal(t, "1", run.count(t, refusals))
	}
}

func TestResponsesOfOthersAreCounted(t *testing.T) {
	config := defaultConfig()
	config.HTTP.CORS = configoptional.Some(confighttp.CORSConfig{AllowedOrigins: []string{"https://example.com"}})
	run := startRun(t, config)
	address := run.receiver.listener.Addr()
	exchangeRaw(t, address, []byte("OPTIONS /failures HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+
		"Origin: https://example.com\r\nAccess-Control-Request-Method: POST\r\n\r\n"))
	assert.Equal(t, "1", run.count(t, requests("other", 204)))
	response := exchangeRaw(t, address, []byte("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	assert.Contains(t, response, "404 Not Found")
	assert.Equal(t, "1", run.count(t, requests("not_found", 404)))
}
