package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	goLine        = regexp.MustCompile(`(?m)^go (\d+\.\d+)`)
	toolchainLine = regexp.MustCompile(`(?m)^toolchain go(\d+\.\d+\.\d+)$`)
	goImage       = regexp.MustCompile(`\bgolang:(\d+\.\d+\.\d+)`)
	setupGo       = regexp.MustCompile(`uses: actions/setup-go@`)
	goVersionFile = regexp.MustCompile(`(?m)^ +go-version-file: go\.mod$`)
	writtenGo     = regexp.MustCompile(`\bgo-version:`)
)

// TestOneGo holds all that says which Go to build with to the go.mod of the root, whose toolchain line the workflows read.
func TestOneGo(t *testing.T) {
	language, toolchain := goOf(t, "go.mod")
	for _, file := range files(t, "go.mod") {
		otherLanguage, otherToolchain := goOf(t, file)
		assert.Equal(t, language, otherLanguage, "the language version in %s", file)
		assert.Equal(t, toolchain, otherToolchain, "the toolchain in %s", file)
	}

	images := 0
	for _, file := range files(t, "Dockerfile") {
		for _, image := range goImage.FindAllStringSubmatch(readFile(t, file), -1) {
			assert.Equal(t, toolchain, image[1], "the image in %s", file)
			images++
		}
	}
	assert.NotZero(t, images, "images of Go")

	workflows, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	require.NoError(t, err)
	require.NotEmpty(t, workflows)
	for _, file := range workflows {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Len(t, goVersionFile.FindAll(content, -1), len(setupGo.FindAll(content, -1)),
			"each setup-go in %s reads the root's go.mod", file)
		assert.NotRegexp(t, writtenGo, string(content), file)
	}

	for _, page := range []string{"README.md", "CONTRIBUTING.md"} {
		assert.Contains(t, readFile(t, page), "Go "+language, page)
	}
}

// goOf returns the language version and the toolchain that a go.mod names.
func goOf(t *testing.T, file string) (language, toolchain string) {
	t.Helper()
	content := readFile(t, file)
	languages, toolchains := goLine.FindStringSubmatch(content), toolchainLine.FindStringSubmatch(content)
	require.NotEmpty(t, languages, "%s has a go line", file)
	require.NotEmpty(t, toolchains, "%s has a toolchain line", file)
	return languages[1], toolchains[1]
}

// files returns the files in the repository that have the name, but for what was built or downloaded.
func files(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != root && entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") ||
			entry.Name() == "build" || entry.Name() == "dist" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if entry.Name() == name {
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			found = append(found, relative)
		}
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, found, name)
	return found
}

// readFile returns a file of the repository.
func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(content)
}

var (
	usesAction   = regexp.MustCompile(`(?m)^.*\buses: (.+)$`)
	pinnedAction = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
)

// TestActionsPinned holds every action of the workflows to one commit, with its version beside it.
func TestActionsPinned(t *testing.T) {
	workflows, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	require.NoError(t, err)
	pins := make(map[string]string)
	for _, file := range workflows {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, use := range usesAction.FindAllStringSubmatch(string(content), -1) {
			assert.Regexp(t, pinnedAction, use[1], file)
			action, pin, _ := strings.Cut(use[1], "@")
			if pins[action] == "" {
				pins[action] = pin
			}
			assert.Equal(t, pins[action], pin, "%s in %s", action, file)
		}
	}
	assert.NotEmpty(t, pins)
}
