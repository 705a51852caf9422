package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// consumers is the number of requests that the exporter of logs has in flight at most, each of the records of one batch.
const consumers = 10

// deployment is what a collector keeps when it is started again: its configuration, its ports and its directories.
type deployment struct {
	environment  []string
	args         []string
	store        string // the directory with the receiver's store
	failuresURL  string
	telemetryURL string

	current *collector
	outputs []string // of those before
}

// newDeployment writes to the sink. Whatever runs at the end of the test is killed.
func newDeployment(t *testing.T, s *sink, args ...string) *deployment {
	t.Helper()
	receiver, telemetry := fixedAddress(t), fixedAddress(t)
	directory := t.TempDir()
	d := &deployment{
		store:        filepath.Join(directory, "store"),
		failuresURL:  "http://" + receiver + "/failures",
		telemetryURL: "http://" + telemetry + "/metrics",
		args:         append([]string{"--config", "testdata/faults.yaml"}, args...),
	}
	d.environment = []string{
		"STORE=" + d.store,
		"QUEUE=" + filepath.Join(directory, "queue"),
		"RECEIVER=" + receiver,
		"SINK=" + s.address,
		"TELEMETRY_PORT=" + port(t, telemetry),
		"CONSUMERS=" + strconv.Itoa(consumers),
	}
	t.Cleanup(func() {
		if d.current == nil {
			return
		}
		d.current.kill()
		if t.Failed() {
			d.outputs = append(d.outputs, d.current.output.String())
			for i := max(0, len(d.outputs)-3); i < len(d.outputs); i++ {
				t.Logf("end of the output of run %d of the collector:\n%s", i+1, tail(d.outputs[i], 20))
			}
		}
	})
	return d
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// launch starts a collector and does not wait for anything.
func (d *deployment) launch() error {
	if d.current != nil {
		d.outputs = append(d.outputs, d.current.output.String())
	}
	var err error
	if d.current, err = launch(d.environment, d.args...); err != nil {
		return err
	}
	d.current.failuresURL = d.failuresURL
	d.current.metricsURL = d.telemetryURL
	return nil
}

// start starts a collector and returns when it answers.
func (d *deployment) start(ctx context.Context) error {
	if err := d.launch(); err != nil {
		return err
	}
	return d.answering(ctx)
}

// answering waits until the collector answers.
func (d *deployment) answering(ctx context.Context) error {
	return d.wait(ctx, "the collector answers", func() bool {
		response, err := http.Get(d.failuresURL)
		if err != nil {
			return false
		}
		return response.Body.Close() == nil
	})
}

// terminate asks the collector to stop and returns when it has. The error says how it exited.
func (d *deployment) terminate(ctx context.Context) error {
	if err := d.current.process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("send SIGTERM: %w", err)
	}
	select {
	case <-d.current.exited:
		return d.current.err
	case <-time.After(deadline):
		return fmt.Errorf("the collector still runs %s after SIGTERM", deadline)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait returns an error when the condition does not come true in time, or the collector exits before it does.
func (d *deployment) wait(ctx context.Context, what string, condition func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*deadline, errors.New("it took too long"))
	defer cancel()
	for !condition() {
		select {
		case <-d.current.exited:
			return fmt.Errorf("waited until %s, but the collector exited: %w", what, d.current.err)
		case <-ctx.Done():
			return fmt.Errorf("waited until %s: %w", what, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// fixedAddress returns a free loopback address for something that is stopped and started again. Its port is not one of those that systems give to
// outgoing connections: such a connection might take it in between, and one that tries to reach a port that nobody listens on may be given
// that very port, and then is connected to itself.
func fixedAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(15000+rand.IntN(15000)))
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = listener.Close()
		return address
	}
	t.Fatal("found no free port")
	return ""
}
