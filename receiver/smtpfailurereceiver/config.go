package smtpfailurereceiver

import (
	"errors"
	"fmt"
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
	defaultEndpoint    = "localhost:8550"
	defaultPath        = "/failures"
	defaultServiceName = "smtp_failure"

	minInterval  = 10 * time.Millisecond
	minKeyLength = 16

	descriptionDrop   = "drop"
	descriptionRedact = "redact"

	temporalityCumulative = "cumulative"
	temporalityDelta      = "delta"

	attributeServiceName       = "service.name"
	attributeServiceInstanceID = "service.instance.id"
)

// Config is the configuration of one smtp_failure receiver.
type Config struct {
	// HTTP is the server, by default on localhost:8550 and for bodies of at most 262144 bytes.
	HTTP confighttp.ServerConfig `mapstructure:"http"`
	// Path is the URL path of the webhook, with a leading slash. Default /failures.
	Path string `mapstructure:"path"`
	// OwnershipFiles are what the sender fetches to check that the URL is yours.
	OwnershipFiles []OwnershipFileConfig `mapstructure:"ownership_files"`
	// Signature is whose signed calls are accepted; absent, signatures are not checked.
	Signature configoptional.Optional[SignatureConfig] `mapstructure:"signature"`
	// Recipient is what is revealed of the recipient of a message.
	Recipient RecipientConfig `mapstructure:"recipient"`
	// Timezone is the IANA name of the time zone of the variable timestamp. Default UTC.
	Timezone string `mapstructure:"timezone"`
	// ResourceAttributes are set on all that is emitted. service.name defaults to smtp_failure.
	ResourceAttributes map[string]string `mapstructure:"resource_attributes"`
	// Causes are phrases that are looked for before the built-in ones.
	Causes []CauseConfig `mapstructure:"causes"`
	// Tags selects the tags that become metric attributes.
	Tags TagsConfig `mapstructure:"tags"`
	// CountBy names other variables that become attributes of all counters. Default none.
	CountBy []string `mapstructure:"count_by"`
	// Aggregation is how the counters are kept and sent.
	Aggregation AggregationConfig `mapstructure:"aggregation"`
	// Deduplication is how repeats of a report are recognised.
	Deduplication DeduplicationConfig `mapstructure:"deduplication"`
	// Storage is the storage extension that keeps counters and seen reports. Default none.
	Storage *component.ID `mapstructure:"storage"`
	// Metrics are the settings of each metric: enabled, and attributes.
	Metrics metadata.MetricsConfig `mapstructure:"metrics"`
}

// OwnershipFileConfig is a file that is served as text at the root and beside the path.
type OwnershipFileConfig struct {
	// Name has letters, digits, dots, dashes and underscores, and begins with a letter or digit.
	Name string `mapstructure:"name"`
	// Content of the file, or File, the path from which it is read at start; exactly one of the
	// two.
	Content string `mapstructure:"content"`
	File    string `mapstructure:"file"`
}

// SignatureConfig is whose signed calls are accepted. Their keys are in the DNS below
// copernica.com.
type SignatureConfig struct {
	// Accounts are the accepted values of X-Copernica-ID, such as environment-1234. At least one.
	Accounts []string `mapstructure:"accounts"`
	// Hosts are the accepted values of the signed Host header, without regard to case. Default any.
	Hosts []string `mapstructure:"hosts"`
	// SignedPathPrefix is what a proxy strips from the path, with a leading slash and no trailing
	// one.
	SignedPathPrefix string `mapstructure:"signed_path_prefix"`
	// MaxAge is how old the signed Date may be; more than 0. Default 5m.
	MaxAge time.Duration `mapstructure:"max_age"`
	// Resolver is the DNS server for the keys, as IP address and port. Default the system's.
	Resolver string `mapstructure:"resolver"`
}

// RecipientConfig is what is revealed of the recipient of a message.
type RecipientConfig struct {
	// Mode is full (default), domain, hmac or drop.
	Mode string `mapstructure:"mode"`
	// Key of the hashes of addresses in the mode hmac, and of identities in all modes but full. At
	// least 16 bytes. Default a random one, which is kept in the store if there is one.
	Key configopaque.String `mapstructure:"key"`
	// Description is drop (default) or redact, which keeps the description without the addresses
	// that are recognised in it, in all modes but full.
	Description string `mapstructure:"description"`
	// Variables are other variables, or arrays of them, that are kept in all modes but full too.
	Variables []string `mapstructure:"variables"`
}

// CauseConfig maps a phrase to the cause of a failure.
type CauseConfig struct {
	// Phrase is a part of the description, without regard to case.
	Phrase string `mapstructure:"phrase"`
	// ErrorType is one of the values of error.type.
	ErrorType string `mapstructure:"error_type"`
}

// TagsConfig selects tags by glob patterns as a shell has them, in which * matches slashes too.
type TagsConfig struct {
	// Include is what a tag has to match one of. Default ["*"].
	Include []string `mapstructure:"include"`
	// Exclude is what a tag must match none of. Default none.
	Exclude []string `mapstructure:"exclude"`
}

// AggregationConfig is how the counters are kept and sent.
type AggregationConfig struct {
	// Interval between two exports of the counters, at least 10ms. Default 10s.
	Interval time.Duration `mapstructure:"interval"`
	// Temporality is cumulative (default) or delta.
	Temporality string `mapstructure:"temporality"`
	// CardinalityLimit is the number of series of each metric, at least 1. Default 2000.
	CardinalityLimit int `mapstructure:"cardinality_limit"`
	// MaxStale is how long a series that is not counted is kept; 0 keeps it forever. Default 24h.
	MaxStale time.Duration `mapstructure:"max_stale"`
}

// DeduplicationConfig bounds what is remembered of the reports that were accepted.
type DeduplicationConfig struct {
	// Enabled reports whether repeats of a report are recognised. Default true.
	Enabled bool `mapstructure:"enabled"`
	// TTL is how long a report is remembered; more than 0. Default 24h.
	TTL time.Duration `mapstructure:"ttl"`
	// MaxEntries is the number of reports remembered, at least 1. Default 100000.
	MaxEntries int `mapstructure:"max_entries"`
}

func createDefaultConfig() component.Config {
	http := confighttp.NewDefaultServerConfig()
	http.NetAddr.Endpoint = defaultEndpoint
	http.MaxRequestBodySize = 256 << 10
	http.ReadTimeout = 30 * time.Second
	http.ReadHeaderTimeout = 10 * time.Second
	// Balancers usually keep idle connections for 60 s. One that the receiver closed first could
	// lose the request that a balancer is about to send over it.
	http.Keepalive = configoptional.Some(confighttp.KeepaliveServerConfig{IdleTimeout: 2 * time.Minute})

	return &Config{
		HTTP:      http,
		Path:      defaultPath,
		Signature: configoptional.Default(SignatureConfig{MaxAge: signature.DefaultMaxAge}),
		Recipient: RecipientConfig{Mode: privacy.ModeFull.String(), Description: descriptionDrop},
		Timezone:  "UTC",
		Tags:      TagsConfig{Include: []string{"*"}},
		Aggregation: AggregationConfig{
			Interval:         10 * time.Second,
			Temporality:      temporalityCumulative,
			CardinalityLimit: 2000,
			MaxStale:         24 * time.Hour,
		},
		Deduplication: DeduplicationConfig{Enabled: true, TTL: 24 * time.Hour, MaxEntries: 100_000},
		Metrics:       metadata.DefaultMetricsConfig(),
	}
}

// validation collects the errors of a configuration.
type validation struct{ errs []error }

// check adds an error unless a value is as it must be.
func (v *validation) check(ok bool, format string, args ...any) {
	if !ok {
		v.errs = append(v.errs, fmt.Errorf(format, args...))
	}
}

// Validate returns an error for every value that cannot work, each with the key and what it must
// be.
func (c *Config) Validate() error {
	v := new(validation)
	c.validateHTTP(v)
	// With any other path every request would be a 404.
	v.check(isCleanPath(c.Path) && !strings.ContainsAny(c.Path, "?#%") &&
		!strings.ContainsFunc(c.Path, unicode.IsControl),
		"path: %q; must be a URL path with a leading slash, and without a trailing one, dots, doubled slashes, "+
			"escapes, query or fragment, such as %s", c.Path, defaultPath)
	c.validateOwnershipFiles(v)
	if c.Signature.HasValue() {
		c.Signature.Get().validate(v)
	}
	c.Recipient.validate(v)
	_, err := c.location()
	v.check(err == nil, "timezone: %q; must be UTC or an IANA time zone name such as Europe/Amsterdam", c.Timezone)
	c.validateResourceAttributes(v)
	for i, phrase := range c.phrases() {
		_, err := smtpstatus.NewCauses([]smtpstatus.Phrase{phrase})
		noPhrase := errors.Is(err, smtpstatus.ErrEmptyPhrase)
		v.check(!noPhrase, "causes::%d::phrase: %q %w", i, phrase.Text, err)
		v.check(noPhrase || err == nil, "causes::%d::error_type: %q %w", i, phrase.Cause, err)
	}
	v.checkPatterns("include", c.Tags.Include)
	v.checkPatterns("exclude", c.Tags.Exclude)
	for i, name := range c.CountBy {
		v.check(!webhook.HasField(name),
			"count_by: %q; must be the name of a variable without an attribute of its own, such as mailing", name)
		v.check(!slices.Contains(c.CountBy[:i], name), "count_by: %q is there twice; each must be there once", name)
	}
	c.Aggregation.validate(v)
	v.check(c.Deduplication.TTL > 0, "deduplication::ttl: %s; must be a duration greater than 0", c.Deduplication.TTL)
	v.check(c.Deduplication.MaxEntries > 0,
		"deduplication::max_entries: %d; must be a number of reports of at least 1", c.Deduplication.MaxEntries)
	c.validateMetrics(v)
	return errors.Join(v.errs...)
}

func (c *Config) validateHTTP(v *validation) {
	http := &c.HTTP
	endpoint := http.NetAddr.Endpoint
	switch http.NetAddr.Transport {
	case confignet.TransportTypeTCP, confignet.TransportTypeTCP4, confignet.TransportTypeTCP6:
		_, port, err := net.SplitHostPort(endpoint)
		_, portErr := strconv.ParseUint(port, 10, 16)
		v.check(err == nil && portErr == nil,
			"http::endpoint: %q; must be an address to listen on, host and port, such as %s", endpoint, defaultEndpoint)
	case confignet.TransportTypeUnix:
		v.check(endpoint != "", "http::endpoint: is empty; with the transport unix it must be the path of a socket")
	default:
		v.check(false, "http::transport: %q; must be tcp, tcp4, tcp6 or unix", http.NetAddr.Transport)
	}
	v.check(http.MaxRequestBodySize > 0,
		"http::max_request_body_size: %d; must be a number of bytes greater than 0", http.MaxRequestBodySize)
	v.check(http.ReadTimeout > 0, "http::read_timeout: %s; must be a duration greater than 0, "+
		"because a body that never ends must not be waited for", http.ReadTimeout)
	v.checkTimeout("read_header_timeout", http.ReadHeaderTimeout)
	v.checkTimeout("write_timeout", http.WriteTimeout)
	if http.Keepalive.HasValue() {
		v.checkTimeout("keepalive::idle_timeout", http.Keepalive.Get().IdleTimeout)
	}
}

func (v *validation) checkTimeout(key string, timeout time.Duration) {
	v.check(timeout >= 0, "http::%s: %s; must be a duration of 0 or more", key, timeout)
}

func (v *validation) checkPatterns(key string, patterns []string) {
	for _, pattern := range patterns {
		v.check(pattern != "" && doublestar.ValidatePattern(pattern),
			`tags::%s: %q; must be glob patterns made of text, *, ?, [a-z], [!a-z], {one,other} `+
				`and \ before a character that is meant literally`, key, pattern)
	}
}

func isCleanPath(p string) bool { return strings.HasPrefix(p, "/") && path.Clean(p) == p }

var ownershipFileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (c *Config) validateOwnershipFiles(v *validation) {
	names := make(map[string]bool)
	for i, file := range c.OwnershipFiles {
		key := fmt.Sprintf("ownership_files::%d", i)
		v.check(ownershipFileName.MatchString(file.Name),
			"%s::name: %q; must be the name of a file without its folder, such as smtpeter-1a2b3c.txt", key, file.Name)
		v.check(!names[file.Name], "%s::name: %q is there twice; must be a name that no other has", key, file.Name)
		v.check(!slices.Contains(c.ownershipPaths(file.Name), c.Path),
			"%s::name: %q is the path of the webhook; must be another name", key, file.Name)
		v.check((file.Content == "") != (file.File == ""),
			"%s: must have exactly one of content, the text of the file, and file, where it is on disk", key)
		names[file.Name] = true
	}
}

// ownershipPaths are the two places where a sender looks for a file: at the root and beside the
// path.
func (c *Config) ownershipPaths(name string) []string {
	return []string{"/" + name, path.Join(path.Dir(c.Path), name)}
}

func (c *SignatureConfig) validate(v *validation) {
	v.check(len(c.Accounts) > 0 && !slices.Contains(c.Accounts, ""),
		"signature::accounts: must be the X-Copernica-ID of each account that is let in, "+
			"at least one and none of them empty, such as environment-1234")
	v.check(!slices.Contains(c.Hosts, ""),
		"signature::hosts: one is empty; must be host names as the sender calls them, such as hooks.example.com")
	prefix := c.SignedPathPrefix
	v.check(prefix == "" || isCleanPath(prefix) && prefix != "/",
		"signature::signed_path_prefix: %q; must be the start of a URL path with a leading slash "+
			"and without a trailing one, such as /hooks", prefix)
	v.check(c.MaxAge > 0, "signature::max_age: %s; must be a duration greater than 0", c.MaxAge)
	_, err := netip.ParseAddrPort(c.Resolver)
	v.check(c.Resolver == "" || err == nil,
		"signature::resolver: %q; must be the IP address and port of a DNS server, such as 127.0.0.1:53", c.Resolver)
}

// ownAttribute are the variables that mode and description decide on, or that every mode keeps.
var ownAttribute = []string{"", "type", "id", "recipient", "action", "state", "description", "tags"}

func (c *RecipientConfig) validate(v *validation) {
	mode, ok := privacy.ParseMode(c.Mode)
	v.check(ok, "recipient::mode: %q; must be full, domain, hmac or drop", c.Mode)
	v.check(c.Key != "" || mode != privacy.ModeHMAC,
		"recipient::key: is missing; with the mode hmac it must be a secret of at least %d bytes", minKeyLength)
	v.check(c.Key == "" || len(c.Key) >= minKeyLength,
		"recipient::key: has %d bytes; must be a secret of at least %d", len(c.Key), minKeyLength)
	v.check(c.Description == descriptionDrop || c.Description == descriptionRedact,
		"recipient::description: %q; must be %s or %s", c.Description, descriptionDrop, descriptionRedact)
	for _, name := range c.Variables {
		v.check(!slices.Contains(ownAttribute, name), "recipient::variables: %q; "+
			"must be the name of a variable without an attribute of its own, such as mailing", name)
	}
}

func (c *Config) location() (*time.Location, error) {
	if c.Timezone == "" || c.Timezone == "Local" {
		// The time zone of the machine is not the sender's.
		return nil, errors.New("not the name of a time zone")
	}
	return time.LoadLocation(c.Timezone)
}

func (c *Config) validateResourceAttributes(v *validation) {
	_, empty := c.ResourceAttributes[""]
	v.check(!empty, "resource_attributes: a name is empty")
	for _, name := range []string{attributeServiceName, attributeServiceInstanceID} {
		value, set := c.ResourceAttributes[name]
		v.check(!set || value != "", "resource_attributes::%s: is empty; leave the key out for its default", name)
	}
}

func (c *Config) phrases() []smtpstatus.Phrase {
	phrases := make([]smtpstatus.Phrase, len(c.Causes))
	for i, cause := range c.Causes {
		phrases[i] = smtpstatus.Phrase{Text: cause.Phrase, Cause: cause.ErrorType}
	}
	return phrases
}

func (c *AggregationConfig) validate(v *validation) {
	v.check(c.Interval >= minInterval,
		"aggregation::interval: %s; must be a duration of at least %s", c.Interval, minInterval)
	v.check(c.Temporality == temporalityCumulative || c.Temporality == temporalityDelta,
		"aggregation::temporality: %q; must be %s or %s", c.Temporality, temporalityCumulative, temporalityDelta)
	v.check(c.CardinalityLimit > 0,
		"aggregation::cardinality_limit: %d; must be a number of series of at least 1", c.CardinalityLimit)
	v.check(c.MaxStale == 0 || c.MaxStale >= c.Interval,
		"aggregation::max_stale: %s; must be a duration no shorter than aggregation::interval, or 0 for never",
		c.MaxStale)
}

// validateMetrics refuses the generated key that a counter cannot follow: attributes that are left
// out can only be added up.
func (c *Config) validateMetrics(v *validation) {
	for _, in := range newInstruments(c) {
		v.check(in.strategy == metadata.AggregationStrategySum,
			"metrics::%s::aggregation_strategy: %q; must be %s", in.name, in.strategy, metadata.AggregationStrategySum)
	}
}
