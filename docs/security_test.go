package docs_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhatRedactionLeaves compares the page with the texts that a test of internal/privacy redacts.
func TestWhatRedactionLeaves(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "internal", "privacy", "testdata", "forms.txt"))
	require.NoError(t, err)
	left := map[string]string{}
	for line := range strings.Lines(string(content)) {
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if columns[0] != "left" {
			continue
		}
		text, err := strconv.Unquote(columns[5])
		require.NoError(t, err)
		left[text], err = strconv.Unquote(columns[6])
		require.NoError(t, err)
	}
	for _, row := range rowsOf(t, "security.md", "Text") {
		text, result := codeIn(row["Text"]), codeIn(row["What is left of it"])
		require.Len(t, text, 1)
		require.Len(t, result, 1)
		assert.Equal(t, left[text[0]], result[0], text[0])
	}
}
