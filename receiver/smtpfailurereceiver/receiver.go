package smtpfailurereceiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/privacy"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

const (
	transport = "http"
	// The formats in receiverhelper's spans.
	formatReport  = "smtp_failure"
	formatCounter = "smtp_failure_counters"

	// maxUnverified is the number of bodies that are read at once before their call is verified:
	// only of calls whose length is signed but not sent, which those of the senders are not.
	maxUnverified = 64

	// maxReplayEntries is the number of reports that may well come within signature::max_age.
	maxReplayEntries = 10_000

	// defaultWaitTimeout is longer than pipelines usually take, and shorter than senders wait.
	defaultWaitTimeout = 2 * time.Second
)

var errShutDown = errors.New("the receiver was shut down")

// smtpFailureReceiver owns the server and the counters of one configured instance.
type smtpFailureReceiver struct {
	config   *Config
	settings receiver.Settings
	logger   *zap.Logger
	logs     consumer.Logs    // nil where the instance is not used for logs
	metrics  consumer.Metrics // nil where it is not used for metrics
	now      func() time.Time
	// waitTimeout is how long a report waits for another copy of it that is being handled.
	waitTimeout time.Duration
	// forget removes the receiver from its factory.
	forget func()

	resource       pcommon.Resource
	decoder        webhook.Decoder
	privacy        privacy.Policy
	verifier       *signature.Verifier // nil when signatures are not checked
	resolver       signature.Resolver  // nil for the configured one
	unverified     chan struct{}       // a semaphore of maxUnverified
	connections    *connections
	telemetry      *selfTelemetry
	tracer         trace.Tracer
	spanName       string
	status         *status
	obsreport      *receiverhelper.ObsReport
	batches        *batcher
	ownershipFiles map[string]string // by URL path
	counters       *counters
	ledger         *ledger.Ledger

	startOnce, shutdownOnce sync.Once
	startErr, shutdownErr   error
	server                  *http.Server
	listener                net.Listener
	serving                 sync.WaitGroup
	stopFlushing            func(context.Context) error // nil until flushing has started
}

// newReceiver expects a valid configuration.
func newReceiver(settings receiver.Settings, config *Config) (*smtpFailureReceiver, error) {
	location, err := config.location()
	if err != nil {
		return nil, fmt.Errorf("timezone: %w", err)
	}
	causes, err := smtpstatus.NewCauses(config.phrases())
	if err != nil {
		return nil, fmt.Errorf("causes: %w", err)
	}
	telemetry, err := newSelfTelemetry(settings.ID, settings.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	obsreport, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: settings.ID, Transport: transport, ReceiverCreateSettings: settings,
	})
	if err != nil {
		return nil, err
	}

	logger := limited(settings.Logger)
	recipient := &config.Recipient
	mode, _ := privacy.ParseMode(recipient.Mode)
	r := &smtpFailureReceiver{
		config:      config,
		settings:    settings,
		logger:      logger,
		now:         time.Now,
		waitTimeout: defaultWaitTimeout,
		unverified:  make(chan struct{}, maxUnverified),
		connections: newConnections(config.HTTP.MaxRequestBodySize),
		forget:      func() {},
		resource:    newResource(config.ResourceAttributes),
		decoder: webhook.Decoder{
			Location: location,
			Causes:   causes,
			Keep:     slices.Concat(config.CountBy, recipient.Variables),
		},
		privacy: privacy.Policy{
			Mode:      mode,
			Key:       []byte(recipient.Key),
			Redact:    recipient.Description == descriptionRedact,
			Variables: recipient.Variables,
		},
		telemetry: telemetry,
		tracer:    metadata.Tracer(settings.TelemetrySettings),
		spanName:  "receiver/" + settings.ID.String() + "/Request",
		obsreport: obsreport,
		status:    &status{logger: logger},
	}
	r.batches = newBatcher(r.processBatch, func() time.Time { return r.now() })
	if config.HTTP.IncludeMetadata || config.HTTP.Auth.HasValue() {
		// Pipelines may look at who made a call, which those of a shared one do not know.
		r.batches.maxReports = 1
	}
	return r, nil
}

// limited returns a logger that writes a message at most 10 times a minute: requests that anyone
// can send must not fill a disk.
func limited(logger *zap.Logger) *zap.Logger {
	return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Minute, 10, 0)
	}))
}

// Start opens the server and starts sending the counters, once for all signals of the instance. The
// component's status is reported to each signal's host.
func (r *smtpFailureReceiver) Start(ctx context.Context, host component.Host) error {
	r.status.add(host)
	r.startOnce.Do(func() { r.startErr = r.start(ctx, host) })
	return r.startErr
}

func (r *smtpFailureReceiver) start(ctx context.Context, host component.Host) error {
	var err error
	if r.ownershipFiles, err = readOwnershipFiles(r.config); err != nil {
		return err
	}
	r.counters = new(counters)
	if r.metrics != nil {
		r.counters = newCounters(r.config)
	}
	r.decoder.Also = r.counters.kinds()[1:]
	if r.ledger, err = r.openLedger(ctx, host); err != nil {
		return err
	}
	if err := r.restore(ctx); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if r.config.Signature.HasValue() {
		r.verifier = r.newVerifier(r.config.Signature.Get())
	}
	if err := r.telemetry.observe(r.ledger, r.counters.kinds()); err != nil {
		return err
	}
	r.telemetry.begin(r.config, r.counters)

	if r.server, err = r.newServer(ctx, host); err != nil {
		return fmt.Errorf("http: %w", err)
	}
	if r.listener, err = listen(ctx, &r.config.HTTP, r.connections); err != nil {
		return fmt.Errorf("http::endpoint: cannot listen on %s: %w", r.config.HTTP.NetAddr.Endpoint, err)
	}
	r.logger.Info("Starting HTTP server",
		zap.Stringer("endpoint", r.listener.Addr()), zap.String("path", r.config.Path))
	r.logWarnings()
	r.serving.Go(func() {
		if err := r.server.Serve(r.listener); !errors.Is(err, http.ErrServerClosed) {
			r.status.report(componentstatus.NewFatalErrorEvent(fmt.Errorf("the HTTP server ended: %w", err)))
		}
	})
	if r.metrics != nil {
		r.startFlushing()
	}
	return nil
}

// logWarnings logs what an operator may not expect of the configuration.
func (r *smtpFailureReceiver) logWarnings() {
	if r.isUnauthenticated() {
		r.logger.Warn("Anyone who can reach the endpoint can inject failures: it is not loopback, "+
			"and none of signature, http::auth and http::tls::client_ca_file is set",
			zap.String("endpoint", r.config.HTTP.NetAddr.Endpoint))
	}
	if reason := replayable(r.config); reason != "" {
		r.logger.Warn("A captured call counts again when it is sent again", zap.String("reason", reason))
	}
	for _, name := range r.config.CountBy {
		if !r.privacy.Allows(name) {
			r.logger.Warn("Nothing is counted by a variable of count_by, "+
				"because recipient::variables does not name it", zap.String("variable", name))
		}
	}
	for _, name := range collidingAttributes(r.config) {
		r.logger.Warn("With resource_to_telemetry_conversion, an exporter drops the counters: "+
			"a resource attribute has the name of a label", zap.String("resource_attribute", name))
	}
}

// isUnauthenticated reports whether other machines can reach the endpoint and no caller is checked.
func (r *smtpFailureReceiver) isUnauthenticated() bool {
	http := &r.config.HTTP
	mutualTLS := http.TLS.HasValue() && http.TLS.Get().ClientCAFile != ""
	if r.config.Signature.HasValue() || http.Auth.HasValue() || mutualTLS ||
		http.NetAddr.Transport == confignet.TransportTypeUnix {
		return false
	}
	host, _, err := net.SplitHostPort(http.NetAddr.Endpoint)
	ip := net.ParseIP(host)
	return err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// replayable returns why a signed call counts again when it is sent again, or nothing if it does
// not.
func replayable(config *Config) string {
	if !config.Signature.HasValue() {
		return ""
	}
	// A call is accepted from before its date until max_age after it.
	window := config.Signature.Get().MaxAge + signature.MaxAhead
	switch deduplication := config.Deduplication; {
	case !deduplication.Enabled:
		return "deduplication::enabled should be true"
	case deduplication.TTL < window:
		return fmt.Sprintf("deduplication::ttl should be at least %s, signature::max_age and a minute", window)
	case deduplication.MaxEntries < maxReplayEntries:
		return fmt.Sprintf("deduplication::max_entries should be at least %d, for what comes within signature::max_age",
			maxReplayEntries)
	}
	return ""
}

func (r *smtpFailureReceiver) newVerifier(config *SignatureConfig) *signature.Verifier {
	resolver := r.resolver
	if resolver == nil {
		resolver = signature.NewResolver(config.Resolver)
	}
	return signature.NewVerifier(signature.Options{
		Accounts:         config.Accounts,
		Hosts:            config.Hosts,
		SignedPathPrefix: config.SignedPathPrefix,
		MaxAge:           config.MaxAge,
		Resolver:         resolver,
		Now:              r.now,
		Observe: func(outcome string) {
			r.telemetry.lookedUp(outcome)
			r.status.lookedUp(outcome)
		},
		KnownKeys:   strings.Fields(string(r.ledger.Value(storedKnownKeys))),
		OnKnownKeys: r.storeKnownKeys,
	})
}

// Shutdown finishes the requests in flight and sends the last totals, within the context's
// deadline. It may be called before Start and more than once.
func (r *smtpFailureReceiver) Shutdown(ctx context.Context) error {
	r.shutdownOnce.Do(func() {
		r.startOnce.Do(func() { r.startErr = errShutDown })
		r.shutdownErr = r.shutdown(ctx)
	})
	return r.shutdownErr
}

func (r *smtpFailureReceiver) shutdown(ctx context.Context) error {
	defer r.forget()
	defer r.telemetry.builder.Shutdown()

	var errs []error
	if r.server != nil {
		if err := r.server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("requests were cut off: %w", err), r.server.Close())
		}
		r.serving.Wait()
	}
	if r.verifier != nil {
		r.verifier.Close()
	}
	errs = append(errs, r.batches.wait(ctx))
	if r.stopFlushing != nil {
		if err := r.stopFlushing(ctx); err != nil {
			errs = append(errs, fmt.Errorf("the last totals were not sent: %w", err))
		}
	}
	if r.ledger != nil {
		errs = append(errs, r.ledger.Close(ctx))
	}
	return errors.Join(errs...)
}

// startFlushing sends the counters every interval, and once more when stopFlushing is called. A
// flush in flight is waited for then: once it is cut off, nobody knows what arrived.
func (r *smtpFailureReceiver) startFlushing() {
	ctx, cancel := context.WithCancel(context.Background())
	stop, last := make(chan struct{}), make(chan error, 1)
	go func() {
		ticker := time.NewTicker(r.config.Aggregation.Interval)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				last <- r.flushAll(ctx)
				return
			case <-ticker.C:
				if err := r.flush(ctx); err != nil {
					r.logger.Warn("The metrics pipelines refused the counters, which are sent again after the interval",
						zap.Error(err))
				}
			}
		}
	}()
	r.stopFlushing = func(shutdown context.Context) error {
		defer cancel()
		close(stop)
		select {
		case err := <-last:
			return err
		case <-shutdown.Done():
			return shutdown.Err()
		}
	}
}

// flushAll sends the last totals.
func (r *smtpFailureReceiver) flushAll(ctx context.Context) error {
	err := r.flush(ctx)
	// A series that was never sent was sent as zero just now, and its total is still due.
	if err == nil && r.ledger.Pending() {
		err = r.flush(ctx)
	}
	return err
}

// flush sends the counters to the metrics pipelines. What these refuse is sent with the next flush.
func (r *smtpFailureReceiver) flush(ctx context.Context) error {
	collection, err := r.ledger.Collect(ctx)
	if err != nil {
		return err
	}
	metrics := r.counters.newMetrics(collection, r.resource, r.settings.BuildInfo.Version)
	if points := metrics.DataPointCount(); points > 0 {
		ctx := r.obsreport.StartMetricsOp(ctx)
		err = r.metrics.ConsumeMetrics(ctx, metrics)
		r.obsreport.EndMetricsOp(ctx, formatCounter, points, err)
		r.telemetry.flushed(ctx, err)
		if err != nil {
			return err
		}
	}
	// A store that fails catches up later, and its health is reported.
	_ = r.ledger.Acknowledge(ctx, collection.Number)
	return nil
}
