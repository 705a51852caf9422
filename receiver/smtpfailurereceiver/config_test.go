package smtpfailurereceiver

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

var configFiles = filepath.Join("testdata", "config")

// unmarshalConfig reads a configuration over the defaults, as the collector does.
func unmarshalConfig(conf *confmap.Conf) (*Config, error) {
	config := defaultConfig()
	return config, conf.Unmarshal(config)
}

// configOf reads a configuration that is valid.
func configOf(t *testing.T, yaml string) *Config {
	t.Helper()
	retrieved, err := confmap.NewRetrievedFromYAML([]byte(yaml))
	require.NoError(t, err)
	conf, err := retrieved.AsConf()
	require.NoError(t, err)
	config, err := unmarshalConfig(conf)
	require.NoError(t, err)
	require.NoError(t, confmap.Validate(config))
	return config
}

// readAll reads the file that sets every key.
func readAll(t *testing.T) *Config {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join(configFiles, "all.yaml"))
	require.NoError(t, err)
	config, err := unmarshalConfig(conf)
	require.NoError(t, err)
	require.NoError(t, confmap.Validate(config))
	return config
}

// equalConfigs compares two configurations, but for which keys of a metric were set.
func equalConfigs(t *testing.T, want, got *Config) {
	t.Helper()
	unexported := cmp.FilterPath(func(path cmp.Path) bool {
		field, ok := path.Last().(cmp.StructField)
		return ok && (field.Name() == "_" || field.Name() == "enabledSetByUser")
	}, cmp.Ignore())
	if diff := cmp.Diff(want, got, unexported, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestKeepAlive(t *testing.T) {
	for _, tc := range []struct {
		name, yaml string
		idle       time.Duration
		kept       bool
	}{
		{"default", "", 2 * time.Minute, true},
		{"set", "http: {keepalive: {idle_timeout: 14s}}", 14 * time.Second, true},
		{"disabled", "http: {keepalive: {enabled: false}}", 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := startRun(t, configOf(t, tc.yaml))
			assert.Equal(t, tc.idle, run.receiver.server.IdleTimeout)
			response, err := http.Get(run.url())
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			assert.Equal(t, tc.kept, !response.Close)
		})
	}
}

func TestDefaultConfigsShareNothing(t *testing.T) {
	one := configOf(t, "tags: {include: [a]}\nresource_attributes: {service.name: x}\n"+
		"metrics: {email.delivery.failures: {attributes: [error.type]}}")
	assert.Equal(t, []string{"a"}, one.Tags.Include)
	two := configOf(t, "")
	assert.Equal(t, []string{"*"}, two.Tags.Include)
	assert.Empty(t, two.ResourceAttributes)
	assert.Greater(t, len(two.Metrics.EmailDeliveryFailures.EnabledAttributes), 1)
}

// The keys below http are the collector's, and docs compares the defaults.
func TestEveryKey(t *testing.T) {
	got := readAll(t)
	storage := component.MustNewIDWithName("file_storage", "failures")
	want := &Config{
		HTTP: got.HTTP,
		Path: "/hooks/failures",
		OwnershipFiles: []OwnershipFileConfig{
			{Name: "smtpeter-1a2b3c.txt", Content: "1a2b3c"},
			{Name: "copernica.txt", File: "/etc/otelcol/copernica.txt"},
		},
		Timezone: "Europe/Amsterdam",
		ResourceAttributes: map[string]string{
			"service.name": "mail", "service.instance.id": "replica-1",
			"deployment.environment.name": "production", "customer.number": "0042",
		},
		Causes:  []CauseConfig{{Phrase: "weergave geweigerd", ErrorType: "policy"}},
		CountBy: []string{"mailing", "parameters.segment"},
		Tags: TagsConfig{
			Include: []string{"campaign-*", "newsletter"}, Exclude: []string{"*-test", `\*`},
		},
		Aggregation:   AggregationConfig{Interval: time.Minute, Temporality: "delta", CardinalityLimit: 500},
		Deduplication: DeduplicationConfig{TTL: time.Hour, MaxEntries: 5000},
		Storage:       &storage,
		Signature: configoptional.Some(SignatureConfig{
			Accounts: []string{"environment-1234", "account-5678"}, Hosts: []string{"hooks.example.com"},
			SignedPathPrefix: "/public", MaxAge: time.Minute, Resolver: "127.0.0.1:5353",
		}),
		Recipient: RecipientConfig{
			Mode: "hmac", Key: "0123456789abcdef", Description: "redact", Variables: []string{"mailing", "parameters"},
		},
		Metrics: metadata.MetricsConfig{
			EmailDeliveries: metadata.EmailDeliveriesMetricConfig{
				Enabled:             true,
				AggregationStrategy: metadata.AggregationStrategySum,
				EnabledAttributes:   []metadata.EmailDeliveriesMetricAttributeKey{"email.recipient.domain"},
			},
			EmailDeliveriesByTag: metadata.EmailDeliveriesByTagMetricConfig{
				Enabled:             true,
				AggregationStrategy: metadata.AggregationStrategySum,
				EnabledAttributes: []metadata.EmailDeliveriesByTagMetricAttributeKey{
					"email.tag", "copernica.account.id",
				},
			},
			EmailDeliveryFailures: metadata.EmailDeliveryFailuresMetricConfig{
				AggregationStrategy: metadata.AggregationStrategySum,
				EnabledAttributes: []metadata.EmailDeliveryFailuresMetricAttributeKey{
					"smtp.response.status_code", "email.recipient.domain",
				},
			},
			EmailDeliveryFailuresByTag: metadata.EmailDeliveryFailuresByTagMetricConfig{
				AggregationStrategy: metadata.AggregationStrategySum,
				EnabledAttributes:   []metadata.EmailDeliveryFailuresByTagMetricAttributeKey{"email.tag", "error.type"},
			},
		},
	}
	equalConfigs(t, want, got)
}

func TestEveryKeyIsInTheFile(t *testing.T) {
	isSection := func(t reflect.Type) bool {
		return t == reflect.TypeFor[confighttp.ServerConfig]() || t == reflect.TypeFor[confignet.AddrConfig]() ||
			t.Kind() == reflect.Struct && strings.HasPrefix(t.PkgPath(), "github.com/smtpfailure/")
	}
	var walk func(key string, original, set reflect.Value)
	walk = func(key string, original, set reflect.Value) {
		for i := range original.NumField() {
			field := original.Type().Field(i)
			tag := field.Tag.Get("mapstructure")
			if tag == "" || field.Name == "AggregationStrategy" { // which has one value
				continue
			}
			name, _, _ := strings.Cut(tag, ",")
			name = key + name
			if isSection(field.Type) {
				if !strings.HasSuffix(tag, ",squash") {
					name += "::"
				}
				walk(name, original.Field(i), set.Field(i))
				continue
			}
			if reflect.DeepEqual(original.Field(i).Interface(), set.Field(i).Interface()) {
				t.Errorf("all.yaml leaves %s at its default", name)
			}
		}
	}
	walk("", reflect.ValueOf(defaultConfig()).Elem(), reflect.ValueOf(readAll(t)).Elem())
}

// Each file has one mistake, and begins with lines that say what the message has to contain.
func TestInvalidConfigs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(configFiles, "invalid_*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "invalid_"), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			conf, err := confmaptest.LoadConf(file)
			require.NoError(t, err)
			config, err := unmarshalConfig(conf)
			if err == nil {
				err = confmap.Validate(config)
			}
			require.Error(t, err)
			lines := 0
			for line := range strings.Lines(string(text)) {
				want, ok := strings.CutPrefix(line, "# error:")
				if !ok {
					break
				}
				want = strings.TrimSpace(want)
				require.NotEmpty(t, want)
				require.ErrorContains(t, err, want)
				lines++
			}
			require.Positive(t, lines, "the file has to begin with a line `# error: …`")
		})
	}
}

// What is not set keeps its default, and what is set replaces it.
func TestPartialConfigs(t *testing.T) {
	type attributes = []metadata.EmailDeliveryFailuresMetricAttributeKey
	for yaml, set := range map[string]func(*Config){
		"http:\ntags:\naggregation:\nmetrics:\nresource_attributes:\n": func(*Config) {},
		"http: {}\ntags: {}\naggregation: {}\nmetrics: {}\n":           func(*Config) {},

		"http: {endpoint: ':8550'}": func(c *Config) { c.HTTP.NetAddr.Endpoint = ":8550" },
		"http: {transport: unix, endpoint: /run/failures.sock}": func(c *Config) {
			c.HTTP.NetAddr.Transport, c.HTTP.NetAddr.Endpoint = confignet.TransportTypeUnix, "/run/failures.sock"
		},
		"tags: {exclude: [a]}": func(c *Config) { c.Tags.Exclude = []string{"a"} },
		"tags: {include: []}":  func(c *Config) { c.Tags.Include = []string{} },
		"tags: {include: a}":   func(c *Config) { c.Tags.Include = []string{"a"} },
		"metrics: {email.delivery.failures: {enabled: false}}": func(c *Config) {
			c.Metrics.EmailDeliveryFailures.Enabled = false
		},
		"metrics: {email.delivery.failures: {attributes: [error.type]}}": func(c *Config) {
			c.Metrics.EmailDeliveryFailures.EnabledAttributes = attributes{"error.type"}
		},
		"metrics: {email.delivery.failures: {attributes: []}}": func(c *Config) {
			c.Metrics.EmailDeliveryFailures.EnabledAttributes = attributes{}
		},
		"resource_attributes: {a: '', b: '9223372036854775807', c: \"-1.50\"}": func(c *Config) {
			c.ResourceAttributes = map[string]string{"a": "", "b": "9223372036854775807", "c": "-1.50"}
		},
	} {
		want := defaultConfig()
		set(want)
		equalConfigs(t, want, configOf(t, yaml))
	}
}

// provider has one value, whatever it is asked for.
type provider struct{ scheme, yaml string }

func (p provider) Retrieve(context.Context, string, confmap.WatcherFunc) (*confmap.Retrieved, error) {
	return confmap.NewRetrievedFromYAML([]byte(p.yaml))
}
func (p provider) Scheme() string               { return p.scheme }
func (provider) Shutdown(context.Context) error { return nil }

func (p provider) factory() confmap.ProviderFactory {
	return confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return p })
}

func TestResourceAttributesKeepTheirSpelling(t *testing.T) {
	const yaml = "resource_attributes: {service.instance.id: '${env:REPLICA}', x: 'a-${env:REPLICA}'}"
	for _, written := range []string{"0012", "12", "1e3", "0x1F", "true", "1.50", "2026-11-21", "replica-1", "~"} {
		resolver, err := confmap.NewResolver(confmap.ResolverSettings{
			URIs: []string{"file:"},
			ProviderFactories: []confmap.ProviderFactory{
				provider{"env", written}.factory(), provider{"file", yaml}.factory(),
			},
		})
		require.NoError(t, err)
		conf, err := resolver.Resolve(t.Context())
		require.NoError(t, err)
		got, err := unmarshalConfig(conf)
		require.NoError(t, err, written)
		assert.Equal(t, map[string]string{"service.instance.id": written, "x": "a-" + written}, got.ResourceAttributes)
	}
}

func TestCollidingResourceAttributes(t *testing.T) {
	config := defaultConfig()
	config.CountBy = []string{"mailing"}
	config.ResourceAttributes = map[string]string{
		"service.name": "mail", "job": "x", "instance": "y", "error.type": "z", "email_tag": "a",
		"copernica.mailing": "b", "otel/metric/overflow": "c", "team.name": "d", "team_name": "e", "Job": "f",
	}
	assert.Equal(t, []string{
		"copernica.mailing", "email_tag", "error.type", "instance", "job", "otel/metric/overflow", "team_name",
	}, collidingAttributes(config))
}
