// Command pictures draws docs/images/dashboard.png: what panels of the dashboard in
// examples/grafana show of a day of failures. It plays the day against the distribution, a
// Prometheus and a Loki, and draws what these answer to the panels' queries, without Grafana.
//
//	go run .
//
// It needs `make build` and the servers of `make e2e`, and takes a minute more than the day.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	length := flag.Duration("day", 8*time.Minute, "time in which the day is played")
	reports := flag.Int("reports", 8000, "distinct reports in the day")
	flag.Parse()
	err := run(ctx, *length, *reports)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, length time.Duration, reports int) error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	d := &day{length: length}
	if d.board, err = readDashboard(filepath.Join(root, "examples", "grafana", "dashboard.json")); err != nil {
		return err
	}
	defer d.stop()
	if err := d.play(ctx, root, reports); err != nil {
		return err
	}
	return d.draw(filepath.Join(root, "docs", "images", "dashboard.png"))
}
