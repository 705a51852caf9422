package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startExample starts the distribution with an example, moved to free ports, and returns the address on which it takes reports.
func startExample(t *testing.T, name string, environment ...string) (address string) {
	t.Helper()
	address = freeAddress(t)
	c, err := launch(environment,
		"--config", root+"/examples/"+name+"/config.yaml",
		"--set", "receivers::smtp_failure::http::endpoint="+address,
		"--set", "service::telemetry::metrics::readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: "+port(t, freeAddress(t))+"}}}}]",
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("output of the collector:\n%s", c.output.String())
		}
	})
	c.eventually(t, address+" takes connections", func() bool {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		return connection.Close() == nil
	})
	return address
}

// certificates makes certificates as the examples say, and returns the folder they are in.
func certificates(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if output, err := exec.CommandContext(t.Context(), root+"/examples/certificates.sh", folder).CombinedOutput(); err != nil {
		t.Fatalf("make certificates: %v\n%s", err, output)
	}
	return folder
}

func trusting(t *testing.T, folder string, own ...tls.Certificate) *http.Client {
	t.Helper()
	authority, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: own, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// send sends a report and returns the status of the answer, or 0 when there is none.
func send(t *testing.T, client *http.Client, url, authorization string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("id=1&code=550"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Logf("no answer: %v", err)
		return 0
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

func answers(t *testing.T, what string, status, expected int) {
	t.Helper()
	if status != expected {
		t.Errorf("%s: %d, expected %d", what, status, expected)
	}
}

func TestTLS(t *testing.T) {
	folder := certificates(t)
	address := startExample(t, "tls", "CERTIFICATES="+folder)
	answers(t, "with TLS", send(t, trusting(t, folder), "https://"+address+"/failures", ""), 200)
	answers(t, "in the clear", send(t, http.DefaultClient, "http://"+address+"/failures", ""), 400)
	old := trusting(t, folder)
	old.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS10
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS11
	answers(t, "with TLS 1.1", send(t, old, "https://"+address+"/failures", ""), 0)
}

func TestMutualTLS(t *testing.T) {
	folder := certificates(t)
	address := startExample(t, "mtls", "CERTIFICATES="+folder)
	url := "https://" + address + "/failures"
	own, err := tls.LoadX509KeyPair(filepath.Join(folder, "client.pem"), filepath.Join(folder, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	answers(t, "with a certificate", send(t, trusting(t, folder, own), url, ""), 200)
	answers(t, "without one", send(t, trusting(t, folder), url, ""), 0)

	other := certificates(t)
	strange, err := tls.LoadX509KeyPair(filepath.Join(other, "client.pem"), filepath.Join(other, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	answers(t, "with one of another authority", send(t, trusting(t, folder, strange), url, ""), 0)
}

func TestBasicAuth(t *testing.T) {
	address := startExample(t, "basic-auth", "SENDER_PASSWORD=open sesame")
	answers(t, "with the password", send(t, http.DefaultClient, "http://sender:open%20sesame@"+address+"/failures", ""), 200)
	answers(t, "with another", send(t, http.DefaultClient, "http://sender:secret@"+address+"/failures", ""), 401)
	answers(t, "without any", send(t, http.DefaultClient, "http://"+address+"/failures", ""), 401)
}

func TestBearerToken(t *testing.T) {
	address := startExample(t, "bearer-token", "SENDER_TOKEN=sesame")
	url := "http://" + address + "/failures"
	answers(t, "with the token", send(t, http.DefaultClient, url, "Bearer sesame"), 200)
	answers(t, "with another", send(t, http.DefaultClient, url, "Bearer secret"), 401)
	answers(t, "without any", send(t, http.DefaultClient, url, ""), 401)
}
