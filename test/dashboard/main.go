// Command dashboard makes examples/grafana/dashboard.json with the builders that Grafana publishes. It is here so that
// they are no dependency of the receiver.
//
//	go run ./dashboard
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", "..", "the checkout")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(root string) error {
	n, err := readNames(filepath.Join(root, "metadata.yaml"))
	if err != nil {
		return err
	}
	content, err := makeDashboard(n)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "examples", "grafana", "dashboard.json"), content, 0o600)
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
	decoder := json.NewDecoder(bytes.NewReader(marshalled))
	decoder.UseNumber()
	var plain any
	if err := decoder.Decode(&plain); err != nil {
		return nil, err
	}
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(plain)
	return content.Bytes(), err
}
