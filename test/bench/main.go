// Bench measures the receiver as its users run it: whole processes, over loopback, all in one run.
// docs/benchmarks.md has the method and the results. It needs Linux, whose /proc it reads.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// root is the repository, seen from the folder that `go run .` runs in.
const root = "../.."

// bench is what is to be done, by the flags.
type bench struct {
	ours        string
	only        []string
	connections []int
	rounds      int
	fill        int
	quick       bool

	directory string // of what is compiled and stored
}

// failure is an error that ends the run.
type failure struct{ error }

// check ends the run if there is an error. Deferred functions still stop what was started.
func check(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		panic(failure{err})
	}
}

// must returns a value, and ends the run if there is an error.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer func() {
		failed := recover()
		if err, ok := failed.(failure); ok {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if failed != nil {
			panic(failed)
		}
	}()
	b := &bench{connections: []int{1, 16, 64, 256}, directory: filepath.Join(root, "build", "bench")}
	flag.StringVar(&b.ours, "ours", root+"/bin/otelcol-smtpfailure", "the distribution")
	flag.Func("only", "what to compare, such as ours,stock; the floor always is (default all)", func(text string) error {
		b.only = strings.Split(text, ",")
		return nil
	})
	flag.Func("connections", "numbers of connections (default 1,16,64,256)", func(text string) error {
		b.connections = nil
		for number := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(number)
			if err != nil || n < 1 {
				return errors.New("numbers above 0, separated by commas")
			}
			b.connections = append(b.connections, n)
		}
		return nil
	})
	flag.IntVar(&b.rounds, "rounds", 15, "how often everything is measured")
	flag.IntVar(&b.fill, "fill", 100_000, "reports sent before anything is measured, to fill the memory of the receiver")
	flag.BoolVar(&b.quick, "quick", false, "do little, only to see whether everything runs and counts right")
	flat := flag.Bool("flat", false, "instead, send 10 million different reports and see what memory and time they take")
	backpressure := flag.Bool("backpressure", false, "instead, put a backend behind the receiver that fails")
	soak := flag.Duration("soak", 0, "instead, send half of what the receiver can take for so long")
	profile := flag.String("profile", "", "instead, write CPU profiles into this folder")
	flag.Parse()
	if b.quick {
		b.rounds, b.fill = 1, 1000
	}

	check(os.MkdirAll(b.directory, 0o750))
	version := must(exec.CommandContext(ctx, b.ours, "--version").Output()) //nolint:gosec // It is a flag.
	fmt.Printf("%s on %s, %d processors, %s. Load average: %s\n", strings.TrimSpace(string(version)),
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), must(os.ReadFile("/proc/loadavg")))
	switch {
	case *flat, *soak > 0:
		b.runFlat(ctx, *soak)
	case *backpressure:
		b.runBackpressure(ctx)
	case *profile != "":
		b.runProfile(ctx, *profile)
	default:
		b.runComparison(ctx)
	}
}

// wants reports whether a contestant was asked for.
func (b *bench) wants(name string) bool {
	return len(b.only) == 0 || slices.Contains(b.only, name)
}
