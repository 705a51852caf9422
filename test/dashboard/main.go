// Command dashboard makes examples/grafana/dashboard.json with the builders that Grafana publishes.
// It runs in the folder test: `go run ./dashboard`.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	n, err := readNames("../metadata.yaml")
	if err != nil {
		return err
	}
	content, err := makeDashboard(n)
	if err != nil {
		return err
	}
	return os.WriteFile("../examples/grafana/dashboard.json", content, 0o600)
}

// makeDashboard returns the dashboard as Grafana imports it.
func makeDashboard(n *names) ([]byte, error) {
	d, err := build(n)
	if err != nil {
		return nil, err
	}
	marshalled, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	// Again, so that keys are sorted and links are legible.
	var plain any
	if err := json.Unmarshal(marshalled, &plain); err != nil {
		return nil, err
	}
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(plain)
	return content.Bytes(), err
}
