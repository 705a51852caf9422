// Command mutation breaks the code in one small place after the other and looks whether the tests notice: mutation testing.
//
// All mutants of a package are compiled into one test binary, each behind a switch, so that a mutant costs a run of tests and not a build. A
// survey runs every test alone once and records which mutants it comes past and how long it takes; a mutant is then tried with those tests
// only, the quickest first. The source files are not touched: the changed ones reach the compiler through -overlay.
//
//	go run . -C ../.. ./internal/counter ./internal/ledger
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		root     = flag.String("C", ".", "the `directory` of the module whose packages are named")
		sample   = flag.Float64("sample", 1, "the `share` of the mutants that is tried")
		seed     = flag.Uint64("seed", 1, "the `number` that the sample is drawn with")
		match    = flag.String("match", "", "only mutants whose line in the report matches the `expression`")
		skip     = flag.String("skip", "", "leave out tests whose names match the `expression`")
		second   = flag.String("second", "", "a `package` that survivors are tried with too")
		secondly = flag.String("second-run", ".", "the tests of that package, an `expression`")
		parallel = flag.Int("parallel", 2, "the `number` of mutants that are tried at a time")
		out      = flag.String("out", "", "a `file` for all results, as lines of JSON")
		again    = flag.String("again", "", "a `file` of an earlier -out: mutants that died then are not tried again, for when tests were added")
		list     = flag.Bool("list", false, "list the mutants and end")
	)
	flag.Parse()
	pattern, err := regexp.Compile(*match)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(*root)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	packages, err := load(ctx, dir, flag.Args())
	if err != nil {
		return err
	}
	earlier, err := read(*again)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(*seed, 0)) //nolint:gosec // A sample has to be the same again.
	number := 0
	for _, p := range packages {
		if err := p.mutate(&number); err != nil {
			return err
		}
		for _, m := range p.mutants {
			// Every mutant takes a number from the generator, so that the sample of a package is the same whatever else is asked for.
			m.wanted = rng.Float64() < *sample && pattern.MatchString(m.String())
			if before := earlier[m.String()]; before != nil && before.Outcome.dead() {
				m.Outcome, m.Test, m.known = before.Outcome, before.Test, true
			}
			if *list && m.wanted {
				fmt.Println(m)
			}
		}
	}
	if *list {
		return nil
	}
	h := &harness{dir: dir, work: work, parallel: *parallel, patience: 10 * time.Second}
	if *skip != "" {
		if h.skip, err = regexp.Compile(*skip); err != nil {
			return err
		}
	}
	if err := h.overlay(packages); err != nil {
		return err
	}
	began := time.Now()
	for _, p := range packages {
		if err := h.try(ctx, p.path, ".", p.mutants); err != nil {
			return err
		}
	}
	if *second != "" {
		var survivors []*mutant
		for _, p := range packages {
			for _, m := range p.mutants {
				if m.wanted && !m.Outcome.dead() {
					survivors = append(survivors, m)
				}
			}
		}
		if err := h.try(ctx, *second, *secondly, survivors); err != nil {
			return err
		}
	}
	report(packages)
	fmt.Printf("in %s, with %d runs without a mutant, of which %d failed\n", time.Since(began).Round(time.Second), h.controls.Load(), h.flaky.Load())
	return write(*out, packages)
}

// report prints the survivors and a table.
func report(packages []*pkg) {
	for _, p := range packages {
		for _, m := range p.mutants {
			if m.wanted && !m.Outcome.dead() {
				fmt.Printf("%s: %s\n", m.Outcome, m)
			}
		}
	}
	fmt.Printf("\n%-20s %8s %8s %9s %9s %12s %7s\n", "package", "mutants", "killed", "timed out", "survived", "not reached", "score")
	var all tally
	for _, p := range packages {
		var one tally
		for _, m := range p.mutants {
			if m.wanted {
				one[m.Outcome]++
				all[m.Outcome]++
			}
		}
		one.print(p.path)
	}
	all.print("all")
}

// tally counts mutants by outcome.
type tally [outcomes]int

func (t *tally) print(name string) {
	n := 0
	for _, count := range t {
		n += count
	}
	dead := t[killed] + t[timedOut]
	fmt.Printf("%-20s %8d %8d %9d %9d %12d %6.1f%%\n", strings.TrimPrefix(name, "./"), n, t[killed], t[timedOut], t[survived], t[notReached],
		100*float64(dead)/float64(max(n, 1)))
}

func write(name string, packages []*pkg) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name) //nolint:gosec // What is run and read is what the developer names.
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(f)
	for _, p := range packages {
		for _, m := range p.mutants {
			if !m.wanted {
				continue
			}
			if err := encoder.Encode(m); err != nil {
				return err
			}
		}
	}
	return f.Close()
}

// read returns the mutants of an earlier run.
func read(name string) (map[string]*mutant, error) {
	mutants := make(map[string]*mutant)
	if name == "" {
		return mutants, nil
	}
	f, err := os.Open(name) //nolint:gosec // What is run and read is what the developer names.
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for decoder := json.NewDecoder(f); ; {
		m := new(mutant)
		if err := decoder.Decode(m); errors.Is(err, io.EOF) {
			return mutants, nil
		} else if err != nil {
			return nil, err
		}
		mutants[m.String()] = m
	}
}
