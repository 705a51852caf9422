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
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

var configFiles = filepath.Join("testdata", "config")

// unmarshalConfig reads a configuration over the defaults, as the collector does.
func unmarshalConfig(t *testing.T, conf *confmap.Conf) (*Config, error) {
	t.Helper()
	config, ok := createDefaultConfig().(*Config)
	require.True(t, ok)
	return config, conf.Unmarshal(config)
}

// configOf reads a configuration that is valid.
func configOf(t *testing.T, yaml string) *Config {
	t.Helper()
	retrieved, err := confmap.NewRetrievedFromYAML([]byte(yaml))
	require.NoError(t, err)
	conf, err := retrieved.AsConf()
	require.NoError(t, err)
	config, err := unmarshalConfig(t, conf)
	require.NoError(t, err)
	require.NoError(t, confmap.Validate(config))
	return config
}

// equalConfigs compares two configurations. It ignores which keys of a metric a user has set.
func equalConfigs(t *testing.T, want, got *Config) {
	t.Helper()
	if diff := cmp.Diff(want, got,
		cmpopts.IgnoreUnexported(Config{}, TagsConfig{}, AggregationConfig{}, DeduplicationConfig{}, OwnershipFileConfig{}, SignatureConfig{}, RecipientConfig{}, confighttp.ServerConfig{}, confighttp.KeepaliveServerConfig{}, confighttp.AuthConfig{}, confighttp.CORSConfig{},
			confignet.AddrConfig{}, confignet.DialerConfig{}, metadata.EmailDeliveriesMetricConfig{}, metadata.EmailDeliveriesByTagMetricConfig{},
			metadata.EmailDeliveryFailuresMetricConfig{}, metadata.EmailDeliveryFailuresByTagMetricConfig{}),
		cmp.Exporter(func(reflect.Type) bool { return true }),
	); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDefaultConfig(t *testing.T) {
	http := confighttp.NewDefaultServerConfig()
	http.NetAddr.Endpoint = "localhost:8550"
	http.MaxRequestBodySize = 262144
	http.ReadTimeout = 30 * time.Second
	http.ReadHeaderTimeout = 10 * time.Second
	http.Keepalive.Get().IdleTimeout = 2 * time.Minute
	want := &Config{
		HTTP:          http,
		Path:          "/failures",
		Timezone:      "UTC",
		Tags:          TagsConfig{Include: []string{"*"}},
		Aggregation:   AggregationConfig{Interval: 10 * time.Second, Temporality: "cumulative", CardinalityLimit: 2000, MaxStale: 24 * time.Hour},
		Signature:     configoptional.Default(SignatureConfig{MaxAge: 5 * time.Minute}),
		Recipient:     RecipientConfig{Mode: "full", Description: "drop"},
		Deduplication: DeduplicationConfig{Enabled: true, TTL: 24 * time.Hour, MaxEntries: 100_000},
		Metrics:       metadata.DefaultMetricsConfig(),
	}
	got, err := unmarshalConfig(t, confmap.New())
	require.NoError(t, err)
	equalConfigs(t, want, got)
	require.NoError(t, confmap.Validate(got))
	require.NoError(t, componenttest.CheckConfigStruct(got))

	assert.False(t, got.Metrics.EmailDeliveries.Enabled)
	assert.False(t, got.Metrics.EmailDeliveriesByTag.Enabled)
	assert.True(t, got.Metrics.EmailDeliveryFailures.Enabled)
	assert.True(t, got.Metrics.EmailDeliveryFailuresByTag.Enabled)
	assert.Equal(t, confignet.TransportTypeTCP, got.HTTP.NetAddr.Transport)
	assert.Positive(t, got.HTTP.WriteTimeout, "a write has to end")
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
			config := configOf(t, tc.yaml)
			config.HTTP.NetAddr.Endpoint = "localhost:0"
			r := startRun(t, config, asItIs)
			assert.Equal(t, tc.idle, r.receiver.server.IdleTimeout)
			response, err := new(http.Client).Get(r.url())
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			assert.Equal(t, tc.kept, !response.Close)
		})
	}
}

// Two receivers must not share what one of them is given.
func TestDefaultConfigsAreApart(t *testing.T) {
	one := configOf(t, "tags: {include: [a]}\nresource_attributes: {service.name: x}\nmetrics: {email.delivery.failures: {attributes: [error.type]}}")
	assert.Equal(t, []string{"a"}, one.Tags.Include)
	two := configOf(t, "path: /other")
	assert.Equal(t, []string{"*"}, two.Tags.Include)
	assert.Empty(t, two.ResourceAttributes)
	assert.Equal(t, metadata.DefaultMetricsConfig().EmailDeliveryFailures.EnabledAttributes, two.Metrics.EmailDeliveryFailures.EnabledAttributes)
}

func TestEveryKey(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join(configFiles, "all.yaml"))
	require.NoError(t, err)
	got, err := unmarshalConfig(t, conf)
	require.NoError(t, err)
	require.NoError(t, confmap.Validate(got))

	require.True(t, got.HTTP.TLS.HasValue())
	tls := got.HTTP.TLS.Get()
	assert.Equal(t, "/etc/ssl/failures.pem", tls.CertFile)
	assert.Equal(t, "/etc/ssl/failures.key", tls.KeyFile)
	assert.Equal(t, "/etc/ssl/senders.pem", tls.ClientCAFile)
	assert.Equal(t, "1.3", tls.MinVersion)
	require.True(t, got.HTTP.CORS.HasValue())
	cors := got.HTTP.CORS.Get()
	assert.Equal(t, []string{"https://dashboard.example"}, cors.AllowedOrigins)
	assert.Equal(t, []string{"X-Test"}, cors.AllowedHeaders)
	assert.Equal(t, []string{"X-Exposed"}, cors.ExposedHeaders)
	assert.Equal(t, 60, cors.MaxAge)
	require.True(t, got.HTTP.Auth.HasValue())
	auth := got.HTTP.Auth.Get()
	// Asked for by its key: the field that holds it has another name from release to release of the collector.
	marshalled := confmap.New()
	require.NoError(t, marshalled.Marshal(auth))
	assert.Equal(t, "basicauth/failures", marshalled.Get("authenticator"))
	assert.Equal(t, []string{"token"}, auth.RequestParameters)
	require.Len(t, got.HTTP.Middlewares, 1)
	assert.Equal(t, component.MustNewIDWithName("limitermiddleware", "failures"), got.HTTP.Middlewares[0].ID)
	header, ok := got.HTTP.ResponseHeaders.Get("X-Receiver")
	assert.True(t, ok)
	assert.Equal(t, configopaque.String("smtp_failure"), header)

	http := confighttp.NewDefaultServerConfig()
	http.NetAddr = confignet.AddrConfig{Endpoint: "127.0.0.1:9550", Transport: confignet.TransportTypeTCP4, DialerConfig: confignet.DialerConfig{Timeout: 3 * time.Second}}
	http.TLS, http.CORS, http.Auth, http.Middlewares, http.ResponseHeaders = got.HTTP.TLS, got.HTTP.CORS, got.HTTP.Auth, got.HTTP.Middlewares, got.HTTP.ResponseHeaders // compared above
	http.MaxRequestBodySize = 65536
	http.IncludeMetadata = true
	http.CompressionAlgorithms = []string{"gzip"}
	http.ReadTimeout = 11 * time.Second
	http.Keepalive.Get().IdleTimeout = 14 * time.Second
	http.ReadHeaderTimeout = 12 * time.Second
	http.WriteTimeout = 13 * time.Second
	storage := component.MustNewIDWithName("file_storage", "failures")
	want := &Config{
		HTTP: http,
		Path: "/hooks/failures",
		OwnershipFiles: []OwnershipFileConfig{
			{Name: "smtpeter-1a2b3c.txt", Content: "1a2b3c"},
			{Name: "copernica.txt", File: "/etc/otelcol/copernica.txt"},
		},
		Timezone: "Europe/Amsterdam",
		ResourceAttributes: map[string]string{
			"service.name": "mail", "service.instance.id": "replica-1", "deployment.environment.name": "production", "customer.number": "0042",
		},
		Causes:        []CauseConfig{{Phrase: "weergave geweigerd", ErrorType: "policy"}},
		CountBy:       []string{"mailing", "parameters.segment"},
		Tags:          TagsConfig{Include: []string{"campaign-*", "newsletter"}, Exclude: []string{"*-test", `\*`}},
		Aggregation:   AggregationConfig{Interval: time.Minute, Temporality: "delta", CardinalityLimit: 500},
		Deduplication: DeduplicationConfig{TTL: time.Hour, MaxEntries: 5000},
		Storage:       &storage,
		Signature: configoptional.Some(SignatureConfig{
			Accounts: []string{"environment-1234", "account-5678"}, Hosts: []string{"hooks.example.com"},
			SignedPathPrefix: "/public", MaxAge: time.Minute, Resolver: "127.0.0.1:5353",
		}),
		Recipient: RecipientConfig{Mode: "hmac", Key: "0123456789abcdef", Description: "redact", Variables: []string{"mailing", "parameters"}},
		Metrics: metadata.MetricsConfig{
			EmailDeliveries: metadata.EmailDeliveriesMetricConfig{
				Enabled:             true,
				AggregationStrategy: metadata.AggregationStrategySum,
				EnabledAttributes: []metadata.EmailDeliveriesMetricAttributeKey{
					metadata.EmailDeliveriesMetricAttributeKeyMetricEmailRecipientDomain,
				},
			},
			EmailDeliveriesByTag: metadata.EmailDeliveriesByTagMetricConfig{
				Enabled:             true,
				AggregationStrategy: metadata.AggregationStrategySum,
				EnabledAttributes: []metadata.EmailDeliveriesByTagMetricAttributeKey{
					metadata.EmailDeliveriesByTagMetricAttributeKeyEmailTag,
					metadata.EmailDeliveriesByTagMetricAttributeKeyMetricCopernicaAccountID,
				},
			},
			EmailDeliveryFailures: metadata.EmailDeliveryFailuresMetricConfig{
				AggregationStrategy: metadata.AggregationStrategySum, // the one value it takes
				EnabledAttributes: []metadata.EmailDeliveryFailuresMetricAttributeKey{
					metadata.EmailDeliveryFailuresMetricAttributeKeySMTPResponseStatusCode,
					metadata.EmailDeliveryFailuresMetricAttributeKeyMetricEmailRecipientDomain,
				},
			},
			EmailDeliveryFailuresByTag: metadata.EmailDeliveryFailuresByTagMetricConfig{
				AggregationStrategy: metadata.AggregationStrategySum,
				EnabledAttributes: []metadata.EmailDeliveryFailuresByTagMetricAttributeKey{
					metadata.EmailDeliveryFailuresByTagMetricAttributeKeyEmailTag,
					metadata.EmailDeliveryFailuresByTagMetricAttributeKeyErrorType,
				},
			},
		},
	}
	equalConfigs(t, want, got)

	location, err := got.location()
	require.NoError(t, err)
	assert.Equal(t, "Europe/Amsterdam", location.String())
}

// When a key is added, it has to be added to all.yaml.
func TestEveryKeyIsInTheFile(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join(configFiles, "all.yaml"))
	require.NoError(t, err)
	got, err := unmarshalConfig(t, conf)
	require.NoError(t, err)
	defaults := createDefaultConfig()

	var walk func(key string, want, got reflect.Value)
	walk = func(key string, original, set reflect.Value) {
		for i := range original.NumField() {
			field := original.Type().Field(i)
			tag := field.Tag.Get("mapstructure")
			if tag == "" || field.Name == "AggregationStrategy" {
				continue
			}
			name, _, _ := strings.Cut(tag, ",")
			name = key + name
			if field.Type.Kind() == reflect.Struct && strings.HasPrefix(field.Type.PkgPath(), "github.com/smtpfailure/") || field.Type == reflect.TypeFor[confighttp.ServerConfig]() || field.Type == reflect.TypeFor[confignet.AddrConfig]() {
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
	walk("", reflect.ValueOf(defaults).Elem(), reflect.ValueOf(got).Elem())
}

// Each file is one mistake. It begins with what the message has to hold: the key, and what it must be.
func TestInvalidConfigs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(configFiles, "invalid_*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "invalid_"), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var wanted []string
			for line := range strings.Lines(string(text)) {
				want, ok := strings.CutPrefix(line, "# error:")
				if !ok {
					break
				}
				want = strings.TrimSpace(want)
				require.NotEmpty(t, want, "the file has to say which error it makes")
				wanted = append(wanted, want)
			}
			require.NotEmpty(t, wanted, "the file has to begin with a line `# error: …`")

			conf, err := confmaptest.LoadConf(file)
			require.NoError(t, err)
			config, err := unmarshalConfig(t, conf)
			if err == nil {
				err = confmap.Validate(config)
			}
			require.Error(t, err)
			for _, want := range wanted {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// What is not set keeps its default, and what is set replaces it.
func TestPartialConfigs(t *testing.T) {
	for _, tc := range []struct {
		name, yaml string
		set        func(*Config)
	}{
		{"nothing", "", func(*Config) {}},
		{"sections without keys", "http:\ntags:\naggregation:\nmetrics:\nresource_attributes:\n", func(*Config) {}},
		{"empty sections", "http: {}\ntags: {}\naggregation: {}\nmetrics: {}\nresource_attributes: {}\n", func(c *Config) { c.ResourceAttributes = map[string]string{} }},
		{"exclude leaves include", "tags: {exclude: [a]}", func(c *Config) { c.Tags.Exclude = []string{"a"} }},
		{"include replaces the default", "tags: {include: [a, b]}", func(c *Config) { c.Tags.Include = []string{"a", "b"} }},
		{"include of nothing", "tags: {include: []}", func(c *Config) { c.Tags.Include = []string{} }},
		{"a lone pattern", "tags: {include: a}", func(c *Config) { c.Tags.Include = []string{"a"} }},
		{"endpoint leaves the rest of http", "http: {endpoint: 0.0.0.0:8550}", func(c *Config) { c.HTTP.NetAddr.Endpoint = "0.0.0.0:8550" }},
		{"a port alone", `http: {endpoint: ":8550"}`, func(c *Config) { c.HTTP.NetAddr.Endpoint = ":8550" }},
		{"any free port", `http: {endpoint: "localhost:0"}`, func(c *Config) { c.HTTP.NetAddr.Endpoint = "localhost:0" }},
		{"an address of IPv6", `http: {endpoint: "[::1]:8550"}`, func(c *Config) { c.HTTP.NetAddr.Endpoint = "[::1]:8550" }},
		{"a socket", `http: {transport: unix, endpoint: /run/failures.sock}`, func(c *Config) {
			c.HTTP.NetAddr.Transport, c.HTTP.NetAddr.Endpoint = confignet.TransportTypeUnix, "/run/failures.sock"
		}},
		{"a timeout of zero is none", "http: {write_timeout: 0}", func(c *Config) { c.HTTP.WriteTimeout = 0 }},
		{"interval leaves the rest of aggregation", "aggregation: {interval: 10ms}", func(c *Config) { c.Aggregation.Interval = 10 * time.Millisecond }},
		{"max_stale of zero is never", "aggregation: {max_stale: 0}", func(c *Config) { c.Aggregation.MaxStale = 0 }},
		{"one series", "aggregation: {cardinality_limit: 1}", func(c *Config) { c.Aggregation.CardinalityLimit = 1 }},
		{"enabled leaves the attributes", "metrics: {email.delivery.failures.by_tag: {enabled: false}}", func(c *Config) { c.Metrics.EmailDeliveryFailuresByTag.Enabled = false }},
		{"attributes leave enabled", "metrics: {email.delivery.failures: {attributes: [error.type]}}", func(c *Config) {
			c.Metrics.EmailDeliveryFailures.EnabledAttributes = []metadata.EmailDeliveryFailuresMetricAttributeKey{metadata.EmailDeliveryFailuresMetricAttributeKeyErrorType}
		}},
		{"no attributes at all", "metrics: {email.delivery.failures: {attributes: []}}", func(c *Config) {
			c.Metrics.EmailDeliveryFailures.EnabledAttributes = []metadata.EmailDeliveryFailuresMetricAttributeKey{}
		}},
		{"the one aggregation strategy", "metrics: {email.delivery.failures: {aggregation_strategy: sum}}", func(*Config) {}},
		{"the root as path", "path: /", func(c *Config) { c.Path = "/" }},
		{"a path with a space", "path: /storingen post", func(c *Config) { c.Path = "/storingen post" }},
		{"attributes of the resource", "resource_attributes: {a: '', b: '9223372036854775807', c: \"-1.50\", d: no-boolean}", func(c *Config) {
			c.ResourceAttributes = map[string]string{"a": "", "b": "9223372036854775807", "c": "-1.50", "d": "no-boolean"}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want, ok := createDefaultConfig().(*Config)
			require.True(t, ok)
			tc.set(want)
			equalConfigs(t, want, configOf(t, tc.yaml))
		})
	}
}

// env is a provider of one variable of the environment, read as the collector's own reads them.
type env string

func (e env) Retrieve(context.Context, string, confmap.WatcherFunc) (*confmap.Retrieved, error) {
	return confmap.NewRetrievedFromYAML([]byte(e))
}
func (e env) Scheme() string                 { return "env" }
func (e env) Shutdown(context.Context) error { return nil }

// literal is a provider of a configuration that is its own location.
type literal struct{ env }

func (l literal) Scheme() string { return "literal" }

func TestResourceAttributesAreAsWritten(t *testing.T) {
	const yaml = "resource_attributes: {service.instance.id: '${env:REPLICA}', x: 'a-${env:REPLICA}'}"
	for _, written := range []string{"0012", "12", "1e3", "0x1F", "true", "1.50", "2026-11-21", "replica-1", "~"} {
		resolver, err := confmap.NewResolver(confmap.ResolverSettings{
			URIs: []string{"literal:"},
			ProviderFactories: []confmap.ProviderFactory{
				confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return env(written) }),
				confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return literal{env(yaml)} }),
			},
		})
		require.NoError(t, err)
		conf, err := resolver.Resolve(t.Context())
		require.NoError(t, err)
		got, err := unmarshalConfig(t, conf)
		require.NoError(t, err, written)
		assert.Equal(t, map[string]string{"service.instance.id": written, "x": "a-" + written}, got.ResourceAttributes)
	}
}

func TestCollidingResourceAttributesAreFound(t *testing.T) {
	config := defaultConfig()
	config.CountBy = []string{"mailing"}
	config.ResourceAttributes = map[string]string{
		"service.name": "mail", "job": "x", "instance": "y", "error.type": "z", "email_tag": "a", "copernica.mailing": "b", "otel/metric/overflow": "c",
		"team.name": "d", "team_name": "e", "Job": "f",
	}
	assert.Equal(t, []string{"copernica.mailing", "email_tag", "error.type", "instance", "job", "otel/metric/overflow", "team_name"}, collidingAttributes(config))
}
