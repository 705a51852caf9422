package smtpfailurereceiver

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
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
	// The formats of what is received, for the spans of receiverhelper.
	formatReport  = "smtp_failure"
	formatCounter = "smtp_failure_counters"

	// maxUnverified is the number of bodies that are read at once before it is known who sent them: only of calls whose length is signed but
	// not sent, which those of the senders are not.
	maxUnverified = 64

	// Names of what the ledger keeps for the receiver.
	keptInstanceID = "service.instance.id"
	keptKnownKeys  = "signature.known_keys"
	keptSecret     = "recipient.secret"
	keptTold       = "recipient.told"

	// secretLength is that of the key of HMAC-SHA-256.
	secretLength = 32

	// defaultWaitTimeout is long enough for a pipeline that takes its time, and short enough for a sender that waits for the response.
	defaultWaitTimeout = 2 * time.Second
)

var errShutDown = errors.New("the receiver was shut down")

// smtpFailureReceiver owns the server and the counters of one configured instance. Logs and metrics share it.
type smtpFailureReceiver struct {
	config   *Config
	settings receiver.Settings
	logger   *zap.Logger
	// logs and metrics are the pipelines; nil where the instance is not used for the signal.
	logs    consumer.Logs
	metrics consumer.Metrics
	// now is the clock.
	now func() time.Time
	// waitTimeout is how long a report waits for another copy of it that is under way.
	waitTimeout time.Duration
	// forget is called once at shutdown, so that the configuration can be used for a new receiver.
	forget func()

	resource       pcommon.Resource
	decoder        webhook.Decoder
	privacy        privacy.Policy
	verifier       *signature.Verifier // nil when nobody is checked
	resolver       signature.Resolver  // nil for the configured one
	unverified     chan struct{}       // held while a body is read before it is known who sent it
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
	stopFlushing            chan struct{}
	flushing                chan struct{} // closed when the flush loop has ended
	cancelFlush             context.CancelFunc
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
		decoder:     webhook.Decoder{Location: location, Causes: causes, Keep: slices.Concat(config.CountBy, config.Recipient.Variables)},
		privacy:     newPolicy(&config.Recipient),
		telemetry:   telemetry,
		tracer:      metadata.Tracer(settings.TelemetrySettings),
		spanName:    "receiver/" + settings.ID.String() + "/Request",
		obsreport:   obsreport,
		status:      &status{logger: logger},
	}
	r.batches = newBatcher(r.processBatch, func() time.Time { return r.now() })
	if config.HTTP.IncludeMetadata || config.HTTP.Auth.HasValue() {
		// Pipelines may look at who made a call, which those of a shared one cannot tell.
		r.batches.most = 1
	}
	return r, nil
}

// limited returns a logger that repeats no message more than a few times a minute: whoever can make it log must not be
// able to fill a disk.
func limited(logger *zap.Logger) *zap.Logger {
	const first, thereafter = 10, 0
	return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Minute, first, thereafter)
	}))
}

// newPolicy expects a valid configuration.
func newPolicy(config *RecipientConfig) privacy.Policy {
	mode, _ := privacy.ParseMode(config.Mode)
	return privacy.Policy{
		Mode:      mode,
		Key:       []byte(config.Key),
		Redact:    config.Description == descriptionRedact,
		Variables: config.Variables,
	}
}

// Start opens the server and begins to send the counters. It does so once, however many signals the instance is used for;
// the component's status is reported to the host of each.
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
	if err := r.recall(ctx); err != nil {
		return fmt.Errorf("storage: %w", errors.Join(err, r.ledger.Close(ctx)))
	}
	if r.privacy.Mode != privacy.ModeFull {
		r.decoder.Key = r.privacy.Key
	}
	if r.config.Signature.HasValue() {
		r.verifier = r.newVerifier(r.config.Signature.Get())
	}
	if err := r.telemetry.observe(r.ledger, r.counters.kinds()); err != nil {
		return err
	}
	r.telemetry.begin(r.config, r.counters)

	instrumented, err := instrumentIfSeen(r.settings.MeterProvider)
	if err != nil {
		return err
	}
	server, err := r.config.HTTP.ToServer(ctx, host.GetExtensions(), r.settings.TelemetrySettings,
		http.HandlerFunc(r.handle), confighttp.WithErrorHandler(r.handleServerError), instrumented)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	server.Handler = r.wrap(server.Handler)
	// OPTIONS * would be answered by net/http itself, and not be counted.
	server.DisableGeneralOptionsHandler = true
	server.ErrorLog = log.New(serverLog{r.logger}, "", 0)
	r.connections.onClose = func() {
		r.logger.Warn("Connections that sent much and no whole request were closed", zap.Int("limit", r.connections.max))
	}
	r.connections.bound(server)
	// confighttp takes no notice of `keepalive: {enabled: false}`.
	server.SetKeepAlivesEnabled(r.config.HTTP.Keepalive.HasValue())
	listener, err := listen(ctx, &r.config.HTTP, r.connections)
	if err != nil {
		return fmt.Errorf("http::endpoint: cannot listen on %s: %w", r.config.HTTP.NetAddr.Endpoint, err)
	}
	r.server, r.listener = server, listener
	r.logger.Info("Taking failure reports", zap.Stringer("address", listener.Addr()), zap.String("path", r.config.Path))
	if r.open() {
		r.logger.Warn("Anyone who can reach the endpoint can inject failures: it is not loopback, and none of signature, http::auth and http::tls::client_ca_file is set",
			zap.String("endpoint", r.config.HTTP.NetAddr.Endpoint))
	}

	r.warnOfReplays()
	for _, name := range r.config.CountBy {
		if !r.privacy.Tells(name) {
			r.logger.Warn("Nothing is counted by a variable of count_by, because recipient::variables does not name it", zap.String("variable", name))
		}
	}
	for _, name := range collidingAttributes(r.config) {
		r.logger.Warn("A resource attribute has the name of a label: with resource_to_telemetry_conversion, an exporter drops the counters",
			zap.String("resource_attribute", name))
	}

	r.serving.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			r.status.report(componentstatus.NewFatalErrorEvent(fmt.Errorf("the HTTP server ended: %w", err)))
		}
	})
	if r.metrics != nil {
		r.startFlushing()
	}
	return nil
}

// maxReplayEntries is the number of reports that may well come within signature::max_age.
const maxReplayEntries = 10_000

// warnOfReplays warns where a signed call counts again when somebody who has captured it sends it once more.
func (r *smtpFailureReceiver) warnOfReplays() {
	if !r.config.Signature.HasValue() {
		return
	}
	// A call is let in from before its date until max_age after it.
	window := r.config.Signature.Get().MaxAge + signature.MaxAhead
	const consequence = "A captured call counts again when it is sent again: "
	switch deduplication := r.config.Deduplication; {
	case !deduplication.Enabled:
		r.logger.Warn(consequence + "deduplication::enabled should be true where signature is set")
	case deduplication.TTL < window:
		r.logger.Warn(consequence+"deduplication::ttl should be at least signature::max_age and a minute",
			zap.Duration("ttl", deduplication.TTL), zap.Duration("needed", window))
	case deduplication.MaxEntries < maxReplayEntries:
		r.logger.Warn(consequence+"deduplication::max_entries should hold all reports that come within signature::max_age",
			zap.Int("max_entries", deduplication.MaxEntries), zap.Int("needed", maxReplayEntries))
	}
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
		KnownKeys:   strings.Fields(string(r.ledger.Value(keptKnownKeys))),
		OnKnownKeys: r.keepKnownKeys,
	})
}

// keepKnownKeys keeps the names of keys that verified calls, so that the sender's are known after a restart.
func (r *smtpFailureReceiver) keepKnownKeys(names []string) {
	ctx, cancel := context.WithTimeout(context.Background(), r.waitTimeout)
	defer cancel()
	if err := r.ledger.SetValue(ctx, keptKnownKeys, []byte(strings.Join(names, " "))); err != nil {
		r.logger.Warn("The names of known keys were not kept", zap.Error(err))
	}
}

// openLedger opens the ledger in the storage extension, if one is configured, else in memory.
func (r *smtpFailureReceiver) openLedger(ctx context.Context, host component.Host) (*ledger.Ledger, error) {
	options := ledger.Options{
		Deduplicate: r.config.Deduplication.Enabled,
		TTL:         r.config.Deduplication.TTL,
		MaxEntries:  r.config.Deduplication.MaxEntries,
		WaitTimeout: r.waitTimeout,
		Metrics:     r.counters.names(),
		Delta:       r.counters.delta,
		Limit:       r.config.Aggregation.CardinalityLimit,
		Overflow:    overflowKey,
		MaxStale:    r.config.Aggregation.MaxStale,
		Now:         r.now,
		Health:      func(err error) { r.status.set(partStore, err) },
		Observe:     r.telemetry.stored,
	}
	if r.config.Storage == nil {
		return ledger.New(options), nil
	}

	extension, ok := host.GetExtensions()[*r.config.Storage]
	if !ok {
		return nil, fmt.Errorf("storage: there is no extension %q; must be the name of a storage extension that is listed in service::extensions", r.config.Storage)
	}
	storageExtension, ok := extension.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("storage: the extension %q does not store anything; must be the name of a storage extension such as file_storage", r.config.Storage)
	}
	client, err := r.storageClient(ctx, storageExtension)
	if err != nil {
		return nil, err
	}
	opened, err := ledger.Open(ctx, client, options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("storage: what the extension %q keeps for %q: %w", r.config.Storage, r.settings.ID, err), client.Close(ctx))
	}
	return opened, nil
}

// storageClient opens the store. An extension whose file is damaged may name nothing, or panic, even where nobody can
// recover it; so what is about to be opened is said first.
func (r *smtpFailureReceiver) storageClient(ctx context.Context, extension storage.Extension) (client storage.Client, err error) {
	file := "receiver_" + r.settings.ID.Type().String() + "_" + r.settings.ID.Name()
	r.logger.Info("Opening the store", zap.Stringer("storage", r.config.Storage), zap.String("file with file_storage", file))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("it panicked: %v", cause)
		}
		if err != nil {
			err = fmt.Errorf("storage: the extension %q cannot open what it keeps (with file_storage, the file %s in its directory): %w; "+
				"if it is damaged, move it away to begin with an empty one", r.config.Storage, file, err)
		}
	}()
	return extension.GetClient(ctx, component.KindReceiver, r.settings.ID, "")
}

// recall takes up what an earlier run has kept, so that the totals go on as its series, and keeps what there is not yet.
func (r *smtpFailureReceiver) recall(ctx context.Context) error {
	instance, _ := r.resource.Attributes().Get(attributeServiceInstanceID)
	if r.config.Storage != nil && r.ledger.Value(keptInstanceID) == nil {
		r.logger.Info("The store is empty, so all counters begin at zero", zap.Stringer("storage", r.config.Storage))
	}
	id, err := r.kept(ctx, keptInstanceID, []byte(instance.Str()))
	if err != nil {
		return err
	}
	if _, configured := r.config.ResourceAttributes[attributeServiceInstanceID]; !configured {
		instance.SetStr(string(id))
	}
	secret := make([]byte, secretLength)
	// It never fails: without random numbers the process ends.
	_, _ = rand.Read(secret)
	if secret, err = r.kept(ctx, keptSecret, secret); err == nil && len(r.privacy.Key) == 0 {
		r.privacy.Key = secret
	}
	if err != nil {
		return err
	}
	before, now := r.ledger.Value(keptTold), r.privacy.Told()
	switch {
	case bytes.Equal(before, now):
		return nil
	case !r.privacy.TellsLessThan(before):
		return r.ledger.SetValue(ctx, keptTold, now)
	case before != nil:
		r.logger.Info("All counters begin at zero, because what they tell is more than recipient::mode and recipient::variables allow now")
	}
	return r.ledger.ForgetSeries(ctx, keptTold, now)
}

// kept returns what the ledger has under a name, and keeps the first value if that is nothing.
func (r *smtpFailureReceiver) kept(ctx context.Context, name string, first []byte) ([]byte, error) {
	if value := r.ledger.Value(name); value != nil {
		return value, nil
	}
	return first, r.ledger.SetValue(ctx, name, first)
}

// open reports whether the endpoint can be reached from other machines and nothing checks who calls.
func (r *smtpFailureReceiver) open() bool {
	http := &r.config.HTTP
	if r.config.Signature.HasValue() || http.Auth.HasValue() || http.TLS.HasValue() && http.TLS.Get().ClientCAFile != "" {
		return false
	}
	if http.NetAddr.Transport == confignet.TransportTypeUnix {
		return false
	}
	host, _, err := net.SplitHostPort(http.NetAddr.Endpoint)
	if err != nil {
		return true
	}
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// Shutdown finishes the requests in flight, sends the last totals, and ends every goroutine, all within the context's deadline. It is safe to
// call before Start and more than once.
func (r *smtpFailureReceiver) Shutdown(ctx context.Context) error {
	r.shutdownOnce.Do(func() {
		// From here on there is nothing that Start could start.
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
	if r.flushing != nil {
		errs = append(errs, r.stopAndFlush(ctx))
	}
	if r.ledger != nil {
		errs = append(errs, r.ledger.Close(ctx))
	}
	return errors.Join(errs...)
}

// startFlushing sends the counters every interval.
func (r *smtpFailureReceiver) startFlushing() {
	var ctx context.Context
	ctx, r.cancelFlush = context.WithCancel(context.Background())
	r.stopFlushing, r.flushing = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(r.flushing)
		ticker := time.NewTicker(r.config.Aggregation.Interval)
		defer ticker.Stop()
		for {
			select {
			case <-r.stopFlushing:
				return
			case <-ticker.C:
				if err := r.flush(ctx); err != nil {
					r.logger.Warn("The metrics pipelines did not take the counters, which go out with the next interval", zap.Error(err))
				}
			}
		}
	}()
}

// stopAndFlush ends the flush loop and sends the last totals. A flush that is under way is waited for, because what it
// brought over is not known when it is cut off.
func (r *smtpFailureReceiver) stopAndFlush(ctx context.Context) error {
	defer r.cancelFlush()
	close(r.stopFlushing)
	sent := make(chan error, 1)
	go func() {
		<-r.flushing
		err := r.flush(ctx)
		// A series that was never sent was sent as zero just now, and its total is still due.
		if err == nil && r.ledger.Pending() {
			err = r.flush(ctx)
		}
		sent <- err
	}()
	var err error
	select {
	case err = <-sent:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("the last totals were not sent: %w", err)
	}
	return nil
}

// flush sends what is due of the counters to the metrics pipelines. What they refuse is due again with the next flush.
func (r *smtpFailureReceiver) flush(ctx context.Context) error {
	due, err := r.ledger.Collect(ctx)
	if err != nil {
		return err
	}
	metrics := r.counters.newMetrics(due, r.resource, r.settings.BuildInfo.Version)
	if points := metrics.DataPointCount(); points > 0 {
		ctx := r.obsreport.StartMetricsOp(ctx)
		err = r.metrics.ConsumeMetrics(ctx, metrics)
		r.obsreport.EndMetricsOp(ctx, formatCounter, points, err)
		r.telemetry.flushed(ctx, err)
		if err != nil {
			return err
		}
	}
	// A store that fails makes up for it later, and its health is known.
	_ = r.ledger.Acknowledge(ctx, due.Number)
	return nil
}
