package smtpfailurereceiver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
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
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// listen opens the configured address, and counts what its connections cost: below TLS, where it shows what a handshake
// has sent.
func listen(ctx context.Context, config *confighttp.ServerConfig, connections *connections) (net.Listener, error) {
	if config.NetAddr.Transport == confignet.TransportTypeUnix {
		if err := removeStaleSocket(ctx, config.NetAddr.Endpoint); err != nil {
			return nil, err
		}
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
	// As confighttp has it.
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
		r.logger.Warn("Connections that sent much and no whole request were closed", zap.Int("limit", r.connections.max))
	}
	r.connections.bound(server)
	return server, nil
}

// removeStaleSocket removes a socket that a killed process has left behind, on which nobody can
// listen again. One that takes connections, or may yet, stays, and so does all that is no socket:
// listening then fails, and says why.
func removeStaleSocket(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil
	}
	if err != nil {
		return err
	}
	connection, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return connection.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return nil
}

// serverLog logs what net/http says of connections, most of which anyone can cause. Its texts hold addresses and parts
// of what was sent, so that a logger that is limited by the text would not be.
type serverLog struct{ logger *zap.Logger }

// maxServerLog is how much of such a text is logged.
const maxServerLog = 200

// Write implements io.Writer.
func (l serverLog) Write(text []byte) (int, error) {
	message := "The HTTP server reports an error"
	if bytes.HasPrefix(text, []byte("http: TLS handshake error")) {
		message = "A TLS handshake failed"
	}
	l.logger.Warn(message, zap.ByteString("error", bytes.TrimSpace(text[:min(len(text), maxServerLog)])))
	return len(text), nil
}

// response is one way in which a request can end: what the sender is told, and under which name it is counted.
type response struct {
	outcome string
	status  int
	text    string
}

// The responses. Every request ends in exactly one of them.
var (
	responseAccepted         = &response{"accepted", http.StatusOK, ""}
	responseDuplicate        = &response{"duplicate", http.StatusOK, ""}
	responseOwnershipFile    = &response{"ownership_file", http.StatusOK, ""}
	responseInvalid          = &response{"invalid", http.StatusBadRequest, "the body cannot be read"}
	responseIncomplete       = &response{"incomplete", http.StatusBadRequest, "the body ended early"}
	responseOtherWebhook     = &response{"other_webhook", http.StatusBadRequest, webhook.ErrOtherWebhook.Error()}
	responseRefused          = &response{"refused", http.StatusBadRequest, "a pipeline refused the report for good"}
	responseUnauthorized     = &response{"unauthorized", http.StatusUnauthorized, "unauthorized"}
	responseNotFound         = &response{"not_found", http.StatusNotFound, "not found"}
	responseMethodNotAllowed = &response{"method_not_allowed", http.StatusMethodNotAllowed, "send reports with POST"}
	responseTooSlow          = &response{"too_slow", http.StatusRequestTimeout, "the body came too slowly"}
	responseTooLarge         = &response{"too_large", http.StatusRequestEntityTooLarge, "the body is larger than max_request_body_size allows"}
	responseUnsupported      = &response{"unsupported_media_type", http.StatusUnsupportedMediaType, "send a form (application/x-www-form-urlencoded) or JSON (application/json), compressed in a way that compression_algorithms allows or not at all"}
	responsePanic            = &response{"panic", http.StatusInternalServerError, "internal error"}
	responseUnavailable      = &response{"unavailable", http.StatusServiceUnavailable, "a pipeline cannot take the report now, try again later"}
	responseStoreUnavailable = &response{"store_unavailable", http.StatusServiceUnavailable, "the store cannot take the report now, try again later"}
	responseInFlight         = &response{"in_flight", http.StatusServiceUnavailable, "another copy of the report is under way, try again later"}
	responseTooManyWaiting   = &response{"too_many_waiting", http.StatusServiceUnavailable, "too many reports are waiting, try again later"}
	responseOverloaded       = &response{"overloaded", http.StatusServiceUnavailable, "too many calls are being checked, try again later"}
	responseKeyUnavailable   = &response{"key_unavailable", http.StatusServiceUnavailable, "the key of the signature cannot be looked up now, try again later"}
	// responseOther stands for what a configured middleware or CORS answers. Its status is whatever they chose.
	responseOther = &response{"other", 0, ""}
	// responseAborted stands for a response that a middleware broke off. It may have no status.
	responseAborted = &response{"aborted", 0, ""}

	responses = []*response{
		responseAccepted, responseDuplicate, responseOwnershipFile, responseInvalid, responseIncomplete, responseOtherWebhook, responseRefused, responseUnauthorized, responseNotFound,
		responseMethodNotAllowed, responseTooSlow, responseTooLarge, responseUnsupported, responsePanic, responseUnavailable,
		responseStoreUnavailable, responseTooManyWaiting, responseOverloaded, responseKeyUnavailable, responseInFlight, responseOther,
		responseAborted,
	}
)

// retryAfter is the number of seconds after which a sender is asked to try again: long enough for a queue to drain a little.
const retryAfter = "10"

// unreadTimeout is how long the rest of a body is waited for that nobody wants.
const unreadTimeout = time.Second

// requestState is one request and its response, as the outermost handler sees it.
type requestState struct {
	http.ResponseWriter
	began    time.Time
	traced   bool            // there is a span
	body     requestBody     // as it is sent
	call     *signature.Call // nil until the header of a signed call was checked
	response *response       // nil until handle or handleServerError has chosen one
	status   int             // 0 until the header is written
}

// requestBody remembers how reading it ended: what reads it to decompress it passes errors on as text.
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

// measured returns the context of what is measured in ctx: without a span there is nothing in it that a measurement could be linked to, and it takes
// its time to find that out.
func (state *requestState) measured(ctx context.Context) context.Context {
	if state.traced {
		return ctx
	}
	return context.Background()
}

type requestStateKey struct{}

// requestStateOf returns the state of a request. Every request has one, because wrap is outermost. It is what is
// written to, or in that, unless a middleware has hidden it; then the request's context has it.
func requestStateOf(w http.ResponseWriter, req *http.Request) *requestState {
	for {
		switch outer := w.(type) {
		case *requestState:
			return outer
		case interface{ Unwrap() http.ResponseWriter }:
			w = outer.Unwrap()
		default:
			return req.Context().Value(requestStateKey{}).(*requestState)
		}
	}
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

// wrap goes around the whole server, confighttp's own handlers included: whatever they respond is counted and has
// a span, and a panic anywhere is a response too.
func (r *smtpFailureReceiver) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		// The span of whoever calls is the parent, if there is one.
		caller := otel.GetTextMapPropagator().Extract(req.Context(), propagation.HeaderCarrier(req.Header))
		ctx, span := r.tracer.Start(caller, r.spanName)
		defer span.End()
		state := &requestState{ResponseWriter: w, began: r.now(), traced: span.SpanContext().IsValid()}
		// A request is large, and so not copied without need. A middleware may hide the state behind a writer of its own.
		if state.traced || len(r.config.HTTP.Middlewares) > 0 {
			req = req.WithContext(context.WithValue(ctx, requestStateKey{}, state))
		}
		state.body.ReadCloser = http.MaxBytesReader(state, req.Body, r.config.HTTP.MaxRequestBodySize)
		req.Body = &state.body
		defer func() {
			cause := recover()
			switch {
			case cause == http.ErrAbortHandler: //nolint:errorlint // So does net/http, which ends the connection for it.
				defer panic(cause)
				state.response = responseAborted
			case cause != nil:
				r.recovered(state, req, cause)
			case state.response == nil:
				state.response = responseOther
			}
			if state.status == 0 && state.response != responseAborted {
				// net/http writes this header when a handler returns without one.
				state.status = http.StatusOK
			}
			r.telemetry.responded(state.measured(ctx), state.response, state.status, r.now().Sub(state.began))
			if span.IsRecording() {
				span.SetAttributes(attribute.String(attributeOutcome, state.response.outcome), attribute.Int(attributeHTTPStatus, state.status))
				if state.status >= http.StatusInternalServerError {
					span.SetStatus(codes.Error, state.response.text)
				}
			}
		}()
		// Before any check of who asks: the sender's own check of the URL carries neither credentials nor a signature.
		if !r.serveOwnershipFile(state, req) && r.verify(state, req) {
			plainEncoding(req.Header)
			next.ServeHTTP(state, req)
		}
	})
}

// plainEncoding writes the content codings as confighttp knows them. They are names without case (RFC 9110, section 8.4.1),
// x-gzip is gzip, and identity is none.
func plainEncoding(header http.Header) {
	const key = "Content-Encoding"
	written := header.Values(key)
	if len(written) == 0 {
		return
	}
	var codings []string
	for coding := range strings.SplitSeq(strings.ToLower(strings.Join(written, ",")), ",") {
		switch coding = strings.TrimSpace(coding); coding {
		case "", "identity":
		case "x-gzip":
			codings = append(codings, "gzip")
		default:
			codings = append(codings, coding)
		}
	}
	if len(codings) == 0 {
		header.Del(key)
		return
	}
	header.Set(key, strings.Join(codings, ", "))
}

// errBody is wrapped by every error of reading a body.
var errBody = errors.New("reading the body")

// responseTo is the one place where an error becomes a response.
func responseTo(err error) (*response, string) {
	var (
		notTaken *webhook.NotTakenError
		tooLarge *http.MaxBytesError
		network  net.Error
		refusal  *signature.Refusal
	)
	switch {
	case errors.Is(err, webhook.ErrOtherWebhook):
		return responseOtherWebhook, err.Error()
	case errors.As(err, &notTaken):
		return responseOtherWebhook, err.Error() + ": enable the metrics that count it, " + strings.Join(metricsThatCount(notTaken.Kind), " or ")
	case errors.Is(err, webhook.ErrCharset):
		return responseUnsupported, err.Error()
	case errors.Is(err, webhook.ErrNoID),
		errors.Is(err, webhook.ErrTooManyVariables),
		errors.Is(err, webhook.ErrNameTooLong),
		errors.Is(err, webhook.ErrJSON),
		errors.Is(err, webhook.ErrNoObject),
		errors.Is(err, webhook.ErrTooDeep):
		return responseInvalid, err.Error()
	case errors.As(err, &refusal):
		return responseUnauthorized, responseUnauthorized.text
	case errors.Is(err, signature.ErrKeyUnavailable):
		return responseKeyUnavailable, responseKeyUnavailable.text
	case errors.As(err, &tooLarge):
		return responseTooLarge, responseTooLarge.text
	case errors.Is(err, errBody) && errors.As(err, &network) && network.Timeout():
		return responseTooSlow, responseTooSlow.text
	case errors.Is(err, errBody) && (errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled)):
		return responseIncomplete, responseIncomplete.text
	case errors.Is(err, errBody):
		// What is left is a body that says it is compressed and is not.
		return responseInvalid, responseInvalid.text
	case errors.Is(err, errOverloaded):
		return responseOverloaded, responseOverloaded.text
	case errors.Is(err, errTooManyWaiting):
		return responseTooManyWaiting, responseTooManyWaiting.text
	case errors.Is(err, errPanicked):
		return responsePanic, responsePanic.text
	case errors.Is(err, ledger.ErrInFlight):
		return responseInFlight, responseInFlight.text
	case errors.Is(err, ledger.ErrStore):
		return responseStoreUnavailable, responseStoreUnavailable.text
	default:
		return responseUnavailable, responseUnavailable.text
	}
}

func (r *smtpFailureReceiver) fail(w http.ResponseWriter, req *http.Request, err error) {
	if refusal, ok := errors.AsType[*signature.Refusal](err); ok {
		// The reason is in the message, so that a flood of one does not hide another.
		r.logger.Warn("A call was refused: " + refusal.Reason)
		r.telemetry.refused(req.Context(), refusal.Reason)
		w.Header().Set("WWW-Authenticate", "Signature")
	}
	a, text := responseTo(err)
	respond(w, req, a, text)
}

// handleServerError responds to what confighttp refuses before a request reaches handle. Only a coding that it does
// not know, and a size that snappy announces, are told by the text; TestTextsOfConfighttp notices when that changes.
func (r *smtpFailureReceiver) handleServerError(w http.ResponseWriter, req *http.Request, text string, status int) {
	if status == http.StatusUnauthorized {
		respond(w, req, responseUnauthorized, responseUnauthorized.text)
		return
	}
	state := requestStateOf(w, req)
	if _, err := state.finishBody(req.Context()); err != nil {
		r.fail(w, req, err)
		return
	}
	a := responseInvalid
	switch {
	case strings.HasPrefix(text, "unsupported Content-Encoding"):
		a = responseUnsupported
	case strings.Contains(text, "exceeds max request body size"):
		a = responseTooLarge
	}
	respond(w, req, a, a.text)
}

func (r *smtpFailureReceiver) recovered(state *requestState, req *http.Request, cause any) {
	r.logPanic(cause)
	if state.status == 0 {
		respond(state, req, responsePanic, responsePanic.text)
		return
	}
	state.response = responsePanic
}

// respond writes a response and records which it was.
func respond(w http.ResponseWriter, req *http.Request, a *response, text string) {
	state := requestStateOf(w, req)
	state.response = a
	if a.status == http.StatusOK {
		w.WriteHeader(http.StatusOK)
		return
	}
	if req.ContentLength != 0 && state.body.err == nil {
		// net/http reads the rest of the body before it sends the response: what is there already, so that the sender sees the response and not
		// a connection that is reset, but not what may never come. Without deadlines there is nothing better to do.
		_ = http.NewResponseController(state).SetReadDeadline(time.Now().Add(unreadTimeout))
	}
	switch {
	case a == responseTooLarge, a == responseIncomplete, a == responseTooSlow:
		// The rest of the body is not worth reading at all.
		w.Header().Set("Connection", "close")
	case a.status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	case a == responseMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	}
	http.Error(w, text, a.status)
}
