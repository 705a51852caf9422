package e2e

import (
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// TestSystemdConfiguration starts the configuration of the systemd unit with the sample
// environment.
func TestSystemdConfiguration(t *testing.T) {
	environment := environmentFile(t, root+"/packaging/systemd/environment")
	config := root + "/packaging/systemd/config.yaml"
	state := t.TempDir()
	validate(t, append(environment, "STATE_DIRECTORY="+state), "--config", config)

	c := newCollector(t, append(environment, "STATE_DIRECTORY="+state), config).start(t)
	checkSignedOnly(t, "http://"+c.address, "http://"+c.health)
	status, body := get("http://" + c.address + "/" + valueIn(environment, "OWNERSHIP_FILE"))
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, valueIn(environment, "OWNERSHIP_CONTENT"), body)
	c.stop(t)
	for _, file := range []string{"receiver_smtp_failure_", "exporter_otlp_http__logs", "exporter_otlp_http__metrics"} {
		assert.FileExists(t, filepath.Join(state, file))
	}
}

// checkSignedOnly checks that the health is good, and that an unsigned call is refused.
func checkSignedOnly(t *testing.T, receiver, health string) {
	t.Helper()
	status, text := get(health)
	assert.Equal(t, http.StatusOK, status, text)
	assert.Equal(t, http.StatusUnauthorized, post(receiver+"/failures", nil))
}

// environmentFile reads a simple file as systemd reads an EnvironmentFile.
func environmentFile(t *testing.T, path string) (environment []string) {
	t.Helper()
	for line := range strings.Lines(readFile(t, path)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			require.Regexp(t, `^[A-Z_]+=`, line, "a line that systemd does not take")
			environment = append(environment, line)
		}
	}
	return environment
}

// valueIn returns the last value that the environment gives the name.
func valueIn(environment []string, name string) (value string) {
	for _, variable := range environment {
		if found, ok := strings.CutPrefix(variable, name+"="); ok {
			value = found
		}
	}
	return value
}

// TestSystemdUnit checks the unit with systemd-analyze.
func TestSystemdUnit(t *testing.T) {
	const unit = root + "/packaging/systemd/otelcol-smtpfailure.service"
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze here")
	}
	t.Run("verify", func(t *testing.T) {
		program, err := filepath.Abs(binary)
		require.NoError(t, err)
		moved := strings.ReplaceAll(readFile(t, unit), "/usr/bin/otelcol-smtpfailure", program)
		installed := write(t, filepath.Base(unit), moved)
		// It exits with 0 for much of what it complains about.
		assert.NotContains(t, run(t, exec.Command("systemd-analyze", "verify", "--man=no", installed)),
			filepath.Base(unit))
	})
	t.Run("security", func(t *testing.T) {
		output := run(t, exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", unit))
		found := regexp.MustCompile(`Overall exposure level for \S+: (\d+\.\d+)`).FindStringSubmatch(output)
		require.NotNil(t, found, output)
		score, err := strconv.ParseFloat(found[1], 64)
		require.NoError(t, err)
		// The rest is mostly the network. Other versions of systemd give slightly other scores.
		assert.LessOrEqual(t, score, 1.5, output)
	})
}

// chartValues is what is read of the values for the chart.
type chartValues struct {
	AlternateConfig    map[string]any  `yaml:"alternateConfig"`
	SecurityContext    securityContext `yaml:"securityContext"`
	PodSecurityContext securityContext `yaml:"podSecurityContext"`
	HostNetwork        bool            `yaml:"hostNetwork"`
	HostAliases        []any           `yaml:"hostAliases"`
	ExtraVolumes       []any           `yaml:"extraVolumes"`
}

// securityContext is what a container or a pod may do.
type securityContext struct {
	RunAsUser                int                          `yaml:"runAsUser"`
	RunAsNonRoot             bool                         `yaml:"runAsNonRoot"`
	AllowPrivilegeEscalation *bool                        `yaml:"allowPrivilegeEscalation"`
	Privileged               bool                         `yaml:"privileged"`
	ReadOnlyRootFilesystem   bool                         `yaml:"readOnlyRootFilesystem"`
	Capabilities             struct{ Drop, Add []string } `yaml:"capabilities"`
	SeccompProfile           struct{ Type string }        `yaml:"seccompProfile"`
}

func kubernetesValues(t *testing.T) (values chartValues) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(readFile(t, root+"/examples/kubernetes/values.yaml")), &values))
	return values
}

// TestKubernetesValues starts the configuration of the pods with an IPv4 and with an IPv6 address.
func TestKubernetesValues(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
			if err != nil {
				t.Skipf("there is no %s here: %v", address, err)
			}
			require.NoError(t, listener.Close())
			content, err := yaml.Marshal(kubernetesValues(t).AlternateConfig)
			require.NoError(t, err)
			text, urls := string(content), make(map[string]string)
			for _, fixed := range []string{"8550", "13133", "8888"} {
				moved := port(t, freeAddress(t))
				urls[fixed] = "http://" + net.JoinHostPort(address, moved)
				require.Regexp(t, `\b`+fixed+`\b`, text)
				text = regexp.MustCompile(`\b`+fixed+`\b`).ReplaceAllLiteralString(text, moved)
			}
			config := write(t, "relay.yaml", text)
			// What the chart gives the pod.
			c := &collector{args: []string{"--config", config}, environment: []string{
				"MY_POD_IP=" + address, "OTEL_K8S_POD_NAME=failures-0", "OTEL_K8S_NAMESPACE=mail",
				"STORAGE_DIRECTORY=" + t.TempDir(),
			}}
			validate(t, c.environment, "--config", config)
			c.start(t)
			t.Cleanup(c.kill)
			status, _ := get(urls["8888"] + "/metrics")
			assert.Equal(t, http.StatusOK, status)
			checkSignedOnly(t, urls["8550"], urls["13133"])
			c.stop(t)
		})
	}
}

// TestKubernetesRestricted compares the values with what the "restricted" Pod Security Standard
// asks of a pod.
func TestKubernetesRestricted(t *testing.T) {
	values := kubernetesValues(t)
	container, no := values.SecurityContext, false
	assert.NotZero(t, container.RunAsUser)
	container.RunAsUser = 0
	want := securityContext{RunAsNonRoot: true, AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: true}
	want.Capabilities.Drop, want.SeccompProfile.Type = []string{"ALL"}, "RuntimeDefault"
	assert.Equal(t, want, container)
	assert.True(t, values.PodSecurityContext.RunAsNonRoot)
	assert.Equal(t, "RuntimeDefault", values.PodSecurityContext.SeccompProfile.Type)
	assert.False(t, values.HostNetwork)
	assert.Empty(t, values.HostAliases)
	assert.Empty(t, values.ExtraVolumes)
}

// TestNginx sends signed calls through the nginx of the documentation while the collector is
// restarted. No call may fail once the collector answers again.
func TestNginx(t *testing.T) {
	const connections, enough = 4, 200
	var locations []string
	for _, b := range blocksOf(t, root+"/docs/webhook.md") {
		if b.language == "nginx" {
			locations = append(locations, b.text)
		}
	}
	require.Len(t, locations, 1)
	c := newSigned(t, startDNS(t)).start(t)
	proxy := startNginx(t, locations[0], c.address, "/smtpeter-1a2b3c.txt")

	// Each connection repeats a call of its own, over and over.
	var (
		workers                sync.WaitGroup
		restarted, over        atomic.Bool
		accepted, failed, lost atomic.Int64
	)
	for range connections {
		r := signedCall("nginx")
		r.Del("Connection")
		raw := r.Sign().Raw()
		workers.Go(func() {
			for !over.Load() {
				w, err := dial(strings.TrimPrefix(proxy.url, "http://"))
				if err != nil {
					t.Error(err)
					return
				}
				for err == nil && !over.Load() {
					begun := restarted.Load()
					var got rawResponse
					got, err = w.exchange(raw)
					switch {
					case got.status == http.StatusOK:
						accepted.Add(1)
					case begun:
						failed.Add(1)
					default:
						lost.Add(1)
					}
				}
				_ = w.Close()
			}
		})
	}
	defer workers.Wait()
	defer over.Store(true)

	proxy.eventually(t, "calls are accepted", func() bool { return accepted.Load() >= enough })
	assert.Zero(t, lost.Load(), "calls lost before the restart")
	c.stop(t)
	proxy.eventually(t, "calls are lost", func() bool { return lost.Load() >= connections })
	c.start(t)
	restarted.Store(true)
	before := accepted.Load()
	proxy.eventually(t, "calls are accepted again", func() bool { return accepted.Load() >= before+enough })
	assert.Zero(t, failed.Load(), "calls lost after the collector answered again")
}
