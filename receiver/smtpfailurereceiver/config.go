package smtpfailurereceiver

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // so that timezone works where the system has no time zone database
	"unicode"

	"github.com/bmatcuk/doublestar/v4"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/privacy"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

const (
	defaultEndpoint           = "localhost:8550"
	defaultMaxRequestBodySize = 256 << 10
	// A sender that needs longer than this for a few hundred bytes will not finish.
	defaultReadTimeout       = 30 * time.Second
	defaultReadHeaderTimeout = 10 * time.Second
	// Longer than the usual balancers keep an idle connection (60 s), so that it is never the receiver
	// who closes one that a balancer is about to use.
	defaultIdleTimeout      = 2 * time.Minute
	defaultInterval         = 10 * time.Second
	defaultCardinalityLimit = 2000
	defaultMaxStale         = 24 * time.Hour
	defaultTTL              = 24 * time.Hour
	defaultMaxEntries       = 100_000
	minKeyLength            = 16
	defaultPath             = "/failures"
	defaultServiceName      = "smtp_failure"
	minInterval             = 10 * time.Millisecond

	modeFull = "full"

	descriptionDrop   = "drop"
	descriptionRedact = "redact"

	temporalityCumulative = "cumulative"
	temporalityDelta      = "delta"

	attributeServiceName       = "service.name"
	attributeServiceInstanceID = "service.instance.id"
)

// Config is the configuration of one smtp_failure receiver.
type Config struct {
	// HTTP is the server. Its endpoint is localhost:8550, its max_request_body_size 262144 bytes and its read_timeout 30s unless set.
	HTTP confighttp.ServerConfig `mapstructure:"http"`
	// Path is the URL path that takes reports, with a leading slash and no dots or doubled slashes. Default /failures.
	Path string `mapstructure:"path"`
	// OwnershipFiles are what the sender fetches to check that the URL is yours.
	OwnershipFiles []OwnershipFileConfig `mapstructure:"ownership_files"`
	// Signature checks who calls; absent, nobody is checked.
	Signature configoptional.Optional[SignatureConfig] `mapstructure:"signature"`
	// Recipient is what may be told of the person a message was for.
	Recipient RecipientConfig `mapstructure:"recipient"`
	// Timezone is the IANA name of the time zone of the variable timestamp, used where time is absent. Default UTC.
	Timezone string `mapstructure:"timezone"`
	// ResourceAttributes are set on all that is emitted, as they are written. service.name defaults to smtp_failure.
	ResourceAttributes map[string]string `mapstructure:"resource_attributes"`
	// Causes are phrases that tell why deliveries failed. They are tried before the built-in ones.
	Causes []CauseConfig `mapstructure:"causes"`
	// Tags says which tags may become metric attributes.
	Tags TagsConfig `mapstructure:"tags"`
	// CountBy names variables without an attribute of their own that become attributes of all counters. Default none.
	CountBy []string `mapstructure:"count_by"`
	// Aggregation is how the counters are kept and sent.
	Aggregation AggregationConfig `mapstructure:"aggregation"`
	// Deduplication is how repeats of a report are known.
	Deduplication DeduplicationConfig `mapstructure:"deduplication"`
	// Storage is the storage extension in which the counters and the reports that were seen survive a restart. Without one they live as long
	// as the process.
	Storage *component.ID `mapstructure:"storage"`
	// Metrics are the settings of each metric: enabled, and attributes.
	Metrics metadata.MetricsConfig `mapstructure:"metrics"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// OwnershipFileConfig is a file that is served as text to anyone who asks for it with GET or HEAD, at the root and beside the path.
type OwnershipFileConfig struct {
	// Name of the file: letters, digits, dots, dashes and underscores, beginning with a letter or digit.
	Name string `mapstructure:"name"`
	// Content of the file, or File, the path from which it is read once at start; exactly one of the two.
	Content string `mapstructure:"content"`
	File    string `mapstructure:"file"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// SignatureConfig says whose calls are let in. Every call has to be signed as the senders sign them, with a key that the DNS holds below
// copernica.com.
type SignatureConfig struct {
	// Accounts are the exact values of X-Copernica-ID that are let in, such as environment-1234 or account-1234. At least one.
	Accounts []string `mapstructure:"accounts"`
	// Hosts are the accepted values of the signed Host header, without regard to case; any if there are none.
	Hosts []string `mapstructure:"hosts"`
	// SignedPathPrefix is what a proxy takes off the front of the path: the sender signed the path with it. It has a leading slash and no
	// trailing one.
	SignedPathPrefix string `mapstructure:"signed_path_prefix"`
	// MaxAge is how old the signed Date may be; more than 0. Default 5m.
	MaxAge time.Duration `mapstructure:"max_age"`
	// Resolver is the DNS server that is asked for the keys, as IP address and port; the system's if it is empty.
	Resolver string `mapstructure:"resolver"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// RecipientConfig says what may be told of the person a message was for.
type RecipientConfig struct {
	// Mode is full (default), domain, hmac or drop.
	Mode string `mapstructure:"mode"`
	// Key is what the mode hmac hashes addresses with, and every mode but full the identity of a report. At least 16 bytes. Without it, a
	// random one is made, and kept in the store if there is one.
	Key configopaque.String `mapstructure:"key"`
	// Description is what becomes of the description in every mode but full: drop (default), or redact, which tells it without the
	// addresses that can be recognised in it.
	Description string `mapstructure:"description"`
	// Variables are the names of other variables that are told in every mode but full. The name of an array stands for all that is in it.
	Variables []string `mapstructure:"variables"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// CauseConfig says what a phrase tells.
type CauseConfig struct {
	// Phrase is a part of the description, upper and lower case alike.
	Phrase string `mapstructure:"phrase"`
	// ErrorType is the cause it tells, one of the values of error.type.
	ErrorType string `mapstructure:"error_type"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// TagsConfig chooses tags by glob patterns as a shell has them, in which * takes a slash too. Upper and lower case differ.
type TagsConfig struct {
	// Include: a tag has to match one of these. Default ["*"].
	Include []string `mapstructure:"include"`
	// Exclude: a tag must match none of these. Default none.
	Exclude []string `mapstructure:"exclude"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// AggregationConfig bounds the counters and says how they are sent.
type AggregationConfig struct {
	// Interval between two reports of the counters, at least 10ms. Default 10s.
	Interval time.Duration `mapstructure:"interval"`
	// Temporality is cumulative (default) or delta.
	Temporality string `mapstructure:"temporality"`
	// CardinalityLimit is the number of series of each metric, at least 1. Further series add up in one more. Default 2000.
	CardinalityLimit int `mapstructure:"cardinality_limit"`
	// MaxStale is how long a series that is not counted is kept; 0 keeps it forever. Default 24h.
	MaxStale time.Duration `mapstructure:"max_stale"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// DeduplicationConfig bounds what is remembered of the reports that were taken.
type DeduplicationConfig struct {
	// Enabled reports whether a repeat of a report is taken for one. Default true.
	Enabled bool `mapstructure:"enabled"`
	// TTL is how long a report is remembered; more than 0. Default 24h.
	TTL time.Duration `mapstructure:"ttl"`
	// MaxEntries is the number of reports remembered, at least 1; the oldest make room. Default 100000.
	MaxEntries int `mapstructure:"max_entries"`

	// prevent unkeyed literal initialization
	_ struct{}
}

func createDefaultConfig() component.Config {
	http := confighttp.NewDefaultServerConfig()
	http.NetAddr.Endpoint = defaultEndpoint
	http.MaxRequestBodySize = defaultMaxRequestBodySize
	http.ReadTimeout = defaultReadTimeout
	http.ReadHeaderTimeout = defaultReadHeaderTimeout
	http.Keepalive = configoptional.Some(confighttp.KeepaliveServerConfig{IdleTimeout: defaultIdleTimeout})

	return &Config{
		HTTP:      http,
		Path:      defaultPath,
		Signature: configoptional.Default(SignatureConfig{MaxAge: signature.DefaultMaxAge}),
		Recipient: RecipientConfig{Mode: modeFull, Description: descriptionDrop},
		Timezone:  "UTC",
		Tags:      TagsConfig{Include: []string{"*"}},
		Aggregation: AggregationConfig{
			Interval:         defaultInterval,
			Temporality:      temporalityCumulative,
			CardinalityLimit: defaultCardinalityLimit,
			MaxStale:         defaultMaxStale,
		},
		Deduplication: DeduplicationConfig{
			Enabled:    true,
			TTL:        defaultTTL,
			MaxEntries: defaultMaxEntries,
		},
		Metrics: metadata.DefaultMetricsConfig(),
	}
}

// Validate returns an error for every value that cannot work, each with the key and what it must be.
func (c *Config) Validate() error {
	return errors.Join(
		c.validateHTTP(),
		c.validatePath(),
		c.validateOwnershipFiles(),
		c.validateSignature(),
		c.Recipient.validate(),
		c.validateTimezone(),
		c.validateResourceAttributes(),
		c.validateCauses(),
		c.Tags.validate(),
		c.validateCountBy(),
		c.Aggregation.validate(),
		c.Deduplication.validate(),
		c.validateMetrics(),
	)
}

func (c *Config) validateHTTP() error {
	var errs []error
	switch c.HTTP.NetAddr.Transport {
	case confignet.TransportTypeTCP, confignet.TransportTypeTCP4, confignet.TransportTypeTCP6:
		if _, port, err := net.SplitHostPort(c.HTTP.NetAddr.Endpoint); err != nil || !isPort(port) {
			errs = append(errs, fmt.Errorf("http::endpoint: %q; must be an address to listen on, host and port, such as %s", c.HTTP.NetAddr.Endpoint, defaultEndpoint))
		}
	case confignet.TransportTypeUnix:
		if c.HTTP.NetAddr.Endpoint == "" {
			errs = append(errs, errors.New("http::endpoint: is empty; with the transport unix it must be the path of a socket"))
		}
	default:
		errs = append(errs, fmt.Errorf("http::transport: %q; must be tcp, tcp4, tcp6 or unix", c.HTTP.NetAddr.Transport))
	}
	if c.HTTP.MaxRequestBodySize <= 0 {
		errs = append(errs, fmt.Errorf("http::max_request_body_size: %d; must be a number of bytes greater than 0", c.HTTP.MaxRequestBodySize))
	}
	return errors.Join(append(errs, validateTimeouts(&c.HTTP))...)
}

func validateTimeouts(http *confighttp.ServerConfig) error {
	var errs []error
	var idleTimeout time.Duration
	if http.Keepalive.HasValue() {
		idleTimeout = http.Keepalive.Get().IdleTimeout
	}
	for _, timeout := range []struct {
		key   string
		value time.Duration
	}{
		{"read_header_timeout", http.ReadHeaderTimeout},
		{"write_timeout", http.WriteTimeout},
		{"keepalive::idle_timeout", idleTimeout},
	} {
		if timeout.value < 0 {
			errs = append(errs, fmt.Errorf("http::%s: %s; must be a duration of 0 or more", timeout.key, timeout.value))
		}
	}
	if http.ReadTimeout <= 0 {
		errs = append(errs, fmt.Errorf("http::read_timeout: %s; must be a duration greater than 0, because a body that never ends must not be waited for", http.ReadTimeout))
	}
	return errors.Join(errs...)
}

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

func (c *Config) validatePath() error {
	// A path that is not clean, or has a query, could never be asked for: every request would be a 404.
	if !strings.HasPrefix(c.Path, "/") || path.Clean(c.Path) != c.Path || strings.ContainsAny(c.Path, "?#%") || strings.ContainsFunc(c.Path, unicode.IsControl) {
		return fmt.Errorf("path: %q; must be a URL path with a leading slash, and without a trailing one, dots, doubled slashes, escapes, query or fragment, such as %s", c.Path, defaultPath)
	}
	return nil
}

var ownershipFileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (c *Config) validateOwnershipFiles() error {
	var errs []error
	names := make(map[string]bool, len(c.OwnershipFiles))
	for i, file := range c.OwnershipFiles {
		key := fmt.Sprintf("ownership_files::%d", i)
		switch {
		case !ownershipFileName.MatchString(file.Name):
			errs = append(errs, fmt.Errorf("%s::name: %q; must be the name of a file without its folder, such as smtpeter-1a2b3c.txt", key, file.Name))
		case names[file.Name]:
			errs = append(errs, fmt.Errorf("%s::name: %q is there twice; must be a name that no other has", key, file.Name))
		case slices.Contains(c.ownershipPaths(file.Name), c.Path):
			errs = append(errs, fmt.Errorf("%s::name: %q is where path takes reports; must be another name", key, file.Name))
		}
		names[file.Name] = true
		if (file.Content == "") == (file.File == "") {
			errs = append(errs, fmt.Errorf("%s: must have exactly one of content, the text of the file, and file, where it is on disk", key))
		}
	}
	return errors.Join(errs...)
}

// ownershipPaths are the two places where a sender looks for a file: at the root and beside the path.
func (c *Config) ownershipPaths(name string) []string {
	return []string{"/" + name, path.Join(path.Dir(c.Path), name)}
}

func (c *Config) validateSignature() error {
	if !c.Signature.HasValue() {
		return nil
	}
	var errs []error
	s := c.Signature.Get()
	if len(s.Accounts) == 0 || slices.Contains(s.Accounts, "") {
		errs = append(errs, errors.New("signature::accounts: must be the X-Copernica-ID of each account that is let in, at least one and none of them empty, such as environment-1234"))
	}
	if slices.Contains(s.Hosts, "") {
		errs = append(errs, errors.New("signature::hosts: one is empty; must be host names as the sender calls them, such as hooks.example.com"))
	}
	if prefix := s.SignedPathPrefix; prefix != "" && (!strings.HasPrefix(prefix, "/") || path.Clean(prefix) != prefix || prefix == "/") {
		errs = append(errs, fmt.Errorf("signature::signed_path_prefix: %q; must be the start of a URL path with a leading slash and without a trailing one, such as /hooks", prefix))
	}
	if s.MaxAge <= 0 {
		errs = append(errs, fmt.Errorf("signature::max_age: %s; must be a duration greater than 0", s.MaxAge))
	}
	if s.Resolver != "" {
		if _, err := netip.ParseAddrPort(s.Resolver); err != nil {
			errs = append(errs, fmt.Errorf("signature::resolver: %q; must be the IP address and port of a DNS server, such as 127.0.0.1:53", s.Resolver))
		}
	}
	return errors.Join(errs...)
}

// ownAttribute are the variables of which recipient.mode and recipient.description decide, or that every mode tells.
var ownAttribute = []string{"type", "id", "recipient", "action", "state", "description", "tags"}

func (c *RecipientConfig) validate() error {
	var errs []error
	mode, ok := privacy.ParseMode(c.Mode)
	if !ok {
		errs = append(errs, fmt.Errorf("recipient::mode: %q; it must be full, domain, hmac or drop", c.Mode))
	}
	switch {
	case c.Key == "" && mode == privacy.ModeHMAC:
		errs = append(errs, fmt.Errorf("recipient::key: is missing; with the mode hmac it must be a secret of at least %d bytes", minKeyLength))
	case c.Key != "" && len(c.Key) < minKeyLength:
		errs = append(errs, fmt.Errorf("recipient::key: has %d bytes; it must be a secret of at least %d", len(c.Key), minKeyLength))
	}
	if c.Description != descriptionDrop && c.Description != descriptionRedact {
		errs = append(errs, fmt.Errorf("recipient::description: %q; it must be %s or %s", c.Description, descriptionDrop, descriptionRedact))
	}
	for _, name := range c.Variables {
		if name == "" || slices.Contains(ownAttribute, name) {
			errs = append(errs, fmt.Errorf("recipient::variables: %q; it must be the name of a variable without an attribute of its own, such as mailing", name))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateTimezone() error {
	if _, err := c.location(); err != nil {
		return fmt.Errorf("timezone: %q; must be UTC or an IANA time zone name such as Europe/Amsterdam", c.Timezone)
	}
	return nil
}

func (c *Config) location() (*time.Location, error) {
	if c.Timezone == "" || c.Timezone == "Local" {
		// The time zone of the machine is not the sender's.
		return nil, errors.New("not the name of a time zone")
	}
	return time.LoadLocation(c.Timezone)
}

func (c *Config) validateResourceAttributes() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.ResourceAttributes)) {
		switch {
		case name == "":
			errs = append(errs, errors.New("resource_attributes: a name is empty"))
		case c.ResourceAttributes[name] == "" && (name == attributeServiceName || name == attributeServiceInstanceID):
			errs = append(errs, fmt.Errorf("resource_attributes::%s: is empty; leave the key out for its default", name))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateCountBy() error {
	var errs []error
	for i, name := range c.CountBy {
		switch {
		case webhook.HasField(name):
			errs = append(errs, fmt.Errorf("count_by: %q; it must be the name of a variable without an attribute of its own, such as mailing", name))
		case slices.Contains(c.CountBy[:i], name):
			errs = append(errs, fmt.Errorf("count_by: %q is there twice; each must be there once", name))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateCauses() error {
	var errs []error
	for i, phrase := range c.phrases() {
		_, err := smtpstatus.NewCauses([]smtpstatus.Phrase{phrase})
		switch {
		case errors.Is(err, smtpstatus.ErrEmptyPhrase):
			errs = append(errs, fmt.Errorf("causes::%d::phrase: %q %w", i, phrase.Text, err))
		case err != nil:
			errs = append(errs, fmt.Errorf("causes::%d::error_type: %q %w", i, phrase.Cause, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) phrases() []smtpstatus.Phrase {
	phrases := make([]smtpstatus.Phrase, len(c.Causes))
	for i, cause := range c.Causes {
		phrases[i] = smtpstatus.Phrase{Text: cause.Phrase, Cause: cause.ErrorType}
	}
	return phrases
}

func (c *TagsConfig) validate() error {
	var errs []error
	for _, list := range []struct {
		key      string
		patterns []string
	}{{"include", c.Include}, {"exclude", c.Exclude}} {
		for _, pattern := range list.patterns {
			if pattern == "" || !doublestar.ValidatePattern(pattern) {
				errs = append(errs, fmt.Errorf(`tags::%s: %q; must be glob patterns made of text, *, ?, [a-z], [!a-z], {one,other} and \ before a character that is meant literally`, list.key, pattern))
			}
		}
	}
	return errors.Join(errs...)
}

func (c *AggregationConfig) validate() error {
	var errs []error
	if c.Interval < minInterval {
		errs = append(errs, fmt.Errorf("aggregation::interval: %s; must be a duration of at least %s", c.Interval, minInterval))
	}
	if c.Temporality != temporalityCumulative && c.Temporality != temporalityDelta {
		errs = append(errs, fmt.Errorf("aggregation::temporality: %q; must be %s or %s", c.Temporality, temporalityCumulative, temporalityDelta))
	}
	if c.CardinalityLimit < 1 {
		errs = append(errs, fmt.Errorf("aggregation::cardinality_limit: %d; must be a number of series of at least 1", c.CardinalityLimit))
	}
	if c.MaxStale != 0 && c.MaxStale < c.Interval {
		errs = append(errs, fmt.Errorf("aggregation::max_stale: %s; must be a duration no shorter than aggregation::interval, or 0 for never", c.MaxStale))
	}
	return errors.Join(errs...)
}

func (c *DeduplicationConfig) validate() error {
	var errs []error
	if c.TTL <= 0 {
		errs = append(errs, fmt.Errorf("deduplication::ttl: %s; must be a duration greater than 0", c.TTL))
	}
	if c.MaxEntries < 1 {
		errs = append(errs, fmt.Errorf("deduplication::max_entries: %d; must be a number of reports of at least 1", c.MaxEntries))
	}
	return errors.Join(errs...)
}

// validateMetrics refuses the generated key that a counter cannot follow: attributes that are left out can only be added up.
func (c *Config) validateMetrics() error {
	var errs []error
	for _, metric := range []struct{ name, strategy string }{
		{metadata.MetricsInfo.EmailDeliveries.Name, c.Metrics.EmailDeliveries.AggregationStrategy},
		{metadata.MetricsInfo.EmailDeliveriesByTag.Name, c.Metrics.EmailDeliveriesByTag.AggregationStrategy},
		{metadata.MetricsInfo.EmailDeliveryFailures.Name, c.Metrics.EmailDeliveryFailures.AggregationStrategy},
		{metadata.MetricsInfo.EmailDeliveryFailuresByTag.Name, c.Metrics.EmailDeliveryFailuresByTag.AggregationStrategy},
	} {
		if metric.strategy != metadata.AggregationStrategySum {
			errs = append(errs, fmt.Errorf("metrics::%s::aggregation_strategy: %q; must be %s", metric.name, metric.strategy, metadata.AggregationStrategySum))
		}
	}
	return errors.Join(errs...)
}
