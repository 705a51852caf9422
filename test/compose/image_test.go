package compose

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// emptyImages stands in for the registry: the one base image is empty. Any other name is one of a
// stage that does not exist.
type emptyImages struct{}

func (emptyImages) ResolveImageConfig(_ context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	if !strings.Contains(ref, "/library/golang:") {
		return "", "", nil, errors.New("it asks for the image " + ref)
	}
	config, err := json.Marshal(ocispecs.Image{Platform: *opt.ImageOpt.Platform})
	return ref, digest.FromBytes(config), config, err
}

// BuildKit builds an image for each target and platform without a warning.
func TestImages(t *testing.T) {
	for _, target := range []string{"collector", "sender", ""} {
		for _, architecture := range []string{"amd64", "arm64"} {
			result, err := dockerfile2llb.Dockerfile2LLB(t.Context(), []byte(read(t, dockerfile)), dockerfile2llb.ConvertOpt{
				Config:         dockerui.Config{Target: target, BuildArgs: map[string]string{"VERSION": "1.2.3"}},
				MetaResolver:   emptyImages{},
				TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: architecture},
				Warn: func(rule, description, _, message string, _ []parser.Range) {
					t.Errorf("%s: %s (%s)", rule, message, description)
				},
			})
			require.NoError(t, err, target)
			config := result.Image.Config
			assert.Equal(t, "65532:65532", config.User, target)
			if target != "sender" {
				require.NotNil(t, config.Healthcheck, target)
				assert.Equal(t, []string{"CMD", "/healthcheck"}, config.Healthcheck.Test, target)
				assert.Equal(t, "1.2.3", config.Labels["org.opencontainers.image.version"], target)
			}
		}
	}
}

// The Dockerfile gets what it copies and what the binaries are made of, and nothing else.
func TestBuildContext(t *testing.T) {
	needed := strings.Fields("Makefile go.mod go.sum builder-config.yaml scripts/version.sh internal/tools/go.mod internal/tools/go.sum")
	copied := regexp.MustCompile(`(?m)^COPY --from=build /src/(\S+)`).FindAllStringSubmatch(read(t, dockerfile), -1)
	require.NotEmpty(t, copied)
	for _, file := range copied {
		// What is in bin is made there.
		if !strings.HasPrefix(file[1], "bin/") {
			needed = append(needed, file[1])
		}
	}
	for _, directory := range []string{"receiver", "internal", "examples/sender", "examples/healthcheck"} {
		require.NoError(t, fs.WalkDir(os.DirFS(root), directory, func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				needed = append(needed, path)
			}
			return err
		}))
	}
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, dockerfile+".dockerignore")))
	require.NoError(t, err)
	matcher, err := patternmatcher.New(patterns)
	require.NoError(t, err)
	ignored := func(path string) bool {
		ignored, err := matcher.MatchesOrParentMatches(path)
		require.NoError(t, err)
		return ignored
	}
	for _, path := range needed {
		assert.FileExists(t, filepath.Join(root, path))
		assert.False(t, ignored(path), path)
	}
	for _, path := range []string{
		".git/config", ".tools/builder", "bin/otelcol-smtpfailure", "data/failures.jsonl", "test/go.mod",
		"receiver/smtpfailurereceiver/config_test.go",
	} {
		assert.True(t, ignored(path), path)
	}
}
