package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	soakConnections = 64
	// soakFill is what is sent first: more than is remembered, and of more tags than are counted apart.
	soakFill = 300_000
	peakTime = 10 * time.Second
	// soakGrowth is how much more there may be of anything in the last quarter than in the first, as a share. Of little, that is less than what
	// comes and goes: soakHandful goroutines, files or threads, and the soakSwing of the memory.
	soakGrowth  = 0.05
	soakHandful = 3
	soakSwing   = 8 << 20
)

// sample is what a process has at a moment.
type sample struct {
	at                         time.Duration
	memory                     held
	goroutines, files, threads float64
}

// runSoak sends half of what the receiver can take, for a long time, and looks whether anything grows.
func (o *options) runSoak(ctx context.Context) (err error) {
	// Only a collector that serves its profiles tells how many goroutines it has.
	program, err := o.profiled(ctx)
	if err != nil {
		return err
	}
	s, err := start(ctx, ours, program, nil, o.config("ours", "profiling")...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	sending := newHostile(o.distinct)
	if _, err := s.take(sending, soakFill); err != nil {
		return err
	}
	sent := soakFill
	peak, err := (&load{address: s.address, connections: soakConnections, requests: sending}).run(peakTime)
	if err != nil {
		return err
	}
	sent += peak.answers()
	rate := peak.perSecond() / 2
	fmt.Printf("It takes %.0f reports/s over %d connections at most. Half of that for %s:\n\n", peak.perSecond(), soakConnections, o.soak)

	type result struct {
		got *outcome
		err error
	}
	done := make(chan result, 1)
	go func() {
		got, err := (&load{address: s.address, connections: soakConnections, requests: sending, rate: rate}).run(o.soak)
		done <- result{got, err}
	}()
	samples, err := s.sample(ctx, o.sample, o.soak)
	if err != nil {
		return err
	}
	r := <-done
	if r.err != nil {
		return r.err
	}
	sent += r.got.answers()
	grew := printSoak(samples)
	counted, err := s.counted(failuresCounter, sent)
	if err != nil {
		return err
	}
	fmt.Printf("\n%.0f reports/s were answered: %v, p50 %s, p99 %s. Sent in all: %d, counted: %d.\n", r.got.perSecond(), r.got.statuses,
		microseconds(float64(r.got.percentile(0.50))), microseconds(float64(r.got.percentile(0.99))), sent, counted)
	if counted != sent {
		return errors.New("the counter is wrong")
	}
	return grew
}

// sample looks at the process again and again.
func (s *server) sample(ctx context.Context, every, duration time.Duration) ([]sample, error) {
	var samples []sample
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	began := time.Now()
	for time.Since(began) < duration-every/2 {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.exited:
			return nil, fmt.Errorf("%s exited:\n%s", s.name, s.output)
		case <-ticker.C:
		}
		m, err := s.look()
		if err != nil {
			return nil, err
		}
		if m.live, err = s.liveHeap(); err != nil {
			return nil, err
		}
		goroutines, err := s.goroutines()
		if err != nil {
			return nil, err
		}
		files, err := s.files()
		if err != nil {
			return nil, err
		}
		threads, err := s.status("Threads")
		if err != nil {
			return nil, err
		}
		samples = append(samples, sample{time.Since(began), m, float64(goroutines), float64(files), threads})
	}
	return samples, nil
}

// printSoak compares the last quarter with the first, and returns what grew.
func printSoak(samples []sample) (grew error) {
	if len(samples) < 4 {
		return errors.New("too few samples: soak for longer or look more often")
	}
	fmt.Println("| | first quarter | last quarter | least | most | slope |")
	fmt.Println("|---|---:|---:|---:|---:|---:|")
	quarter := len(samples) / 4
	for _, row := range []struct {
		name    string
		unit    float64
		slack   float64
		of      func(sample) float64
		decides bool
	}{
		{"memory held, MiB", mebibyte, soakSwing, func(s sample) float64 { return s.memory.held }, true},
		// With garbage it swings, between one collection and the next.
		{"Go heap, MiB", mebibyte, 0, func(s sample) float64 { return s.memory.heap }, false},
		{"live heap, MiB", mebibyte, liveSlack, func(s sample) float64 { return s.memory.live }, true},
		{"goroutines", 1, soakHandful, func(s sample) float64 { return s.goroutines }, true},
		{"open files", 1, soakHandful, func(s sample) float64 { return s.files }, true},
		{"threads", 1, soakHandful, func(s sample) float64 { return s.threads }, true},
	} {
		var all []float64
		least, most := row.of(samples[0]), row.of(samples[0])
		for _, one := range samples {
			v := row.of(one)
			all = append(all, v)
			least, most = min(least, v), max(most, v)
		}
		first, last := mean(all[:quarter]), mean(all[len(all)-quarter:])
		fmt.Printf("| %s | %.1f | %.1f | %.1f | %.1f | %+.2f an hour |\n", row.name, first/row.unit, last/row.unit, least/row.unit, most/row.unit,
			slope(samples, row.of)/row.unit)
		if row.decides && last > first*(1+soakGrowth)+row.slack {
			grew = errors.Join(grew, fmt.Errorf("%s grew from %.1f to %.1f", row.name, first/row.unit, last/row.unit))
		}
	}
	if grew == nil {
		fmt.Printf("\nFlat: nothing grew by more than %.0f %% (memory held: and %d MiB; live heap: and %d MiB; the others: and %d) from the first quarter to the last, over %d samples.\n", soakGrowth*100, soakSwing/mebibyte, liveSlack/mebibyte, soakHandful, len(samples))
	}
	return grew
}

func mean(all []float64) float64 {
	total := 0.0
	for _, one := range all {
		total += one
	}
	return total / float64(len(all))
}

// slope is that of the line which fits the samples best, for each hour.
func slope(samples []sample, of func(sample) float64) float64 {
	var hours, values []float64
	for _, one := range samples {
		hours, values = append(hours, one.at.Hours()), append(values, of(one))
	}
	meanHours, meanValue := mean(hours), mean(values)
	covariance, variance := 0.0, 0.0
	for i := range hours {
		covariance += (hours[i] - meanHours) * (values[i] - meanValue)
		variance += (hours[i] - meanHours) * (hours[i] - meanHours)
	}
	return covariance / variance
}
