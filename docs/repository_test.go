package docs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goOutput returns what a go command prints in the root of the repository.
func goOutput(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.Command("go", args...)
	command.Dir = root
	command.Env = append(os.Environ(), "GOWORK=off")
	output, err := command.Output()
	require.NoErrorf(t, err, "go %s", strings.Join(args, " "))
	return string(output)
}

// TestDiagram compares the import diagram with the code, without test packages.
func TestDiagram(t *testing.T) {
	const module = "github.com/smtpfailure/opentelemetry-collector-smtpfailure/"
	imports := make(map[string]bool)
	format := `{{range .Imports}}{{$.ImportPath}} {{.}}{{"\n"}}{{end}}`
	for line := range strings.Lines(goOutput(t, "list", "-f", format, "./receiver/...", "./internal/...")) {
		from, to, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasSuffix(from, "/metadatatest") {
			continue
		}
		if strings.HasPrefix(to, "go.opentelemetry.io/collector/") {
			to = "collector"
		} else if !strings.HasPrefix(to, module) {
			continue
		}
		imports[strings.TrimPrefix(from, module)+" imports "+strings.TrimPrefix(to, module)] = true
	}

	node := regexp.MustCompile(`(\w+)\["([^"]+)"\]`)
	edge := regexp.MustCompile(`(\w+) --> (\w+)`)
	var drawn []string
	for _, block := range parse(t, "docs/architecture.md").fences {
		if block.language != "mermaid" || !strings.HasPrefix(block.text, "graph") {
			continue
		}
		names := make(map[string]string)
		for _, match := range node.FindAllStringSubmatch(block.text, -1) {
			names[match[1]] = match[2]
		}
		for _, match := range edge.FindAllStringSubmatch(block.text, -1) {
			drawn = append(drawn, names[match[1]]+" imports "+names[match[2]])
		}
	}
	assert.ElementsMatch(t, keys(imports), drawn)
}

// TestDependencies compares the reasons for the direct dependencies with go.mod and the imports.
func TestDependencies(t *testing.T) {
	var modFile struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	require.NoError(t, json.Unmarshal([]byte(goOutput(t, "mod", "edit", "-json")), &modFile))
	format := "{{with .Module}}{{.Path}}{{end}}"
	linked := strings.Fields(goOutput(t, "list", "-deps", "-f", format, "./receiver/smtpfailurereceiver"))

	documented := rowsByName(t, "dependencies.md", "Module")
	for _, required := range modFile.Require {
		if required.Indirect {
			continue
		}
		row := documented[required.Path]
		delete(documented, required.Path)
		if !assert.NotNilf(t, row, "dependencies.md lacks %s", required.Path) {
			continue
		}
		assert.NotEmptyf(t, row["Reason"], "the reason for %s", required.Path)
		// What only tests import directly may be linked all the same, through another module.
		needers := []string{"tests"}
		if slices.Contains(linked, required.Path) {
			needers = append(needers, "receiver")
		}
		assert.Containsf(t, needers, row["Needed by"], "who needs %s", required.Path)
	}
	assert.Empty(t, documented, "not required directly by go.mod")
}

// TestLinks checks that every link within the repository has a target.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range pages(t) {
		for _, target := range submatches(link, codeSpan.ReplaceAllString(page.prose, "")) {
			if strings.Contains(target, "://") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			to := page.path
			if file != "" {
				to = path.Join(path.Dir(page.path), file)
			}
			if _, err := os.Stat(root + "/" + to); !assert.NoErrorf(t, err, "%s links to %s", page.path, target) {
				continue
			}
			if anchor != "" {
				assert.Containsf(t, anchors(parse(t, to)), anchor, "%s links to %s", page.path, target)
			}
		}
	}
}

// anchors returns the anchors that GitHub gives to the headings of a page.
func anchors(p page) []string {
	headings := submatches(regexp.MustCompile(`(?m)^#+ (.+)$`), strings.ToLower(p.prose))
	for i, heading := range headings {
		headings[i] = regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(strings.ReplaceAll(heading, " ", "-"), "")
	}
	return headings
}

var (
	// A star stands for any end of a name.
	testName   = regexp.MustCompile(`\b((?:Test|Benchmark|Fuzz)[A-Z]\w*)(\*?)`)
	makeTarget = regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`)
	testFlag   = regexp.MustCompile(` --?([a-z][a-z.]*)`)
	namedFile  = regexp.MustCompile(`^[\w./*-]*\w\.(?:go|sh)$`)
	namedPath  = regexp.MustCompile(`^(?:receiver/smtpfailurereceiver|internal|examples|test|docs|testdata)/[\w./*-]+$`)
)

// TestNames checks that the tests, test flags, make targets and files that the pages name exist.
func TestNames(t *testing.T) {
	files := repository(t)
	tests := sources(t, isTest)
	functions := submatches(regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`), tests)
	flags := append(submatches(regexp.MustCompile(`\bflag\.\w+\((?:&\w+, )?"([^"]+)"`), tests),
		"run", "bench", "benchmem", "benchtime", "count", "fuzz", "fuzztime", "race", "timeout", "v")
	targets := submatches(regexp.MustCompile(`(?m)^([a-z][\w-]*):`), readFile(t, "Makefile"))

	for _, page := range pages(t) {
		for _, name := range testName.FindAllStringSubmatch(readFile(t, page.path), -1) {
			assert.Truef(t, slices.ContainsFunc(functions, func(function string) bool {
				return function == name[1] || name[2] != "" && strings.HasPrefix(function, name[1])
			}), "%s names %s", page.path, name[0])
		}
		code := codeIn(page.prose)
		for _, block := range page.fences {
			if block.language == "sh" {
				code = append(code, block.text)
			}
		}
		for _, text := range code {
			for _, name := range submatches(makeTarget, text) {
				assert.Containsf(t, targets, name, "%s names make %s", page.path, name)
			}
			if _, after, ok := strings.Cut(text, "go test"); ok {
				for _, name := range submatches(testFlag, after) {
					assert.Containsf(t, flags, name, "%s names a flag in %q", page.path, text)
				}
			}
			if namedFile.MatchString(text) || namedPath.MatchString(text) {
				// A file or folder is named by its path or the end of it; a star stands for any
				// name.
				name := regexp.QuoteMeta(strings.Trim(strings.TrimPrefix(text, "./"), "/"))
				pattern := regexp.MustCompile(`(?:^|/)` + strings.ReplaceAll(name, `\*`, `[^/]*`) + `(?:/|$)`)
				assert.Truef(t, slices.ContainsFunc(files, pattern.MatchString), "%s names %s", page.path, text)
			}
		}
	}
}

// TestMessages checks that the log messages that operations.md names are logged.
func TestMessages(t *testing.T) {
	const name = "operations.md"
	messages := submatches(regexp.MustCompile(`the log, "([^"]+)"`), parse(t, "docs/"+name).prose)
	for _, row := range rows(t, name, "Message") {
		messages = append(messages, codeIn(row["Message"])...)
	}
	source := sources(t, isProduct)
	// Logged by the storage extension and the collector.
	foreign := []string{"timeout", "has invalid keys"}
	for _, message := range messages {
		assert.Truef(t, slices.Contains(foreign, message) || strings.Contains(source, message), "nothing logs %q", message)
	}
}

// TestGoVersions checks that modules, images and workflows use the Go version of the root's go.mod.
func TestGoVersions(t *testing.T) {
	language, toolchain := regexp.MustCompile(`(?m)^go (\d+\.\d+)`), regexp.MustCompile(`(?m)^toolchain go(.+)$`)
	image := regexp.MustCompile(`golang:(\d+\.\d+\.\d+)`)
	main := readFile(t, "go.mod")
	for _, file := range repository(t) {
		switch path.Base(file) {
		case "go.mod":
			assert.Equal(t, submatches(language, main), submatches(language, readFile(t, file)), file)
			assert.Equal(t, submatches(toolchain, main), submatches(toolchain, readFile(t, file)), file)
		case "Dockerfile":
			assert.Subset(t, submatches(toolchain, main), submatches(image, readFile(t, file)), file)
		}
	}
	workflows := sources(t, isWorkflow)
	setups := strings.Count(workflows, "uses: actions/setup-go@")
	assert.Equal(t, setups, strings.Count(workflows, " go-version-file: go.mod\n"))
	assert.NotContains(t, workflows, "go-version:")
	for _, page := range []string{"README.md", "CONTRIBUTING.md"} {
		assert.Contains(t, readFile(t, page), "Go "+submatches(language, main)[0], page)
	}
}

// TestActionsPinned checks that every action is pinned to a commit, with its version as a comment.
func TestActionsPinned(t *testing.T) {
	uses := submatches(regexp.MustCompile(`(?m)\buses: (.+)$`), sources(t, isWorkflow))
	require.NotEmpty(t, uses)
	for _, use := range uses {
		assert.Regexp(t, `^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`, use)
	}
}
