// Command sender plays a day of failed deliveries, and of others if asked, against the URL of a collector, as Copernica and SMTPeter would report them: a
// day's rise and fall, mail that fails as it always does, and three incidents. At 9 a provider refuses a campaign for its sender's
// reputation, at 14 another provider is down, and at 20 a kind of failure comes up that was not seen before. The day is played in
// -day of real time.
//
//	go run ./examples/sender -url http://localhost:8550/failures -reports 5000 -day 15m
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
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
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, wallClock))
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

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
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
	flags.StringVar(&o.record, "record", "", "`file` for one line of JSON for each distinct report, once it is answered")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	err := o.validate(flags.Args())
	if err != nil {
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
		return fmt.Errorf("-reports %d: must be a number of at least 1", o.reports)
	case o.deliveries < 0:
		return fmt.Errorf("-deliveries %d: must be at least 0", o.deliveries)
	case o.day <= 0:
		return fmt.Errorf("-day %s: must be a duration greater than 0, such as 15m", o.day)
	case !(o.repeats >= 0 && o.repeats <= 1):
		return fmt.Errorf("-repeats %g: must be a share from 0 to 1", o.repeats)
	case o.connections < 1:
		return fmt.Errorf("-connections %d: must be a number of at least 1", o.connections)
	}
	return nil
}

// run returns the exit code: 0 when every report was accepted, 1 when one was not, 2 for flags that make no sense.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, clock clock) (code int) {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	if o.run == "" {
		o.run = randomRun()
	}
	var record io.Writer
	if o.record != "" {
		file, err := os.Create(o.record)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		defer func() {
			if err := file.Close(); err != nil {
				fmt.Fprintln(stderr, err)
				code = 1
			}
		}()
		record = file
	}

	s := newSender(o.url, o.connections, record, clock)
	if err := s.awaitServer(ctx); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	start := clock.now()
	for number := 1; ; number++ {
		day := makeDay(o.seed, o.run, number, o.reports, o.repeats)
		if o.deliveries > 0 {
			day = append(day, makeDeliveries(o.seed, o.run, number, day, o.deliveries)...)
		}
		s.play(ctx, day, o.day)
		fmt.Fprintln(stdout, s.summary(clock.now().Sub(start)))
		if !o.repeat || ctx.Err() != nil {
			break
		}
	}
	if s.recordErr != nil {
		fmt.Fprintln(stderr, s.recordErr)
		return 1
	}
	if s.refused > 0 {
		return 1
	}
	return 0
}

func randomRun() string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}
