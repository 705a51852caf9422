package smtpfailurereceiver

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
)

// readOwnershipFiles returns the contents of the ownership files by URL path.
func readOwnershipFiles(config *Config) (map[string]string, error) {
	contents := make(map[string]string)
	for i, file := range config.OwnershipFiles {
		content := file.Content
		if file.File != "" {
			read, err := os.ReadFile(file.File)
			if err != nil {
				return nil, fmt.Errorf("ownership_files::%d::file: %w", i, err)
			}
			content = string(read)
		}
		for _, urlPath := range config.ownershipPaths(file.Name) {
			contents[urlPath] = content
		}
	}
	return contents, nil
}

// serveOwnershipFile responds to a request for an ownership file, and reports whether it was one.
func (r *smtpFailureReceiver) serveOwnershipFile(state *requestState, req *http.Request) bool {
	content, ok := r.ownershipFiles[req.URL.Path]
	if !ok || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return false
	}
	state.response = responseOwnershipFile
	header := state.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(content)))
	state.WriteHeader(responseOwnershipFile.status)
	if req.Method == http.MethodGet {
		_, _ = io.WriteString(state, content)
	}
	return true
}
