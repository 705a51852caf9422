// Floor reads the body of each request and answers 200. It is what a server made with confighttp
// costs with the settings of the receiver, so the receiver cannot be faster. It listens on the
// address in BENCH_ENDPOINT. With BENCH_RSA it also verifies a signature by a key of 2048 bits for
// each request, always the same one.
package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
)

func main() {
	if err := serve(context.Background(), os.Getenv("BENCH_ENDPOINT"), os.Getenv("BENCH_RSA") != ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, endpoint string, verifies bool) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte("what was signed"))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		return err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if verifies && rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	config := confighttp.NewDefaultServerConfig()
	config.NetAddr = confignet.AddrConfig{Endpoint: endpoint, Transport: confignet.TransportTypeTCP}
	// As the receiver sets them.
	config.MaxRequestBodySize = 256 << 10
	config.ReadTimeout = 30 * time.Second
	config.ReadHeaderTimeout = 10 * time.Second
	server, err := config.ToServer(ctx, map[component.ID]component.Component(nil), componenttest.NewNopTelemetrySettings(), handler)
	if err != nil {
		return err
	}
	listener, err := config.ToListener(ctx)
	if err != nil {
		return err
	}
	return server.Serve(listener)
}
