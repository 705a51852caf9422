package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const unit = root + "/packaging/systemd/otelcol-smtpfailure.service"

// TestSystemdConfiguration starts the configuration of the systemd unit with the sample environment, moved to free ports and a directory of its
// own, and calls it as the sender would and as anyone else could.
func TestSystemdConfiguration(t *testing.T) {
	address, health := freeAddress(t), freeAddress(t)
	state := t.TempDir()
	environment := append(environmentFile(t, root+"/packaging/systemd/environment"),
		"STATE_DIRECTORY="+state, "LISTEN="+address, "CONFIG="+root+"/packaging/systemd/config.yaml")
	config := valueIn(environment, "CONFIG")

	validate := exec.Command(binary, "validate", "--config", config)
	validate.Env = append(os.Environ(), environment...)
	if output, err := validate.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", validate, err, output)
	}

	c, err := launch(environment, "--config", config,
		"--set", "extensions::health_check::endpoint="+health,
		"--set", "service::telemetry::metrics::readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: "+port(t, freeAddress(t))+"}}}}]")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("output of the collector:\n%s", c.output.String())
		}
	})
	c.eventually(t, "health_check answers", func() bool {
		status, _ := call(http.MethodGet, "http://"+health)
		return status == http.StatusOK
	})

	if status, _ := call(http.MethodPost, "http://"+address+"/failures"); status != http.StatusUnauthorized {
		t.Errorf("an unsigned call was answered with %d", status)
	}
	status, body := call(http.MethodGet, "http://"+address+"/"+valueIn(environment, "OWNERSHIP_FILE"))
	if status != http.StatusOK || body != valueIn(environment, "OWNERSHIP_CONTENT") {
		t.Errorf("the ownership file was answered with %d %q", status, body)
	}
	if err := c.stop(t); err != nil {
		t.Errorf("it ended with %v", err)
	}
	for _, file := range []string{"receiver_smtp_failure_", "exporter_otlp_http__logs", "exporter_otlp_http__metrics"} {
		if _, err := os.Stat(filepath.Join(state, file)); err != nil {
			t.Errorf("the state directory lacks %s: %v", file, err)
		}
	}
}

// environmentFile reads a file as systemd does for EnvironmentFile, as far as such a simple one needs.
func environmentFile(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var environment []string
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, _, ok := strings.Cut(line, "="); !ok || !regexp.MustCompile(`^[A-Z_]+$`).MatchString(name) {
			t.Fatalf("%s: systemd takes no %q", path, line)
		}
		environment = append(environment, line)
	}
	return environment
}

// valueIn returns the last value that the environment gives the name.
func valueIn(environment []string, name string) string {
	var value string
	for _, variable := range environment {
		if found, ok := strings.CutPrefix(variable, name+"="); ok {
			value = found
		}
	}
	return value
}

func call(method, url string) (status int, body string) {
	request, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	content, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(content)
}

var exposure = regexp.MustCompile(`Overall exposure level for \S+: (\d+\.\d+)`)

// TestSystemdUnit lets systemd itself judge the unit.
func TestSystemdUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze here")
	}

	t.Run("verify", func(t *testing.T) {
		content, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		program, err := filepath.Abs(binary)
		if err != nil {
			t.Fatal(err)
		}
		installed := filepath.Join(t.TempDir(), filepath.Base(unit))
		moved := strings.ReplaceAll(string(content), "/usr/bin/otelcol-smtpfailure", program)
		if err := os.WriteFile(installed, []byte(moved), 0o600); err != nil {
			t.Fatal(err)
		}
		// It names what it does not know or like, but exits with 0 for much of that.
		output, err := exec.Command("systemd-analyze", "verify", "--man=no", installed).CombinedOutput()
		if err != nil || bytes.Contains(output, []byte(filepath.Base(unit))) {
			t.Errorf("systemd-analyze verify: %v\n%s", err, output)
		}
	})

	t.Run("security", func(t *testing.T) {
		output, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", unit).CombinedOutput()
		if err != nil {
			t.Fatalf("systemd-analyze security: %v\n%s", err, output)
		}
		found := exposure.FindSubmatch(output)
		if found == nil {
			t.Fatalf("systemd-analyze security gave no score:\n%s", output)
		}
		score, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		// What is left is mostly the network that it is for. Other versions of systemd weigh a little differently.
		if score > 1.5 {
			t.Errorf("the exposure is %.1f:\n%s", score, output)
		}
	})
}
