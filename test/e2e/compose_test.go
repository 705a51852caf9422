package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestGrafanaExample starts the collector, Prometheus and Loki with the very files that examples/grafana/compose.yaml gives to its containers, lets
// the example sender play a short day, and finds all of it in both. Only addresses and directories are the test's own.
func TestGrafanaExample(t *testing.T) {
	const (
		files   = root + "/examples/grafana/"
		reports = 300
	)
	failures, exporter, telemetry := freeAddress(t), freeAddress(t), freeAddress(t)

	lokiAddress := freeAddress(t)
	loki := &lokiServer{server: startServer(t, "Loki", lokiAddress, "/ready", []string{
		"LOKI_DIRECTORY=" + t.TempDir(), "LOKI_PORT=" + port(t, lokiAddress), "LOKI_GRPC_PORT=" + port(t, freeAddress(t)),
	}, lokiBinary, "-config.file="+files+"loki.yaml", "-config.expand-env=true")}

	health := freeAddress(t)
	collector, err := launch([]string{
		"SMTP_FAILURE_ENDPOINT=" + failures, "PROMETHEUS_EXPORTER=" + exporter, "LOKI_ENDPOINT=" + loki.url + "/otlp",
		"TELEMETRY_HOST=127.0.0.1", "TELEMETRY_PORT=" + port(t, telemetry), "HEALTH_CHECK_ENDPOINT=" + health, "STORAGE_DIRECTORY=" + t.TempDir(),
	}, "--config", files+"collector.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		collector.kill()
		if t.Failed() {
			t.Logf("the end of the output of the collector:\n%s", tail(collector.output.String(), 60))
		}
	})
	healthcheck := goBuild(t, "./examples/healthcheck")
	collector.eventually(t, "the image's health check passes", func() bool {
		return exec.CommandContext(t.Context(), healthcheck, "http://"+health).Run() == nil
	})

	prometheus := startPrometheus(t, grafanaPrometheusConfig(t, map[string]string{
		"localhost:9464": exporter, "localhost:8888": telemetry,
	}))
	prometheus.eventually(t, deadline, "both targets are up", func() error {
		up, err := prometheus.instants("/api/v1/query", "up == 1", time.Now())
		if err == nil && len(up) != 2 {
			err = fmt.Errorf("up: %v", up)
		}
		return err
	})

	start := time.Now()
	sender := exec.CommandContext(t.Context(), goBuild(t, "./examples/sender"), "-url", "http://"+failures+"/failures", "-reports", strconv.Itoa(reports), "-day", "5s")
	if output, err := sender.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}

	for query, want := range map[string]float64{
		`sum(email_delivery_failures_total{job="smtp_failure"})`:                                                 reports,
		`sum(otelcol_smtp_failure_requests{job="otelcol-smtpfailure", outcome="accepted"})`:                      reports,
		`sum(increase(email_delivery_failures_total{smtp_response_enhanced_status_code="5.7.20"}[5m])) > bool 0`: 1,
	} {
		prometheus.eventually(t, deadline, query, func() error {
			return one(prometheus.server, "/api/v1/query", query, want)
		})
	}
	const count = `sum(count_over_time({service_name="smtp_failure"} | email_message_id != "" [10m]))`
	loki.eventually(t, deadline, count, func() error {
		return one(loki.server, "/loki/api/v1/query", count, reports)
	})
	// What a link of the data source asks for.
	of := loki.records(t, `{service_name="smtp_failure"} | error_type="authentication_failed" | smtp_response_enhanced_status_code="5.7.20"`, start.Add(-time.Minute-time.Second), time.Now(), 10)
	if len(of) == 0 || of[0].metadata["email_message_id"] == "" {
		t.Fatalf("the records of a reason are %v", of)
	}
	message := `{service_name="smtp_failure"} | email_message_id="` + of[0].metadata["email_message_id"] + `"`
	if found := loki.records(t, message, start.Add(-time.Minute-time.Second), time.Now(), 10); len(found) != 1 {
		t.Errorf("%s: %v", message, found)
	}

	var rules struct{ Groups []struct{ Name string } }
	if err := prometheus.api("/api/v1/rules", nil, &rules); err != nil || len(rules.Groups) == 0 {
		t.Errorf("the rules are %v (%v)", rules, err)
	}
}

// one returns an error unless the query has one element, of the wanted value.
func one(s *server, path, query string, want float64) error {
	result, err := s.instants(path, query, time.Now())
	if err == nil && (len(result) != 1 || result[0].value != want) {
		err = fmt.Errorf("%s is %v, not %v", query, result, want)
	}
	return err
}

// grafanaPrometheusConfig is the text of prometheus.yaml with the rules where they are, and targets.yaml with other addresses.
func grafanaPrometheusConfig(t *testing.T, addresses map[string]string) string {
	t.Helper()
	const examples = root + "/examples/"
	targets := filepath.Join(t.TempDir(), "targets.yaml")
	if err := os.WriteFile(targets, []byte(changed(t, examples+"grafana/targets.yaml", addresses)), 0o600); err != nil {
		t.Fatal(err)
	}
	return changed(t, examples+"grafana/prometheus.yaml", map[string]string{
		"[targets.yaml]":            "[" + targets + "]",
		"../prometheus/rules.yaml":  absolute(t, examples+"prometheus/rules.yaml"),
		"../prometheus/alerts.yaml": absolute(t, examples+"prometheus/alerts.yaml"),
	})
}

// goBuild compiles a command of the root module, and returns where it is.
func goBuild(t *testing.T, directory string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(directory))
	command := exec.CommandContext(t.Context(), "go", "build", "-o", path, directory)
	command.Dir = root
	command.Env = append(os.Environ(), "GOWORK=off")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return path
}
