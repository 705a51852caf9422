// Package docs_test compares the pages in this folder with the code: options, attributes, metrics,
// imports, names and links. Commands and whole configurations are run by test/e2e.
package docs_test

import (
	"io/fs"
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

// page is a parsed Markdown page.
type page struct {
	path   string
	prose  string // without fenced blocks
	fences []fence
	rows   []map[string]string // of all tables, by the names of the columns
}

type fence struct{ language, text string }

// readFile returns a file of the repository.
func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(content)
}

// repository returns the paths of all files in the repository, except hidden and built ones.
func repository(t *testing.T) []string {
	t.Helper()
	skipped := []string{"build", "dist", "data", "node_modules"}
	var files []string
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		hidden := strings.HasPrefix(name, ".") && !slices.Contains([]string{root, ".ci", ".github"}, name)
		if entry.IsDir() && (hidden || slices.Contains(skipped, name)) {
			return fs.SkipDir
		}
		if !entry.IsDir() {
			files = append(files, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
		}
		return nil
	}))
	return files
}

// sources returns the text of the files in the repository with a path that is wanted.
func sources(t *testing.T, wanted func(path string) bool) string {
	t.Helper()
	var text strings.Builder
	for _, file := range repository(t) {
		if wanted(file) {
			text.WriteString(readFile(t, file))
		}
	}
	require.NotEmpty(t, text.String())
	return text.String()
}

func isTest(path string) bool { return strings.HasSuffix(path, "_test.go") }

func isProduct(path string) bool {
	return regexp.MustCompile(`^(receiver|internal)/.*\.go$`).MatchString(path) && !isTest(path)
}

func isWorkflow(path string) bool { return strings.HasPrefix(path, ".github/workflows/") }

// pages returns all pages of the documentation.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	for _, file := range repository(t) {
		if strings.HasSuffix(file, ".md") {
			all = append(all, parse(t, file))
		}
	}
	return all
}

func parse(t *testing.T, path string) page {
	t.Helper()
	p := page{path: path}
	fenced := false
	var columns []string
	for line := range strings.Lines(readFile(t, path)) {
		text := strings.TrimSpace(line)
		language, isFence := strings.CutPrefix(text, "```")
		switch {
		case isFence && !fenced:
			p.fences = append(p.fences, fence{language: language})
			fenced = true
		case isFence:
			fenced = false
		case fenced:
			p.fences[len(p.fences)-1].text += line
		default:
			p.prose += line
			switch {
			case !strings.HasPrefix(text, "|"):
				columns = nil
			case columns == nil:
				columns = cells(text)
			case strings.Trim(text, "|-: ") != "":
				row := make(map[string]string, len(columns))
				require.Lenf(t, cells(text), len(columns), "the cells of a row in %s: %s", path, text)
				for i, cell := range cells(text) {
					row[columns[i]] = cell
				}
				p.rows = append(p.rows, row)
			}
		}
	}
	require.Falsef(t, fenced, "%s has a fenced block without an end", path)
	return p
}

func cells(line string) []string {
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// rows returns the rows of a page in this folder that have a column.
func rows(t *testing.T, name, column string) []map[string]string {
	t.Helper()
	all := slices.DeleteFunc(parse(t, "docs/"+name).rows, func(row map[string]string) bool {
		_, ok := row[column]
		return !ok
	})
	require.NotEmptyf(t, all, "%s has no table with a column %q", name, column)
	return all
}

// rowsByName returns the same rows by the code in that column.
func rowsByName(t *testing.T, name, column string) map[string]map[string]string {
	t.Helper()
	byName := make(map[string]map[string]string)
	for _, row := range rows(t, name, column) {
		code := codeIn(row[column])
		require.Lenf(t, code, 1, "a row has one name: %v", row)
		require.NotContainsf(t, byName, code[0], "%s is there twice", code[0])
		byName[code[0]] = row
	}
	return byName
}

// listed returns what is in backticks in a column.
func listed(t *testing.T, name, column string) []string {
	t.Helper()
	var all []string
	for _, row := range rows(t, name, column) {
		all = append(all, codeIn(row[column])...)
	}
	return all
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// codeIn returns what is in backticks.
func codeIn(text string) []string {
	return submatches(codeSpan, text)
}

// submatches returns the first group of every match.
func submatches(expression *regexp.Regexp, text string) []string {
	var all []string
	for _, match := range expression.FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}

// mapOf parses a YAML map.
func mapOf(t *testing.T, yaml string) map[string]any {
	t.Helper()
	retrieved, err := confmap.NewRetrievedFromYAML([]byte(yaml))
	require.NoError(t, err)
	raw, err := retrieved.AsRaw()
	require.NoError(t, err)
	require.IsType(t, map[string]any{}, raw, yaml)
	return raw.(map[string]any)
}
