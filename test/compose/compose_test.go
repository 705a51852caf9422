// Package compose checks what runs in containers only, on a machine that has none: the Dockerfile, examples/grafana/compose.yaml, and
// that they fit the files they name. The parsers are those of BuildKit and of Compose. That the configurations work is shown in
// test/e2e, with the same files and the real servers.
package compose

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"go.yaml.in/yaml/v3"
)

const grafana = "examples/grafana"

// load reads compose.yaml as `docker compose` does, which checks it against the specification's schema.
func load(t *testing.T) *types.Project {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(root, grafana, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{file}, cli.WithResolvedPaths(true), cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

var pinned = regexp.MustCompile(`^[a-z]+/[a-z]+:v?\d+\.\d+\.\d+$`)

func TestComposeFile(t *testing.T) {
	project := load(t)
	if got := project.ServiceNames(); !slices.Equal(got, []string{"collector", "grafana", "loki", "prometheus", "sender"}) {
		t.Errorf("the services are %v", got)
	}
	for name, service := range project.Services {
		t.Run(name, func(t *testing.T) {
			if service.Build == nil && !pinned.MatchString(service.Image) {
				t.Errorf("the image %q has no exact version", service.Image)
			}
			if service.Build != nil {
				checkBuild(t, service.Build)
			}
			for _, port := range service.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("port %s is open to the network", port.Published)
				}
			}
			for _, volume := range service.Volumes {
				if volume.Type != types.VolumeTypeBind {
					continue
				}
				if _, err := os.Stat(volume.Source); err != nil {
					t.Errorf("what is mounted at %s: %v", volume.Target, err)
				}
				if !volume.ReadOnly {
					t.Errorf("%s can be written from inside", volume.Target)
				}
			}
			if check := service.HealthCheck; check != nil && strings.Contains(strings.Join(check.Test, " "), "localhost") {
				t.Error("localhost may be an address on which nobody listens: 127.0.0.1 is one")
			}
			for dependency, how := range service.DependsOn {
				if how.Condition == types.ServiceConditionHealthy && project.Services[dependency].HealthCheck == nil {
					t.Errorf("it waits for %s to be healthy, which never says that it is", dependency)
				}
			}
		})
	}
}

func checkBuild(t *testing.T, build *types.BuildConfig) {
	t.Helper()
	if want, err := filepath.Abs(root); err != nil || build.Context != want {
		t.Errorf("it is built from %s, not from %s (%v)", build.Context, want, err)
	}
	if build.Dockerfile != dockerfile {
		t.Errorf("it is built with %s, not with %s", build.Dockerfile, dockerfile)
	}
	targets, err := dockerfile2llb.ListTargets(t.Context(), read(t, dockerfile))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, target := range targets.Targets {
		names = append(names, target.Name)
	}
	if !slices.Contains(names, build.Target) {
		t.Errorf("the Dockerfile has %v, not %s", names, build.Target)
	}
}

// TestComposeVariables checks that every variable that compose.yaml sets is one that the service's files read, and the other way round.
func TestComposeVariables(t *testing.T) {
	project := load(t)
	for _, test := range []struct {
		service  string
		variable *regexp.Regexp
		files    []string
		// What the files read and compose.yaml leaves at its default, or sets for Grafana itself.
		unset, others []string
	}{
		{
			"collector", regexp.MustCompile(`\$\{env:(\w+)`),
			[]string{"collector.yaml"},
			// The first is in the image, the others are right as they are.
			[]string{"STORAGE_DIRECTORY", "HEALTH_CHECK_ENDPOINT", "TELEMETRY_PORT"},
			nil,
		},
		{"loki", regexp.MustCompile(`\$\{(\w+)`), []string{"loki.yaml"}, []string{"LOKI_PORT", "LOKI_GRPC_PORT"}, nil},
		{
			"grafana", regexp.MustCompile(`[^$]\$(\w+)`),
			[]string{"provisioning/datasources/datasources.yaml", "provisioning/dashboards/dashboards.yaml"},
			nil,
			[]string{"GF_"},
		},
	} {
		t.Run(test.service, func(t *testing.T) {
			want := slices.Clone(test.unset)
			for _, file := range test.files {
				text := stripComments(string(read(t, filepath.Join(grafana, file))))
				for _, match := range test.variable.FindAllStringSubmatch(text, -1) {
					want = append(want, match[1])
				}
			}
			got := slices.Clone(test.unset)
			for name := range project.Services[test.service].Environment {
				if !slices.ContainsFunc(test.others, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
					got = append(got, name)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if want = slices.Compact(want); !slices.Equal(got, want) {
				t.Errorf("compose.yaml sets or leaves out %v, the files read %v", got, want)
			}
		})
	}
}

var comment = regexp.MustCompile(`(?m)^\s*#.*$`)

func stripComments(text string) string {
	return comment.ReplaceAllString(text, "")
}

// target is a group of Prometheus' file service discovery.
type target struct {
	Targets []string
	Labels  map[string]string
}

// TestTargets checks that Prometheus finds in the containers what it finds without them.
func TestTargets(t *testing.T) {
	var local, inside []target
	for file, targets := range map[string]*[]target{"targets.yaml": &local, "targets-compose.yaml": &inside} {
		if err := yaml.Unmarshal(read(t, filepath.Join(grafana, file)), targets); err != nil {
			t.Fatal(err)
		}
	}
	if len(local) == 0 || len(local) != len(inside) {
		t.Fatalf("there are %d and %d groups", len(local), len(inside))
	}
	for i := range local {
		want := strings.ReplaceAll(strings.Join(local[i].Targets, " "), "localhost", "collector")
		if got := strings.Join(inside[i].Targets, " "); got != want {
			t.Errorf("%s is %s in compose", want, got)
		}
		if local[i].Labels["job"] != inside[i].Labels["job"] {
			t.Errorf("the job of %s is %s and %s", want, local[i].Labels["job"], inside[i].Labels["job"])
		}
	}
}

// TestProvisioning checks that Grafana gets the data sources that the dashboard names by uid, and the dashboard where it looks for it.
func TestProvisioning(t *testing.T) {
	var sources struct {
		Datasources []struct{ UID, Type string }
	}
	if err := yaml.Unmarshal(read(t, filepath.Join(grafana, "provisioning", "datasources", "datasources.yaml")), &sources); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, source := range sources.Datasources {
		if source.UID != source.Type {
			t.Errorf("the uid of the source for %s is %s", source.Type, source.UID)
		}
		kinds = append(kinds, source.Type)
	}
	if !slices.Equal(kinds, []string{"prometheus", "loki"}) {
		t.Errorf("the sources are of %v", kinds)
	}

	service := load(t).Services["grafana"]
	folder, home := service.Environment["DASHBOARDS"], service.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if folder == nil || home == nil {
		t.Fatalf("the folder is %v, the home %v", folder, home)
	}
	if *home != *folder+"/dashboard.json" {
		t.Errorf("the home is %s, not in %s", *home, *folder)
	}
	mounted := slices.ContainsFunc(service.Volumes, func(volume types.ServiceVolumeConfig) bool { return volume.Target == *home })
	if !mounted {
		t.Errorf("nothing is mounted at %s", *home)
	}
}
