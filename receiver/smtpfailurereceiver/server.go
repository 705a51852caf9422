package smtpfailurereceiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// listen opens the configured address.
func listen(ctx context.Context, config *confighttp.ServerConfig) (net.Listener, error) {
	if config.NetAddr.Transport == confignet.TransportTypeUnix {
		if err := removeStaleSocket(ctx, config.NetAddr.Endpoint); err != nil {
			return nil, err
		}
	}
	return config.ToListener(ctx)
}

// removeStaleSocket removes a socket that a killed process has left behind, on which nobody can
// listen again. One that takes connections, or may yet, stays, and so does all that is no socket:
// listening then fails, and says why.
func removeStaleSocket(ctx context.Context, path string) error {
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		return nil
	}
	connection, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		return connection.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return os.Remove(path)
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
	responseIncomplete       = &response{"incomplete", http.StatusBadRequest, "the body ended early or came too slowly"}
	responseOtherWebhook     = &response{"other_webhook", http.StatusBadRequest, webhook.ErrOtherType.Error()}
	responseRefused          = &response{"refused", http.StatusBadRequest, "a pipeline refused the report for good"}
	responseUnauthorized     = &response{"unauthorized", http.StatusUnauthorized, "unauthorized"}
	responseNotFound         = &response{"not_found", http.StatusNotFound, "not found"}
	responseMethodNotAllowed = &response{"method_not_allowed", http.StatusMethodNotAllowed, "send reports with POST"}
	responseTooLarge         = &response{"too_large", http.StatusRequestEntityTooLarge, "the body is larger than max_request_body_size allows"}
	responseUnsupported      = &response{"unsupported_media_type", http.StatusUnsupportedMediaType, "send a form (application/x-www-form-urlencoded) or JSON (application/json), compressed in a way that compression_algorithms allows or not at all"}
	responsePanic            = &response{"panic", http.StatusInternalServerError, "internal error"}
	responseUnavailable      = &response{"unavailable", http.StatusServiceUnavailable, "a pipeline cannot take the report now, try again later"}
	responseStoreUnavailable = &response{"store_unavailable", http.StatusServiceUnavailable, "the store cannot take the report now, try again later"}
	responseInFlight         = &response{"in_flight", http.StatusServiceUnavailable, "another copy of the report is under way, try again later"}
	responseOverloaded       = &response{"overloaded", http.StatusServiceUnavailable, "too many calls are being checked, try again later"}
	responseKeyUnavailable   = &response{"key_unavailable", http.StatusServiceUnavailable, "the key of the signature cannot be looked up now, try again later"}
	// responseOther stands for what a configured middleware or CORS answers. Its status is whatever they chose.
	responseOther = &response{"other", 0, ""}

	responses = []*response{
		responseAccepted, responseDuplicate, responseOwnershipFile, responseInvalid, responseIncomplete, responseOtherWebhook, responseRefused, responseUnauthorized, responseNotFound,
		responseMethodNotAllowed, responseTooLarge, responseUnsupported, responsePanic, responseUnavailable,
		responseStoreUnavailable, responseOverloaded, responseKeyUnavailable, responseInFlight, responseOther,
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
	traced   bool      // there is a span
	account  string    // that signed the call, when that was checked
	read     bool      // the body was read
	response *response // nil until handle or handleServerError has chosen one
	status   int       // 0 until the header is written
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
		ctx, span := r.tracer.Start(req.Context(), r.spanName)
		defer span.End()
		state := &requestState{ResponseWriter: w, began: r.now(), traced: span.SpanContext().IsValid()}
		// A request is large, and so not copied without need. A middleware may hide the state behind a writer of its own.
		if state.traced || len(r.config.HTTP.Middlewares) > 0 {
			req = req.WithContext(context.WithValue(ctx, requestStateKey{}, state))
		}
		defer func() {
			if cause := recover(); cause != nil {
				r.recovered(state, req, cause)
			}
			if state.response == nil {
				state.response = responseOther
			}
			if state.status == 0 {
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
		if !r.serveOwnershipFile(state, req) && r.verified(state, req) {
			next.ServeHTTP(state, req)
		}
	})
}

// errBody is wrapped by every error of reading a body.
var errBody = errors.New("reading the body")

// responseTo is the one place where an error becomes a response.
func responseTo(err error) (*response, string) {
	var (
		tooLarge *http.MaxBytesError
		network  net.Error
		refusal  *signature.Refusal
	)
	switch {
	case errors.Is(err, webhook.ErrOtherType):
		return responseOtherWebhook, err.Error()
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
	case errors.Is(err, errBody) && (errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled)):
		return responseIncomplete, responseIncomplete.text
	case errors.Is(err, errBody):
		// What is left is a body that says it is compressed and is not.
		return responseInvalid, responseInvalid.text
	case errors.Is(err, ledger.ErrInFlight):
		return responseInFlight, responseInFlight.text
	case errors.Is(err, ledger.ErrStore):
		return responseStoreUnavailable, responseStoreUnavailable.text
	default:
		return responseUnavailable, responseUnavailable.text
	}
}

func (r *smtpFailureReceiver) fail(w http.ResponseWriter, req *http.Request, err error) {
	var refusal *signature.Refusal
	if errors.As(err, &refusal) {
		// The reason is in the message, so that a flood of one does not hide another.
		r.logger.Warn("A call was refused: " + refusal.Reason)
		r.telemetry.refused(req.Context(), refusal.Reason)
	}
	a, text := responseTo(err)
	respond(w, req, a, text)
}

// handleServerError responds to what confighttp refuses before a request reaches handle. It gives its errors as
// text only.
func (r *smtpFailureReceiver) handleServerError(w http.ResponseWriter, req *http.Request, text string, status int) {
	a := responseInvalid
	switch {
	case status == http.StatusUnauthorized:
		a = responseUnauthorized
	case strings.HasPrefix(text, "unsupported Content-Encoding"):
		a = responseUnsupported
	case strings.Contains(text, "request body too large"), strings.Contains(text, "exceeds max request body size"):
		a = responseTooLarge
	}
	respond(w, req, a, a.text)
}

func (r *smtpFailureReceiver) recovered(state *requestState, req *http.Request, cause any) {
	// Only the type of the cause, because its text may hold what was sent.
	r.logger.Error("A request ended in a panic", zap.String("cause", fmt.Sprintf("%T", cause)), zap.ByteString("stack", debug.Stack()))
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
	if req.ContentLength != 0 && !state.read {
		// net/http reads the rest of the body before it sends the response: what is there already, so that the sender sees the response and not
		// a connection that is reset, but not what may never come. Without deadlines there is nothing better to do.
		_ = http.NewResponseController(state).SetReadDeadline(time.Now().Add(unreadTimeout))
	}
	switch {
	case a == responseTooLarge, a == responseIncomplete:
		// The rest of the body is not worth reading at all.
		w.Header().Set("Connection", "close")
	case a.status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	case a == responseMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	}
	http.Error(w, text, a.status)
}
