package main

import (
	"bufio"
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
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// deadline is how long a server may take to start or to stop.
	deadline = 30 * time.Second
	// countersDeadline is longer than the default aggregation.interval, after which the last reports are in the counters.
	countersDeadline = 20 * time.Second
)

// server is a running process.
type server struct {
	name    string
	process *os.Process
	exited  chan struct{}
	output  *bytes.Buffer // to be read once it has exited

	address   netip.AddrPort
	counters  string // where its counters are served
	telemetry string // where its own metrics are served
	profiles  string // where its profiles are served, if they are
}

// start starts a program, which finds its addresses in the environment, and returns once it takes reports.
func start(ctx context.Context, name, program string, environment []string, arguments ...string) (*server, error) {
	addresses, err := freeAddresses(4)
	if err != nil {
		return nil, err
	}
	s := &server{
		name: name, exited: make(chan struct{}), output: new(bytes.Buffer), address: addresses[0],
		counters: fmt.Sprintf("http://%s/metrics", addresses[1]), telemetry: fmt.Sprintf("http://%s/metrics", addresses[2]),
		profiles: fmt.Sprintf("http://%s/debug/pprof/", addresses[3]),
	}
	//nolint:gosec // It starts what the flags name.
	command := exec.CommandContext(ctx, program, arguments...)
	command.Env = append(os.Environ(),
		"BENCH_ENDPOINT="+addresses[0].String(),
		"BENCH_COUNTERS="+addresses[1].String(),
		"BENCH_TELEMETRY_PORT="+strconv.Itoa(int(addresses[2].Port())),
		"BENCH_PROFILES="+addresses[3].String(),
	)
	command.Env = append(command.Env, environment...)
	command.Stdout, command.Stderr = s.output, s.output
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s.process = command.Process
	go func() {
		defer close(s.exited)
		// How it ended is told by what it wrote.
		_ = command.Wait()
	}()
	for end := time.Now().Add(deadline); ; time.Sleep(20 * time.Millisecond) {
		connection, err := net.DialTimeout("tcp", s.address.String(), time.Second)
		if err == nil {
			return s, connection.Close()
		}
		select {
		case <-s.exited:
			return nil, fmt.Errorf("%s exited:\n%s", name, s.output)
		default:
		}
		if time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("%s does not listen after %s", name, deadline), s.stop())
		}
	}
}

// freeAddresses returns loopback addresses that were free a moment ago.
func freeAddresses(n int) ([]netip.AddrPort, error) {
	var listeners []net.Listener
	defer func() {
		for _, listener := range listeners {
			_ = listener.Close()
		}
	}()
	addresses := make([]netip.AddrPort, n)
	for i := range addresses {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		listeners = append(listeners, listener)
		if addresses[i], err = netip.ParseAddrPort(listener.Addr().String()); err != nil {
			return nil, err
		}
	}
	return addresses, nil
}

// stop asks the process to end, and waits until it has.
func (s *server) stop() error {
	// It may have ended by itself.
	_ = s.process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		return nil
	case <-time.After(deadline):
		_ = s.process.Kill()
		<-s.exited
		return fmt.Errorf("%s did not stop within %s", s.name, deadline)
	}
}

// cpu is the time of processors that the process has used.
func (s *server) cpu() (time.Duration, error) {
	// As the C library makes the clock of a process (clock_getcpuclockid).
	const scheduled = 2
	return clock(int32(^s.process.Pid<<3 | scheduled))
}

// memory returns a figure of /proc/PID/status in bytes: VmRSS is what is held, VmHWM the most that was.
func (s *server) memory(figure string) (float64, error) {
	value, err := s.status(figure)
	return value * 1024, err
}

// status returns a number of /proc/PID/status.
func (s *server) status(name string) (float64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", s.process.Pid))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == name+":" {
			return strconv.ParseFloat(fields[1], 64)
		}
	}
	return 0, fmt.Errorf("there is no %s in %s: %w", name, file.Name(), lines.Err())
}

// files is the number of open file descriptors.
func (s *server) files() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.process.Pid))
	return len(entries), err
}

// goroutines is the number of goroutines, where profiles are served.
func (s *server) goroutines() (int, error) {
	text, err := get(s.profiles + "goroutine?debug=1")
	if err != nil {
		return 0, err
	}
	var n int
	_, err = fmt.Sscanf(text, "goroutine profile: total %d", &n)
	return n, err
}

// sum adds up the series of a metric that are served at a URL.
func sum(url, metric string) (float64, error) {
	text, err := get(url)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, metric)
		if !ok || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		rest = strings.TrimRight(rest, "\n")
		number, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", line, err)
		}
		total += number
	}
	return total, nil
}

// The counters of events, as Prometheus has them.
const (
	failuresCounter   = "email_delivery_failures_total"
	deliveriesCounter = "email_deliveries_total"
)

// counted returns how many events are in a counter, once these have come to so many or it is clear that they do not.
func (s *server) counted(counter string, want int) (int, error) {
	for end := time.Now().Add(countersDeadline); ; time.Sleep(100 * time.Millisecond) {
		total, err := sum(s.counters, counter)
		if err != nil {
			return 0, err
		}
		if int(math.Round(total)) == want || time.Now().After(end) {
			return int(math.Round(total)), nil
		}
	}
}

// flushes waits until the counters have been sent so many times more.
func (s *server) flushes(ctx context.Context, n int) error {
	const metric = "otelcol_smtp_failure_flushes"
	before, err := sum(s.telemetry, metric)
	for end := time.Now().Add(time.Duration(n) * countersDeadline); err == nil; time.Sleep(100 * time.Millisecond) {
		var now float64
		if now, err = sum(s.telemetry, metric); now >= before+float64(n) {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s did not send its counters", s.name)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return err
}

func get(url string) (string, error) {
	client := &http.Client{Timeout: deadline}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return string(body), err
}

// build compiles a program of this folder.
func build(ctx context.Context, directory, output string) error {
	//nolint:gosec // It compiles what is here.
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", output, ".")
	command.Dir = directory
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if printed, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s: %w\n%s", directory, err, printed)
	}
	return nil
}

// buildProfiled compiles the distribution with the extension of the folder profiling in it.
func buildProfiled(ctx context.Context, root, output string) error {
	//nolint:gosec // The root is a flag.
	manifest, err := os.ReadFile(filepath.Join(root, "builder-config.yaml"))
	if err != nil {
		return err
	}
	directory := filepath.Join(filepath.Dir(output), "profiled")
	const module = "github.com/smtpfailure/opentelemetry-collector-smtpfailure/test"
	changed := strings.NewReplacer(
		"output_path: ./build\n", "output_path: "+directory+"\n",
		"\nextensions:\n", "\nextensions:\n  - gomod: "+module+" v0.0.0\n    import: "+module+"/bench/profiling\n    path: ./test\n",
	).Replace(string(manifest))
	if !strings.Contains(changed, directory) || !strings.Contains(changed, "/profiling") {
		return errors.New("builder-config.yaml does not look as it did: no place for the extension")
	}
	file := filepath.Join(filepath.Dir(output), "profiled.yaml")
	//nolint:gosec // The root is a flag.
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		return err
	}
	//nolint:gosec // Its arguments are files of its own.
	command := exec.CommandContext(ctx, ".tools/builder", "--config", file, "--skip-compilation", "--skip-strict-versioning=false")
	command.Dir = root
	if printed, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("generate the collector: %w\n%s", err, printed)
	}
	return build(ctx, directory, output)
}
