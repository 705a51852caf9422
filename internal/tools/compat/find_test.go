package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

const (
	helper  = core + "receiver/receiverhelper"
	server  = core + "config/confighttp"
	storage = contrib + "extension/storage/filestorage"
)

const receiverMod = `module example.com/receiver

go 1.26.0

require (
	github.com/stretchr/testify v1.11.1
	` + storage + ` v0.3.1
	` + pdata + ` v1.3.0
	` + server + ` v0.3.0
	` + helper + ` v0.3.0
	` + core + `internal/indirect v0.3.0 // indirect
)
`

// fakeProxy has the collectors 0.3.0 and 0.4.0. In the second, confighttp has become stable.
type fakeProxy struct {
	listed map[string][]string
	// stable is the stable modules' version in a collector's go.mod.
	stable map[string]string
	// refused is what a module fails with where it is asked for.
	refused  map[string]error
	resolved []string
}

func newFakeProxy() *fakeProxy {
	p := &fakeProxy{
		listed:  map[string][]string{},
		stable:  map[string]string{"v0.3.0": "v1.3.0", "v0.4.0": "v1.4.0"},
		refused: map[string]error{},
	}
	for _, path := range append(slices.Clone(collectorModules), helper) {
		p.listed[path] = []string{"v0.3.0", "v0.4.0"}
	}
	for _, path := range []string{pdata, core + "confmap/provider/envprovider", core + "confmap/provider/fileprovider"} {
		p.listed[path] = []string{"v0.1.0", "v1.3.0", "v1.4.0"}
	}
	p.listed[server] = []string{"v0.2.0", "v0.3.0", "v1.4.0"}
	p.listed[storage] = []string{"v0.3.0", "v0.3.1", "v0.4.0", "v0.4.1", "v0.4.2-rc.1"}
	return p
}

// release lists a collector with all its modules.
func (p *fakeProxy) release(version, stable string) {
	p.stable[version] = stable
	for path, versions := range p.listed {
		if slices.Contains(versions, "v1.4.0") {
			p.listed[path] = append(versions, stable)
		} else {
			p.listed[path] = append(versions, version)
		}
	}
}

func (p *fakeProxy) versions(module string) ([]string, error) {
	if len(p.listed[module]) == 0 {
		return nil, fmt.Errorf("go: module %s: not found", module)
	}
	return slices.Clone(p.listed[module]), nil
}

func (p *fakeProxy) goMod(module, version string) (*modfile.File, error) {
	if err := p.refused[module+"@"+version]; err != nil {
		return nil, err
	}
	stable, ok := p.stable[version]
	if !ok {
		return nil, fmt.Errorf("go: %s@%s: invalid version: unknown revision %s", module, version, version)
	}
	content := "module " + module + "\n"
	if stable != "" {
		content += "require " + pdata + " " + stable + "\n"
	}
	return modfile.ParseLax("go.mod", []byte(content), nil)
}

func (p *fakeProxy) resolve(modules []string) error {
	p.resolved = modules
	for _, module := range modules {
		if err := p.refused[module]; err != nil {
			return err
		}
	}
	return nil
}

func TestFind(t *testing.T) {
	tests := map[string]struct {
		change func(p *fakeProxy)
		listed []string
		// newest is the one that is taken, and problems is what is said of the others.
		newest   string
		problems []string
		failure  string
	}{
		"a module that has become stable": {newest: "v0.4.0"},
		"the oldest is the newest": {
			change: func(p *fakeProxy) { p.listed[service] = []string{"v0.2.0", "v0.3.0"} },
			newest: "v0.3.0",
		},
		"a prerelease is not looked at": {
			change: func(p *fakeProxy) { p.release("v0.5.0-rc.1", "v1.5.0-rc.1") },
			newest: "v0.4.0",
		},
		"versions are not text": {
			change: func(p *fakeProxy) { p.release("v0.10.0", "v1.10.0") },
			newest: "v0.10.0",
		},
		"listed and not served": {
			change: func(p *fakeProxy) {
				p.release("v0.5.0", "v1.5.0")
				p.refused[helper+"@v0.5.0"] = errors.New("go: " + core + "other@v0.5.0: reading https://proxy/other.zip: 403 Forbidden\n\tnot available")
			},
			newest:   "v0.4.0",
			problems: []string{"Collector v0.5.0 could not be taken: the module proxy does not serve " + core + "other@v0.5.0."},
		},
		"needs a newer Go": {
			change: func(p *fakeProxy) {
				p.release("v0.5.0", "v1.5.0")
				p.refused[helper+"@v0.5.0"] = errors.New("go: " + helper + "@v0.5.0 requires go >= 1.99; switching is off")
			},
			newest:   "v0.4.0",
			problems: []string{"Collector v0.5.0 could not be taken: it needs Go 1.99."},
		},
		"contrib is not there yet": {
			change: func(p *fakeProxy) {
				contribs := p.listed[storage]
				p.release("v0.5.0", "v1.5.0")
				p.listed[storage] = contribs
			},
			newest:   "v0.4.0",
			problems: []string{"Collector v0.5.0 could not be taken: there is no " + storage + " that belongs to it yet."},
		},
		"made up": {
			listed:   []string{"v0.999.0"},
			newest:   "v0.4.0",
			problems: []string{"Collector v0.999.0 could not be taken, and nothing known explains it:", "it is not listed", "unknown revision v0.999.0"},
			failure:  "collector v0.999.0 is newer than v0.4.0 and was not tried",
		},
		"made up, and refused as if it were listed": {
			change: func(p *fakeProxy) {
				p.refused[service+"@v0.999.0"] = errors.New("go: " + service + "@v0.999.0: reading https://proxy/v0.999.0.zip: 403 Forbidden")
			},
			listed:   []string{"v0.999.0"},
			newest:   "v0.4.0",
			problems: []string{"it is not listed", "does not serve"},
			failure:  "collector v0.999.0 is newer than v0.4.0 and was not tried",
		},
		"a module that is gone": {
			change: func(p *fakeProxy) {
				p.release("v0.5.0", "v1.5.0")
				p.listed[server] = []string{"v0.3.0", "v1.4.0"}
			},
			newest:   "v0.4.0",
			problems: []string{server + " has neither a v0.5.0 nor a v1.5.0"},
			failure:  "collector v0.5.0 is newer than v0.4.0 and was not tried",
		},
		"no stable modules": {
			change:   func(p *fakeProxy) { p.release("v0.5.0", "") },
			newest:   "v0.4.0",
			problems: []string{"the version of the stable modules is not known"},
			failure:  "collector v0.5.0 is newer than v0.4.0 and was not tried",
		},
		"an error that nobody knows": {
			change: func(p *fakeProxy) {
				p.release("v0.5.0", "v1.5.0")
				p.refused[helper+"@v0.5.0"] = errors.New("something else")
			},
			newest:   "v0.4.0",
			problems: []string{"something else"},
			failure:  "collector v0.5.0 is newer than v0.4.0 and was not tried",
		},
		"none at all": {
			change: func(p *fakeProxy) {
				p.refused[helper+"@v0.4.0"] = errors.New("this")
				p.refused[helper+"@v0.3.0"] = errors.New("that")
			},
			problems: []string{"Collector v0.4.0", "Collector v0.3.0"},
			failure:  "no collector can be taken",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			receiver, err := modfile.Parse("go.mod", []byte(receiverMod), nil)
			if err != nil {
				t.Fatal(err)
			}
			p := newFakeProxy()
			if test.change != nil {
				test.change(p)
			}
			var out, problems bytes.Buffer
			err = report(p, receiver, test.listed, &out, &problems)
			if test.failure == "" && err != nil || test.failure != "" && (err == nil || !strings.Contains(err.Error(), test.failure)) {
				t.Errorf("it failed with %v, not %q", err, test.failure)
			}
			for _, want := range test.problems {
				if !strings.Contains(problems.String(), want) {
					t.Errorf("it does not say %q, but\n%s", want, &problems)
				}
			}
			if len(test.problems) == 0 && problems.Len() > 0 {
				t.Errorf("it says\n%s", &problems)
			}

			var versions []string
			for line := range strings.Lines(out.String()) {
				versions = append(versions, strings.Fields(line)[0])
			}
			want := slices.Compact(slices.DeleteFunc([]string{"v0.3.0", test.newest}, func(string) bool { return test.newest == "" }))
			if !slices.Equal(versions, want) {
				t.Errorf("it takes %v, not %v", versions, want)
			}
		})
	}
}

// TestModulesAt looks at which version each module is asked for at.
func TestModulesAt(t *testing.T) {
	receiver, err := modfile.Parse("go.mod", []byte(receiverMod), nil)
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string][]string{
		"v0.3.0": {helper + "@v0.3.0", server + "@v0.3.0", pdata + "@v1.3.0", storage + "@v0.3.1", service + "@v0.3.0"},
		"v0.4.0": {helper + "@v0.4.0", server + "@v1.4.0", pdata + "@v1.4.0", storage + "@v0.4.1", service + "@v0.4.0"},
	} {
		modules, err := modulesAt(newFakeProxy(), receiver, version)
		if err != nil {
			t.Fatal(err)
		}
		for _, module := range want {
			if !slices.Contains(modules, module) {
				t.Errorf("%s is made of %v, without %s", version, modules, module)
			}
		}
		for _, module := range modules {
			if strings.Contains(module, "testify") || strings.Contains(module, "indirect") {
				t.Errorf("%s asks for %s", version, module)
			}
		}
	}
}
