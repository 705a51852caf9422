package smtpfailurereceiver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// listen opens the configured address. Connections are counted below TLS, where handshakes count
// too.
func listen(ctx context.Context, config *confighttp.ServerConfig, connections *connections) (net.Listener, error) {
	if config.NetAddr.Transport == confignet.TransportTypeUnix {
		removeStaleSocket(ctx, config.NetAddr.Endpoint)
	}
	plain := *config
	plain.TLS = configoptional.None[configtls.ServerConfig]()
	listener, err := plain.ToListener(ctx)
	if err != nil {
		return nil, err
	}
	listener = countingListener{listener, connections}
	if !config.TLS.HasValue() {
		return listener, nil
	}
	tlsConfig, err := config.TLS.Get().LoadTLSConfig(ctx)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	connections.base = tlsCost
	// The protocols of confighttp.
	tlsConfig.NextProtos = []string{"h2", "http/1.1"}
	return tls.NewListener(listener, tlsConfig), nil
}

// newServer returns the server, with all that confighttp wraps around handle.
func (r *smtpFailureReceiver) newServer(ctx context.Context, host component.Host) (*http.Server, error) {
	instrumented, err := instrumentIfSeen(r.settings.MeterProvider)
	if err != nil {
		return nil, err
	}
	server, err := r.config.HTTP.ToServer(ctx, host.GetExtensions(), r.settings.TelemetrySettings,
		http.HandlerFunc(r.handle), confighttp.WithErrorHandler(r.handleServerError), instrumented)
	if err != nil {
		return nil, err
	}
	server.Handler = r.wrap(server.Handler)
	// net/http would answer OPTIONS * itself, uncounted.
	server.DisableGeneralOptionsHandler = true
	server.ErrorLog = log.New(serverLog{r.logger}, "", 0)
	// confighttp ignores `keepalive: {enabled: false}`.
	server.SetKeepAlivesEnabled(r.config.HTTP.Keepalive.HasValue())
	r.connections.onClose = func() {
		r.logger.Warn("Connections that sent much and no whole request were closed",
			zap.Int("limit", r.connections.max))
	}
	r.connections.limit(server)
	return server, nil
}

// removeStaleSocket removes a socket that nobody accepts connections of any more: a killed process
// leaves it behind, and nobody can listen on it again. Anything else stays, and listening fails.
func removeStaleSocket(ctx context.Context, path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return
	}
	connection, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = connection.Close()
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		_ = os.Remove(path)
	}
}

// serverLog logs the errors that net/http reports of connections, most of which anyone can cause.
// Their texts are fields, since they hold addresses and parts of what was sent: as messages, no two
// would be the same, and limited would let all through.
type serverLog struct{ logger *zap.Logger }

// maxServerLog is the number of bytes of an error that are logged.
const maxServerLog = 200

// Write implements io.Writer.
func (l serverLog) Write(text []byte) (int, error) {
	message := "The HTTP server reports an error"
	if bytes.HasPrefix(text, []byte("http: TLS handshake error")) {
		message = "A TLS handshake failed"
	}
	l.logger.Warn(message, zap.String("error", string(bytes.TrimSpace(text[:min(len(text), maxServerLog)]))))
	return len(text), nil
}

// response is a way in which a request can end.
type response struct {
	outcome string // the name under which it is counted
	status  int
	text    string
	errs    []error // that it responds to
}

// responses are all there are.
var responses []*response

func newResponse(outcome string, status int, text string, errs ...error) *response {
	r := &response{outcome, status, text, errs}
	responses = append(responses, r)
	return r
}

var (
	responseAccepted      = newResponse("accepted", http.StatusOK, "")
	responseDuplicate     = newResponse("duplicate", http.StatusOK, "")
	responseOwnershipFile = newResponse("ownership_file", http.StatusOK, "")
	responseInvalid       = newResponse("invalid", http.StatusBadRequest, "the body cannot be read",
		webhook.ErrNoID, webhook.ErrTooManyVariables, webhook.ErrNameTooLong,
		webhook.ErrJSON, webhook.ErrNoObject, webhook.ErrTooDeep)
	responseIncomplete   = newResponse("incomplete", http.StatusBadRequest, "the body ended early")
	responseOtherWebhook = newResponse("other_webhook", http.StatusBadRequest, "", webhook.ErrOtherWebhook)
	responseRefused      = newResponse("refused", http.StatusBadRequest, "a pipeline refused the report for good")
	responseUnauthorized = newResponse("unauthorized", http.StatusUnauthorized, "unauthorized")
	responseNotFound     = newResponse("not_found", http.StatusNotFound, "not found")
	responseNotPost      = newResponse("method_not_allowed", http.StatusMethodNotAllowed, "send reports with POST")
	responseTooSlow      = newResponse("too_slow", http.StatusRequestTimeout, "the body came too slowly")
	responseTooLarge     = newResponse("too_large", http.StatusRequestEntityTooLarge,
		"the body is larger than max_request_body_size allows")
	responseUnsupported = newResponse("unsupported_media_type", http.StatusUnsupportedMediaType,
		"send a form (application/x-www-form-urlencoded) or JSON (application/json), "+
			"compressed in a way that compression_algorithms allows or not at all",
		webhook.ErrCharset)
	responsePanic       = newResponse("panic", http.StatusInternalServerError, "internal error", errPanicked)
	responseUnavailable = newResponse("unavailable", http.StatusServiceUnavailable,
		"a pipeline cannot take the report now, try again later")
	responseStoreUnavailable = newResponse("store_unavailable", http.StatusServiceUnavailable,
		"the store cannot take the report now, try again later", ledger.ErrStore)
	responseInFlight = newResponse("in_flight", http.StatusServiceUnavailable,
		"another copy of the report is under way, try again later", ledger.ErrInFlight)
	_ = newResponse("too_many_waiting", http.StatusServiceUnavailable,
		"too many reports are waiting, try again later", errTooManyWaiting)
	responseOverloaded = newResponse("overloaded", http.StatusServiceUnavailable,
		"too many calls are being checked, try again later", errOverloaded)
	_ = newResponse("key_unavailable", http.StatusServiceUnavailable,
		"the key of the signature cannot be looked up now, try again later", signature.ErrKeyUnavailable)
	// responseOther is that of a configured middleware or CORS, with a status of its own.
	responseOther = newResponse("other", 0, "")
	// responseAborted is one that a middleware broke off, perhaps before it had a status.
	responseAborted = newResponse("aborted", 0, "")
)

const (
	// retryAfter is the number of seconds after which a sender may try again: by then a queue has
	// drained a little.
	retryAfter = "10"
	// unreadTimeout is how long the server waits for the rest of a body that it does not want.
	unreadTimeout = time.Second
)

// requestState is a request and its response. It is the http.ResponseWriter of all other handlers.
type requestState struct {
	http.ResponseWriter
	began    time.Time
	body     requestBody
	call     *signature.Call // nil until the header of a signed call was checked
	response *response       // nil until it is known
	status   int             // 0 until the header is written
}

// requestBody keeps the error of reading the body as it was sent: what decompresses it passes
// errors on as text.
type requestBody struct {
	io.ReadCloser
	err error // io.EOF when it was read to its end
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.err = err
	}
	return n, err
}

type requestStateKey struct{}

// requestStateOf returns the state that wrap has put into the context of every request.
func requestStateOf(req *http.Request) *requestState {
	return req.Context().Value(requestStateKey{}).(*requestState)
}

// WriteHeader implements http.ResponseWriter.
func (state *requestState) WriteHeader(status int) {
	// 1xx are not the response.
	if state.status == 0 && status >= http.StatusOK {
		state.status = status
	}
	state.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (state *requestState) Write(p []byte) (int, error) {
	if state.status == 0 {
		state.status = http.StatusOK
	}
	return state.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (state *requestState) Unwrap() http.ResponseWriter {
	return state.ResponseWriter
}

// wrap is the outermost handler, around those of confighttp: whatever they respond is counted and
// has a span, and a panic becomes a response.
func (r *smtpFailureReceiver) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		caller := otel.GetTextMapPropagator().Extract(req.Context(), propagation.HeaderCarrier(req.Header))
		ctx, span := r.tracer.Start(caller, r.spanName)
		defer span.End()
		state := &requestState{ResponseWriter: w, began: r.now()}
		state.body.ReadCloser = http.MaxBytesReader(state, req.Body, r.config.HTTP.MaxRequestBodySize)
		req = req.WithContext(context.WithValue(ctx, requestStateKey{}, state))
		req.Body = &state.body
		defer func() {
			cause := recover()
			r.finish(state, req, cause)
			if cause == http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
				panic(cause)
			}
		}()
		// Senders ask for ownership files without credentials or a signature.
		if !r.serveOwnershipFile(state, req) && r.verify(state, req) {
			normalizeEncoding(req.Header)
			next.ServeHTTP(state, req)
		}
	})
}

// finish records how a request ended. cause is what a handler has panicked with, if any.
func (r *smtpFailureReceiver) finish(state *requestState, req *http.Request, cause any) {
	switch {
	case cause == http.ErrAbortHandler: //nolint:errorlint // as net/http compares it
		state.response = responseAborted
	case cause != nil:
		r.logPanic(cause)
		if state.status == 0 {
			respond(state, req, responsePanic, "")
		}
		state.response = responsePanic
	case state.response == nil:
		state.response = responseOther
	}
	if state.status == 0 && state.response != responseAborted {
		// net/http writes this header when a handler returns without one.
		state.status = http.StatusOK
	}
	r.telemetry.responded(req.Context(), state.response, state.status, r.now().Sub(state.began))
	span := trace.SpanFromContext(req.Context())
	span.SetAttributes(attribute.String(attributeOutcome, state.response.outcome),
		attribute.Int(attributeHTTPStatus, state.status))
	if state.status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, state.response.text)
	}
}

// normalizeEncoding rewrites the content codings for confighttp, which knows them in lower case
// only: x-gzip is gzip, and identity is none (RFC 9110, section 8.4.1).
func normalizeEncoding(header http.Header) {
	const key = "Content-Encoding"
	var codings []string
	for coding := range strings.SplitSeq(strings.ToLower(strings.Join(header.Values(key), ",")), ",") {
		switch coding = strings.TrimSpace(coding); coding {
		case "", "identity":
		case "x-gzip":
			codings = append(codings, "gzip")
		default:
			codings = append(codings, coding)
		}
	}
	header.Del(key)
	if len(codings) > 0 {
		header.Set(key, strings.Join(codings, ", "))
	}
}

// errBody is wrapped by every error of reading a body.
var errBody = errors.New("reading the body")

// responseTo returns the response to an error, and the text in place of the response's own, if any.
func responseTo(err error) (resp *response, text string) {
	if notAccepted, ok := errors.AsType[*webhook.NotAcceptedError](err); ok {
		metrics := strings.Join(metricsThatCount(notAccepted.Kind), " or ")
		return responseOtherWebhook, err.Error() + ": enable the metrics that count it, " + metrics
	}
	if _, ok := errors.AsType[*signature.Refusal](err); ok {
		return responseUnauthorized, ""
	}
	for _, resp := range responses {
		switch {
		case !slices.ContainsFunc(resp.errs, func(target error) bool { return errors.Is(err, target) }):
		case resp.status < http.StatusInternalServerError:
			return resp, err.Error() // what is wrong with the request
		default:
			return resp, ""
		}
	}
	if errors.Is(err, errBody) {
		return responseToBodyError(err), ""
	}
	return responseUnavailable, ""
}

func responseToBodyError(err error) *response {
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	network, isNetwork := errors.AsType[net.Error](err)
	switch {
	case tooLarge:
		return responseTooLarge
	case isNetwork && network.Timeout():
		return responseTooSlow
	case isNetwork, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled):
		return responseIncomplete
	}
	// It is not compressed as its header says.
	return responseInvalid
}

// fail responds to a request that ended in an error.
func (r *smtpFailureReceiver) fail(w http.ResponseWriter, req *http.Request, err error) {
	if refusal, ok := errors.AsType[*signature.Refusal](err); ok {
		// The reason is in the message, so that limited counts each reason apart.
		r.logger.Warn("A call was refused: " + refusal.Reason)
		r.telemetry.refused(req.Context(), refusal.Reason)
		w.Header().Set("WWW-Authenticate", "Signature")
	}
	resp, text := responseTo(err)
	respond(w, req, resp, text)
}

// handleServerError responds to what confighttp refuses. An unknown coding, and a size that snappy
// declares, are known by confighttp's text only; TestConfighttpErrorTexts notices when it changes.
func (r *smtpFailureReceiver) handleServerError(w http.ResponseWriter, req *http.Request, text string, status int) {
	if status == http.StatusUnauthorized {
		respond(w, req, responseUnauthorized, "")
		return
	}
	if _, err := requestStateOf(req).finishBody(req.Context()); err != nil {
		r.fail(w, req, err)
		return
	}
	switch {
	case strings.HasPrefix(text, "unsupported Content-Encoding"):
		respond(w, req, responseUnsupported, "")
	case strings.Contains(text, "exceeds max request body size"):
		respond(w, req, responseTooLarge, "")
	default:
		respond(w, req, responseInvalid, "")
	}
}

// respond writes a response, with the text in place of its own if there is one.
func respond(w http.ResponseWriter, req *http.Request, resp *response, text string) {
	state := requestStateOf(req)
	state.response = resp
	if resp.status == http.StatusOK {
		w.WriteHeader(http.StatusOK)
		return
	}
	if req.ContentLength != 0 && state.body.err == nil {
		// net/http reads the rest of the body first, so that the sender gets the response and not a
		// reset connection. The rest may never come, so it has a deadline.
		_ = http.NewResponseController(state).SetReadDeadline(time.Now().Add(unreadTimeout))
	}
	switch {
	case resp == responseTooLarge, resp == responseIncomplete, resp == responseTooSlow:
		// The rest of the body is not worth reading.
		w.Header().Set("Connection", "close")
	case resp == responseNotPost:
		w.Header().Set("Allow", http.MethodPost)
	case resp.status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	}
	http.Error(w, cmp.Or(text, resp.text), resp.status)
}
