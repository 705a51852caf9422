package smtpfailurereceiver

import (
	"context"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// NewFactory returns the factory of the smtp_failure receiver. An instance that is used for logs
// and for metrics is one receiver with one server.
func NewFactory() receiver.Factory {
	f := &factory{receivers: make(map[*Config]*smtpFailureReceiver)}
	return receiver.NewFactory(
		metadata.Type,
		createDefaultConfig,
		receiver.WithLogs(f.createLogs, metadata.LogsStability),
		receiver.WithMetrics(f.createMetrics, metadata.MetricsStability),
	)
}

// factory has the receivers that are not shut down, by configuration: the collector passes the same
// one for each signal.
type factory struct {
	mu        sync.Mutex
	receivers map[*Config]*smtpFailureReceiver
}

func (f *factory) createLogs(
	_ context.Context, settings receiver.Settings, config component.Config, next consumer.Logs,
) (receiver.Logs, error) {
	r, err := f.receiver(settings, config.(*Config))
	if err != nil {
		return nil, err
	}
	r.logs = next
	return r, nil
}

func (f *factory) createMetrics(
	_ context.Context, settings receiver.Settings, config component.Config, next consumer.Metrics,
) (receiver.Metrics, error) {
	r, err := f.receiver(settings, config.(*Config))
	if err != nil {
		return nil, err
	}
	r.metrics = next
	return r, nil
}

func (f *factory) receiver(settings receiver.Settings, config *Config) (*smtpFailureReceiver, error) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if r, ok := f.receivers[config]; ok {
		return r, nil
	}
	r, err := newReceiver(settings, config)
	if err != nil {
		return nil, err
	}
	r.forget = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.receivers, config)
	}
	f.receivers[config] = r
	return r, nil
}
