// Floor answers every request with 200 once it has read the body, and does nothing else. It is what a server made with confighttp costs, with
// the settings of the receiver, and so what the receiver cannot be faster than. It listens on the address in BENCH_ENDPOINT. With a number of bits in
// BENCH_RSA it also verifies a signature by a key of that size for each request, always the same one: what a receiver that checks signatures cannot
// be faster than.
package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, os.Getenv("BENCH_ENDPOINT"), os.Getenv("BENCH_RSA"))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve serves until the context is done.
func serve(ctx context.Context, endpoint, bits string) error {
	handler := http.HandlerFunc(answer)
	if bits != "" {
		verify, err := verifier(bits)
		if err != nil {
			return err
		}
		handler = func(w http.ResponseWriter, req *http.Request) {
			if err := verify(); err != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			answer(w, req)
		}
	}
	config := confighttp.NewDefaultServerConfig()
	config.NetAddr = confignet.AddrConfig{Endpoint: endpoint, Transport: confignet.TransportTypeTCP}
	// As the receiver sets them.
	config.MaxRequestBodySize = 256 << 10
	config.ReadTimeout = 30 * time.Second
	config.ReadHeaderTimeout = 10 * time.Second

	extensions := map[component.ID]component.Component(nil)
	server, err := config.ToServer(ctx, extensions, componenttest.NewNopTelemetrySettings(), handler)
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

// verifier returns what verifies a signature.
func verifier(bits string) (func() error, error) {
	size, err := strconv.Atoi(bits)
	if err != nil {
		return nil, fmt.Errorf("BENCH_RSA: %w", err)
	}
	key, err := rsa.GenerateKey(rand.Reader, size)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte("what was signed"))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		return nil, err
	}
	return func() error { return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature) }, nil
}

func answer(w http.ResponseWriter, req *http.Request) {
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusOK)
}
