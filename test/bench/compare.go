package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	roundTime  = 700 * time.Millisecond
	warmUpTime = 200 * time.Millisecond
	fillTime   = 2 * time.Minute
	// Signing is slow, so each measurement gets only so many signed requests, the first of them to
	// warm up.
	signedPerRound, signedWarmUp = 3000, 1000
)

// figures are what is measured in a round. Times are in microseconds.
type figures struct {
	perSecond, p50, p99 float64
	cpu                 float64 // for each request
}

func perSecond(f figures) float64 { return f.perSecond }
func p50(f figures) float64       { return f.p50 }
func p99(f figures) float64       { return f.p99 }
func cpu(f figures) float64       { return f.cpu }

// comparison is all that takes part in it.
type comparison struct {
	*bench

	contestants []*contestant
}

// runComparison measures everything in turn, and begins each round with another one.
func (b *bench) runComparison(ctx context.Context) {
	p := b.startPeers()
	defer p.stop()
	c := &comparison{b, b.chosen()}
	defer func() {
		for _, one := range c.contestants {
			if one.server != nil {
				one.stop()
			}
		}
	}()
	c.start(ctx, p)
	for round := range c.rounds {
		for _, connections := range c.connections {
			for i := range c.contestants {
				c.contestants[(i+round)%len(c.contestants)].measure(connections)
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, c.rounds)
	}
	c.printFigures()
	wrong := c.printCounts()
	c.printBounds()
	fmt.Printf("\n%d rounds of %s.\n", c.rounds, roundTime)
	check(wrong...)
}

// start starts all processes, and fills the memory of those whose requests are not signed.
func (c *comparison) start(ctx context.Context, p *peers) {
	for _, one := range c.contestants {
		program := c.ours
		switch one.configs {
		case "":
			program = c.build(ctx, "floor")
		case "stock":
			program = c.build(ctx, "stock")
		}
		one.start(ctx, program, p, c.rounds*len(c.connections)*signedPerRound)
		if !one.signed {
			one.send(64, fillTime, limited(c.fill, one.next))
		}
		fmt.Fprintf(os.Stderr, "%s is ready\n", one.name)
	}
}

func (one *contestant) measure(connections int) {
	warmUp, measured := one.next, one.next
	if one.signed {
		warmUp, measured = limited(signedWarmUp, one.next), limited(signedPerRound-signedWarmUp, one.next)
	}
	one.send(connections, warmUpTime, warmUp)
	before := one.cpu()
	o := one.send(connections, roundTime, measured)
	one.figures[connections] = append(one.figures[connections], figures{
		perSecond: o.perSecond(), p50: o.percentile(0.50), p99: o.percentile(0.99),
		cpu: (one.cpu() - before) / float64(len(o.latencies)),
	})
}

// against returns the median over the rounds of how figures compare with another contestant's.
func (one *contestant) against(other *contestant, connections int, compare func(a, b figures) float64) float64 {
	var values []float64
	for round, f := range one.figures[connections] {
		values = append(values, compare(f, other.figures[connections][round]))
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

func ratio(figure func(figures) float64) func(a, b figures) float64 {
	return func(a, b figures) float64 { return figure(a) / figure(b) }
}

// named returns a contestant, or nil if it does not take part.
func (c *comparison) named(name string) *contestant {
	i := slices.IndexFunc(c.contestants, func(one *contestant) bool { return one.name == name })
	if i < 0 {
		return nil
	}
	return c.contestants[i]
}

// printFigures prints a table for each number of connections.
func (c *comparison) printFigures() {
	for _, connections := range c.connections {
		fmt.Printf("\n### %d connections\n\n", connections)
		fmt.Print("| | requests/s | p50 | p99 | CPU for each | of the floor's: requests/s | CPU | p99 |\n" +
			"|---|---:|---:|---:|---:|---:|---:|---:|\n")
		for _, one := range c.contestants {
			floor := c.named("floor")
			if one.signed {
				floor = c.named("floor-signed")
			}
			median := func(figure func(figures) float64) float64 {
				return one.against(one, connections, func(f, _ figures) float64 { return figure(f) })
			}
			against := func(figure func(figures) float64) float64 {
				return one.against(floor, connections, ratio(figure))
			}
			fmt.Printf("| %s | %.0f | %.0f µs | %.0f µs | %.1f µs | %.2f | %.2f | %.2f |\n", one.name,
				median(perSecond), median(p50), median(p99), median(cpu), against(perSecond), against(cpu), against(p99))
		}
	}
}

// printCounts prints what was answered and counted, and returns an error for each receiver that
// gave other responses than 200 or counted wrong. What the stock pipeline counts is only printed.
func (c *comparison) printCounts() (wrong []error) {
	fmt.Print("\n| | responses with 200 | others | counted | peak memory |\n|---|---:|---:|---:|---:|\n")
	for _, one := range c.contestants {
		accepted, others := one.statuses[http.StatusOK], -one.statuses[http.StatusOK]
		for _, n := range one.statuses {
			others += n
		}
		counted := "-"
		if one.configs != "" {
			counter := failuresCounter
			if one.deliveries {
				counter = deliveriesCounter
			}
			n := one.counted(counter, accepted)
			counted = strconv.Itoa(n)
			if one.name != "stock" && (n != accepted || others > 0) {
				wrong = append(wrong, fmt.Errorf("%s responded %v and counted %d", one.name, one.statuses, n))
			}
		}
		fmt.Printf("| %s | %d | %d | %s | %.0f MiB |\n", one.name, accepted, others, counted, one.status("VmHWM")/1024)
	}
	return wrong
}

// bound is what a comparison of two contestants must come to.
type bound struct {
	text        string
	one, other  string
	compare     func(a, b figures) float64
	least, most float64 // most 0: no limit
	connections []int   // none: all
}

var bounds = []bound{
	{"throughput, at least 0.82 of the floor's at 16 and 64", "ours", "floor", ratio(perSecond), 0.82, 0, []int{16, 64}},
	{"CPU for each request, at most 1.3 of the floor's at 16 and 64", "ours", "floor", ratio(cpu), 0, 1.3, []int{16, 64}},
	{"p99, at most 1.5 of the floor's", "ours", "floor", ratio(p99), 0, 1.5, nil},
	{"throughput, at least 3 times the stock pipeline's", "ours", "stock", ratio(perSecond), 3, 0, nil},
	{
		"CPU of signatures above the floor with bare RSA, at most 15 µs", "ours-signed", "floor-rsa",
		func(a, b figures) float64 { return a.cpu - b.cpu }, 0, 15, nil,
	},
	{"CPU for each delivery, at most 0.9 of a failure's", "ours-deliveries", "ours", ratio(cpu), 0, 0.9, nil},
	{"the same with signatures", "ours-deliveries-signed", "ours-signed", ratio(cpu), 0, 0.9, nil},
	{"throughput with storage, at least 0.5 of that in memory", "ours-storage", "ours", ratio(perSecond), 0.5, 0, nil},
	{"throughput with fsync, at least 0.5 of that in memory", "ours-fsync", "ours", ratio(perSecond), 0.5, 0, nil},
	{
		"throughput with store and queue on disk, at least 0.5 of that with the same exporter in memory at 64",
		"ours-durable", "ours-exporting", ratio(perSecond), 0.5, 0,
		[]int{64},
	},
	{"the same, at least 0.65 at 256", "ours-durable", "ours-exporting", ratio(perSecond), 0.65, 0, []int{256}},
	{"p99 the same way, at most 2 at 64", "ours-durable", "ours-exporting", ratio(p99), 0, 2, []int{64}},
}

// met returns "yes" or "**no**" by whether the values by connections are within the bound, or "-"
// if there are none that it is about.
func (b *bound) met(values map[int]float64) string {
	met := "-"
	for connections, value := range values {
		switch {
		case b.connections != nil && !slices.Contains(b.connections, connections):
		case value < b.least || b.most > 0 && value > b.most:
			return "**no**"
		default:
			met = "yes"
		}
	}
	return met
}

// printBounds prints the bounds between contestants that took part.
func (c *comparison) printBounds() {
	fmt.Print("\n| Bound |")
	for _, connections := range c.connections {
		fmt.Printf(" %d |", connections)
	}
	fmt.Printf(" met |\n|---|%s---|\n", strings.Repeat("---:|", len(c.connections)))
	for _, b := range bounds {
		one, other := c.named(b.one), c.named(b.other)
		if one == nil || other == nil {
			continue
		}
		fmt.Printf("| %s |", b.text)
		values := make(map[int]float64)
		for _, connections := range c.connections {
			values[connections] = one.against(other, connections, b.compare)
			fmt.Printf(" %.2f |", values[connections])
		}
		fmt.Printf(" %s |\n", b.met(values))
	}
}
