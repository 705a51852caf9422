package docs_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/smtpfailure/opentelemetry-collector-smtpfailure/"
	// collectorNode is the collector's own modules in the diagram.
	collectorNode = "collector"
)

var (
	diagramNode = regexp.MustCompile(`^(\w+)\["([^"]+)"\]$`)
	diagramEdge = regexp.MustCompile(`^(\w+) --> (\w+)$`)
)

// TestDiagram compares the diagram of what depends on what with what the packages import.
func TestDiagram(t *testing.T) {
	names := make(map[string]string)
	var drawn []string
	for _, block := range fencesOf(t, "architecture.md") {
		if block.language != "mermaid" || !strings.HasPrefix(block.text, "graph") {
			continue
		}
		for line := range strings.Lines(block.text) {
			line = strings.TrimSpace(line)
			if match := diagramNode.FindStringSubmatch(line); match != nil {
				names[match[1]] = match[2]
			}
			if match := diagramEdge.FindStringSubmatch(line); match != nil {
				require.Contains(t, names, match[1])
				require.Contains(t, names, match[2])
				drawn = append(drawn, names[match[1]]+" imports "+names[match[2]])
			}
		}
	}
	require.NotEmpty(t, drawn, "the page has no diagram")
	packages, edges := imported(t)
	assert.ElementsMatch(t, edges, drawn)
	for _, name := range packages {
		assert.Containsf(t, slices.Collect(values(names)), name, "the diagram lacks a package")
	}
}

func values(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, value := range m {
			if !yield(value) {
				return
			}
		}
	}
}

// imported returns the packages of the product and what they import of each other and of the collector, without tests and generated test code.
func imported(t *testing.T) (packages, edges []string) {
	t.Helper()
	seen := make(map[string]bool)
	for _, top := range []string{"receiver", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() {
				if slices.Contains([]string{"testdata", "tools", "metadatatest", "signaturetest"}, entry.Name()) {
					return fs.SkipDir
				}
				return nil
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			from := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), root+"/")
			if !slices.Contains(packages, from) {
				packages = append(packages, from)
			}
			for _, one := range file.Imports {
				to, err := strconv.Unquote(one.Path.Value)
				if err != nil {
					return err
				}
				switch {
				case strings.HasPrefix(to, module):
					to = strings.TrimPrefix(to, module)
				case strings.HasPrefix(to, "go.opentelemetry.io/collector/"):
					to = collectorNode
				default:
					continue
				}
				if edge := from + " imports " + to; !seen[edge] {
					seen[edge] = true
					edges = append(edges, edge)
				}
			}
			return nil
		})
		require.NoError(t, err)
	}
	return packages, edges
}
