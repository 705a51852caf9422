// Package profiling is an extension that serves the profiles of the process it is in, for a collector that is built only to be looked into.
package profiling

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"
)

const defaultEndpoint = "localhost:1777"

// Config is the configuration of the extension.
type Config struct {
	// Endpoint is where /debug/pprof/ is served.
	Endpoint string `mapstructure:"endpoint"`
}

// NewFactory returns the factory of the extension, profiling.
func NewFactory() extension.Factory {
	return extension.NewFactory(
		component.MustNewType("profiling"),
		func() component.Config { return &Config{Endpoint: defaultEndpoint} },
		func(_ context.Context, settings extension.Settings, config component.Config) (extension.Extension, error) {
			return &server{endpoint: config.(*Config).Endpoint, logger: settings.Logger}, nil
		},
		component.StabilityLevelDevelopment,
	)
}

type server struct {
	endpoint string
	logger   *zap.Logger
	http     *http.Server
	ended    chan struct{}
}

// Start begins to serve.
func (s *server) Start(ctx context.Context, _ component.Host) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.endpoint)
	if err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("The server of profiles ended", zap.Error(err))
		}
	}()
	return nil
}

// Shutdown stops serving.
func (s *server) Shutdown(context.Context) error {
	if s.http == nil {
		return nil
	}
	err := s.http.Close()
	<-s.ended
	return err
}
