package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// platforms are those that are released. What is linked differs between operating systems.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}

// allowed are the licences under which a dependency may be: they ask for a notice at most, or for changes to the file itself.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// used says who needs a module, the narrowest circle first.
type used int

const (
	byReceiver used = iota
	byDistribution
	byTests
)

func (u used) String() string {
	return [...]string{"the receiver", "the distribution", "tests"}[u]
}

// module is a dependency.
type module struct {
	path, folder string
	used         used
	// packages are the folders of those of its packages that are used.
	packages map[string]bool
}

// modulesOf returns the modules of which packages go into the receiver, the distribution or, with tests, the tests of the root module.
func modulesOf(repository string, tests bool) ([]*module, error) {
	all := make(map[string]*module)
	for _, platform := range platforms {
		if err := addModules(all, repository, platform, byReceiver, "./receiver/..."); err != nil {
			return nil, err
		}
		if err := addModules(all, filepath.Join(repository, "build"), platform, byDistribution, "."); err != nil {
			return nil, err
		}
	}
	if tests {
		if err := addModules(all, repository, platforms[0], byTests, "-test", "./..."); err != nil {
			return nil, err
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b *module) int { return cmp.Compare(a.path, b.path) }), nil
}

func addModules(all map[string]*module, folder, platform string, by used, args ...string) error {
	system, architecture, _ := strings.Cut(platform, "/")
	const format = "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}"
	command := exec.Command("go", append([]string{"list", "-deps", "-f", format}, args...)...)
	command.Dir = folder
	command.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+architecture, "CGO_ENABLED=0", "GOWORK=off")
	output, err := outputOf(command)
	if err != nil {
		return err
	}
	for line := range strings.Lines(output) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 {
			continue
		}
		// The distribution has the root module from the checkout, which brings its own LICENSE.
		if strings.HasPrefix(fields[0], "github.com/smtpfailure/") {
			continue
		}
		if all[fields[0]] == nil {
			all[fields[0]] = &module{path: fields[0], folder: fields[1], used: by, packages: make(map[string]bool)}
		}
		all[fields[0]].used = min(all[fields[0]].used, by)
		all[fields[0]].packages[fields[2]] = true
	}
	return nil
}

func outputOf(command *exec.Cmd) (string, error) {
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s, in %s: %w\n%s", command, command.Dir, err, problems.String())
	}
	return string(output), nil
}

// moduleFolders returns where the modules are, by their paths.
func moduleFolders(folder string, paths []string) (map[string]string, error) {
	command := exec.Command("go", append([]string{"list", "-m", "-f", "{{.Path}}\t{{.Dir}}"}, paths...)...)
	command.Dir = folder
	command.Env = append(os.Environ(), "GOWORK=off")
	output, err := outputOf(command)
	if err != nil {
		return nil, err
	}
	folders := make(map[string]string)
	for line := range strings.Lines(output) {
		path, where, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if where == "" {
			return nil, fmt.Errorf("%s is not in the module cache", path)
		}
		folders[path] = where
	}
	return folders, nil
}

var (
	licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicen[cs]e)([-_.].*)?$`)
	noticeFile  = regexp.MustCompile(`(?i)^(notice|copyright|patents)([-_.].*)?$`)
	sourceFile  = regexp.MustCompile(`(?i)\.(go|s|c|h|py|sh|tmpl)$`)
)

// filesIn returns the files of a folder whose name matches.
func filesIn(folder string, name *regexp.Regexp) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if !entry.IsDir() && name.MatchString(entry.Name()) && !sourceFile.MatchString(entry.Name()) {
			files = append(files, filepath.Join(folder, entry.Name()))
		}
	}
	return files, nil
}

// files returns the files that match in the module's root, its used packages and the folders between.
func (m *module) files(name *regexp.Regexp) ([]string, error) {
	folders := map[string]bool{m.folder: true}
	for folder := range m.packages {
		for ; len(folder) > len(m.folder); folder = filepath.Dir(folder) {
			folders[folder] = true
		}
	}
	var all []string
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		files, err := filesIn(folder, name)
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	return all, nil
}

// licenses returns the identifiers of the module's licences.
func (m *module) licenses() ([]string, error) {
	files, err := m.files(licenseFile)
	if err != nil {
		return nil, err
	}
	return licensesIn(files)
}

// licensesOfModule returns the identifiers of the licences in the root of a module.
func licensesOfModule(folder string) ([]string, error) {
	files, err := filesIn(folder, licenseFile)
	if err != nil {
		return nil, err
	}
	return licensesIn(files)
}

// licensesIn recognises the licences in the files by their text.
func licensesIn(files []string) ([]string, error) {
	if len(files) == 0 {
		return nil, errors.New("it has no licence")
	}
	ids := make(map[string]bool)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		coverage := licensecheck.Scan(content)
		if len(coverage.Match) == 0 {
			return nil, fmt.Errorf("%s is no licence that is known", file)
		}
		for _, match := range coverage.Match {
			ids[match.ID] = true
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

const head = `# Licences of the dependencies

Made by ` + "`make licenses`" + `, which reads the licence texts of each module that goes into the receiver, into the distribution on any of the platforms
that are released, or into the tests of the root module. It fails for a licence that it does not know or that is not one of
%s. Every archive of a release has the texts in THIRD_PARTY_LICENSES, and the versions in its bill of materials.

| Module | Licence | Needed by |
|---|---|---|
`

// licenses writes the page with the licences of all dependencies, or compares it.
func licenses(repository, page string, check bool) error {
	modules, err := modulesOf(repository, true)
	if err != nil {
		return err
	}
	var content strings.Builder
	fmt.Fprintf(&content, head, strings.Join(allowed, ", "))
	var problems []error
	for _, m := range modules {
		found, err := m.licenses()
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", m.path, err))
			continue
		}
		for _, id := range found {
			if !slices.Contains(allowed, id) {
				problems = append(problems, fmt.Errorf("%s: %s is not among the licences that are allowed", m.path, id))
			}
		}
		fmt.Fprintf(&content, "| %s | %s | %s |\n", m.path, strings.Join(found, ", "), m.used)
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	if !check {
		return os.WriteFile(page, []byte(content.String()), 0o644)
	}
	committed, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	if string(committed) != content.String() {
		return fmt.Errorf("%s is not up to date: run `make licenses`", page)
	}
	return nil
}

// texts writes the licences and notices of all that is in the distribution, each text once, after the modules that it is of.
func texts(repository, target string) error {
	modules, err := modulesOf(repository, false)
	if err != nil {
		return err
	}
	owners := make(map[string][]string)
	for _, m := range modules {
		licenses, err := m.files(licenseFile)
		if err != nil {
			return err
		}
		notices, err := m.files(noticeFile)
		if err != nil {
			return err
		}
		for _, file := range append(licenses, notices...) {
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			text := strings.TrimSpace(strings.ReplaceAll(string(content), "\r\n", "\n"))
			if !slices.Contains(owners[text], m.path) {
				owners[text] = append(owners[text], m.path)
			}
		}
	}
	type part struct{ owners, text string }
	var parts []part
	for text, of := range owners {
		parts = append(parts, part{strings.Join(of, "\n"), text})
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.owners, b.owners), cmp.Compare(a.text, b.text)) })

	line := strings.Repeat("-", 80)
	var out strings.Builder
	out.WriteString("otelcol-smtpfailure is made of the modules below and of Go, each under the licence that follows its name.\n")
	goLicense, err := goLicense()
	if err != nil {
		return err
	}
	fmt.Fprintf(&out, "\n%s\nGo\n%s\n\n%s\n", line, line, goLicense)
	for _, p := range parts {
		fmt.Fprintf(&out, "\n%s\n%s\n%s\n\n%s\n", line, p.owners, line, p.text)
	}
	return os.WriteFile(target, []byte(out.String()), 0o644)
}

// goLicense returns the licence of Go, whose runtime and library are in every binary.
func goLicense() (string, error) {
	root, err := outputOf(exec.Command("go", "env", "GOROOT"))
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(filepath.Join(strings.TrimSpace(root), "LICENSE"))
	return strings.TrimSpace(string(content)), err
}
