package smtpfailurereceiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/failure"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
)

// The way of a POST, from top to bottom: answering counts it, verified checks who sends it, handle reads what it says, accept sees to it that it is taken
// once, handOver gives it to the logs pipelines. What can go wrong on the way becomes an answer in answerTo.

// answer is one way in which a request can end: what the sender is told, and under which name it is counted.
type answer struct {
	outcome string
	status  int
	text    string
}

// The answers. Every request ends in exactly one of them.
var (
	answerAccepted         = &answer{"accepted", http.StatusOK, ""}
	answerDuplicate        = &answer{"duplicate", http.StatusOK, ""}
	answerOwnershipFile    = &answer{"ownership_file", http.StatusOK, ""}
	answerInvalid          = &answer{"invalid", http.StatusBadRequest, "the body cannot be read"}
	answerIncomplete       = &answer{"incomplete", http.StatusBadRequest, "the body ended early or came too slowly"}
	answerOtherWebhook     = &answer{"other_webhook", http.StatusBadRequest, failure.ErrOtherType.Error()}
	answerRefused          = &answer{"refused", http.StatusBadRequest, "a pipeline refused the report for good"}
	answerUnauthorized     = &answer{"unauthorized", http.StatusUnauthorized, "unauthorized"}
	answerNotFound         = &answer{"not_found", http.StatusNotFound, "not found"}
	answerMethodNotAllowed = &answer{"method_not_allowed", http.StatusMethodNotAllowed, "send reports with POST"}
	answerTooLarge         = &answer{"too_large", http.StatusRequestEntityTooLarge, "the body is larger than max_request_body_size allows"}
	answerUnsupported      = &answer{"unsupported_media_type", http.StatusUnsupportedMediaType, "send a form (application/x-www-form-urlencoded) or JSON (application/json), compressed in a way that compression_algorithms allows or not at all"}
	answerPanic            = &answer{"panic", http.StatusInternalServerError, "internal error"}
	answerUnavailable      = &answer{"unavailable", http.StatusServiceUnavailable, "a pipeline cannot take the report now, try again later"}
	answerStoreUnavailable = &answer{"store_unavailable", http.StatusServiceUnavailable, "the store cannot take the report now, try again later"}
	answerInFlight         = &answer{"in_flight", http.StatusServiceUnavailable, "another copy of the report is under way, try again later"}
	answerOverloaded       = &answer{"overloaded", http.StatusServiceUnavailable, "too many calls are being checked, try again later"}
	answerKeyUnavailable   = &answer{"key_unavailable", http.StatusServiceUnavailable, "the key of the signature cannot be looked up now, try again later"}
	// answerOther stands for what a configured middleware or CORS answers. Its status is whatever they chose.
	answerOther = &answer{"other", 0, ""}

	answers = []*answer{
		answerAccepted, answerDuplicate, answerOwnershipFile, answerInvalid, answerIncomplete, answerOtherWebhook, answerRefused, answerUnauthorized, answerNotFound,
		answerMethodNotAllowed, answerTooLarge, answerUnsupported, answerPanic, answerUnavailable,
		answerStoreUnavailable, answerOverloaded, answerKeyUnavailable, answerInFlight, answerOther,
	}
)

// retryAfter is the number of seconds after which a sender is asked to try again: long enough for a queue to drain a little.
const retryAfter = "10"

// patienceWithUnread is how long the rest of a body is waited for that nobody wants.
const patienceWithUnread = time.Second

// exchange is one request and its answer, as the outermost handler sees it.
type exchange struct {
	http.ResponseWriter
	began   time.Time
	traced  bool    // there is a span
	account string  // that signed the call, when that was checked
	read    bool    // the body was read
	answer  *answer // nil until handle or handleServerError has chosen one
	status  int     // 0 until the header is written
}

// measured returns the context of what is measured in ctx: without a span there is nothing in it that a measurement could be linked to, and it takes
// its time to find that out.
func (x *exchange) measured(ctx context.Context) context.Context {
	if x.traced {
		return ctx
	}
	return context.Background()
}

type exchangeKey struct{}

// exchangeOf returns the exchange of a request. Every request has one: answering is outermost. It is what is written to, or in that, unless a
// middleware has hidden it; then the request's context has it.
func exchangeOf(w http.ResponseWriter, req *http.Request) *exchange {
	for {
		switch outer := w.(type) {
		case *exchange:
			return outer
		case interface{ Unwrap() http.ResponseWriter }:
			w = outer.Unwrap()
		default:
			return req.Context().Value(exchangeKey{}).(*exchange)
		}
	}
}

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	// 1xx are not the answer.
	if x.status == 0 && status >= http.StatusOK {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter {
	return x.ResponseWriter
}

// answering wraps the whole server, confighttp's own handlers included: whatever they answer is counted and has a span, and a panic anywhere is an
// answer too.
func (r *smtpFailureReceiver) answering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx, span := r.tracer.Start(req.Context(), r.spanName)
		defer span.End()
		x := &exchange{ResponseWriter: w, began: r.now(), traced: span.SpanContext().IsValid()}
		// A request is large, and so not copied without need. A middleware may hide the exchange behind a writer of its own.
		if x.traced || len(r.config.HTTP.Middlewares) > 0 {
			req = req.WithContext(context.WithValue(ctx, exchangeKey{}, x))
		}
		defer func() {
			if cause := recover(); cause != nil {
				r.recovered(x, req, cause)
			}
			if x.answer == nil {
				x.answer = answerOther
			}
			if x.status == 0 {
				// net/http writes this header when a handler returns without one.
				x.status = http.StatusOK
			}
			r.telemetry.answered(x.measured(ctx), x.answer, x.status, r.now().Sub(x.began))
			if span.IsRecording() {
				span.SetAttributes(attribute.String(attributeOutcome, x.answer.outcome), attribute.Int(attributeHTTPStatus, x.status))
				if x.status >= http.StatusInternalServerError {
					span.SetStatus(codes.Error, x.answer.text)
				}
			}
		}()
		// Before any check of who asks: the sender's own check of the URL carries neither credentials nor a signature.
		if !r.serveOwnershipFile(x, req) && r.verified(x, req) {
			next.ServeHTTP(x, req)
		}
	})
}

// verified checks who calls, where that is configured, and answers when the call is not let in. It comes before everything that confighttp
// does, because the digest is that of the body as it was sent, before decompression.
func (r *smtpFailureReceiver) verified(x *exchange, req *http.Request) bool {
	if r.verifier == nil || req.Method != http.MethodPost || req.URL.Path != r.config.Path {
		// What is no report gets no further than handle.
		return true
	}
	call, err := r.verifier.Begin(req)
	if err != nil {
		r.fail(x, req, err)
		return false
	}
	authentic, err := call.Authenticate(req.Context())
	if err != nil {
		r.fail(x, req, err)
		return false
	}
	if !authentic {
		// Anyone can get this far, so the bodies that are held before it is known who sent them have a bound.
		select {
		case r.unverified <- struct{}{}:
			defer func() { <-r.unverified }()
		default:
			reply(x, req, answerOverloaded, answerOverloaded.text)
			return false
		}
	}
	req.Body = http.MaxBytesReader(x, req.Body, r.config.HTTP.MaxRequestBodySize)
	var finishErr error
	body, _, err := r.readBody(req, func(body []byte) { finishErr = call.Finish(req.Context(), body) })
	x.read = err == nil
	if err == nil {
		err = finishErr
	}
	if err != nil {
		r.fail(x, req, err)
		return false
	}
	x.account = call.Account()
	req.Body = io.NopCloser(strings.NewReader(body))
	return true
}

// handle takes one request from the first look at it to its answer.
func (r *smtpFailureReceiver) handle(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path != r.config.Path {
		reply(w, req, answerNotFound, answerNotFound.text)
		return
	}
	if req.Method != http.MethodPost {
		reply(w, req, answerMethodNotAllowed, answerMethodNotAllowed.text)
		return
	}
	decode := decoderFor(req.Header.Get("Content-Type"))
	if decode == nil {
		reply(w, req, answerUnsupported, answerUnsupported.text)
		return
	}
	x := exchangeOf(w, req)
	body, n, err := r.readBody(req, func([]byte) {})
	x.read = x.read || err == nil
	r.telemetry.received(x.measured(req.Context()), n)
	if err != nil {
		r.fail(w, req, err)
		return
	}
	report, err := decode(&r.decoder, body)
	if err != nil {
		r.fail(w, req, err)
		return
	}
	a, err := r.accept(req.Context(), &arrival{
		report: report, account: x.account, uid: r.privacy.Apply(report, x.account), at: x.began, measured: x.measured(req.Context()),
	})
	report.Free()
	if err != nil {
		r.logger.Warn("A report was not taken and has to be sent again", zap.Error(err))
		r.fail(w, req, err)
		return
	}
	reply(w, req, a, a.text)
}

// The content types of reports.
const (
	typeForm = "application/x-www-form-urlencoded"
	typeJSON = "application/json"
)

// decoderFor returns how a body of the content type is read, or nil when it is not.
func decoderFor(contentType string) func(*failure.Decoder, string) (*failure.Report, error) {
	if contentType != typeForm && contentType != typeJSON {
		// Parameters such as charset change nothing: what is not UTF-8 is found out from the bytes.
		contentType, _, _ = strings.Cut(contentType, ";")
		contentType = strings.ToLower(strings.TrimSpace(contentType))
	}
	switch contentType {
	case typeForm, "":
		return (*failure.Decoder).Form
	case typeJSON:
		return (*failure.Decoder).JSON
	}
	return nil
}

// bodies keeps buffers between requests; what is read is copied out.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxKeptBody is the size past which a buffer is not kept, so that one large body does not stay in memory.
const maxKeptBody = 64 << 10

// readBody returns the body, once it was looked at, and how much of it was read, which is less than all after an error.
func (r *smtpFailureReceiver) readBody(req *http.Request, look func(body []byte)) (body string, n int64, err error) {
	if limit := r.config.HTTP.MaxRequestBodySize; req.ContentLength > limit {
		return "", 0, fmt.Errorf("%w: %w", errBody, &http.MaxBytesError{Limit: limit})
	}
	buffer := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= maxKeptBody {
			buffer.Reset()
			bodies.Put(buffer)
		}
	}()
	n, err = buffer.ReadFrom(req.Body)
	if err != nil {
		return "", n, fmt.Errorf("%w: %w", errBody, err)
	}
	look(buffer.Bytes())
	return buffer.String(), n, nil
}

// accept hands a report to the logs pipelines and counts it, once however often it is sent. It returns an answer when that is over and
// done with, and an error when the report has to be sent again; the ledger tells how it goes on then.
func (r *smtpFailureReceiver) accept(ctx context.Context, a *arrival) (*answer, error) {
	attempt, known, err := r.ledger.Begin(ctx, ledger.ID(a.uid))
	if err != nil {
		return nil, err
	}
	if attempt == nil {
		r.telemetry.duplicate(ctx)
		if known == ledger.Refused {
			return answerRefused, nil
		}
		return answerDuplicate, nil
	}
	defer attempt.Release()

	outcome := attempt.HandedOver
	if outcome == 0 {
		if outcome, err = r.handOver(ctx, a); err != nil {
			return nil, err
		}
	}
	counts := r.counters.counts(a.report, a.account)
	over, err := attempt.Commit(ctx, outcome, counts.byMetric)
	counts.free()
	if err != nil {
		return nil, err
	}

	for _, field := range a.report.Anomalies {
		r.telemetry.anomaly(ctx, field)
	}
	r.telemetry.overflowed(ctx, r.counters, over)
	if outcome == ledger.Refused {
		return answerRefused, nil
	}
	return answerAccepted, nil
}

// handOver gives the record to the logs pipelines. A report that they refuse for good is done with too: the failure happened all the same,
// so that it counts, and nobody has to report it again.
func (r *smtpFailureReceiver) handOver(ctx context.Context, a *arrival) (ledger.Outcome, error) {
	if r.logs == nil {
		return ledger.Accepted, nil
	}
	operation := r.receiveLogs.StartLogsOp(a.measured)
	if span := trace.SpanFromContext(operation); span.SpanContext().IsValid() {
		ctx = trace.ContextWithSpan(ctx, span)
	}
	// A sender that hangs up does not stop what has begun: half of the pipelines may have the record already.
	err := r.logs.ConsumeLogs(context.WithoutCancel(ctx), newLogs(a, r.resource, r.settings.BuildInfo.Version))
	r.receiveLogs.EndLogsOp(operation, formatReport, 1, err)
	switch {
	case err == nil:
		return ledger.Accepted, nil
	case isPermanent(err):
		r.logger.Warn("The logs pipelines refused a report for good", zap.Error(err))
		return ledger.Refused, nil
	default:
		return 0, err
	}
}

// errBody is wrapped by every error of reading a body.
var errBody = errors.New("reading the body")

// answerTo is the one place where an error becomes an answer.
func answerTo(err error) (*answer, string) {
	var (
		tooLarge *http.MaxBytesError
		network  net.Error
		refusal  *signature.Refusal
	)
	switch {
	case errors.Is(err, failure.ErrOtherType):
		return answerOtherWebhook, err.Error()
	case errors.Is(err, failure.ErrNoID),
		errors.Is(err, failure.ErrTooManyVariables),
		errors.Is(err, failure.ErrNameTooLong),
		errors.Is(err, failure.ErrJSON),
		errors.Is(err, failure.ErrNoObject),
		errors.Is(err, failure.ErrTooDeep):
		return answerInvalid, err.Error()
	case errors.As(err, &refusal):
		return answerUnauthorized, answerUnauthorized.text
	case errors.Is(err, signature.ErrKeyUnavailable):
		return answerKeyUnavailable, answerKeyUnavailable.text
	case errors.As(err, &tooLarge):
		return answerTooLarge, answerTooLarge.text
	case errors.Is(err, errBody) && (errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled)):
		return answerIncomplete, answerIncomplete.text
	case errors.Is(err, errBody):
		// What is left is a body that says it is compressed and is not.
		return answerInvalid, answerInvalid.text
	case errors.Is(err, ledger.ErrInFlight):
		return answerInFlight, answerInFlight.text
	case errors.Is(err, ledger.ErrStore):
		return answerStoreUnavailable, answerStoreUnavailable.text
	default:
		return answerUnavailable, answerUnavailable.text
	}
}

// isPermanent says that sending the same again can never work. Where several pipelines refused, all of them have to have done so for good:
// one that could take the record later must get it again.
func isPermanent(err error) bool {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		several, ok := inner.(interface{ Unwrap() []error })
		if !ok {
			continue
		}
		permanent := 0
		for _, one := range several.Unwrap() {
			if isPermanent(one) {
				permanent++
			}
		}
		if permanent > 0 {
			return permanent == len(several.Unwrap())
		}
	}
	return consumererror.IsPermanent(err)
}

func (r *smtpFailureReceiver) fail(w http.ResponseWriter, req *http.Request, err error) {
	var refusal *signature.Refusal
	if errors.As(err, &refusal) {
		// The reason is in the message, so that a flood of one does not hide another.
		r.logger.Warn("A call was refused: " + refusal.Reason)
		r.telemetry.refused(req.Context(), refusal.Reason)
	}
	a, text := answerTo(err)
	reply(w, req, a, text)
}

// handleServerError answers what confighttp refuses before a request reaches handle. It gives its errors as text only.
func (r *smtpFailureReceiver) handleServerError(w http.ResponseWriter, req *http.Request, text string, status int) {
	a := answerInvalid
	switch {
	case status == http.StatusUnauthorized:
		a = answerUnauthorized
	case strings.HasPrefix(text, "unsupported Content-Encoding"):
		a = answerUnsupported
	case strings.Contains(text, "request body too large"), strings.Contains(text, "exceeds max request body size"):
		a = answerTooLarge
	}
	reply(w, req, a, a.text)
}

func (r *smtpFailureReceiver) recovered(x *exchange, req *http.Request, cause any) {
	// Only the type of the cause, because its text may hold what was sent.
	r.logger.Error("A request ended in a panic", zap.String("cause", fmt.Sprintf("%T", cause)), zap.ByteString("stack", debug.Stack()))
	if x.status == 0 {
		reply(x, req, answerPanic, answerPanic.text)
		return
	}
	x.answer = answerPanic
}

// reply writes an answer and records which it was.
func reply(w http.ResponseWriter, req *http.Request, a *answer, text string) {
	x := exchangeOf(w, req)
	x.answer = a
	if a.status == http.StatusOK {
		w.WriteHeader(http.StatusOK)
		return
	}
	if req.ContentLength != 0 && !x.read {
		// net/http reads the rest of the body before it sends the answer: what is there already, so that the sender sees the answer and not
		// a connection that is reset, but not what may never come. Without deadlines there is nothing better to do.
		_ = http.NewResponseController(x).SetReadDeadline(time.Now().Add(patienceWithUnread))
	}
	switch {
	case a == answerTooLarge, a == answerIncomplete:
		// The rest of the body is not worth reading at all.
		w.Header().Set("Connection", "close")
	case a.status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	case a == answerMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	}
	http.Error(w, text, a.status)
}
