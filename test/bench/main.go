// Bench measures the receiver as its users run it: whole processes, over loopback, all in one run. docs/benchmarks.md says how and what came of it.
// It runs on Linux, whose /proc it reads.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	root, ours   string
	only         []string
	connections  []int
	rounds       int
	duration     time.Duration
	fill         int
	quick        bool
	flat         bool
	reports      int
	distinct     int
	backpressure bool
	phase        time.Duration
	soak         time.Duration
	sample       time.Duration
	profile      string

	// directory is where programs are compiled and files are kept.
	directory string
}

const (
	// quickReports is how many times fewer reports -flat takes with -quick.
	quickReports = 200
	// minPhase is longer than the timeout in configs/backend.yaml.
	minPhase = 3 * time.Second
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var (
		o                 options
		only, connections string
	)
	flag.StringVar(&o.root, "root", "../..", "the root of the repository")
	flag.StringVar(&o.ours, "ours", "bin/otelcol-smtpfailure", "the distribution that is measured, below the root unless it is an absolute path")
	flag.StringVar(&only, "only", "", "what to compare, such as floor,ours,stock; the floor always is (default all)")
	flag.StringVar(&connections, "connections", "1,16,64,256", "numbers of connections")
	flag.IntVar(&o.rounds, "rounds", 15, "how often everything is measured")
	flag.DurationVar(&o.duration, "duration", 700*time.Millisecond, "how long everything is measured each time")
	flag.IntVar(&o.fill, "fill", 100_000, "reports that are sent before anything is measured, so that as many are remembered as ever will be")
	flag.BoolVar(&o.quick, "quick", false, "do little, only to try that everything runs and counts right")
	flag.BoolVar(&o.flat, "flat", false, "instead of comparing, send -reports of -distinct tags and statuses, and see what memory and time they take")
	flag.IntVar(&o.reports, "reports", 10_000_000, "for -flat")
	flag.IntVar(&o.distinct, "distinct", 1_000_000, "for -flat, at most 1620000")
	flag.BoolVar(&o.backpressure, "backpressure", false, "instead of comparing, put a backend behind the receiver that is dead, hangs and is slow")
	flag.DurationVar(&o.phase, "phase", 10*time.Second, "for -backpressure: how long it is each of these")
	flag.DurationVar(&o.soak, "soak", 0, "instead of comparing, send half of what it can take for so long")
	flag.DurationVar(&o.sample, "sample", 10*time.Second, "for -soak: how often to look")
	flag.StringVar(&o.profile, "profile", "", "instead of comparing, write a CPU profile of everything of ours into this directory")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected: %s", flag.Args())
	}

	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for text := range strings.SplitSeq(connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("-connections: %q is no number of connections", text)
		}
		o.connections = append(o.connections, n)
	}
	if o.quick {
		o.rounds, o.duration, o.fill = 1, 200*time.Millisecond, 1000
		o.reports, o.distinct = o.reports/quickReports, o.distinct/quickReports
	}
	if o.backpressure && o.phase < minPhase {
		return fmt.Errorf("-phase: %s is shorter than what the exporter waits for its backend; it takes at least %s", o.phase, minPhase)
	}
	var err error
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	if !filepath.IsAbs(o.ours) {
		o.ours = filepath.Join(o.root, o.ours)
	}
	o.directory = filepath.Join(o.root, "build", "bench")
	if err := os.MkdirAll(o.directory, 0o750); err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if _, err := os.Stat(o.ours); err != nil {
		return errors.Join(err, errors.New("there is no distribution to measure: run `make build` first"))
	}
	if err := o.printMachine(ctx); err != nil {
		return err
	}
	switch {
	case o.flat:
		return o.runFlat(ctx)
	case o.backpressure:
		return o.runBackpressure(ctx)
	case o.soak > 0:
		return o.runSoak(ctx)
	case o.profile != "":
		return o.runProfile(ctx)
	default:
		return o.runComparison(ctx)
	}
}

// config returns the arguments that make a collector read these files of the folder configs, the later over the earlier.
func (o *options) config(names ...string) []string {
	var arguments []string
	for _, name := range names {
		arguments = append(arguments, "--config", filepath.Join(o.root, "test", "bench", "configs", name+".yaml"))
	}
	return arguments
}

// wanted reports whether a contestant was asked for.
func (o *options) wanted(name string) bool {
	return len(o.only) == 0 || slices.Contains(o.only, name)
}
