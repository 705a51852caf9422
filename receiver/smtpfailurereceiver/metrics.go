package smtpfailurereceiver

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/failure"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
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
	attributeAccount  = string(metadata.EmailDeliveryFailuresMetricAttributeKeyMetricCopernicaAccountID)
)

// labels are the attributes of one series. The zero value of a field is an attribute that is left out. The names are those under which a
// store keeps them.
type labels struct {
	Tag      string `json:"email.tag,omitempty"`
	Code     int    `json:"smtp.response.status_code,omitempty"`
	Extended string `json:"smtp.response.enhanced_status_code,omitempty"`
	State    string `json:"smtp.state,omitempty"`
	Mode     string `json:"email.failure.mode,omitempty"`
	Class    string `json:"email.failure.class,omitempty"`
	Reason   string `json:"error.type,omitempty"`
	Domain   string `json:"email.recipient.domain,omitempty"`
	Account  string `json:"copernica.account.id,omitempty"`
}

// Clone implements counter.Key.
func (l labels) Clone() labels {
	l.Tag = strings.Clone(l.Tag)
	l.Extended = strings.Clone(l.Extended)
	l.State = strings.Clone(l.State)
	l.Domain = strings.Clone(l.Domain)
	l.Account = strings.Clone(l.Account)
	return l
}

// encodeLabels turns labels into bytes to keep, and decodeLabels back.
func encodeLabels(l labels) []byte {
	// A struct of strings and a number has no error.
	encoded, _ := json.Marshal(l)
	return encoded
}

func decodeLabels(encoded []byte) (labels, error) {
	var l labels
	err := json.Unmarshal(encoded, &l)
	return l, err
}

func (l *labels) put(attributes pcommon.Map) {
	texts := [...]struct{ name, value string }{
		{attributeTag, l.Tag},
		{attributeExtended, l.Extended},
		{attributeState, l.State},
		{attributeMode, l.Mode},
		{attributeClass, l.Class},
		{attributeReason, l.Reason},
		{attributeDomain, l.Domain},
		{attributeAccount, l.Account},
	}
	// There may be 100,000 points, so none takes more memory than it needs.
	n := 0
	if l.Code != 0 {
		n++
	}
	for i := range texts {
		if texts[i].value != "" {
			n++
		}
	}
	attributes.EnsureCapacity(n)
	for i := range texts {
		if texts[i].value != "" {
			attributes.PutStr(texts[i].name, texts[i].value)
		}
	}
	if l.Code != 0 {
		attributes.PutInt(attributeCode, int64(l.Code))
	}
}

// labelsOf returns the attributes of a report without a tag. The account is empty when it was not verified.
func labelsOf(r *failure.Report, account string) labels {
	return labels{
		Code:     r.Code,
		Extended: r.Extended.String(),
		State:    label(r.State),
		Mode:     modeOf(r),
		Class:    r.Class(),
		Reason:   r.Reason(),
		Domain:   label(r.RecipientDomain()),
		Account:  label(account),
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
	code, extended, state, mode, class, reason, domain, account bool
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
		account:  has(attributeAccount),
	}
}

func (s *selection) of(l *labels) labels {
	return labels{
		Code:     only(s.code, l.Code),
		Extended: only(s.extended, l.Extended),
		State:    only(s.state, l.State),
		Mode:     only(s.mode, l.Mode),
		Class:    only(s.class, l.Class),
		Reason:   only(s.reason, l.Reason),
		Domain:   only(s.domain, l.Domain),
		Account:  only(s.account, l.Account),
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

// counters are the metrics that are enabled.
type counters struct {
	metrics     []counted
	tags        tagFilter
	temporality counter.Temporality
}

// counted is one metric.
type counted struct {
	name, description string
	// byTag says that a report counts once for each tag rather than once.
	byTag     bool
	selection selection
	sums      *counter.Sums[labels]
}

// newCounters expects a valid configuration.
func newCounters(config *Config, now time.Time) *counters {
	temporality, _ := config.Aggregation.temporality()
	c := &counters{tags: newTagFilter(config.Tags), temporality: temporality}
	add := func(metric counted) {
		metric.sums = counter.New[labels](counter.Options{
			Temporality: temporality,
			Limit:       config.Aggregation.CardinalityLimit,
			MaxStale:    config.Aggregation.MaxStale,
		}, now)
		c.metrics = append(c.metrics, metric)
	}
	if metric := config.Metrics.EmailDeliveryFailures; metric.Enabled {
		add(counted{
			name:        metadata.MetricsInfo.EmailDeliveryFailures.Name,
			description: "Emails that could not be delivered.",
			selection:   newSelection(metric.EnabledAttributes),
		})
	}
	if metric := config.Metrics.EmailDeliveryFailuresByTag; metric.Enabled {
		add(counted{
			name:        metadata.MetricsInfo.EmailDeliveryFailuresByTag.Name,
			description: "Emails that could not be delivered, once for each distinct tag of the message.",
			byTag:       true,
			selection:   newSelection(metric.EnabledAttributes),
		})
	}
	return c
}

// keys are what a report counts, for each metric.
func (c *counters) keys(r *failure.Report, account string) ledger.Counts[labels] {
	all := labelsOf(r, account)
	// One piece of memory for all that most reports count.
	room := new(struct {
		counts [2][]labels
		keys   [4]labels
	})
	counts, keys := room.counts[:0], room.keys[:0]
	for i := range c.metrics {
		metric := &c.metrics[i]
		key := metric.selection.of(&all)
		first := len(keys)
		if !metric.byTag {
			keys = append(keys, key)
		} else {
			for _, tag := range r.Tags {
				key.Tag = label(tag)
				if c.tags.lets(key.Tag) && !slices.Contains(keys[first:], key) {
					keys = append(keys, key)
				}
			}
		}
		counts = append(counts, keys[first:len(keys):len(keys)])
	}
	return counts
}

// ledgerMetrics are the metrics as the ledger knows them, in the same order.
func (c *counters) ledgerMetrics() []ledger.Metric[labels] {
	metrics := make([]ledger.Metric[labels], len(c.metrics))
	for i, metric := range c.metrics {
		metrics[i] = ledger.Metric[labels]{Name: metric.name, Sums: metric.sums}
	}
	return metrics
}

// newMetrics makes what is sent of the reports of all metrics.
func (c *counters) newMetrics(reports []*counter.Report[labels], resource pcommon.Resource, version string) pmetric.Metrics {
	metrics := pmetric.NewMetrics()
	rm := metrics.ResourceMetrics().AppendEmpty()
	resource.CopyTo(rm.Resource())
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(metadata.ScopeName)
	sm.Scope().SetVersion(version)

	for i, report := range reports {
		m := sm.Metrics().AppendEmpty()
		m.SetName(c.metrics[i].name)
		m.SetDescription(c.metrics[i].description)
		m.SetUnit("{failure}")
		sum := m.SetEmptySum()
		sum.SetIsMonotonic(true)
		if c.temporality == counter.Delta {
			sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		} else {
			sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		}
		sum.DataPoints().EnsureCapacity(report.Len())
		for point := range report.Points() {
			put(point, sum.DataPoints().AppendEmpty())
		}
	}
	sm.Metrics().RemoveIf(func(m pmetric.Metric) bool { return m.Sum().DataPoints().Len() == 0 })
	return metrics
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
