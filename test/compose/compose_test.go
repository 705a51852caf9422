// Package compose checks what runs in containers only, without any: the Dockerfile and compose.yaml
// of examples/grafana, with the parsers of BuildKit and Compose. test/e2e runs the configurations.
package compose

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const (
	root       = "../.."
	grafana    = "examples/grafana"
	dockerfile = grafana + "/Dockerfile"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(text)
}

// load reads compose.yaml as `docker compose` does, which checks it against the schema.
func load(t *testing.T) *types.Project {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(root, grafana, "compose.yaml"))
	require.NoError(t, err)
	options, err := cli.NewProjectOptions([]string{file}, cli.WithResolvedPaths(true), cli.WithConsistency(true))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

func TestServices(t *testing.T) {
	project := load(t)
	assert.Equal(t, []string{"collector", "grafana", "loki", "prometheus", "sender"}, project.ServiceNames())
	list, err := dockerfile2llb.ListTargets(t.Context(), []byte(read(t, dockerfile)))
	require.NoError(t, err)
	var targets []string
	for _, target := range list.Targets {
		targets = append(targets, target.Name)
	}
	context, err := filepath.Abs(root)
	require.NoError(t, err)
	for name, service := range project.Services {
		if build := service.Build; build != nil {
			assert.Equal(t, context, build.Context, name)
			assert.Equal(t, dockerfile, build.Dockerfile, name)
			assert.Contains(t, targets, build.Target, name)
		} else {
			assert.Regexp(t, `^[a-z]+/[a-z]+:v?\d+\.\d+\.\d+$`, service.Image, name)
		}
		for _, port := range service.Ports {
			assert.Equal(t, "127.0.0.1", port.HostIP, "%s: port %s", name, port.Published)
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind {
				_, err := os.Stat(volume.Source)
				require.NoError(t, err, name)
				assert.True(t, volume.ReadOnly, "%s: %s can be written", name, volume.Target)
			}
		}
		if check := service.HealthCheck; check != nil {
			assert.NotContains(t, strings.Join(check.Test, " "), "localhost", "%s: it may be ::1", name)
		}
		for dependency, how := range service.DependsOn {
			if how.Condition == types.ServiceConditionHealthy {
				assert.NotNil(t, project.Services[dependency].HealthCheck, "%s waits for the health of %s", name, dependency)
			}
		}
	}
}

// Every variable that compose.yaml sets is one that the service's files read, and the other way
// round.
func TestVariables(t *testing.T) {
	project := load(t)
	for _, test := range []struct {
		service, variable, files string
		// defaults are read and not set; ownPrefix is of variables for the program itself.
		defaults  []string
		ownPrefix string
	}{
		{"collector", `\$\{env:(\w+)`, "collector.yaml", []string{"HEALTH_CHECK_ENDPOINT", "STORAGE_DIRECTORY", "TELEMETRY_PORT"}, "-"},
		{"loki", `\$\{(\w+)`, "loki.yaml", []string{"LOKI_GRPC_PORT", "LOKI_PORT"}, "-"},
		{"grafana", `[^$]\$(\w+)`, "provisioning/*/*.yaml", nil, "GF_"},
	} {
		files, err := fs.Glob(os.DirFS(root), grafana+"/"+test.files)
		require.NoError(t, err)
		want := make(map[string]bool)
		for _, file := range files {
			text := regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(read(t, file), "")
			for _, match := range regexp.MustCompile(test.variable).FindAllStringSubmatch(text, -1) {
				want[match[1]] = true
			}
		}
		got := make(map[string]bool)
		for _, name := range test.defaults {
			got[name] = true
		}
		for name := range project.Services[test.service].Environment {
			if !strings.HasPrefix(name, test.ownPrefix) {
				got[name] = true
			}
		}
		assert.Equal(t, want, got, test.service)
	}
}

// Prometheus finds in the containers what it finds without them.
func TestTargets(t *testing.T) {
	local := strings.ReplaceAll(read(t, grafana+"/targets.yaml"), "localhost", "collector")
	assert.YAMLEq(t, local, read(t, grafana+"/targets-compose.yaml"))
}

// Grafana gets the data sources that the dashboard names by uid, and the dashboard where it looks.
func TestProvisioning(t *testing.T) {
	var sources struct {
		Datasources []struct{ UID, Type string }
	}
	text := read(t, grafana+"/provisioning/datasources/datasources.yaml")
	require.NoError(t, yaml.Unmarshal([]byte(text), &sources))
	var types []string
	for _, source := range sources.Datasources {
		assert.Equal(t, source.Type, source.UID)
		types = append(types, source.Type)
	}
	assert.Equal(t, []string{"prometheus", "loki"}, types)

	service := load(t).Services["grafana"]
	home := *service.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	assert.Equal(t, *service.Environment["DASHBOARDS"]+"/dashboard.json", home)
	var mounted []string
	for _, volume := range service.Volumes {
		mounted = append(mounted, volume.Target)
	}
	assert.Contains(t, mounted, home)
}
