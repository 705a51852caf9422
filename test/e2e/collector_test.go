package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// collector is the distribution with its configuration, addresses and directories, which it keeps
// when it is started again.
type collector struct {
	*process // the current run; nil before the first

	environment, args []string
	directory         string
	// The addresses at which it takes reports, and at which it serves its own metrics, the counters
	// and its health.
	address, telemetry, counters, health string
	outputs                              []string // of the runs before
}

var (
	environmentVariable = regexp.MustCompile(`\$\{env:([A-Z0-9_]+):-([^}]*)\}`)
	fixedEndpoint       = regexp.MustCompile(`(?m)^ *endpoint: \S+:(\d+)$`)
	localAddress        = regexp.MustCompile(`localhost:\d+`)
)

// newCollector returns a collector with the configurations. Addresses and directories in them are
// replaced by free ones, except those that the environment sets.
func newCollector(t *testing.T, environment []string, files ...string) *collector {
	t.Helper()
	c := &collector{
		directory: t.TempDir(),
		address:   freeAddress(t), telemetry: freeAddress(t), counters: freeAddress(t), health: freeAddress(t),
	}
	var text string
	for _, file := range files {
		text += readFile(t, file)
		c.args = append(c.args, "--config", file)
	}
	known := map[string]string{"localhost:9464": c.counters, "localhost:13133": c.health}
	for _, match := range environmentVariable.FindAllStringSubmatch(text, -1) {
		value := match[2]
		if strings.HasPrefix(value, "data") {
			value = filepath.Join(c.directory, value)
		}
		value = localAddress.ReplaceAllStringFunc(value, func(address string) string {
			if known[address] == "" {
				known[address] = freeAddress(t)
			}
			return known[address]
		})
		c.environment = append(c.environment, match[1]+"="+value)
	}
	// The last variable of a name counts.
	c.environment = append(c.environment, environment...)

	c.set("service::telemetry::metrics::readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: " +
		port(t, c.telemetry) + "}}}}]")
	if strings.Contains(text, "smtp_failure:") {
		c.set("receivers::smtp_failure::http::endpoint=" + c.address)
	} else {
		c.address = "" // It takes no reports.
	}
	for _, match := range fixedEndpoint.FindAllStringSubmatch(text, -1) {
		switch match[1] {
		case "8550":
		case "9464":
			c.set("exporters::prometheus::endpoint=" + c.counters)
		case "13133":
			c.set("extensions::health_check::endpoint=" + c.health)
		default:
			t.Fatalf("this test does not know how to move port %s of %v", match[1], files)
		}
	}
	if strings.Contains(text, "path: data/failures.jsonl") {
		c.set("exporters::file::path=" + c.records())
	}
	t.Cleanup(func() {
		if c.process == nil {
			return
		}
		c.kill()
		if t.Failed() {
			for i, output := range append(c.outputs, c.output.String()) {
				t.Logf("the end of the output of run %d of the collector:\n%s", i+1, tail(output, 20))
			}
		}
	})
	return c
}

func exampleFile(name string) string { return root + "/examples/" + name + "/config.yaml" }

// startExample starts the collector of an example.
func startExample(t *testing.T, name string, environment []string, settings ...string) *collector {
	t.Helper()
	return newCollector(t, environment, exampleFile(name)).set(settings...).start(t)
}

// set changes settings of the configuration.
func (c *collector) set(settings ...string) *collector {
	for _, setting := range settings {
		c.args = append(c.args, "--set", setting)
	}
	return c
}

// url returns that of the webhook.
func (c *collector) url() string { return "http://" + c.address + "/failures" }

// records returns the path of the file of the file exporter, where the configuration has one.
func (c *collector) records() string { return filepath.Join(c.directory, "failures.jsonl") }

// launch starts the collector and waits for nothing.
func (c *collector) launch() error {
	if c.process != nil {
		c.outputs = append(c.outputs, c.output.String())
	}
	command := exec.Command(binary, c.args...)
	command.Env = append(os.Environ(), c.environment...)
	var err error
	c.process, err = launch(command)
	return err
}

// isReady reports whether the collector runs. Its receivers answer before, but SIGTERM would still
// end it at once then.
func (c *collector) isReady() bool {
	return strings.Contains(c.output.String(), "Everything is ready.")
}

// restart starts the collector and returns when it is ready.
func (c *collector) restart(ctx context.Context) error {
	if err := c.launch(); err != nil {
		return err
	}
	return c.wait(ctx, "the collector is ready", c.isReady)
}

// start does the same and fails the test if it cannot.
func (c *collector) start(t *testing.T) *collector {
	t.Helper()
	require.NoError(t, c.restart(t.Context()))
	return c
}

// stop sends SIGTERM, after which the collector has to exit with 0.
func (c *collector) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, c.terminate(), "after SIGTERM")
}

// checkRunning fails the test if the collector has exited.
func (c *collector) checkRunning(t *testing.T) {
	t.Helper()
	select {
	case <-c.exited:
		assert.Fail(t, "the collector exited", "%v", c.err)
	default:
	}
}

// validate has the distribution check a configuration.
func validate(t *testing.T, environment []string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, append([]string{"validate"}, args...)...)
	command.Env = append(os.Environ(), environment...)
	output, err := command.CombinedOutput()
	assert.NoError(t, err, "%s", output)
}
