package e2e

import (
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestKubernetesValues starts the configuration of the pods as one with an IPv4 and one with an IPv6 address, on free ports.
func TestKubernetesValues(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
			if err != nil {
				t.Skipf("there is no %s here: %v", address, err)
			}
			listener.Close()

			content, err := yaml.Marshal(kubernetesValues(t).AlternateConfig)
			if err != nil {
				t.Fatal(err)
			}
			text, ports := string(content), make(map[string]string)
			for _, fixed := range []string{"8550", "13133", "8888"} {
				ports[fixed] = port(t, freeAddress(t))
				moved := regexp.MustCompile(`\b`+fixed+`\b`).ReplaceAllLiteralString(text, ports[fixed])
				if moved == text {
					t.Fatalf("the configuration has no port %s", fixed)
				}
				text = moved
			}
			config := filepath.Join(t.TempDir(), "relay.yaml")
			write(t, config, text)

			// What the chart gives the pod.
			environment := []string{"MY_POD_IP=" + address, "OTEL_K8S_POD_NAME=failures-0", "OTEL_K8S_NAMESPACE=mail", "STORAGE_DIRECTORY=" + t.TempDir()}
			validate(t, environment, config)
			c, err := launch(environment, "--config", config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.kill)
			at := func(fixed string) string { return "http://" + net.JoinHostPort(address, ports[fixed]) }
			c.eventually(t, "the probe is answered", func() bool {
				status, _ := call(http.MethodGet, at("13133"))
				return status == http.StatusOK
			})
			if status, _ := call(http.MethodGet, at("8888")+"/metrics"); status != http.StatusOK {
				t.Errorf("its own metrics are answered with %d", status)
			}
			if status, _ := call(http.MethodPost, at("8550")+"/failures"); status != http.StatusUnauthorized {
				t.Errorf("an unsigned report is answered with %d", status)
			}
			if err := c.stop(t); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// TestKubernetesRestricted holds the values to what the "restricted" Pod Security Standard asks of a pod.
func TestKubernetesRestricted(t *testing.T) {
	values := kubernetesValues(t)
	container := values.SecurityContext
	if !container.RunAsNonRoot || container.RunAsUser == 0 {
		t.Errorf("it may run as root: %+v", container)
	}
	if container.AllowPrivilegeEscalation == nil || *container.AllowPrivilegeEscalation || container.Privileged {
		t.Errorf("it may gain privileges: %+v", container)
	}
	if !slices.Equal(container.Capabilities.Drop, []string{"ALL"}) || len(container.Capabilities.Add) > 0 {
		t.Errorf("its capabilities are %+v", container.Capabilities)
	}
	if container.SeccompProfile.Type != "RuntimeDefault" || !container.ReadOnlyRootFilesystem {
		t.Errorf("its system calls or its files are not held: %+v", container)
	}
	if values.HostNetwork || len(values.HostAliases) > 0 || values.ExtraVolumes != nil {
		t.Error("it asks for something of the host")
	}
	if values.PodSecurityContext.SeccompProfile.Type != "RuntimeDefault" || !values.PodSecurityContext.RunAsNonRoot {
		t.Errorf("what else runs in the pod is not held: %+v", values.PodSecurityContext)
	}
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

// chartValues is what is read of the values for the chart.
type chartValues struct {
	AlternateConfig    map[string]any  `yaml:"alternateConfig"`
	SecurityContext    securityContext `yaml:"securityContext"`
	PodSecurityContext securityContext `yaml:"podSecurityContext"`
	HostNetwork        bool            `yaml:"hostNetwork"`
	HostAliases        []any           `yaml:"hostAliases"`
	ExtraVolumes       []any           `yaml:"extraVolumes"`
}

func kubernetesValues(t *testing.T) chartValues {
	t.Helper()
	var values chartValues
	if err := yaml.Unmarshal([]byte(readFile(t, root+"/examples/kubernetes/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	return values
}
