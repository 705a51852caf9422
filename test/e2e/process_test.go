// Package e2e tests the built distribution from outside.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	root   = "../.."
	binary = root + "/bin/otelcol-smtpfailure"
	// timeout is how long anything may take on a busy machine.
	timeout = 90 * time.Second
)

// process is a running program.
type process struct {
	*os.Process

	output output
	exited chan struct{}
	err    error // how it exited
}

// output is what a process has written so far.
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

// launch starts a command and waits for nothing.
func launch(command *exec.Cmd) (*process, error) {
	p := &process{exited: make(chan struct{})}
	command.Stdout, command.Stderr = &p.output, &p.output
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("%w (`make e2e` builds what is missing)", err)
	}
	p.Process = command.Process
	go func() {
		p.err = command.Wait()
		close(p.exited)
	}()
	return p, nil
}

// startProcess starts a command that is killed at the end of the test.
func startProcess(t *testing.T, command *exec.Cmd) *process {
	t.Helper()
	p, err := launch(command)
	require.NoError(t, err)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the end of the output of %s:\n%s", command.Path, tail(p.output.String(), 40))
		}
	})
	return p
}

// kill ends the process at once, if it still runs.
func (p *process) kill() {
	_ = p.Kill()
	<-p.exited
}

// terminate sends SIGTERM and returns how the process exited.
func (p *process) terminate() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("send SIGTERM: %w", err)
	}
	select {
	case <-p.exited:
		return p.err
	case <-time.After(timeout):
		return errors.New("the process ignores SIGTERM")
	}
}

// wait returns an error when the condition does not come true in time, or the process exits before.
func (p *process) wait(ctx context.Context, what string, condition func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for !condition() {
		select {
		case <-p.exited:
			return errors.Join(fmt.Errorf("waited until %s, but the process exited", what), p.err)
		case <-ctx.Done():
			return fmt.Errorf("waited until %s: %w", what, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// eventually fails the test when the condition does not come true in time.
func (p *process) eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.NoError(t, p.wait(t.Context(), what, condition))
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// run runs a command, which has to exit with 0, and returns its output.
func run(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s\n%s", command, output)
	return string(output)
}

// givenAddresses are those that freeAddress has returned.
var givenAddresses sync.Map

// freeAddress returns a loopback address for something that may be restarted. Its port is outside
// the usual ephemeral range, so that no outgoing connection takes it meanwhile.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(15000+rand.IntN(15000)))
		if _, given := givenAddresses.LoadOrStore(address, true); given {
			continue
		}
		// Not by listening: a process that another test starts just then would keep the socket
		// open.
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return address
		}
		require.NoError(t, conn.Close())
	}
	t.Fatal("there is no free port")
	return ""
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return port
}

// packaged returns the path of a program that comes with the system and not from `make e2e`.
func packaged(t *testing.T, name string) string {
	t.Helper()
	for _, file := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(file); err == nil {
			return path
		}
	}
	// On a developer's machine it may be missing.
	require.Empty(t, os.Getenv("CI"), "there is no %s", name)
	t.Skipf("there is no %s here; Debian has it in a package of that name", name)
	return ""
}

// goBuild compiles a command of the root module and returns its path.
func goBuild(t *testing.T, directory string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(directory))
	command := exec.CommandContext(t.Context(), "go", "build", "-o", path, directory)
	command.Dir = root
	command.Env = append(os.Environ(), "GOWORK=off")
	run(t, command)
	return path
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

// replaced returns the text of a file with replacements, each of which has to fit once.
func replaced(t *testing.T, path string, oldnew ...string) string {
	t.Helper()
	text := readFile(t, path)
	for i := 0; i < len(oldnew); i += 2 {
		require.Equal(t, 1, strings.Count(text, oldnew[i]), "%q in %s", oldnew[i], path)
		text = strings.Replace(text, oldnew[i], oldnew[i+1], 1)
	}
	return text
}

// write writes a new file and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
