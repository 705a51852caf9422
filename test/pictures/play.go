package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A day in minutes needs a closer look than the examples' defaults give. These are its aggregation.interval, six minutes of the played day,
// the scrape interval, and what $__rate_interval is with a data source that is told twice the first.
func (d *day) aggregationInterval() time.Duration { return d.length() / 240 }
func (d *day) scrapeInterval() time.Duration      { return d.aggregationInterval() / 2 }
func (d *day) rateInterval() time.Duration        { return 8 * d.aggregationInterval() }

func (d *day) length() time.Duration { return d.to.Sub(d.from) }

// day is a day that was played, and the servers that know of it.
type day struct {
	prometheus, loki string
	from, to         time.Time
	processes        []*exec.Cmd
	directory        string
}

// stop ends the servers and removes what they wrote.
func (d *day) stop() {
	for _, process := range slices.Backward(d.processes) {
		_ = process.Process.Kill()
		_ = process.Wait()
	}
	_ = os.RemoveAll(d.directory)
}

// play starts the servers with the files of examples/grafana and has the example sender play a day.
func play(ctx context.Context, root string, length time.Duration, reports int) (d *day, err error) {
	directory, err := os.MkdirTemp("", "pictures")
	if err != nil {
		return nil, err
	}
	d = &day{directory: directory, to: time.Time{}.Add(length)}
	defer func() {
		if err != nil {
			d.stop()
		}
	}()
	addresses, err := freeAddresses(6)
	if err != nil {
		return nil, err
	}
	failures, exporter, telemetry, prometheus, loki, grpc := addresses[0], addresses[1], addresses[2], addresses[3], addresses[4], addresses[5]
	d.prometheus, d.loki = "http://"+prometheus, "http://"+loki
	files, tools := filepath.Join(root, "examples", "grafana"), filepath.Join(root, ".tools")

	if err := d.start(ctx, []string{"LOKI_DIRECTORY=" + directory + "/loki", "LOKI_PORT=" + port(loki), "LOKI_GRPC_PORT=" + port(grpc)},
		tools+"/loki", "-config.file="+files+"/loki.yaml", "-config.expand-env=true"); err != nil {
		return nil, err
	}
	if err := d.start(ctx, []string{
		"SMTP_FAILURE_ENDPOINT=" + failures, "PROMETHEUS_EXPORTER=" + exporter, "TELEMETRY_HOST=127.0.0.1", "TELEMETRY_PORT=" + port(telemetry),
		"LOKI_ENDPOINT=" + d.loki + "/otlp", "STORAGE_DIRECTORY=" + directory + "/collector", "HEALTH_CHECK_ENDPOINT=127.0.0.1:0",
	}, root+"/bin/otelcol-smtpfailure", "--config", files+"/collector.yaml",
		"--set", "receivers::smtp_failure::aggregation::interval="+d.aggregationInterval().String()); err != nil {
		return nil, err
	}
	config, err := prometheusConfig(files, directory, exporter, telemetry, d.scrapeInterval())
	if err != nil {
		return nil, err
	}
	if err := d.start(ctx, nil, tools+"/prometheus", "--config.file="+config, "--storage.tsdb.path="+directory+"/prometheus",
		"--web.listen-address="+prometheus); err != nil {
		return nil, err
	}
	for _, url := range []string{d.loki + "/ready", d.prometheus + "/-/ready", "http://" + exporter + "/metrics"} {
		if err := await(ctx, url); err != nil {
			return nil, err
		}
	}

	sender := exec.CommandContext(ctx, "go", "run", "./examples/sender", //nolint:gosec // all of it is from here
		"-url", "http://"+failures+"/failures", "-seed", "1", "-reports", strconv.Itoa(reports), "-deliveries", strconv.Itoa(10*reports), "-day", length.String())
	sender.Dir, sender.Stdout, sender.Stderr = root, os.Stdout, os.Stderr
	fmt.Printf("Playing a day in %s\n", length)
	if err := sender.Run(); err != nil {
		return nil, err
	}
	d.to = time.Now()
	d.from = d.to.Add(-length)
	// The last counts are sent, scraped, and their records stored.
	return d, pause(ctx, 2*time.Second+2*d.aggregationInterval())
}

// start runs a server until the day is over. Its output goes to a file beside its data.
func (d *day) start(ctx context.Context, environment []string, path string, args ...string) error {
	output, err := os.Create(filepath.Join(d.directory, filepath.Base(path)+".log"))
	if err != nil {
		return err
	}
	defer output.Close()
	command := exec.CommandContext(ctx, path, args...) //nolint:gosec // the checkout's own binaries
	command.Env = append(os.Environ(), environment...)
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		return fmt.Errorf("%w (`make e2e` builds what is missing)", err)
	}
	d.processes = append(d.processes, command)
	return nil
}

// prometheusConfig writes the example's configuration with the addresses and the pace of this day, and returns where it is.
func prometheusConfig(files, directory, exporter, telemetry string, scrape time.Duration) (string, error) {
	for name, replacements := range map[string][]string{
		"targets.yaml":    {"localhost:9464", exporter, "localhost:8888", telemetry},
		"prometheus.yaml": {"../prometheus/", filepath.Dir(files) + "/prometheus/", "scrape_interval: 5s", "scrape_interval: " + strconv.FormatInt(scrape.Milliseconds(), 10) + "ms"},
	} {
		text, err := os.ReadFile(filepath.Join(files, name)) //nolint:gosec // the checkout's own files
		if err != nil {
			return "", err
		}
		changed := strings.NewReplacer(replacements...).Replace(string(text))
		if err := os.WriteFile(filepath.Join(directory, name), []byte(changed), 0o600); err != nil { //nolint:gosec // as above
			return "", err
		}
	}
	return filepath.Join(directory, "prometheus.yaml"), nil
}

// await returns once the URL answers with 200.
func await(ctx context.Context, url string) error {
	for deadline := time.Now().Add(2 * time.Minute); ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(response.Status)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w", url, err)
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// freeAddresses returns loopback addresses that were free a moment ago, no two of them the same.
func freeAddresses(n int) ([]string, error) {
	if n == 0 {
		return nil, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	// Open until the others have theirs.
	defer listener.Close()
	others, err := freeAddresses(n - 1)
	return append(others, listener.Addr().String()), err
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
