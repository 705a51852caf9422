package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// printMachine writes what is measured, on what, and when.
func (o *options) printMachine(ctx context.Context) error {
	version, err := exec.CommandContext(ctx, o.ours, "--version").Output() //nolint:gosec // It starts what the flags name.
	if err != nil {
		return fmt.Errorf("%s --version: %w", o.ours, err)
	}
	processor, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err
	}
	model := "processors"
	for line := range strings.Lines(string(processor)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	average, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Printf("%s on %s, with %d × %s, Linux %s, %s, and a load average of %s when it began.\n\n", strings.TrimSpace(string(version)),
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), model, unix.ByteSliceToString(kernel.Release[:]), runtime.Version(),
		strings.Join(strings.Fields(string(average))[:3], ", "))
	return nil
}
