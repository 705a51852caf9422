package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// deadline is how long a server may take to start, to stop and to send its counters twice.
const deadline = 40 * time.Second

// server is a running process.
type server struct {
	name   string
	pid    int
	cancel context.CancelFunc
	exited chan struct{}
	output bytes.Buffer // to be read once it has exited

	address                       netip.AddrPort
	counters, telemetry, profiles string // URLs, the last only with pprof.yaml
}

// start starts a program, which gets its addresses from the environment, and returns once it
// listens. The configs of a collector are files in the folder of that name.
func start(ctx context.Context, name, program string, environment []string, configs ...string) *server {
	addresses := freeAddresses(4)
	ctx, cancel := context.WithCancel(ctx)
	s := &server{
		name: name, cancel: cancel, exited: make(chan struct{}), address: addresses[0],
		counters:  fmt.Sprintf("http://%s/metrics", addresses[1]),
		telemetry: fmt.Sprintf("http://%s/metrics", addresses[2]),
		profiles:  fmt.Sprintf("http://%s/debug/pprof/", addresses[3]),
	}
	command := exec.CommandContext(ctx, program)
	for _, config := range configs {
		command.Args = append(command.Args, "--config", filepath.Join("configs", config+".yaml"))
	}
	command.Env = append(append(os.Environ(), environment...),
		"BENCH_ENDPOINT="+addresses[0].String(),
		"BENCH_COUNTERS="+addresses[1].String(),
		"BENCH_TELEMETRY_PORT="+strconv.Itoa(int(addresses[2].Port())),
		"BENCH_PROFILES="+addresses[3].String(),
	)
	command.Stdout, command.Stderr = &s.output, &s.output
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = deadline
	check(command.Start())
	s.pid = command.Process.Pid
	go func() {
		defer close(s.exited)
		_ = command.Wait() // Its output says why it ended.
	}()
	s.await("listens", func() bool {
		conn, err := net.Dial("tcp", s.address.String())
		return err == nil && conn.Close() == nil
	})
	return s
}

// stop ends the process and waits until it has ended.
func (s *server) stop() {
	s.cancel()
	<-s.exited
}

// await waits until a condition is met.
func (s *server) await(what string, met func() bool) {
	for end := time.Now().Add(deadline); !met(); {
		select {
		case <-s.exited:
			check(fmt.Errorf("%s exited:\n%s", s.name, &s.output))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			s.stop()
			check(fmt.Errorf("waited %s until %s %s:\n%s", deadline, s.name, what, &s.output))
		}
	}
}

// freeAddresses returns loopback addresses that were free a moment ago.
func freeAddresses(n int) []netip.AddrPort {
	var addresses []netip.AddrPort
	for range n {
		listener := must(net.Listen("tcp", "127.0.0.1:0"))
		defer listener.Close() //nolint:gocritic // Not before all are found, so that no two are the same.
		addresses = append(addresses, listener.Addr().(*net.TCPAddr).AddrPort())
	}
	return addresses
}

// cpu returns the CPU time that the process has used, in microseconds.
func (s *server) cpu() float64 {
	var t unix.Timespec
	check(unix.ClockGettime(int32(^s.pid<<3|2), &t)) // As clock_getcpuclockid(3) computes it.
	return microseconds(time.Duration(t.Nano()))
}

// status returns a number from /proc/PID/status, such as VmRSS, the memory held, and VmHWM, the
// most memory that was held, both in KiB.
func (s *server) status(name string) float64 {
	return numberIn(string(must(os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid)))), name+`:\s+(\d+)`)
}

// numberIn returns the number that a pattern finds in a text.
func numberIn(text, pattern string) float64 {
	match := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if match == nil {
		check(fmt.Errorf("no %q in %s", pattern, text))
	}
	return must(strconv.ParseFloat(match[1], 64))
}

// The counters of events, as the Prometheus exporter names them.
const (
	failuresCounter   = "email_delivery_failures_total"
	deliveriesCounter = "email_deliveries_total"
)

// counted returns the total of a counter, after waiting for what is expected.
func (s *server) counted(counter string, expected int) int {
	// Longer than the default of aggregation.interval.
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		total := int(math.Round(sum(get(s.counters), counter)))
		if total == expected || time.Now().After(end) {
			return total
		}
	}
}

// wrong returns an error unless the total of a counter is what is expected.
func (s *server) wrong(counter string, expected int) error {
	if total := s.counted(counter, expected); total != expected {
		return fmt.Errorf("%s: %s is %d, expected %d", s.name, counter, total, expected)
	}
	return nil
}

// sum adds up the series of a metric in the Prometheus text format.
func sum(text, metric string) (total float64) {
	series := regexp.MustCompile(`(?m)^` + metric + `(?:\{.*\})? (\S+)$`)
	for _, match := range series.FindAllStringSubmatch(text, -1) {
		total += must(strconv.ParseFloat(match[1], 64))
	}
	return total
}

func get(url string) string {
	client := &http.Client{Timeout: deadline}
	response, err := client.Get(url)
	check(err)
	defer response.Body.Close()
	body := must(io.ReadAll(response.Body))
	if response.StatusCode != http.StatusOK {
		check(fmt.Errorf("%s: %s", url, response.Status))
	}
	return string(body)
}

// build compiles the program in a folder, and returns where it is.
func (b *bench) build(ctx context.Context, folder string) string {
	program := must(filepath.Abs(filepath.Join(b.directory, filepath.Base(folder)+".bin")))
	execute(ctx, folder, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	return program
}

// buildProfiled compiles the distribution with an extension that serves its profiles.
func (b *bench) buildProfiled(ctx context.Context) string {
	manifest := string(must(os.ReadFile(filepath.Join(root, "builder-config.yaml"))))
	for before, after := range map[string]string{
		"output_path: ./build\n": "output_path: ./build/bench/profiled\n",
		"\nextensions:\n": "\nextensions:\n  - gomod: " +
			"github.com/open-telemetry/opentelemetry-collector-contrib/extension/pprofextension v0.165.1\n",
	} {
		if !strings.Contains(manifest, before) {
			check(errors.New("builder-config.yaml has no " + before))
		}
		manifest = strings.Replace(manifest, before, after, 1)
	}
	check(os.WriteFile(filepath.Join(b.directory, "profiled.yaml"), []byte(manifest), 0o600)) //nolint:gosec // It is a constant.
	execute(ctx, root, ".tools/builder", "--config", "build/bench/profiled.yaml",
		"--skip-compilation", "--skip-strict-versioning=false")
	return b.build(ctx, filepath.Join(b.directory, "profiled"))
}

// execute runs a command and returns what it prints.
func execute(ctx context.Context, directory, name string, arguments ...string) string {
	command := exec.CommandContext(ctx, name, arguments...) //nolint:gosec // They are all from here.
	command.Dir = directory
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	output, err := command.CombinedOutput()
	if err != nil {
		check(fmt.Errorf("%s in %s: %w\n%s", name, directory, err, output))
	}
	return string(output)
}
