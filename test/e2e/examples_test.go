package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestExamplesAreValid has the distribution check every example as it is.
func TestExamplesAreValid(t *testing.T) {
	examples, err := filepath.Glob(root + "/examples/*/config.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("found %d examples: %v", len(examples), err)
	}
	for _, example := range examples {
		t.Run(filepath.Base(filepath.Dir(example)), func(t *testing.T) {
			if output, err := exec.CommandContext(t.Context(), binary, "validate", "--config", example).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}
