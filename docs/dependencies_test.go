package docs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDependencies holds the reasons for the direct dependencies to go.mod and to what the receiver imports.
func TestDependencies(t *testing.T) {
	var modFile struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	require.NoError(t, json.Unmarshal([]byte(goOutput(t, "mod", "edit", "-json")), &modFile))

	// The package for tests of whoever embeds the receiver is theirs, not the receiver's.
	linked := make(map[string]bool)
	for path := range strings.Lines(goOutput(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./receiver/smtpfailurereceiver")) {
		linked[strings.TrimSpace(path)] = true
	}

	neededBy := make(map[string]string)
	for _, row := range rowsOf(t, "dependencies.md", "Module") {
		path := strings.Trim(row["Module"], "`")
		assert.NotContainsf(t, neededBy, path, "dependencies.md names %s twice", path)
		assert.NotEmptyf(t, row["Reason"], "dependencies.md gives no reason for %s", path)
		neededBy[path] = row["Needed by"]
	}
	for _, required := range modFile.Require {
		if required.Indirect {
			continue
		}
		if assert.Containsf(t, neededBy, required.Path, "dependencies.md gives no reason for %s", required.Path) {
			want := "tests"
			if linked[required.Path] {
				want = "receiver"
			}
			// Some that only tests import directly are linked all the same, because others bring them along.
			if neededBy[required.Path] == "receiver" || !linked[required.Path] {
				assert.Equalf(t, want, neededBy[required.Path], "who needs %s", required.Path)
			}
		}
		delete(neededBy, required.Path)
	}
	assert.Empty(t, neededBy, "dependencies.md has a reason for what go.mod does not require directly")
}

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
