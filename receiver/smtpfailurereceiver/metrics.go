package smtpfailurereceiver

import (
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/failure"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

const (
	// overflowAttribute marks the series of what came past the limit (OpenTelemetry metrics SDK, "Overflow attribute").
	overflowAttribute = "otel.metric.overflow"

	// maxLabelLength is the number of bytes of a text that the sender chooses and that becomes a metric attribute. Longer ones are cut,
	// so that the memory of the series has a bound.
	maxLabelLength = 256
)

// Metric attributes: their names, and the order in which a point has them.
const (
	attributeTag      = string(metadata.EmailDeliveryFailuresByTagMetricAttributeKeyEmailTag)
	attributeCode     = string(metadata.EmailDeliveryFailuresMetricAttributeKeySMTPResponseStatusCode)
	attributeExtended = string(metadata.EmailDeliveryFailuresMetricAttributeKeySMTPResponseEnhancedStatusCode)
	attributeState    = string(metadata.EmailDeliveryFailuresMetricAttributeKeySMTPState)
	attributeMode     = string(metadata.EmailDeliveryFailuresMetricAttributeKeyEmailFailureMode)
	attributeClass    = string(metadata.EmailDeliveryFailuresMetricAttributeKeyEmailFailureClass)
	attributeReason   = string(metadata.EmailDeliveryFailuresMetricAttributeKeyErrorType)
	attributeDomain   = string(metadata.EmailDeliveryFailuresMetricAttributeKeyMetricEmailRecipientDomain)
)

// labels are the attributes of one series. The zero value of a field is an attribute that is left out.
type labels struct {
	tag      string
	code     int
	extended string
	state    string
	mode     string
	class    string
	reason   string
	domain   string
}

// Clone implements counter.Key.
func (l labels) Clone() labels {
	l.tag = strings.Clone(l.tag)
	l.extended = strings.Clone(l.extended)
	l.state = strings.Clone(l.state)
	l.domain = strings.Clone(l.domain)
	return l
}

func (l *labels) put(attributes pcommon.Map) {
	attributes.EnsureCapacity(8)
	for _, a := range [...]struct{ name, value string }{
		{attributeTag, l.tag},
		{attributeExtended, l.extended},
		{attributeState, l.state},
		{attributeMode, l.mode},
		{attributeClass, l.class},
		{attributeReason, l.reason},
		{attributeDomain, l.domain},
	} {
		if a.value != "" {
			attributes.PutStr(a.name, a.value)
		}
	}
	if l.code != 0 {
		attributes.PutInt(attributeCode, int64(l.code))
	}
}

// labelsOf returns the attributes of a report without a tag.
func labelsOf(r *failure.Report) labels {
	return labels{
		code:     r.Code,
		extended: r.Extended.String(),
		state:    label(r.State),
		mode:     modeOf(r),
		class:    r.Class(),
		reason:   r.Reason(),
		domain:   label(r.RecipientDomain()),
	}
}

// label cuts a text to maxLabelLength bytes, at the start of a character.
func label(text string) string {
	if len(text) <= maxLabelLength {
		return text
	}
	cut := maxLabelLength
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// selection are the attributes that one metric has.
type selection struct {
	code, extended, state, mode, class, reason, domain bool
}

func newSelection[K ~string](enabled []K) selection {
	has := func(name string) bool { return slices.Contains(enabled, K(name)) }
	return selection{
		code:     has(attributeCode),
		extended: has(attributeExtended),
		state:    has(attributeState),
		mode:     has(attributeMode),
		class:    has(attributeClass),
		reason:   has(attributeReason),
		domain:   has(attributeDomain),
	}
}

func (s *selection) of(l labels) labels {
	return labels{
		code:     only(s.code, l.code),
		extended: only(s.extended, l.extended),
		state:    only(s.state, l.state),
		mode:     only(s.mode, l.mode),
		class:    only(s.class, l.class),
		reason:   only(s.reason, l.reason),
		domain:   only(s.domain, l.domain),
	}
}

func only[T any](yes bool, value T) T {
	if yes {
		return value
	}
	var none T
	return none
}

// tagFilter says which tags may become attributes.
type tagFilter struct {
	include, exclude []string
}

// slash stands for a slash in patterns and tags, because path.Match gives slashes a meaning that they do not have in a tag.
const slash = "\x00"

func newTagFilter(config TagsConfig) tagFilter {
	unslash := func(patterns []string) []string {
		replaced := make([]string, len(patterns))
		for i, pattern := range patterns {
			replaced[i] = strings.ReplaceAll(pattern, "/", slash)
		}
		return replaced
	}
	return tagFilter{include: unslash(config.Include), exclude: unslash(config.Exclude)}
}

func (f *tagFilter) lets(tag string) bool {
	tag = strings.ReplaceAll(tag, "/", slash)
	matches := func(pattern string) bool {
		if pattern == "*" {
			return true
		}
		// The patterns were checked when the configuration was.
		matched, _ := path.Match(pattern, tag)
		return matched
	}
	return slices.ContainsFunc(f.include, matches) && !slices.ContainsFunc(f.exclude, matches)
}

// counters are the totals of both metrics.
type counters struct {
	failures, byTag *counted // nil when disabled
	tags            tagFilter
	temporality     counter.Temporality
}

// counted is one metric.
type counted struct {
	name, description string
	selection         selection
	sums              *counter.Sums[labels]
}

// newCounters expects a valid configuration.
func newCounters(config *Config, now time.Time) *counters {
	temporality, _ := config.Aggregation.temporality()
	sums := func() *counter.Sums[labels] {
		return counter.New[labels](counter.Options{
			Temporality: temporality,
			Limit:       config.Aggregation.CardinalityLimit,
			MaxStale:    config.Aggregation.MaxStale,
		}, now)
	}

	c := &counters{tags: newTagFilter(config.Tags), temporality: temporality}
	if metric := config.Metrics.EmailDeliveryFailures; metric.Enabled {
		c.failures = &counted{
			name:        metadata.MetricsInfo.EmailDeliveryFailures.Name,
			description: "Emails that could not be delivered.",
			selection:   newSelection(metric.EnabledAttributes),
			sums:        sums(),
		}
	}
	if metric := config.Metrics.EmailDeliveryFailuresByTag; metric.Enabled {
		c.byTag = &counted{
			name:        metadata.MetricsInfo.EmailDeliveryFailuresByTag.Name,
			description: "Emails that could not be delivered, once for each distinct tag of the message.",
			selection:   newSelection(metric.EnabledAttributes),
			sums:        sums(),
		}
	}
	return c
}

// enabled returns the metrics that are.
func (c *counters) enabled() []*counted {
	var enabled []*counted
	for _, one := range []*counted{c.failures, c.byTag} {
		if one != nil {
			enabled = append(enabled, one)
		}
	}
	return enabled
}

// untaken says that something was counted that the metrics pipelines do not have yet.
func (c *counters) untaken() bool {
	return slices.ContainsFunc(c.enabled(), func(m *counted) bool { return m.sums.Untaken() })
}

// overflows is how many counts of one report went to the overflow series of each metric.
type overflows struct {
	failures, byTag int64
}

// count counts a report.
func (c *counters) count(r *failure.Report, now time.Time) (over overflows) {
	all := labelsOf(r)
	if c.failures != nil && c.failures.sums.Add(c.failures.selection.of(all), now) {
		over.failures++
	}
	if c.byTag == nil {
		return over
	}

	key := c.byTag.selection.of(all)
	counted := make([]string, 0, 8)
	for _, tag := range r.Tags {
		tag = label(tag)
		if slices.Contains(counted, tag) || !c.tags.lets(tag) {
			continue
		}
		counted = append(counted, tag)
		key.tag = tag
		if c.byTag.sums.Add(key, now) {
			over.byTag++
		}
	}
	return over
}

// collection is a report of all metrics, ready to be sent.
type collection struct {
	metrics pmetric.Metrics
	reports []*counter.Report[labels]
}

// taken records that the metrics pipelines have it.
func (c *collection) taken() {
	for _, report := range c.reports {
		report.Taken()
	}
}

// collect returns what is due at now.
func (c *counters) collect(now time.Time, resource pcommon.Resource, version string) *collection {
	due := &collection{metrics: pmetric.NewMetrics()}
	rm := due.metrics.ResourceMetrics().AppendEmpty()
	resource.CopyTo(rm.Resource())
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(metadata.ScopeName)
	sm.Scope().SetVersion(version)

	for _, metric := range c.enabled() {
		report := metric.sums.Collect(now)
		due.reports = append(due.reports, report)

		m := sm.Metrics().AppendEmpty()
		m.SetName(metric.name)
		m.SetDescription(metric.description)
		m.SetUnit("{failure}")
		sum := m.SetEmptySum()
		sum.SetIsMonotonic(true)
		if c.temporality == counter.Delta {
			sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		} else {
			sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		}
		for point := range report.Points() {
			put(point, sum.DataPoints().AppendEmpty())
		}
	}
	sm.Metrics().RemoveIf(func(m pmetric.Metric) bool { return m.Sum().DataPoints().Len() == 0 })
	return due
}

func put(point counter.Point[labels], to pmetric.NumberDataPoint) {
	to.SetStartTimestamp(pcommon.NewTimestampFromTime(point.Start))
	to.SetTimestamp(pcommon.NewTimestampFromTime(point.Time))
	if point.Overflow {
		to.Attributes().PutBool(overflowAttribute, true)
	} else {
		point.Key.put(to.Attributes())
	}
	if point.Ended {
		to.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
		return
	}
	to.SetIntValue(point.Value)
}
