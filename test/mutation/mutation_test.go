package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTool tries the mutants of a small package of which it is known what its tests notice.
func TestTool(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module example.org/sample\n\ngo 1.25\n",
		"sample.go": `package sample

// Sum adds up what is positive.
func Sum(numbers []int) (sum int) {
	for _, n := range numbers {
		if n < 0 { // n <= 0 means the same
			continue
		}
		sum += n
	}
	return sum
}

// Spin ends when a mutant does not keep it from that.
func Spin() {
	for i := 10; i > 0; {
		i--
	}
}

// Never is called by no test.
func Never(a, b bool) bool { return a && b }
`,
		"sample_test.go": `package sample

import "testing"

func TestSum(t *testing.T) {
	if got := Sum([]int{1, -2, 3}); got != 4 {
		t.Error(got)
	}
}

func TestSpin(*testing.T) { Spin() }
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	packages, err := load(t.Context(), dir, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	if err := packages[0].mutate(&number); err != nil {
		t.Fatal(err)
	}
	h := &harness{dir: dir, work: t.TempDir(), parallel: 2, patience: 2 * time.Second}
	if err := h.overlay(packages); err != nil {
		t.Fatal(err)
	}
	for _, m := range packages[0].mutants {
		m.wanted = true
	}
	if err := h.try(t.Context(), ".", ".", packages[0].mutants); err != nil {
		t.Fatal(err)
	}
	want := map[string]outcome{
		"sample.go:6:6: operator: n < 0 => n <= 0":               survived,
		"sample.go:6:6: operator: n < 0 => n >= 0":               killed,
		"sample.go:6:10: constant: 0 => (0) + 1":                 survived,
		"sample.go:7:4: statement: continue => nothing":          killed,
		"sample.go:9:3: statement: sum += n => nothing":          killed,
		"sample.go:9:3: statement: sum += n => sum -= n":         killed,
		"sample.go:11:2: return: return sum => return *new(int)": killed,
		"sample.go:16:11: constant: 10 => (10) + 1":              survived,
		"sample.go:16:15: operator: i > 0 => i >= 0":             survived,
		"sample.go:16:15: operator: i > 0 => i <= 0":             survived,
		"sample.go:16:19: constant: 0 => (0) + 1":                survived,
		"sample.go:17:3: increment: i-- => i++":                  timedOut,
		"sample.go:17:3: increment: i-- => nothing":              timedOut,
		"sample.go:22:30: return: return a && b => return true":  notReached,
		"sample.go:22:30: return: return a && b => return false": notReached,
		"sample.go:22:37: operator: a && b => a || b":            notReached,
		"sample.go:22:37: operator: a && b => a":                 notReached,
		"sample.go:22:37: operator: a && b => b":                 notReached,
	}
	for _, m := range packages[0].mutants {
		expected, ok := want[m.String()]
		if !ok {
			t.Errorf("%s: %s", m.Outcome, m)
		} else if expected != m.Outcome {
			t.Errorf("%s: %s, and not %s", m, m.Outcome, expected)
		}
		delete(want, m.String())
	}
	for name := range want {
		t.Errorf("there is no %s", name)
	}
}
