package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	root     = "../.."
	binary   = root + "/bin/otelcol-smtpfailure"
	deadline = 30 * time.Second
)

// collector is a running collector.
type collector struct {
	process *os.Process
	exited  chan struct{}
	err     error
	output  output

	failuresURL string
	metricsURL  string
	logFile     string
}

// launch starts the distribution with what is added to the environment, and does not wait for anything.
func launch(environment []string, args ...string) (*collector, error) {
	if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("there is no bin/otelcol-smtpfailure: run `make build` first")
	}
	c := &collector{exited: make(chan struct{})}
	command := exec.Command(binary, args...)
	command.Env = append(os.Environ(), environment...)
	command.Stdout, command.Stderr = &c.output, &c.output
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	c.process = command.Process
	go func() {
		c.err = command.Wait()
		close(c.exited)
	}()
	return c, nil
}

// kill ends the collector at once, if it still runs.
func (c *collector) kill() {
	_ = c.process.Kill()
	<-c.exited
}

// startCollector starts a collector with the quickstart's configuration, moved to ports and files of its own, and returns once it
// answers. It is killed at the end of the test if it still runs then.
func startCollector(t *testing.T) *collector {
	t.Helper()
	endpoint, metricsEndpoint, telemetryPort := freeAddress(t), freeAddress(t), port(t, freeAddress(t))
	logFile := filepath.Join(t.TempDir(), "data", "failures.jsonl")
	c, err := launch(nil,
		"--config", root+"/examples/quickstart/config.yaml",
		"--set", "receivers::smtp_failure::http::endpoint="+endpoint,
		"--set", "receivers::smtp_failure::aggregation::interval=200ms",
		"--set", "exporters::file::path="+logFile,
		"--set", "exporters::prometheus::endpoint="+metricsEndpoint,
		"--set", "service::telemetry::metrics::readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: "+telemetryPort+"}}}}]",
	)
	if err != nil {
		t.Fatal(err)
	}
	c.failuresURL = "http://" + endpoint + "/failures"
	c.metricsURL = "http://" + metricsEndpoint + "/metrics"
	c.logFile = logFile
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("output of the collector:\n%s", c.output.String())
		}
	})

	for _, url := range []string{c.failuresURL, c.metricsURL} {
		c.eventually(t, url+" answers", func() bool {
			response, err := http.Get(url)
			if err != nil {
				return false
			}
			return response.Body.Close() == nil
		})
	}
	return c
}

// stop asks the collector to stop and returns how it exited.
func (c *collector) stop(t *testing.T) error {
	t.Helper()
	if err := c.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("send SIGTERM: %v", err)
	}
	select {
	case <-c.exited:
		return c.err
	case <-time.After(deadline):
		t.Fatalf("the collector still runs %s after SIGTERM", deadline)
		return nil
	}
}

// eventually fails the test when the condition does not come true in time, or the collector exits before it does.
func (c *collector) eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	timeout := time.After(deadline)
	for !condition() {
		select {
		case <-c.exited:
			t.Fatalf("waited until %s, but the collector exited: %v", what, c.err)
		case <-timeout:
			t.Fatalf("waited %s until %s", deadline, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freeAddress returns a loopback address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// output is what a process wrote so far.
type output struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.buffer.String()
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
