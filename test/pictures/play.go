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
	"strconv"
	"strings"
	"time"
)

// day is a day that is played in a shorter time, and the servers that know of it.
type day struct {
	board            dashboard
	length           time.Duration
	start            time.Time
	prometheus, loki string

	directory string
	processes []*exec.Cmd
}

// interval is aggregation.interval: six minutes of the day. Prometheus scrapes twice in each.
func (d *day) interval() time.Duration { return d.length / 240 }

// stop ends the servers and removes what they wrote.
func (d *day) stop() {
	for _, process := range d.processes {
		_ = process.Process.Kill()
		_ = process.Wait()
	}
	_ = os.RemoveAll(d.directory)
}

// play starts the servers with the files of examples/grafana and has the example sender play a day.
func (d *day) play(ctx context.Context, root string, reports int) (err error) {
	if d.directory, err = os.MkdirTemp("", "pictures"); err != nil {
		return err
	}
	failures, exporter, telemetry := freeAddress(), freeAddress(), freeAddress()
	prometheus, loki, grpc := freeAddress(), freeAddress(), freeAddress()
	d.prometheus, d.loki = "http://"+prometheus, "http://"+loki
	files, tools := filepath.Join(root, "examples", "grafana"), filepath.Join(root, ".tools")
	err = errors.Join(
		rewrite(filepath.Join(files, "targets.yaml"), d.directory, "localhost:9464", exporter, "localhost:8888", telemetry),
		rewrite(filepath.Join(files, "prometheus.yaml"), d.directory, "../prometheus/", filepath.Dir(files)+"/prometheus/",
			"scrape_interval: 5s", fmt.Sprintf("scrape_interval: %dms", d.interval().Milliseconds()/2)),
		d.run(ctx, []string{
			"LOKI_DIRECTORY=" + d.directory + "/loki", "LOKI_PORT=" + port(loki), "LOKI_GRPC_PORT=" + port(grpc),
		}, tools+"/loki", "-config.file="+files+"/loki.yaml", "-config.expand-env=true"),
		d.run(ctx, []string{
			"SMTP_FAILURE_ENDPOINT=" + failures, "PROMETHEUS_EXPORTER=" + exporter, "TELEMETRY_HOST=127.0.0.1",
			"TELEMETRY_PORT=" + port(telemetry), "LOKI_ENDPOINT=" + d.loki + "/otlp",
			"STORAGE_DIRECTORY=" + d.directory + "/collector", "HEALTH_CHECK_ENDPOINT=127.0.0.1:0",
		}, root+"/bin/otelcol-smtpfailure", "--config", files+"/collector.yaml",
			"--set", "receivers::smtp_failure::aggregation::interval="+d.interval().String()),
		d.run(ctx, nil, tools+"/prometheus", "--config.file="+d.directory+"/prometheus.yaml",
			"--storage.tsdb.path="+d.directory+"/prometheus", "--web.listen-address="+prometheus),
		await(d.loki+"/ready"), await(d.prometheus+"/-/ready"), await("http://"+exporter+"/metrics"),
	)
	if err != nil {
		return err
	}
	fmt.Printf("Playing a day in %s\n", d.length)
	//nolint:gosec // All of it is from here.
	sender := exec.CommandContext(ctx, "go", "run", "./examples/sender", "-url", "http://"+failures+"/failures", "-seed", "1",
		"-reports", strconv.Itoa(reports), "-deliveries", strconv.Itoa(10*reports), "-day", d.length.String())
	sender.Dir, sender.Stdout, sender.Stderr = root, os.Stdout, os.Stderr
	if err := sender.Run(); err != nil {
		return err
	}
	d.start = time.Now().Add(-d.length)
	// Until the last counts are sent and scraped, and their records stored.
	time.Sleep(2*time.Second + 2*d.interval())
	return nil
}

// run runs a server until the day is over. Its output goes beside its data.
func (d *day) run(ctx context.Context, environment []string, program string, args ...string) error {
	output, err := os.Create(filepath.Join(d.directory, filepath.Base(program)+".log"))
	if err != nil {
		return err
	}
	defer output.Close()
	command := exec.CommandContext(ctx, program, args...) //nolint:gosec // The checkout's own binaries.
	command.Env = append(os.Environ(), environment...)
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		return fmt.Errorf("%w (`make pictures` builds what is missing)", err)
	}
	d.processes = append(d.processes, command)
	return nil
}

// rewrite writes a file with replacements to another folder.
func rewrite(file, folder string, replacements ...string) error {
	text, err := os.ReadFile(file) //nolint:gosec // The checkout's own files.
	if err != nil {
		return err
	}
	changed := strings.NewReplacer(replacements...).Replace(string(text))
	return os.WriteFile(filepath.Join(folder, filepath.Base(file)), []byte(changed), 0o600) //nolint:gosec // As above.
}

// await returns once a URL answers with 200.
func await(url string) error {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		response, err := http.Get(url) //nolint:gosec // It is a server from here.
		if err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("%s does not answer with 200", url)
}

// freeAddress returns a loopback address that was free a moment ago.
func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
