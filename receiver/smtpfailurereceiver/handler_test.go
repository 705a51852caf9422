package smtpfailurereceiver

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configmiddleware"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/multierr"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

func TestWhatThePipelinesSayIsTheAnswer(t *testing.T) {
	for _, test := range []struct {
		name       string
		consume    func(context.Context, plog.Logs) error
		status     int
		outcome    string
		retryAfter string
		counted    int64
	}{
		{
			name:    "accepted",
			consume: func(context.Context, plog.Logs) error { return nil },
			status:  http.StatusOK, outcome: "accepted", counted: 1,
		},
		{
			name:    "not now",
			consume: func(context.Context, plog.Logs) error { return errors.New("queue is full") },
			status:  http.StatusServiceUnavailable, outcome: "unavailable", retryAfter: retryAfter,
		},
		{
			name:    "never, and still a failure that happened",
			consume: func(context.Context, plog.Logs) error { return consumererror.NewPermanent(errors.New("no such index")) },
			status:  http.StatusBadRequest, outcome: "refused", counted: 1,
		},
		{
			name:    "panic",
			consume: func(context.Context, plog.Logs) error { panic("at the processor") },
			status:  http.StatusInternalServerError, outcome: "panic",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) { r.logs = logsThat(test.consume) })
			answer := run.post(t, "id=1&code=550")
			assert.Equal(t, test.status, answer.status)
			assert.Equal(t, test.retryAfter, answer.header.Get("Retry-After"))
			assert.Equal(t, "1", run.count(t, requests(test.outcome, test.status)))
			require.NoError(t, run.receiver.Shutdown(t.Context()))
			assert.Equal(t, test.counted, totals(run.metrics)[failuresMetric])
		})
	}
}

func TestARefusalIsPermanentOnlyWhenAllAre(t *testing.T) {
	later := errors.New("later")
	never := consumererror.NewPermanent(errors.New("never"))
	for _, test := range []struct {
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
		{"all together for good", consumererror.NewPermanent(errors.Join(later, later)), true},
		{"deep", errors.Join(never, errors.Join(never, later)), false},
	} {
		assert.Equal(t, test.permanent, isPermanent(test.err), test.name)
	}
}

func TestAPanicAfterTheAnswerBeganIsCounted(t *testing.T) {
	run := startRun(t, defaultConfig(), asItIs)
	handler := run.receiver.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "partly")
		panic("late")
	}))
	handler.ServeHTTP(httptest.NewRecorder(), newForm(t.Context(), defaultPath, ""))
	assert.Equal(t, "1", run.count(t, requests("panic", 200)))
}

func TestAClientThatHangsUpDoesNotStopTheWork(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	consumed := make(chan error, 1)
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) {
		r.logs = logsThat(func(ctx context.Context, _ plog.Logs) error {
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
	assert.NoError(t, <-consumed, "the pipelines' context lives on")
	require.NoError(t, run.receiver.Shutdown(t.Context()))
	assert.Equal(t, int64(1), totals(run.metrics)[failuresMetric])
}

func TestABodyThatNeverCompletes(t *testing.T) {
	config := defaultConfig()
	config.HTTP.ReadTimeout = 50 * time.Millisecond
	run := startRun(t, config, asItIs)
	address := run.receiver.listener.Addr()

	for _, coding := range []string{"identity", "gzip", "snappy"} {
		t.Run("too slow, "+coding, func(t *testing.T) {
			connection, err := net.Dial(address.Network(), address.String())
			require.NoError(t, err)
			defer connection.Close()
			_, err = io.WriteString(connection, "POST /failures HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n")
			require.NoError(t, err)
			if coding != "identity" {
				_, err = io.WriteString(connection, "Content-Encoding: "+coding+"\r\n")
				require.NoError(t, err)
			}
			_, err = io.WriteString(connection, "\r\n\x1f")
			require.NoError(t, err)
			response, err := http.ReadResponse(bufio.NewReader(connection), nil)
			require.NoError(t, err)
			assert.Equal(t, http.StatusRequestTimeout, response.StatusCode)
			assert.NoError(t, response.Body.Close())
		})
	}
	t.Run("cut off", func(t *testing.T) {
		connection, err := net.Dial(address.Network(), address.String())
		require.NoError(t, err)
		_, err = io.WriteString(connection, "POST /failures HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nid=1")
		require.NoError(t, err)
		require.NoError(t, connection.Close())
	})
	require.Eventually(t, func() bool { return run.count(t, requests("incomplete", 400)) == "1" }, patience, time.Millisecond)
	assert.Equal(t, "3", run.count(t, requests("too_slow", 408)))
	assert.Zero(t, run.logs.LogRecordCount())
}

func TestKeepAliveIsOn(t *testing.T) {
	run := startRun(t, defaultConfig(), asItIs)
	connection, err := net.Dial("tcp", run.receiver.listener.Addr().String())
	require.NoError(t, err)
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for i := range 3 {
		_, err := fmt.Fprintf(connection, "POST /failures HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nid=%d", i)
		require.NoError(t, err)
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, response.StatusCode)
		assert.False(t, response.Close)
		require.NoError(t, response.Body.Close())
	}
}

func TestABodyOfExactlyTheLimitIsTaken(t *testing.T) {
	config := defaultConfig()
	config.HTTP.MaxRequestBodySize = 10
	run := startRun(t, config, asItIs)
	assert.Equal(t, http.StatusOK, run.post(t, "id=1234567").status)
	assert.Equal(t, http.StatusRequestEntityTooLarge, run.post(t, "id=12345678").status)

	// Without a Content-Length the limit shows only as the body is read.
	for body, status := range map[string]int{"id=1234567": http.StatusOK, "id=12345678": http.StatusRequestEntityTooLarge} {
		request := newForm(t.Context(), run.url(), body)
		request.ContentLength = -1
		answer, err := do(http.DefaultClient, request)
		require.NoError(t, err)
		assert.Equal(t, status, answer.status, body)
	}
	assert.Equal(t, "2", run.count(t, requests("too_large", 413)))
}

// TestTextsOfConfighttp notices when confighttp, which passes errors on as text, words them in another way.
func TestTextsOfConfighttp(t *testing.T) {
	config := defaultConfig()
	config.HTTP.MaxRequestBodySize = 100
	run := startRun(t, config, asItIs)
	for _, test := range []struct {
		name, coding, body string
		status             int
	}{
		{"unknown coding", "br", "id=1", http.StatusUnsupportedMediaType},
		{"not what it says", "gzip", "id=1", http.StatusBadRequest},
		{"large when decoded", "snappy", "\xff\xff\x7f" + strings.Repeat("x", 50), http.StatusRequestEntityTooLarge},
		{"large as it is", "snappy", "\x05" + strings.Repeat("x", 200), http.StatusRequestEntityTooLarge},
	} {
		request := newForm(t.Context(), run.url(), test.body)
		request.Header.Set("Content-Encoding", test.coding)
		got, err := do(http.DefaultClient, request)
		require.NoError(t, err)
		assert.Equal(t, test.status, got.status, test.name)
	}
}

func TestContentTypes(t *testing.T) {
	for _, test := range []struct {
		contentType, charset string
		taken                bool
	}{
		{"", "", true},
		{" ", "", true},
		{"application/x-www-form-urlencoded", "", true},
		{"Application/X-WWW-Form-Urlencoded ; Charset=UTF-8", "UTF-8", true},
		{`application/json;charset="koi8-r"`, "koi8-r", true},
		{"application/json; charset", "", true},
		{"application/json; charset=latin1; charset=utf-8", "", true},
		{"application/json;", "", true},
		{"text/plain", "", false},
		{"text/plain/x", "", false},
		{"application/json/x", "", false},
		{"json", "", false},
	} {
		decode, charset := decoderFor(test.contentType)
		assert.Equal(t, test.taken, decode != nil, test.contentType)
		assert.Equal(t, test.charset, charset, test.contentType)
	}
}

// Content codings are names without case, of which identity is none.
func TestContentCodings(t *testing.T) {
	run := startRun(t, defaultConfig(), asItIs)
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	_, err := io.WriteString(writer, "id=1")
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	for _, test := range []struct {
		codings []string
		body    string
		status  int
	}{
		{[]string{"identity"}, "id=1", http.StatusOK},
		{[]string{" Identity "}, "id=1", http.StatusOK},
		{[]string{""}, "id=1", http.StatusOK},
		{[]string{"identity, IDENTITY"}, "id=1", http.StatusOK},
		{[]string{"GZip"}, zipped.String(), http.StatusOK},
		{[]string{"x-gzip"}, zipped.String(), http.StatusOK},
		{[]string{"identity, X-GZIP"}, zipped.String(), http.StatusOK},
		{[]string{"gzip", "identity"}, zipped.String(), http.StatusOK},
		{[]string{"gzip, gzip"}, zipped.String(), http.StatusUnsupportedMediaType},
		{[]string{"x-compress"}, "id=1", http.StatusUnsupportedMediaType},
	} {
		request := newForm(t.Context(), run.url(), test.body)
		request.Header["Content-Encoding"] = test.codings
		got, err := do(http.DefaultClient, request)
		require.NoError(t, err)
		assert.Equal(t, test.status, got.status, "%q", test.codings)
	}
}

// doorkeeper lets in whoever has the password.
type doorkeeper struct {
	component.StartFunc
	component.ShutdownFunc
}

func (doorkeeper) Authenticate(ctx context.Context, sources map[string][]string) (context.Context, error) {
	if got := sources["Authorization"]; len(got) == 1 && got[0] == "Bearer secret" {
		return ctx, nil
	}
	return ctx, errors.New("authorization of jane@example.com is wrong")
}

func TestAuthentication(t *testing.T) {
	id := component.MustNewID("doorkeeper")
	config := defaultConfig()
	config.HTTP.NetAddr.Endpoint = "localhost:0"
	config.HTTP.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: id}})
	logs := new(consumertest.LogsSink)
	r, err := NewFactory().CreateLogs(t.Context(), receivertest.NewNopSettings(metadata.Type), config, logs)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), &hostWith{extensions: map[component.ID]component.Component{id: doorkeeper{}}}))
	defer func() { require.NoError(t, r.Shutdown(context.WithoutCancel(t.Context()))) }()

	for authorization, status := range map[string]int{"": 401, "Bearer wrong": 401, "Bearer secret": 200} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			"http://"+r.(*smtpFailureReceiver).listener.Addr().String()+"/failures", strings.NewReader("id=1"))
		require.NoError(t, err)
		request.Header.Set("Authorization", authorization)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, status, response.StatusCode, authorization)
		assert.NotContains(t, string(text), "jane", "what the authenticator says stays inside")
	}
	assert.Equal(t, 1, logs.LogRecordCount())
}

// wrapper is a middleware with a writer of its own.
type wrapper struct {
	component.StartFunc
	component.ShutdownFunc
	wrap func(http.ResponseWriter) http.ResponseWriter
}

func (w wrapper) GetHTTPHandler(context.Context) (func(context.Context, http.Handler) (http.Handler, error), error) {
	return func(_ context.Context, next http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) { next.ServeHTTP(w.wrap(writer), request) }), nil
	}, nil
}

// unwrappable tells what it wraps, and hiding does not.
type (
	unwrappable struct{ http.ResponseWriter }
	hiding      struct{ http.ResponseWriter }
)

func (u unwrappable) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// What becomes of a request is known whatever a middleware writes the answer with, traced or not.
func TestMiddlewaresMayWrapTheWriter(t *testing.T) {
	id := component.MustNewID("wrapper")
	for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"nothing":            func(w http.ResponseWriter) http.ResponseWriter { return w },
		"unwrappable":        func(w http.ResponseWriter) http.ResponseWriter { return unwrappable{w} },
		"unwrappable, twice": func(w http.ResponseWriter) http.ResponseWriter { return unwrappable{unwrappable{w}} },
		"hiding":             func(w http.ResponseWriter) http.ResponseWriter { return hiding{w} },
	} {
		for _, provider := range []trace.TracerProvider{nil, noop.NewTracerProvider()} {
			t.Run(fmt.Sprint(name, ", traced: ", provider == nil), func(t *testing.T) {
				config := defaultConfig()
				config.HTTP.Middlewares = []configmiddleware.Config{{ID: id}}
				host := &hostWith{extensions: map[component.ID]component.Component{id: wrapper{wrap: wrap}}}
				run := startRunOn(t, host, config, func(r *smtpFailureReceiver) {
					if provider != nil {
						r.settings.TracerProvider, r.tracer = provider, provider.Tracer("")
					}
				})
				assert.Equal(t, http.StatusOK, run.post(t, "id=1").status)
				assert.Equal(t, http.StatusBadRequest, run.post(t, "no=id").status)
				assert.Equal(t, "1", run.count(t, requests("accepted", 200)))
				assert.Equal(t, "1", run.count(t, requests("invalid", 400)))
			})
		}
	}
}

func TestWhatOthersAnswerIsCountedToo(t *testing.T) {
	config := defaultConfig()
	config.HTTP.CORS = configoptional.Some(confighttp.CORSConfig{AllowedOrigins: []string{"https://example.com"}})
	run := startRun(t, config, asItIs)
	exchangeRaw(t, run.receiver.listener.Addr(), []byte("OPTIONS /failures HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+
		"Origin: https://example.com\r\nAccess-Control-Request-Method: POST\r\n\r\n"))
	assert.Equal(t, "1", run.count(t, requests("other", 204)))

	answer := exchangeRaw(t, run.receiver.listener.Addr(), []byte("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	assert.Contains(t, answer, "404 Not Found", "net/http does not answer behind our back")
}

func TestOwnershipFilesComeFromDiskAndNeedNoCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "smtpeter.txt")
	require.NoError(t, os.WriteFile(file, []byte("1a2b3c\n"), 0o600))
	id := component.MustNewID("doorkeeper")
	config := defaultConfig()
	config.HTTP.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: id}})
	config.OwnershipFiles = []OwnershipFileConfig{{Name: "check.txt", File: file}}
	run := startRunOn(t, &hostWith{extensions: map[component.ID]component.Component{id: doorkeeper{}}}, config, asItIs)

	answer := exchangeRaw(t, run.receiver.listener.Addr(), []byte("GET /check.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	assert.Equal(t, "200 OK\nContent-Type: text/plain; charset=utf-8\n\n1a2b3c\n", answer)
	assert.Equal(t, http.StatusUnauthorized, run.post(t, "id=1").status)

	config = defaultConfig()
	config.OwnershipFiles = []OwnershipFileConfig{{Name: "check.txt", File: file + ".gone"}}
	_, err := readOwnershipFiles(config)
	require.ErrorContains(t, err, "ownership_files::0::file: open "+file+".gone")
}

// TestServerRefusesByItself has what net/http answers before there is a request that could be counted.
func TestServerRefusesByItself(t *testing.T) {
	run := startRun(t, defaultConfig(), asItIs)
	for _, test := range []struct {
		name, version, header string
		status                int
	}{
		{"no host", "HTTP/1.1", "", http.StatusBadRequest},
		{"two hosts", "HTTP/1.1", "Host: a\r\nHost: b\r\n", http.StatusBadRequest},
		{"a length that is none", "HTTP/1.1", "Host: a\r\nContent-Length: many\r\n", http.StatusBadRequest},
		{"an unknown coding", "HTTP/1.1", "Host: a\r\nTransfer-Encoding: parcel\r\n", http.StatusNotImplemented},
		{"an unknown expectation", "HTTP/1.1", "Host: a\r\nExpect: nothing\r\n", http.StatusExpectationFailed},
		{"a version to come", "HTTP/4.0", "Host: a\r\n", http.StatusHTTPVersionNotSupported},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := exchangeRaw(t, run.receiver.listener.Addr(), []byte("POST "+defaultPath+" "+test.version+"\r\n"+test.header+"\r\n"))
			assert.Contains(t, got, strconv.Itoa(test.status)+" ")
		})
	}
	assert.NotRegexp(t, `otelcol_smtp_failure_requests\{.*\} [1-9]`, run.selfTelemetry(t))
}
