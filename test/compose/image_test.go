package compose

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	root       = "../.."
	dockerfile = "examples/grafana/Dockerfile"
)

// emptyImages takes the one base image for one that sets nothing, so that no registry is asked. No other image is needed: a name that is none
// of the stages' is a mistake.
type emptyImages struct{}

func (emptyImages) ResolveImageConfig(_ context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	if !strings.Contains(ref, "/library/golang:") {
		return "", "", nil, errors.New("it asks for the image " + ref)
	}
	platform := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	if opt.ImageOpt != nil && opt.ImageOpt.Platform != nil {
		platform = *opt.ImageOpt.Platform
	}
	config, err := json.Marshal(ocispecs.Image{Platform: platform})
	return ref, digest.FromBytes(config), config, err
}

// TestImages has BuildKit's own frontend read the Dockerfile of the Grafana example, for each target and platform, and looks at the images that would come of it.
func TestImages(t *testing.T) {
	content := read(t, dockerfile)
	for _, target := range []string{"collector", "sender", ""} {
		for _, architecture := range []string{"amd64", "arm64"} {
			t.Run(target+"/"+architecture, func(t *testing.T) {
				platform := ocispecs.Platform{OS: "linux", Architecture: architecture}
				result, err := dockerfile2llb.Dockerfile2LLB(t.Context(), content, dockerfile2llb.ConvertOpt{
					Config:         dockerui.Config{Target: target, BuildArgs: map[string]string{"VERSION": "1.2.3"}},
					MetaResolver:   emptyImages{},
					TargetPlatform: &platform,
					Warn: func(rule, description, _, message string, _ []parser.Range) {
						t.Errorf("%s: %s (%s)", rule, message, description)
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				config := result.Image.Config
				if config.User != "65532:65532" {
					t.Errorf("it runs as %q", config.User)
				}
				if target == "sender" {
					return
				}
				if config.Healthcheck == nil || !slices.Equal(config.Healthcheck.Test, []string{"CMD", "/healthcheck"}) {
					t.Errorf("its health check is %v; there is no shell in the image", config.Healthcheck)
				}
				if got := config.Labels["org.opencontainers.image.version"]; got != "1.2.3" {
					t.Errorf("its version is labelled %q", got)
				}
			})
		}
	}
}

// TestBuildContext checks that the Dockerfile gets what it asks for: that what it copies is in the checkout or made by it, and that
// the .dockerignore beside it keeps back nothing that goes into the binaries.
func TestBuildContext(t *testing.T) {
	made := map[string]bool{"bin/otelcol-smtpfailure": true, "bin/healthcheck": true, "bin/sender": true}
	needed := []string{"Makefile", "go.mod", "go.sum", "builder-config.yaml", "scripts/version.sh", "internal/tools/go.mod", "internal/tools/go.sum"}
	for _, source := range copied(t) {
		if !made[source] {
			needed = append(needed, source)
		}
	}
	for _, directory := range []string{"receiver", "internal", "examples/sender", "examples/healthcheck"} {
		err := filepath.WalkDir(filepath.Join(root, directory), func(path string, _ os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				path, err = filepath.Rel(root, path)
				needed = append(needed, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	patterns, err := ignorefile.ReadAll(strings.NewReader(string(read(t, dockerfile+".dockerignore"))))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range needed {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Error(err)
		}
		if kept, err := ignored.MatchesOrParentMatches(path); err != nil || kept {
			t.Errorf(dockerfile+".dockerignore keeps %s back (%v)", path, err)
		}
	}
	for _, path := range []string{".git/config", ".tools/builder", "bin/otelcol-smtpfailure", "data/failures.jsonl", "test/e2e/go.mod", "receiver/smtpfailurereceiver/config_test.go"} {
		if kept, err := ignored.MatchesOrParentMatches(path); err != nil || !kept {
			t.Errorf(dockerfile+".dockerignore lets %s through (%v)", path, err)
		}
	}
}

// copied are the files of the checkout that the last stages take from the first one.
func copied(t *testing.T) []string {
	t.Helper()
	parsed, err := parser.Parse(strings.NewReader(string(read(t, dockerfile))))
	if err != nil {
		t.Fatal(err)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, stage := range stages {
		for _, command := range stage.Commands {
			instruction, ok := command.(*instructions.CopyCommand)
			if !ok {
				continue
			}
			for _, path := range instruction.SourcePaths {
				if source, ok := strings.CutPrefix(path, "/src/"); ok {
					sources = append(sources, source)
				}
			}
		}
	}
	if len(sources) == 0 {
		t.Fatal("the Dockerfile copies nothing of the checkout")
	}
	return sources
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
