package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// harness builds test binaries and runs mutants in them.
type harness struct {
	dir, work   string
	parallel    int
	skip        *regexp.Regexp
	overlayFile string
	// patience is the processor's time that tests get besides five times what they took in the survey.
	patience time.Duration

	// controls are runs without a mutant between the others, flaky those of them that failed: what a failure says about a mutant rests on their
	// being none.
	controls, flaky atomic.Int64
}

// controlEvery is the number of mutants for each of which there is one control.
const controlEvery = 20

// overlay writes the rewritten files and the list by which the compiler takes them in place of the real ones.
func (h *harness) overlay(packages []*pkg) error {
	replace := make(map[string]string)
	add := func(name string, content []byte) error {
		to := filepath.Join(h.work, strconv.Itoa(len(replace))+".go")
		replace[name] = to
		return os.WriteFile(to, content, 0o600)
	}
	for _, p := range packages {
		if len(p.mutants) == 0 {
			return fmt.Errorf("%s has no mutants", p.path)
		}
		for _, s := range p.files {
			if err := add(s.name, s.rewritten()); err != nil {
				return err
			}
		}
		if err := add(filepath.Join(p.dir, "mutant_switch.go"), []byte(p.switches())); err != nil {
			return err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	h.overlayFile = filepath.Join(h.work, "overlay.json")
	return os.WriteFile(h.overlayFile, list, 0o600)
}

// suite is the tests of one package, built with the mutants.
type suite struct {
	binary, dir string
	tests       []*test
}

// test is one test of a package, as the survey found it.
type test struct {
	name    string
	took    time.Duration
	reaches map[int]bool
}

// try runs the tests of a package against the mutants that are wanted.
func (h *harness) try(ctx context.Context, path, pattern string, mutants []*mutant) error {
	wanted := slices.DeleteFunc(slices.Clone(mutants), func(m *mutant) bool { return !m.wanted || m.known })
	if len(wanted) == 0 {
		return nil
	}
	s, err := h.build(ctx, path)
	if err != nil {
		return err
	}
	if err := h.survey(ctx, s, pattern); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s: %d mutants, %d tests\n", path, len(wanted), len(s.tests))

	work := make(chan *mutant)
	var workers sync.WaitGroup
	for range h.parallel {
		workers.Go(func() {
			for m := range work {
				h.tryOne(ctx, s, m)
			}
		})
	}
	began := time.Now()
	for i, m := range wanted {
		if ctx.Err() != nil {
			break
		}
		work <- m
		if (i+1)%100 == 0 {
			fmt.Fprintf(os.Stderr, "%s: %d of %d in %s\n", path, i+1, len(wanted), time.Since(began).Round(time.Second))
		}
	}
	close(work)
	workers.Wait()
	return ctx.Err()
}

func (h *harness) build(ctx context.Context, path string) (*suite, error) {
	s := &suite{binary: filepath.Join(h.work, filepath.Base(path)+".test"), dir: filepath.Join(h.dir, path)}
	command := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", h.overlayFile, "-o", s.binary, path) //nolint:gosec // What is run and read is what the developer names.
	command.Dir = h.dir
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the tests of %s: %w\n%s", path, err, output)
	}
	return s, nil
}

// survey runs every test alone, without a mutant, and finds out what it comes past.
func (h *harness) survey(ctx context.Context, s *suite, pattern string) error {
	output, err := h.command(ctx, s, generous, nil, "-test.list", pattern).Output()
	if err != nil {
		return fmt.Errorf("listing the tests: %w", err)
	}
	for name := range strings.FieldsSeq(string(output)) {
		if !strings.HasPrefix(name, "Test") && !strings.HasPrefix(name, "Fuzz") || h.skip != nil && h.skip.MatchString(name) {
			continue
		}
		reached := filepath.Join(h.work, "reached")
		began := time.Now()
		output, err := h.command(ctx, s, generous, []string{"MUTANTS_REACHED=" + reached}, "-test.run", "^"+name+"$").CombinedOutput()
		t := &test{name: name, took: time.Since(began), reaches: make(map[int]bool)}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// Such as a test of how much memory is used, which the switches change.
			fmt.Fprintf(os.Stderr, "%s is left out, because it fails without a mutant: %v\n%s\n", name, err, lastLines(output))
			continue
		}
		numbers, err := os.ReadFile(reached) //nolint:gosec // The name is made above.
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for number := range strings.FieldsSeq(string(numbers)) {
			n, err := strconv.Atoi(number)
			if err != nil {
				return err
			}
			t.reaches[n] = true
		}
		if err := os.RemoveAll(reached); err != nil {
			return err
		}
		s.tests = append(s.tests, t)
	}
	slices.SortFunc(s.tests, func(a, b *test) int { return cmp.Compare(a.took, b.took) })
	return nil
}

// tryOne runs the tests that come past a mutant, in groups, those that take long last.
func (h *harness) tryOne(ctx context.Context, s *suite, m *mutant) {
	var tests []*test
	for _, t := range s.tests {
		if t.reaches[m.Number] {
			tests = append(tests, t)
		}
	}
	for len(tests) > 0 && ctx.Err() == nil {
		m.Outcome = max(m.Outcome, survived)
		var group []string
		var took time.Duration
		for len(tests) > 0 && (len(group) == 0 || took+tests[0].took < time.Second) {
			group, took = append(group, tests[0].name), took+tests[0].took
			tests = tests[1:]
		}
		args := []string{"-test.failfast", "-test.run", "^(" + strings.Join(group, "|") + ")$"}
		if m.Number%controlEvery == 0 {
			h.control(ctx, s, took, args)
		}
		output, err := h.command(ctx, s, took, []string{"MUTANT=" + strconv.Itoa(m.Number)}, args...).CombinedOutput()
		if err == nil || ctx.Err() != nil {
			continue
		}
		m.Outcome, m.Test = killed, failing(output)
		var exit *exec.ExitError
		if bytes.Contains(output, []byte("panic: test timed out")) || errors.As(err, &exit) && exit.ExitCode() < 0 {
			m.Outcome = timedOut
		}
		return
	}
}

// control runs tests as they are run with a mutant, but without one.
func (h *harness) control(ctx context.Context, s *suite, expected time.Duration, args []string) {
	h.controls.Add(1)
	if output, err := h.command(ctx, s, expected, nil, args...).CombinedOutput(); err != nil && ctx.Err() == nil {
		h.flaky.Add(1)
		fmt.Fprintf(os.Stderr, "a run without a mutant failed: %v\n%s\n", err, lastLines(output))
	}
}

// generous is the time that a test may take in the survey.
const generous = 2 * time.Minute

// command runs the tests with bounds on what they may use up: a mutant may never end, or take all the memory there is. The
// processor's time is bounded more tightly than the clock's, because it does not depend on what else the machine does.
func (h *harness) command(ctx context.Context, s *suite, expected time.Duration, environment []string, args ...string) *exec.Cmd {
	const memory = 6 << 20 // KiB of addresses
	seconds := int((5*expected + h.patience) / time.Second)
	limits := fmt.Sprintf(`ulimit -t %d; ulimit -v %d 2>/dev/null; exec "$0" "$@"`, seconds, memory)
	timeout := fmt.Sprintf("-test.timeout=%ds", 3*seconds)
	command := exec.CommandContext(ctx, "sh", append([]string{"-c", limits, s.binary, timeout}, args...)...) //nolint:gosec // What is run and read is what the developer names.
	command.Dir = s.dir
	command.Env = append(os.Environ(), environment...)
	command.WaitDelay = time.Second
	return command
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// failing returns the test that failed.
func failing(output []byte) string {
	if found := failure.FindSubmatch(output); found != nil {
		return string(found[1])
	}
	return ""
}

func lastLines(output []byte) []byte {
	const most = 1000
	if len(output) > most {
		output = output[len(output)-most:]
	}
	return output
}
