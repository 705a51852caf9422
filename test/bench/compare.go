package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The contestants.
const (
	floor            = "floor"
	floorSigned      = "floor-signed"
	floorRSA         = "floor-rsa"
	ours             = "ours"
	oursSigned       = "ours-signed"
	oursStorage      = "ours-storage"
	oursFsync        = "ours-fsync"
	exporting        = "ours-exporting"
	durable          = "ours-durable"
	deliveries       = "ours-deliveries"
	signedDeliveries = "ours-deliveries-signed"
	stock            = "stock"
)

var titles = map[string]string{
	floor:            "floor",
	floorSigned:      "floor, signed calls",
	floorRSA:         "floor, signed calls, and bare RSA",
	ours:             "ours",
	oursSigned:       "ours, signatures checked",
	oursStorage:      "ours, storage",
	oursFsync:        "ours, storage with fsync",
	exporting:        "ours, with an exporter",
	durable:          "ours, storage and the exporter's queue on disk with fsync",
	deliveries:       "ours, deliveries",
	signedDeliveries: "ours, deliveries, signatures checked",
	stock:            "stock",
}

// The parts of a run that are not measured.
const (
	warmUp          = 200 * time.Millisecond
	verifyTime      = 200 * time.Millisecond
	fillConnections = 64
	fillTime        = 2 * time.Minute
	// Signing takes longer than all the rest, so of signed calls there are only so many for each measurement, some of them to warm up.
	signedSlice  = 3000
	signedWarmUp = 1000
	quickSigned  = 500
)

// contestant is one of the processes that are compared.
type contestant struct {
	name   string
	server *server
	// requests is what it is sent.
	requests requests
	// pool is what requests is taken from, where calls are signed. It is shared.
	pool *signed
	// counts reports whether it counts.
	counts bool
	// counter is the one in which what it is sent is counted.
	counter string

	statuses   map[int]int
	reconnects int
	// figures are what was measured, by the number of connections and round.
	figures map[int][]figures
}

type figures struct {
	perSecond float64
	p50, p99  time.Duration
	cpu       time.Duration // for each request
}

// contest is a comparison.
type contest struct {
	*options
	contestants []*contestant
	verify      []time.Duration
	key         *rsa.PrivateKey
	calls       [][]byte // that are signed
	resolver    string
	sink        string
	temporary   string
}

func (o *options) runComparison(ctx context.Context) (err error) {
	c := &contest{options: o}
	if c.temporary, err = os.MkdirTemp(o.directory, "storage"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.temporary)) }()
	if c.key, err = rsa.GenerateKey(rand.Reader, keyBits); err != nil {
		return err
	}
	resolver, stopResolver, err := serveKey(&c.key.PublicKey)
	if err != nil {
		return err
	}
	defer stopResolver()
	c.resolver = resolver
	sink, stopSink, err := startSink()
	if err != nil {
		return err
	}
	c.sink = sink
	defer func() {
		err = errors.Join(err, stopSink())
	}()
	defer func() {
		for _, one := range c.contestants {
			err = errors.Join(err, one.server.stop())
		}
	}()
	if err := c.startAll(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := c.measureAll(ctx); err != nil {
		return err
	}
	wrong, err := c.print(time.Since(began))
	if err != nil {
		return err
	}
	return wrong
}

// startAll starts everything, and sends what is to be remembered before the measuring begins.
func (c *contest) startAll(ctx context.Context) error {
	programs := map[string]string{floor: filepath.Join(c.directory, "floor"), stock: filepath.Join(c.directory, "stock")}
	for name, program := range programs {
		if err := build(ctx, filepath.Join(c.root, "test", "bench", name), program); err != nil {
			return err
		}
	}
	for _, plan := range []struct {
		name        string
		configs     []string
		environment []string
	}{
		{floor, nil, nil},
		{floorSigned, nil, nil},
		{floorRSA, nil, []string{"BENCH_RSA=" + strconv.Itoa(keyBits)}},
		{ours, []string{"ours"}, nil},
		{oursSigned, []string{"ours", "signature"}, []string{"BENCH_RESOLVER=" + c.resolver}},
		{oursStorage, []string{"ours", "storage"}, []string{"BENCH_STORAGE=" + c.temporary + "/plain"}},
		{oursFsync, []string{"ours", "storage"}, []string{"BENCH_STORAGE=" + c.temporary + "/fsync", "BENCH_FSYNC=true"}},
		{exporting, []string{"ours", "exporting"}, []string{"BENCH_BACKEND=" + c.sink}},
		{
			durable,
			[]string{"ours", "exporting", "storage", "durable"},
			[]string{"BENCH_BACKEND=" + c.sink, "BENCH_STORAGE=" + c.temporary + "/durable", "BENCH_FSYNC=true"},
		},
		{deliveries, []string{"ours", "deliveries"}, nil},
		{signedDeliveries, []string{"ours", "deliveries", "signature"}, []string{"BENCH_RESOLVER=" + c.resolver}},
		{stock, []string{"stock"}, nil},
	} {
		// What is sent signed calls takes part together: one is the measure of the other.
		isSigned := plan.name == floorSigned || plan.name == floorRSA || plan.name == oursSigned
		if !c.wanted(plan.name) && plan.name != floor && (!isSigned || !c.wanted(oursSigned)) {
			continue
		}
		bodies, counter := typicalBodies(), failuresCounter
		if plan.name == deliveries || plan.name == signedDeliveries {
			bodies, counter = deliveredBodies(), deliveriesCounter
		}
		one := &contestant{
			name: plan.name, requests: newRequests(bodies), counts: plan.configs != nil, counter: counter,
			statuses: make(map[int]int), figures: make(map[int][]figures),
		}
		program, arguments := c.ours, c.config(plan.configs...)
		switch plan.name {
		case floor, floorSigned, floorRSA:
			program, arguments = programs[floor], nil
		case stock:
			program = programs[stock]
		}
		for _, environment := range plan.environment {
			if directory, ok := strings.CutPrefix(environment, "BENCH_STORAGE="); ok {
				if err := os.Mkdir(directory, 0o700); err != nil {
					return err
				}
			}
		}
		var err error
		if one.server, err = start(ctx, plan.name, program, plan.environment, arguments...); err != nil {
			return err
		}
		c.contestants = append(c.contestants, one)
		if plan.name == signedDeliveries {
			calls, err := sign(ctx, c.key, bodies, c.rounds*len(c.connections)*c.signedSlice())
			if err != nil {
				return err
			}
			one.pool = &signed{calls}
			continue
		}
		if isSigned {
			if c.calls == nil {
				n := c.rounds * len(c.connections) * c.signedSlice()
				fmt.Fprintf(os.Stderr, "signing %d calls\n", n)
				if c.calls, err = sign(ctx, c.key, bodies, n); err != nil {
					return err
				}
			}
			one.pool = &signed{c.calls}
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: sending %d reports\n", plan.name, c.fill)
		filling := &load{address: one.server.address, connections: fillConnections, requests: &limited{one.requests, c.fill}}
		filled, err := filling.run(fillTime)
		if err != nil {
			return fmt.Errorf("%s: %w", plan.name, err)
		}
		one.add(filled)
	}
	return nil
}

// signedSlice is the number of signed calls for each number of connections in each round.
func (c *contest) signedSlice() int {
	if c.quick {
		return quickSigned
	}
	return signedSlice
}

// limited is requests of which only so many are sent.
type limited struct {
	requests
	left int
}

func (l *limited) next() []byte {
	if l.left == 0 {
		return nil
	}
	l.left--
	return l.requests.next()
}

func (c *contestant) add(o *outcome) {
	for status, n := range o.statuses {
		c.statuses[status] += n
	}
	c.reconnects += o.reconnects
}

// measureAll measures everything in turn, and begins each time with another one.
func (c *contest) measureAll(ctx context.Context) error {
	for round := range c.rounds {
		for _, connections := range c.connections {
			for i := range c.contestants {
				one := c.contestants[(i+round)%len(c.contestants)]
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := one.measure(c, connections); err != nil {
					return fmt.Errorf("%s: %w", one.name, err)
				}
			}
		}
		took, err := measureVerify(c.key, verifyTime)
		if err != nil {
			return err
		}
		c.verify = append(c.verify, took)
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, c.rounds)
	}
	return nil
}

// measure is one turn of a contestant.
func (c *contestant) measure(contest *contest, connections int) error {
	warmingUp := c.requests
	if c.pool != nil {
		slice := c.pool.take(contest.signedSlice())
		warmingUp, c.requests = slice.take(len(slice.calls)*signedWarmUp/signedSlice), slice
	}
	o, err := (&load{address: c.server.address, connections: connections, requests: warmingUp}).run(warmUp)
	if err != nil {
		return err
	}
	c.add(o)
	before, err := c.server.cpu()
	if err != nil {
		return err
	}
	o, err = (&load{address: c.server.address, connections: connections, requests: c.requests}).run(contest.duration)
	if err != nil {
		return err
	}
	after, err := c.server.cpu()
	if err != nil {
		return err
	}
	c.add(o)
	if o.answers() == 0 {
		return errors.New("nothing was answered")
	}
	c.figures[connections] = append(c.figures[connections], figures{
		perSecond: o.perSecond(), p50: o.percentile(0.50), p99: o.percentile(0.99), cpu: (after - before) / time.Duration(o.answers()),
	})
	return nil
}

// median returns the middle of the figures.
func median[T ~int64 | ~float64](all []T) T {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// of returns the median of a figure.
func (c *contestant) of(connections int, figure func(figures) float64) float64 {
	var all []float64
	for _, one := range c.figures[connections] {
		all = append(all, figure(one))
	}
	return median(all)
}

// against returns the median of the ratios of a figure to another contestant's, round by round.
func (c *contestant) against(other *contestant, connections int, figure func(figures) float64) float64 {
	var all []float64
	for round, one := range c.figures[connections] {
		all = append(all, figure(one)/figure(other.figures[connections][round]))
	}
	return median(all)
}

func perSecond(f figures) float64 { return f.perSecond }
func p50(f figures) float64       { return float64(f.p50) }
func p99(f figures) float64       { return float64(f.p99) }
func cpu(f figures) float64       { return float64(f.cpu) }

// named returns a contestant, or nil when it does not take part.
func (c *contest) named(name string) *contestant {
	for _, one := range c.contestants {
		if one.name == name {
			return one
		}
	}
	return nil
}

// print writes the tables. The first of the errors says which counts are wrong; what the stock pipeline counts is only told.
func (c *contest) print(took time.Duration) (wrong, err error) {
	for _, connections := range c.connections {
		fmt.Printf("\n%d connection%s:\n\n", connections, map[bool]string{false: "s"}[connections == 1])
		fmt.Println("| | requests/s | p50 | p99 | CPU seconds per 1000 requests | requests/s, of the floor's | CPU, of the floor's | p99, of the floor's |")
		fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|")
		for _, one := range c.contestants {
			base := c.baseOf(one)
			fmt.Printf("| %s | %.0f | %s | %s | %.4f | %.2f | %.2f | %.2f |\n", titles[one.name], one.of(connections, perSecond),
				microseconds(one.of(connections, p50)), microseconds(one.of(connections, p99)), one.of(connections, cpu)/float64(time.Millisecond),
				one.against(base, connections, perSecond), one.against(base, connections, cpu), one.against(base, connections, p99))
		}
	}

	fmt.Print("\n| | answers with 200 | other answers | counted | peak memory |\n|---|---:|---:|---:|---:|\n")
	for _, one := range c.contestants {
		accepted, other := one.statuses[http.StatusOK], 0
		for _, status := range slices.Sorted(maps.Keys(one.statuses)) {
			if status != http.StatusOK {
				other += one.statuses[status]
			}
		}
		peak, err := one.server.memory("VmHWM")
		if err != nil {
			return nil, err
		}
		counted := "-"
		if one.counts {
			n, err := one.server.counted(one.counter, accepted)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", one.name, err)
			}
			counted = strconv.Itoa(n)
			if n != accepted && one.name != stock {
				wrong = errors.Join(wrong, fmt.Errorf("%s answered %d reports with 200 and counted %d", one.name, accepted, n))
			}
		}
		if other+one.reconnects > 0 && one.name != stock {
			wrong = errors.Join(wrong, fmt.Errorf("%s gave other answers: %v, and closed %d connections", one.name, one.statuses, one.reconnects))
		}
		fmt.Printf("| %s | %d | %d | %s | %.0f MiB |\n", titles[one.name], accepted, other, counted, peak/(1<<20))
	}
	c.printBounds()
	fmt.Printf("\n%d rounds of %s in %s.\n", c.rounds, c.duration, took.Round(time.Second))
	return wrong, nil
}

// baseOf is the floor that is sent the same.
func (c *contest) baseOf(one *contestant) *contestant {
	if one.pool != nil {
		return c.named(floorSigned)
	}
	return c.named(floor)
}

func microseconds(nanoseconds float64) string {
	return fmt.Sprintf("%.0f µs", nanoseconds/1000)
}

// printBounds writes what has to be reached, and what was.
func (c *contest) printBounds() {
	verify := median(c.verify)
	fmt.Printf("\nTo verify a signature of %d bits in a loop, while nothing else runs, takes %s of CPU.\n", keyBits, microseconds(float64(verify)))
	fmt.Print("\n| Bound |")
	for _, connections := range c.connections {
		fmt.Printf(" %d |", connections)
	}
	fmt.Printf(" met |\n|---|%s---|\n", strings.Repeat("---:|", len(c.connections)))

	bound := func(text string, one, other *contestant, met func(float64) bool, format string, value func(connections int) float64) {
		if one == nil || other == nil {
			return
		}
		fmt.Printf("| %s |", text)
		all := true
		for _, connections := range c.connections {
			v := value(connections)
			all = all && met(v)
			fmt.Printf(" "+format+" |", v)
		}
		fmt.Printf(" %s |\n", map[bool]string{true: "yes", false: "**no**"}[all])
	}
	atLeast := func(limit float64) func(float64) bool { return func(v float64) bool { return v >= limit } }
	atMost := func(limit float64) func(float64) bool { return func(v float64) bool { return v <= limit } }
	ratio := func(one, other *contestant, figure func(figures) float64) func(int) float64 {
		return func(connections int) float64 { return one.against(other, connections, figure) }
	}

	f, fr, o, os, s := c.named(floor), c.named(floorRSA), c.named(ours), c.named(oursSigned), c.named(stock)
	bound("throughput, at least 0.80 of the floor's", o, f, atLeast(0.80), "%.2f", ratio(o, f, perSecond))
	bound("throughput, at least 3 times the stock pipeline's", o, s, atLeast(3), "%.2f", ratio(o, s, perSecond))
	bound("CPU for each request, at most 1.25 of the floor's", o, f, atMost(1.25), "%.2f", ratio(o, f, cpu))
	bound("p99, at most 1.5 of the floor's", o, f, atMost(1.5), "%.2f", ratio(o, f, p99))
	bound("with signatures, CPU left after the floor and bare RSA, at most 15 µs", os, fr, atMost(15), "%.1f µs", func(connections int) float64 {
		var left []float64
		for round, one := range os.figures[connections] {
			left = append(left, float64((one.cpu-fr.figures[connections][round].cpu).Nanoseconds())/1000)
		}
		return median(left)
	})
	delivered, signedDelivered := c.named(deliveries), c.named(signedDeliveries)
	bound("CPU for each delivery, at most 0.9 of a failure's", delivered, o, atMost(0.9), "%.2f", ratio(delivered, o, cpu))
	bound("the same with signatures", signedDelivered, os, atMost(0.9), "%.2f", ratio(signedDelivered, os, cpu))
	e, d := c.named(exporting), c.named(durable)
	bound("throughput with store and queue on disk, of that with the same exporter in memory: at least 0.50 at 64, 0.65 at 256", d, e,
		atLeast(0), "%.2f", ratio(d, e, perSecond))
	bound("p99 the same way, at most 2 at 64", d, e, atLeast(0), "%.2f", ratio(d, e, p99))
	for _, stored := range []*contestant{c.named(oursStorage), c.named(oursFsync)} {
		if stored != nil {
			bound("throughput with storage"+strings.TrimPrefix(titles[stored.name], "ours, storage")+", at least 0.50 of that in memory", stored, o, atLeast(0.50), "%.2f", ratio(stored, o, perSecond))
		}
	}
}
