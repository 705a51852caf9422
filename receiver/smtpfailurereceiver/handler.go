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

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

// The way of a POST: wrap counts its response, verify checks who sends it, confighttp's handlers
// decompress it, handle decodes it, accept makes sure that it counts once, and the batcher passes
// it to the pipelines and the ledger. responseTo makes a response of an error on the way.

// verify checks the header of a signed request, where signatures are configured. It reports whether
// the request may go on; if not, it has responded. It comes before confighttp's handlers, because
// the digest is that of the body before decompression. Other paths and methods are left to handle,
// which refuses them.
func (r *smtpFailureReceiver) verify(state *requestState, req *http.Request) bool {
	if r.verifier == nil || req.Method != http.MethodPost || req.URL.Path != r.config.Path {
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

// errOverloaded means that too many bodies of requests that are not verified yet are being read.
var errOverloaded = errors.New("too many calls are being checked")

// readUnverified reads and checks the body of a chunked request whose signature covers its length,
// and can only be checked when that is known. Anyone can get this far, so the number of such bodies
// has a bound.
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

// finishBody checks a body that was read: that it came whole and is what was signed. It returns the
// account that signed it, if signatures are checked.
func (state *requestState) finishBody(ctx context.Context) (account string, err error) {
	if state.call != nil {
		account, err = state.call.Finish(ctx)
	} else if err = state.body.err; errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errBody, err)
	}
	return account, nil
}

// handle responds to a request that confighttp's handlers let through.
func (r *smtpFailureReceiver) handle(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path != r.config.Path {
		respond(w, req, responseNotFound, "")
		return
	}
	if req.Method != http.MethodPost {
		respond(w, req, responseNotPost, "")
		return
	}
	state := requestStateOf(req)
	if r.verifier != nil && state.call == nil {
		// verify has left it out, and then a middleware has changed its path or method.
		r.fail(w, req, &signature.Refusal{Reason: signature.ReasonNotChecked})
		return
	}
	decode, charset := decoderFor(req.Header.Get("Content-Type"))
	if decode == nil {
		respond(w, req, responseUnsupported, "")
		return
	}
	body, account, err := r.readBody(state, req)
	if err != nil {
		r.fail(w, req, err)
		return
	}
	event, err := decode(&r.decoder, webhook.Call{Body: body, Charset: charset, Account: account, Arrived: state.began})
	if err != nil {
		r.fail(w, req, err)
		return
	}
	r.privacy.Apply(event)
	resp, err := r.accept(req.Context(), &queuedEvent{
		Event: event, size: len(body),
		span: trace.SpanContextFromContext(req.Context()), client: client.FromContext(req.Context()),
	})
	if err != nil {
		r.logger.Warn("A report was not accepted and has to be sent again", zap.Error(err))
		r.fail(w, req, err)
		return
	}
	respond(w, req, resp, "")
}

// The content types of reports.
const (
	typeForm = "application/x-www-form-urlencoded"
	typeJSON = "application/json"
)

type decodeFunc func(*webhook.Decoder, webhook.Call) (*webhook.Event, error)

// decoderFor returns what decodes bodies of the content type, or nil, and the charset that it
// names.
func decoderFor(contentType string) (decode decodeFunc, charset string) {
	if contentType != typeForm && contentType != typeJSON {
		mediaType, parameters, err := mime.ParseMediaType(contentType)
		if err != nil {
			// Parameters that cannot be read are ignored.
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

// readBody returns the body and the account that signed it, if signatures are checked.
func (r *smtpFailureReceiver) readBody(state *requestState, req *http.Request) (body, account string, err error) {
	if limit := r.config.HTTP.MaxRequestBodySize; req.ContentLength > limit {
		return "", "", fmt.Errorf("%w: %w", errBody, &http.MaxBytesError{Limit: limit})
	}
	content, readErr := io.ReadAll(req.Body)
	r.telemetry.readBody(req.Context(), len(content))
	// This error comes before that of reading, which may only be what decompression made of it.
	if account, err = state.finishBody(req.Context()); err != nil {
		return "", "", err
	}
	if readErr != nil {
		return "", "", fmt.Errorf("%w: %w", errBody, readErr)
	}
	r.connections.read(req)
	return string(content), account, nil
}

// accept has an event exported and counted, once however often it is sent. It returns an error if
// the event has to be sent again.
func (r *smtpFailureReceiver) accept(ctx context.Context, event *queuedEvent) (*response, error) {
	if !r.batches.slots.TryAcquire(1) {
		return nil, errTooManyWaiting
	}
	attempt, known, err := r.ledger.Begin(ctx, event.Kind.String(), ledger.ID(event.Identity))
	if attempt == nil {
		r.batches.slots.Release(1)
		if err != nil {
			return nil, err
		}
		r.telemetry.duplicate(ctx)
		if known == ledger.Refused {
			return responseRefused, nil
		}
		return responseDuplicate, nil
	}
	event.attempt = attempt
	if err := r.batches.do(ctx, event); err != nil {
		return nil, err
	}
	for _, field := range event.Anomalies {
		r.telemetry.anomaly(ctx, field)
	}
	r.telemetry.caused(ctx, event.DecidedBy)
	if event.outcome == ledger.Refused {
		return responseRefused, nil
	}
	return responseAccepted, nil
}
