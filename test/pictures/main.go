// Command pictures renders what the dashboard in examples/grafana shows as the PNG files in docs/images. Grafana has no part in it: the
// command plays a day of failures against the distribution, a Prometheus and a Loki, asks these two what the panels of dashboard.json
// ask, and draws the answers.
//
//	go run .
//
// It needs `make build` and the servers of `make e2e`, and takes as long as -day says and a minute more.
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
	root := flag.String("root", "../..", "the checkout")
	day := flag.Duration("day", 8*time.Minute, "time in which the day is played")
	reports := flag.Int("reports", 8000, "distinct reports in the day")
	flag.Parse()
	err := run(ctx, *root, *day, *reports)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, length time.Duration, reports int) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	board, err := readDashboard(filepath.Join(root, "examples", "grafana", "dashboard.json"))
	if err != nil {
		return err
	}
	played, err := play(ctx, root, length, reports)
	if err != nil {
		return err
	}
	defer played.stop()

	data := &source{board: board, day: played}
	for name, draw := range map[string]func(*source) (*page, error){"dashboard.png": overview, "records.png": records} {
		picture, err := draw(data)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := picture.save(filepath.Join(root, "docs", "images", name)); err != nil {
			return err
		}
	}
	return nil
}
