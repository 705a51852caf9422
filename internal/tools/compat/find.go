package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

const (
	core    = "go.opentelemetry.io/collector/"
	contrib = "github.com/open-telemetry/opentelemetry-collector-contrib/"
	// service is in every collector and goes by the version that people know the collector by;
	// pdata is among its stable modules.
	service = core + "service"
	pdata   = core + "pdata"
)

// collectorModules are those of the collector that is sent a report, beside what the receiver
// needs.
var collectorModules = []string{
	service, core + "otelcol", core + "exporter/debugexporter", core + "confmap/provider/envprovider",
	core + "confmap/provider/fileprovider",
}

// proxy is where modules come from.
type proxy interface {
	// versions returns all that are listed of a module.
	versions(module string) ([]string, error)
	// goMod returns the go.mod of one version of a module.
	goMod(module, version string) (*modfile.File, error)
	// resolve has the receiver ask for the modules, each as PATH@VERSION, and downloads all that it
	// needs with them.
	resolve(modules []string) error
}

// candidate is a collector, and why it could not be taken.
type candidate struct {
	version string
	// modules is what the receiver and a collector around it ask for, each as PATH@VERSION.
	modules []string
	refused error
}

// errExplained is what a collector could not be taken for, where the reason lies outside of this
// repository.
var errExplained = errors.New("could not be taken")

// find returns the newest collector that can be taken, after all the newer ones that cannot. Listed
// are versions to try beside those that the proxy lists.
func find(p proxy, receiver *modfile.File, listed ...string) ([]candidate, error) {
	versions, err := p.versions(service)
	if err != nil {
		return nil, err
	}
	all := append(slices.Clone(versions), listed...)
	semver.Sort(all)
	slices.Reverse(all)

	var candidates []candidate
	for _, version := range slices.Compact(all) {
		if semver.Prerelease(version) != "" {
			continue
		}
		modules, err := modulesAt(p, receiver, version)
		if err == nil {
			err = explain(p.resolve(modules))
		}
		if err != nil && !slices.Contains(versions, version) {
			err = fmt.Errorf("it is not listed: %v", err) //nolint:errorlint // whatever else explains it does not
		}
		candidates = append(candidates, candidate{version: version, modules: modules, refused: err})
		if err == nil {
			return candidates, nil
		}
		if version == oldest(receiver) {
			break
		}
	}
	return candidates, errors.New("no collector can be taken, not even the oldest that is supported")
}

// oldest returns the oldest collector that is supported: the one that the receiver's go.mod asks
// for.
func oldest(receiver *modfile.File) string {
	var version string
	for _, required := range receiver.Require {
		// Stable modules go by numbers of their own.
		if strings.HasPrefix(required.Mod.Path, core) && semver.Major(required.Mod.Version) == "v0" &&
			semver.Compare(required.Mod.Version, version) > 0 {
			version = required.Mod.Version
		}
	}
	return version
}

// modulesAt returns what the receiver's go.mod asks for of the collector, and what a collector
// around it is made of, with the versions that belong to the collector's. A module may have become
// stable since the version in go.mod.
func modulesAt(p proxy, receiver *modfile.File, version string) ([]string, error) {
	of, err := p.goMod(service, version)
	if err != nil {
		return nil, explain(err)
	}
	var stable string
	for _, required := range of.Require {
		if required.Mod.Path == pdata {
			stable = required.Mod.Version
		}
	}
	if stable == "" {
		return nil, fmt.Errorf("%s@%s does not ask for %s, so the version of the stable modules is not known", service, version, pdata)
	}

	wanted := slices.Clone(collectorModules)
	for _, required := range receiver.Require {
		path := required.Mod.Path
		if !required.Indirect && (strings.HasPrefix(path, core) || strings.HasPrefix(path, contrib)) && !slices.Contains(wanted, path) {
			wanted = append(wanted, path)
		}
	}
	var modules []string
	for _, path := range wanted {
		versions, err := p.versions(path)
		if err != nil {
			return nil, explain(err)
		}
		var chosen string
		switch {
		case strings.HasPrefix(path, contrib):
			chosen = newestOf(versions, semver.MajorMinor(version))
			if chosen == "" {
				return nil, fmt.Errorf("%w: there is no %s that belongs to it yet", errExplained, path)
			}
		case slices.Contains(versions, stable):
			chosen = stable
		case slices.Contains(versions, version):
			chosen = version
		default:
			return nil, fmt.Errorf("%s has neither a %s nor a %s", path, version, stable)
		}
		modules = append(modules, path+"@"+chosen)
	}
	return modules, nil
}

// newestOf returns the newest release of a minor version.
func newestOf(versions []string, minor string) string {
	newest := ""
	for _, version := range versions {
		if semver.MajorMinor(version) == minor && semver.Prerelease(version) == "" && semver.Compare(version, newest) > 0 {
			newest = version
		}
	}
	return newest
}

var (
	notServed = regexp.MustCompile(`([^\s"]+@v[^\s":]+): reading \S+: (?:403 Forbidden|410 Gone)`)
	needsGo   = regexp.MustCompile(`requires go >= (\S+)`)
)

// explain recognises why the go command could not take a module: that the proxy lists it but does
// not hand it out, or that it needs a newer Go.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if found := notServed.FindStringSubmatch(err.Error()); found != nil {
		return fmt.Errorf("%w: the module proxy does not serve %s", errExplained, found[1])
	}
	if found := needsGo.FindStringSubmatch(err.Error()); found != nil {
		return fmt.Errorf("%w: it needs Go %s", errExplained, strings.TrimRight(found[1], ";,"))
	}
	return err
}
