package smtpfailurereceiver

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
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

// labels are the attributes of one series. The zero value of a field is an attribute that is left out. There are a lookup by them for each count and
// up to a hundred thousand of them in memory, so what comes from a list is not kept as text.
type labels struct {
	Tag, State, Reason, Domain, Account string
	Code                                uint16
	Extended                            smtpstatus.Enhanced
	Mode                                mode
	Class                               class
}

// mode and class are places in the lists of what these attributes can be. The first is none.
type (
	mode  uint8
	class uint8
)

const (
	synchronous mode = 1 + iota
	asynchronous
)

var (
	modes   = [...]string{synchronous: "synchronous", asynchronous: "asynchronous"}
	classes = [...]string{"", smtpstatus.ClassPermanent, smtpstatus.ClassTransient, smtpstatus.ClassUnknown}
)

func (m mode) String() string  { return modes[m] }
func (c class) String() string { return classes[c] }

// Clone implements counter.Key.
func (l labels) Clone() labels {
	l.Tag = strings.Clone(l.Tag)
	l.State = strings.Clone(l.State)
	l.Domain = strings.Clone(l.Domain)
	l.Account = strings.Clone(l.Account)
	return l
}

// keptLabels are labels as a store keeps them, under the names of the attributes.
type keptLabels struct {
	Tag      string `json:"email.tag,omitempty"`
	Code     uint16 `json:"smtp.response.status_code,omitempty"`
	Extended string `json:"smtp.response.enhanced_status_code,omitempty"`
	State    string `json:"smtp.state,omitempty"`
	Mode     string `json:"email.failure.mode,omitempty"`
	Class    string `json:"email.failure.class,omitempty"`
	Reason   string `json:"error.type,omitempty"`
	Domain   string `json:"email.recipient.domain,omitempty"`
	Account  string `json:"copernica.account.id,omitempty"`
}

// encodeLabels turns labels into bytes to keep, and decodeLabels back.
func encodeLabels(l labels) []byte {
	// A struct of strings and a number has no error.
	encoded, _ := json.Marshal(keptLabels{
		Tag: l.Tag, Code: l.Code, Extended: l.Extended.String(), State: l.State, Mode: l.Mode.String(), Class: l.Class.String(), Reason: l.Reason,
		Domain: l.Domain, Account: l.Account,
	})
	return encoded
}

func decodeLabels(encoded []byte) (labels, error) {
	var kept keptLabels
	if err := json.Unmarshal(encoded, &kept); err != nil {
		return labels{}, err
	}
	extended, ok := smtpstatus.ParseEnhanced(kept.Extended)
	inMode, inClass := slices.Index(modes[:], kept.Mode), slices.Index(classes[:], kept.Class)
	if !ok && kept.Extended != "" || inMode < 0 || inClass < 0 {
		return labels{}, fmt.Errorf("a series with %s %q, %s %q and %s %q: one of them is unknown",
			attributeExtended, kept.Extended, attributeMode, kept.Mode, attributeClass, kept.Class)
	}
	return labels{
		Tag: kept.Tag, Code: kept.Code, Extended: extended, State: kept.State, Mode: mode(inMode), Class: class(inClass), Reason: kept.Reason,
		Domain: kept.Domain, Account: kept.Account,
	}, nil
}

func (l *labels) put(attributes pcommon.Map) {
	texts := [...]struct{ name, value string }{
		{attributeTag, l.Tag},
		{attributeExtended, l.Extended.String()},
		{attributeState, l.State},
		{attributeMode, l.Mode.String()},
		{attributeClass, l.Class.String()},
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

// modeOf returns which of the modes a failure is of.
func modeOf(r *webhook.Event) mode {
	if r.Asynchronous {
		return asynchronous
	}
	return synchronous
}

// classOf returns which of the classes a failure is of.
func classOf(r *webhook.Event) class {
	return class(slices.Index(classes[:], r.Class))
}

// labelsOf returns the attributes of an event without a tag.
func labelsOf(r *webhook.Event) labels {
	return labels{
		Code:     uint16(r.Code),
		Extended: r.Extended,
		State:    label(r.State),
		Mode:     modeOf(r),
		Class:    classOf(r),
		Reason:   r.Cause,
		Domain:   label(r.Domain),
		Account:  label(r.Account),
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

// of returns those of the labels that the metric has.
func (s *selection) of(l labels) labels {
	keep(s.code, &l.Code)
	keep(s.extended, &l.Extended)
	keep(s.state, &l.State)
	keep(s.mode, &l.Mode)
	keep(s.class, &l.Class)
	keep(s.reason, &l.Reason)
	keep(s.domain, &l.Domain)
	keep(s.account, &l.Account)
	return l
}

func keep[T any](yes bool, value *T) {
	if !yes {
		var none T
		*value = none
	}
}

// tagFilter says which tags may become attributes.
type tagFilter struct {
	// all says that every tag may, which is the default.
	all              bool
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
	return tagFilter{
		all:     len(config.Exclude) == 0 && slices.Contains(config.Include, "*"),
		include: unslash(config.Include),
		exclude: unslash(config.Exclude),
	}
}

func (f *tagFilter) lets(tag string) bool {
	if f.all {
		return true
	}
	tag = strings.ReplaceAll(tag, "/", slash)
	matches := func(pattern string) bool {
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

// reportCounts are what a report counts, with room for all that most of them do.
type reportCounts struct {
	byMetric ledger.Counts[labels]

	counts [2][]labels
	keys   [4]labels
}

// spareCounts keeps what was counted, for the next report.
var spareCounts = sync.Pool{New: func() any { return new(reportCounts) }}

// counts returns what a report counts. It is to be freed when it is counted, and not used any more then.
func (c *counters) counts(r *webhook.Event) *reportCounts {
	n := spareCounts.Get().(*reportCounts)
	all := labelsOf(r)
	counts, keys := n.counts[:0], n.keys[:0]
	for i := range c.metrics {
		metric := &c.metrics[i]
		key := metric.selection.of(all)
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
	n.byMetric = counts
	return n
}

func (n *reportCounts) free() {
	// Its texts are the report's, which it must not keep in memory.
	*n = reportCounts{}
	spareCounts.Put(n)
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
