// Command sender plays a day of failed deliveries against the URL of a collector, and of deliveries
// if asked, as Copernica and SMTPeter would report them: a day's rise and fall, mail that fails as
// it always does, and three incidents. At 9 a provider refuses a campaign for its sender's
// reputation, at 14 another provider is down, and at 20 a kind of failure comes up that was not
// seen before. The day is played in -day of real time.
//
//	go run ./examples/sender -url http://localhost:8550/failures -reports 5000 -day 15m
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the next one ends the process as usual.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, new(net.Dialer).DialContext))
}

type options struct {
	url         string
	seed        uint64
	run         string
	reports     int
	deliveries  int
	day         time.Duration
	repeat      bool
	repeats     float64
	connections int
	record      string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("sender", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.url, "url", "http://localhost:8550/failures", "where the failures are reported")
	flags.Uint64Var(&o.seed, "seed", 1, "the same `number` gives the same reports")
	flags.StringVar(&o.run, "run", "", "`text` that the ids begin with, so that no run repeats another's reports (random by default)")
	flags.IntVar(&o.reports, "reports", 5000, "distinct reports in a day")
	flags.IntVar(&o.deliveries, "deliveries", 0, "distinct deliveries in a day; the collector has to take them")
	flags.DurationVar(&o.day, "day", 15*time.Minute, "time in which a day is played")
	flags.BoolVar(&o.repeat, "repeat", false, "play day after day until stopped")
	flags.Float64Var(&o.repeats, "repeats", 0.02, "`share` of the reports that are sent twice")
	flags.IntVar(&o.connections, "connections", 8, "requests at a time")
	flags.StringVar(&o.record, "record", "", "`file` for one line of JSON for each distinct report, once it has a response")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if err = o.validate(flags.Args()); err != nil {
		fmt.Fprintln(stderr, err)
	}
	return o, err
}

func (o *options) validate(rest []string) error {
	u, err := url.Parse(o.url)
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: there are flags only, no arguments", rest[0])
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("-url %q: must be a URL that begins with http:// or https://", o.url)
	case o.reports < 1:
		return fmt.Errorf("-reports %d: must be at least 1", o.reports)
	case o.deliveries < 0:
		return fmt.Errorf("-deliveries %d: must be at least 0", o.deliveries)
	case o.day <= 0:
		return fmt.Errorf("-day %s: must be a duration greater than 0, such as 15m", o.day)
	case !(o.repeats >= 0 && o.repeats <= 1):
		return fmt.Errorf("-repeats %g: must be a share from 0 to 1", o.repeats)
	case o.connections < 1:
		return fmt.Errorf("-connections %d: must be at least 1", o.connections)
	}
	return nil
}

// run returns the exit code: 0 when every report was accepted, 1 when one was not, 2 for flags that
// make no sense.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, dial dialFunc) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	refused, err := play(ctx, &o, stdout, dial)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return min(refused, 1)
}

// play plays days until it is done or stopped, and returns how many reports were not accepted.
func play(ctx context.Context, o *options, stdout io.Writer, dial dialFunc) (refused int, err error) {
	record := io.Discard
	if o.record != "" {
		file, createErr := os.Create(o.record) //nolint:gosec // whoever runs it says where
		if createErr != nil {
			return 0, createErr
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		record = file
	}
	run := cmp.Or(o.run, rand.Text()[:8])
	s := newSender(o.url, o.connections, record, dial)
	if err := s.awaitServer(ctx); err != nil {
		return 0, err
	}
	start := time.Now()
	for number := 1; ; number++ {
		day := makeDay(o.seed, run, number, o.reports, o.repeats)
		if o.deliveries > 0 {
			day = append(day, makeDeliveries(o.seed, run, number, day, o.deliveries)...)
		}
		s.play(ctx, day, o.day)
		fmt.Fprintln(stdout, s.summary(time.Since(start)))
		if !o.repeat || ctx.Err() != nil {
			return s.refused, s.recordErr
		}
	}
}
