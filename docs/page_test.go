// Package docs_test holds the pages beside it to the code: options, attributes, metrics, imports, names and links. The commands and whole
// configurations are run by test/e2e.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

// root is the root of the repository.
const root = ".."

// table is a table of a page. Its rows are by the names of the columns.
type table struct {
	// section is the heading above it.
	section string
	columns []string
	rows    []map[string]string
}

// tablesOf returns the tables of a page whose first column has one of the names.
func tablesOf(t *testing.T, page string, first ...string) []table {
	t.Helper()
	content, err := os.ReadFile(page)
	require.NoError(t, err)

	var tables []table
	var section string
	inside, fenced := false, false
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced:
		case strings.HasPrefix(line, "#"):
			section = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
		if fenced || !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		cells := cellsOf(line)
		if !inside {
			tables = append(tables, table{section: section, columns: cells})
			inside = true
			continue
		}
		if strings.Trim(line, "|-: ") == "" {
			continue
		}
		last := &tables[len(tables)-1]
		require.Lenf(t, cells, len(last.columns), "%s has a row with another number of cells than its head: %s", page, line)
		row := make(map[string]string, len(cells))
		for i, cell := range cells {
			row[last.columns[i]] = cell
		}
		last.rows = append(last.rows, row)
	}
	tables = slices.DeleteFunc(tables, func(one table) bool { return !slices.Contains(first, one.columns[0]) })
	require.NotEmptyf(t, tables, "%s has no table whose first column is %q", page, first)
	return tables
}

// rowsOf returns the rows of the one table whose first column has the name.
func rowsOf(t *testing.T, page, first string) []map[string]string {
	t.Helper()
	tables := tablesOf(t, page, first)
	require.Lenf(t, tables, 1, "%s should have one table whose first column is %q", page, first)
	return tables[0].rows
}

func cellsOf(line string) []string {
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// codeIn returns what stands in backticks.
func codeIn(text string) []string {
	var code []string
	for _, match := range codeSpan.FindAllStringSubmatch(text, -1) {
		code = append(code, match[1])
	}
	return code
}

// fence is a fenced block.
type fence struct {
	language, text string
}

// fencesOf returns the fenced blocks of a page.
func fencesOf(t *testing.T, page string) []fence {
	t.Helper()
	content, err := os.ReadFile(page)
	require.NoError(t, err)
	var fences []fence
	var open *fence
	for line := range strings.Lines(string(content)) {
		language, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &fence{language: strings.TrimSpace(language)}
		case isFence:
			fences = append(fences, *open)
			open = nil
		case open != nil:
			open.text += line
		}
	}
	require.Nilf(t, open, "%s has a fenced block that does not end", page)
	return fences
}

// pages are all pages that a reader may come to.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md", "examples/*/*.md", "testdata/*.md", "receiver/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		all = append(all, found...)
	}
	require.Contains(t, all, filepath.Join(root, "README.md"))
	return all
}

// mapOf parses YAML whose top is a map.
func mapOf(t *testing.T, yaml string) map[string]any {
	t.Helper()
	retrieved, err := confmap.NewRetrievedFromYAML([]byte(yaml))
	require.NoError(t, err)
	raw, err := retrieved.AsRaw()
	require.NoError(t, err)
	parsed, ok := raw.(map[string]any)
	require.Truef(t, ok, "this is no map: %s", yaml)
	return parsed
}

// valueOf parses a value in YAML.
func valueOf(t *testing.T, yaml string) any {
	t.Helper()
	return mapOf(t, "value: "+yaml)["value"]
}
