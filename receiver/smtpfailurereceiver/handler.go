package smtpfailurereceiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// The way of a POST, from top to bottom: wrap counts its response, verified checks who sends it, handle reads what it says, accept
// sees to it that it is taken once. batch.go hands it to the logs pipelines and has it counted, with those that come at the
// same time. What can go wrong on the way becomes a response in responseTo.

// verified checks who calls, where that is configured, and responds when the call is not let in. It comes before
// everything that confighttp does, because the digest is that of the body as it was sent, before decompression.
func (r *smtpFailureReceiver) verified(state *requestState, req *http.Request) bool {
	if r.verifier == nil || req.Method != http.MethodPost || req.URL.Path != r.config.Path {
		// What is no report gets no further than handle, and neither does what becomes one on its way there.
		return true
	}
	call, err := r.verifier.Begin(req)
	if err == nil {
		req.Body = call
		if !call.Authenticated() {
			err = r.readUnverified(req, call)
		}
	}
	if err != nil {
		r.fail(state, req, err)
		return false
	}
	state.call = call
	return true
}

// errOverloaded is the error for a call that cannot be checked because too many are.
var errOverloaded = errors.New("too many calls are being checked")

// readUnverified reads the body of a call whose length is signed and not sent, so that it can be checked. Anyone can
// get this far, so the bodies that are held before it is known who sent them have a bound.
func (r *smtpFailureReceiver) readUnverified(req *http.Request, call *signature.Call) error {
	select {
	case r.unverified <- struct{}{}:
		defer func() { <-r.unverified }()
	default:
		return errOverloaded
	}
	body, err := io.ReadAll(call)
	if err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	_, err = call.Finish(req.Context())
	return err
}

// finish returns the account of a call whose body was read, once the body was checked too, and none where nobody is.
func (state *requestState) finish(ctx context.Context) (account string, err error) {
	if state.call == nil {
		if err := state.body.err; err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("%w: %w", errBody, err)
		}
		return "", nil
	}
	if account, err = state.call.Finish(ctx); err != nil {
		return "", fmt.Errorf("%w: %w", errBody, err)
	}
	return account, nil
}

// handle takes one request from the first look at it to its response.
func (r *smtpFailureReceiver) handle(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path != r.config.Path {
		respond(w, req, responseNotFound, responseNotFound.text)
		return
	}
	if req.Method != http.MethodPost {
		respond(w, req, responseMethodNotAllowed, responseMethodNotAllowed.text)
		return
	}
	state := requestStateOf(w, req)
	if r.verifier != nil && state.call == nil {
		r.fail(w, req, &signature.Refusal{Reason: signature.ReasonNotChecked})
		return
	}
	decode, charset := decoderFor(req.Header.Get("Content-Type"))
	if decode == nil {
		respond(w, req, responseUnsupported, responseUnsupported.text)
		return
	}
	body, n, err := r.readBody(req)
	r.telemetry.received(state.measured(req.Context()), n)
	account, finishErr := state.finish(req.Context())
	if finishErr != nil {
		err = finishErr
	}
	if err != nil {
		r.fail(w, req, err)
		return
	}
	r.connections.read(req)
	event, err := decode(&r.decoder, webhook.Call{Body: body, Charset: charset, Account: account, Arrived: state.began})
	if err != nil {
		r.fail(w, req, err)
		return
	}
	r.privacy.Apply(event)
	c := &call{
		event: event, values: valuesOf(event), size: len(body),
		span: trace.SpanContextFromContext(req.Context()), client: client.FromContext(req.Context()),
	}
	a, err := r.accept(req.Context(), c)
	if err != nil {
		r.logger.Warn("A report was not taken and has to be sent again", zap.Error(err))
		r.fail(w, req, err)
		return
	}
	respond(w, req, a, a.text)
}

// The content types of reports.
const (
	typeForm = "application/x-www-form-urlencoded"
	typeJSON = "application/json"
)

// decoderFor returns how a body of the content type is read, or nil when it is not, and the charset that is declared, if any.
func decoderFor(contentType string) (decode func(*webhook.Decoder, webhook.Call) (*webhook.Event, error), charset string) {
	if contentType != typeForm && contentType != typeJSON {
		mediaType, parameters, err := mime.ParseMediaType(contentType)
		if err != nil {
			// Parameters that cannot be read say nothing.
			mediaType, _, _ = strings.Cut(contentType, ";")
			mediaType = strings.ToLower(strings.TrimSpace(mediaType))
		}
		contentType, charset = mediaType, parameters["charset"]
	}
	switch contentType {
	case typeForm, "":
		return (*webhook.Decoder).Form, charset
	case typeJSON:
		return (*webhook.Decoder).JSON, charset
	}
	return nil, ""
}

// bodies keeps buffers between requests; what is read is copied out.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxKeptBody is the size past which a buffer is not kept, so that one large body does not stay in memory.
const maxKeptBody = 64 << 10

// readBody returns the body, and how much of it was read, which is less than all after an error.
func (r *smtpFailureReceiver) readBody(req *http.Request) (body string, n int64, err error) {
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
	return buffer.String(), n, nil
}

// accept has a report handed to the logs pipelines and counted, once however often it is sent. It returns a response when
// that is over and done with, and an error when the report has to be sent again.
func (r *smtpFailureReceiver) accept(ctx context.Context, c *call) (*response, error) {
	if !r.batches.room.TryAcquire(1) {
		return nil, errTooManyWaiting
	}
	attempt, known, err := r.ledger.Begin(ctx, c.event.Kind.String(), ledger.ID(c.event.Identity))
	if attempt == nil {
		r.batches.room.Release(1)
		if err != nil {
			return nil, err
		}
		r.telemetry.duplicate(ctx)
		if known == ledger.Refused {
			return responseRefused, nil
		}
		return responseDuplicate, nil
	}
	c.attempt = attempt
	if err := r.batches.do(ctx, c); err != nil {
		return nil, err
	}
	for _, field := range c.event.Anomalies {
		r.telemetry.anomaly(ctx, field)
	}
	r.telemetry.caused(ctx, c.event.DecidedBy)
	if c.outcome == ledger.Refused {
		return responseRefused, nil
	}
	return responseAccepted, nil
}
