package docs_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	testName   = regexp.MustCompile(`\b((?:Test|Benchmark|Fuzz)[A-Z]\w*)(\*?)`)
	makeTarget = regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`)
	testFlag   = regexp.MustCompile(` --?([a-z][a-z.]*)`)
	goFile     = regexp.MustCompile(`^[\w./*-]*\w\.(?:go|sh)$`)
	tracked    = regexp.MustCompile(`^(?:receiver/smtpfailurereceiver|internal|examples|test|docs|scripts|testdata)/[\w./*-]+$`)
)

// prose returns a page without its fenced blocks.
func prose(t *testing.T, page string) string {
	t.Helper()
	content, err := os.ReadFile(page)
	require.NoError(t, err)
	var text strings.Builder
	fenced := false
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			text.WriteString(line)
		}
	}
	return text.String()
}

// TestLinks follows each link that stays in the repository.
func TestLinks(t *testing.T) {
	for _, page := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(prose(t, page), ""), -1) {
			target := match[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			path := page
			if file != "" {
				path = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(path); !assert.NoErrorf(t, err, "%s links to %s", page, target) {
				continue
			}
			if anchor != "" {
				assert.Containsf(t, anchors(t, path), anchor, "%s links to %s", page, target)
			}
		}
	}
}

// anchors are those that GitHub gives to the headings of a page.
func anchors(t *testing.T, page string) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(prose(t, page)) {
		heading := strings.TrimLeft(line, "#")
		if heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.TrimSpace(heading)))
	}
	return all
}

// goTestFlags are the flags of `go test` itself that the pages use.
var goTestFlags = []string{"run", "bench", "benchmem", "benchtime", "count", "fuzz", "fuzztime", "race", "timeout", "v"}

// TestNames finds what the pages name: tests and their flags, targets of make, and files.
func TestNames(t *testing.T) {
	var functions, flags, files []string
	function := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	defined := regexp.MustCompile(`\bflag\.\w+\((?:&\w+, )?"([^"]+)"`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".ci" || entry.Name() == "build" || entry.Name() == "data") {
				return fs.SkipDir
			}
			return nil
		}
		files = append(files, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
		if strings.HasSuffix(path, "_test.go") {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, match := range function.FindAllStringSubmatch(string(content), -1) {
				functions = append(functions, match[1])
			}
			for _, match := range defined.FindAllStringSubmatch(string(content), -1) {
				flags = append(flags, match[1])
			}
		}
		return nil
	})
	require.NoError(t, err)
	makefile, err := os.ReadFile(root + "/Makefile")
	require.NoError(t, err)

	for _, page := range pages(t) {
		content, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, name := range testName.FindAllStringSubmatch(string(content), -1) {
			assert.Truef(t, slices.ContainsFunc(functions, func(one string) bool {
				// The names in the output of a benchmark go on with a slash or a dash, a star stands for any end, and -run takes the beginning of one.
				return one == name[1] || name[2] != "" && strings.HasPrefix(one, name[1])
			}), "%s names %s", page, name[0])
		}
		code := codeIn(prose(t, page))
		for _, block := range fencesOf(t, page) {
			if block.language == "sh" {
				code = append(code, block.text)
			}
		}
		for _, text := range code {
			for _, name := range makeTarget.FindAllStringSubmatch(text, -1) {
				assert.Truef(t, bytes.Contains(makefile, []byte("\n"+name[1]+":")), "%s names make %s", page, name[1])
			}
			if _, after, ok := strings.Cut(text, "go test "); ok {
				for _, name := range testFlag.FindAllStringSubmatch(" "+after, -1) {
					assert.Truef(t, slices.Contains(goTestFlags, name[1]) || slices.Contains(flags, name[1]), "%s names the flag %s in %q", page, name[1], text)
				}
			}
			if goFile.MatchString(text) || tracked.MatchString(text) {
				assert.Truef(t, slices.ContainsFunc(files, func(file string) bool { return names(text, file) }), "%s names %s", page, text)
			}
		}
	}
}

// names reports whether a text names a file, or a folder above it, by its path, by the end of its path, or by a pattern of those.
func names(text, file string) bool {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "./"), "/")
	for path := file; path != "."; path = filepath.Dir(path) {
		for end := path; ; {
			if matched, _ := filepath.Match(text, end); matched {
				return true
			}
			_, after, ok := strings.Cut(end, "/")
			if !ok {
				break
			}
			end = after
		}
	}
	return false
}

// TestMessages finds the messages of the log that the page on operations tells to look for.
func TestMessages(t *testing.T) {
	var source strings.Builder
	for _, top := range []string{"receiver", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			source.Write(content)
			return err
		})
		require.NoError(t, err)
	}
	const page = "operations.md"
	var messages []string
	for _, match := range regexp.MustCompile(`the log, "([^"]+)"`).FindAllStringSubmatch(prose(t, page), -1) {
		messages = append(messages, match[1])
	}
	for _, row := range rowsOf(t, page, "Message") {
		messages = append(messages, codeIn(row["Message"])...)
	}
	require.NotEmpty(t, messages)
	// What the storage extension and the collector say.
	foreign := []string{"storage: timeout", "has invalid keys"}
	for _, message := range messages {
		assert.Truef(t, slices.Contains(foreign, message) || strings.Contains(source.String(), message), "nothing says %q", message)
	}
}
