// Command compat finds the newest collector that the receiver can be built with. It prints the
// versions and modules to take, one collector a line, oldest first, and fails if a newer one could
// not be taken and nobody can say why.
//
//	compat [-listed VERSION,...] FOLDER
//
// FOLDER is a copy of the receiver's module, whose go.mod it changes.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
)

func main() {
	listed := flag.String("listed", "", "collectors to try beside those that the module proxy lists, separated by commas")
	flag.Parse()
	var versions []string
	if *listed != "" {
		versions = strings.Split(*listed, ",")
	}
	if err := run(flag.Arg(0), versions, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folder string, listed []string, out, problems io.Writer) error {
	path := filepath.Join(folder, "go.mod")
	content, err := os.ReadFile(path) //nolint:gosec // whoever runs it names the folder
	if err != nil {
		return err
	}
	receiver, err := modfile.Parse(path, content, nil)
	if err != nil {
		return err
	}
	return report(&goCommand{folder: folder, goModFile: content}, receiver, listed, out, problems)
}

// report prints the oldest and the newest collector with their modules to out, and what could not
// be taken to problems.
func report(p proxy, receiver *modfile.File, listed []string, out, problems io.Writer) error {
	candidates, err := find(p, receiver, listed...)
	var unexplained []string
	for _, one := range candidates {
		if one.refused == nil {
			continue
		}
		if errors.Is(one.refused, errExplained) {
			fmt.Fprintf(problems, "Collector %s %s.\n", one.version, one.refused)
			continue
		}
		fmt.Fprintf(problems, "Collector %s could not be taken, and nothing known explains it:\n%s\n", one.version, one.refused)
		unexplained = append(unexplained, one.version)
	}
	if err != nil {
		return err
	}

	newest := candidates[len(candidates)-1]
	if first := oldest(receiver); first != newest.version {
		modules, err := modulesAt(p, receiver, first)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, first, strings.Join(modules, " "))
	}
	fmt.Fprintln(out, newest.version, strings.Join(newest.modules, " "))
	if len(unexplained) > 0 {
		return fmt.Errorf("collector %s is newer than %s and was not tried", strings.Join(unexplained, ", "), newest.version)
	}
	return nil
}

// goCommand asks the proxies that the go command is set up with.
type goCommand struct {
	folder    string
	goModFile []byte
}

func (g *goCommand) versions(module string) ([]string, error) {
	output, err := g.run("list", "-m", "-versions", "-f", "{{join .Versions \" \"}}", module)
	return strings.Fields(string(output)), err
}

func (g *goCommand) goMod(module, version string) (*modfile.File, error) {
	output, err := g.run("mod", "download", "-json", module+"@"+version)
	if err != nil {
		// What went wrong is in the JSON.
		return nil, fmt.Errorf("%w\n%s", err, output)
	}
	var downloaded struct{ GoMod string }
	if err := json.Unmarshal(output, &downloaded); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(downloaded.GoMod)
	if err != nil {
		return nil, err
	}
	return modfile.ParseLax(downloaded.GoMod, content, nil)
}

func (g *goCommand) resolve(modules []string) error {
	if err := os.WriteFile(filepath.Join(g.folder, "go.mod"), g.goModFile, 0o600); err != nil {
		return err
	}
	if _, err := g.run(append([]string{"get"}, modules...)...); err != nil {
		return err
	}
	_, err := g.run("mod", "tidy")
	return err
}

func (g *goCommand) run(args ...string) ([]byte, error) {
	command := exec.Command("go", args...) //nolint:gosec // the versions in it come from whoever runs it, or the proxy
	command.Dir = g.folder
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		return output, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, problems.Bytes())
	}
	return output, nil
}
