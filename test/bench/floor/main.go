// Floor answers every request with 200 once it has read the body, and does nothing else. It is what a server made with confighttp costs, with
// the settings of the receiver, and so what the receiver cannot be faster than. It listens on the address in BENCH_ENDPOINT.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, os.Getenv("BENCH_ENDPOINT"))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve serves until the context is done.
func serve(ctx context.Context, endpoint string) error {
	config := confighttp.NewDefaultServerConfig()
	config.NetAddr = confignet.AddrConfig{Endpoint: endpoint, Transport: confignet.TransportTypeTCP}
	// As the receiver sets them.
	config.MaxRequestBodySize = 256 << 10
	config.ReadTimeout = 30 * time.Second
	config.ReadHeaderTimeout = 10 * time.Second

	extensions := map[component.ID]component.Component(nil)
	server, err := config.ToServer(ctx, extensions, componenttest.NewNopTelemetrySettings(), http.HandlerFunc(answer))
	if err != nil {
		return err
	}
	listener, err := config.ToListener(ctx)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
		return server.Close()
	case err := <-ended:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}
}

func answer(w http.ResponseWriter, req *http.Request) {
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusOK)
}
