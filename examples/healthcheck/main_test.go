package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func serve(t *testing.T, status int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(server.Close)
	return server.URL
}

func TestAsk(t *testing.T) {
	require.NoError(t, ask(t.Context(), serve(t, http.StatusOK)))
	require.ErrorContains(t, ask(t.Context(), serve(t, http.StatusServiceUnavailable)), "503 Service Unavailable")
	require.ErrorContains(t, ask(t.Context(), "::"), "missing protocol scheme")

	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	require.ErrorContains(t, ask(t.Context(), gone.URL), "refused")
}

// TestMain runs the command instead of the tests in the process that TestExitCode starts.
func TestMain(m *testing.M) {
	if url := os.Getenv("HEALTHCHECK_URL"); url != "" {
		os.Args = []string{"healthcheck", url}
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestExitCode(t *testing.T) {
	for status, want := range map[int]int{http.StatusOK: 0, http.StatusServiceUnavailable: 1} {
		command := exec.CommandContext(t.Context(), os.Args[0])
		command.Env = append(os.Environ(), "HEALTHCHECK_URL="+serve(t, status))
		output, _ := command.CombinedOutput()
		assert.Equal(t, want, command.ProcessState.ExitCode(), "%d: %s", status, output)
	}
}
