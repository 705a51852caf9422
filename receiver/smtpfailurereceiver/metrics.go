package smtpfailurereceiver

import (
	"encoding/binary"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

const (
	// overflowAttribute marks the series of what came past the limit (OpenTelemetry metrics SDK,
	// "Overflow attribute").
	overflowAttribute = "otel.metric.overflow"

	// maxAttributeLength is the number of bytes of a text that the sender chooses and that becomes
	// a metric attribute. Longer ones are cut, so that the memory of the series has a bound.
	maxAttributeLength = 256
)

// Attributes of the counters.
const (
	attributeTag      = string(metadata.EmailDeliveryFailuresByTagMetricAttributeKeyEmailTag)
	attributeCode     = string(metadata.EmailDeliveryFailuresMetricAttributeKeySMTPResponseStatusCode)
	attributeExtended = string(metadata.EmailDeliveryFailuresMetricAttributeKeySMTPResponseEnhancedStatusCode)
	attributeState    = string(metadata.EmailDeliveryFailuresMetricAttributeKeySMTPState)
	attributeMode     = string(metadata.EmailDeliveryFailuresMetricAttributeKeyEmailFailureMode)
	attributeClass    = string(metadata.EmailDeliveryFailuresMetricAttributeKeyEmailFailureClass)
	attributeCause    = string(metadata.EmailDeliveryFailuresMetricAttributeKeyErrorType)
	attributeDomain   = string(metadata.EmailDeliveryFailuresMetricAttributeKeyMetricEmailRecipientDomain)
	attributeAccount  = string(metadata.EmailDeliveryFailuresMetricAttributeKeyMetricCopernicaAccountID)
)

// eventAttributes are the attributes of the counters, which records have too: all but the tag, of
// which a record has a list. One without a value is left out.
var eventAttributes = []eventAttribute{
	{attributeTag, func(_ *webhook.Event, tag string) attributeValue { return attributeValue{text: tag} }},
	{attributeCode, func(e *webhook.Event, _ string) attributeValue { return attributeValue{number: int64(e.Code)} }},
	{attributeExtended, func(e *webhook.Event, _ string) attributeValue { return attributeValue{text: e.Extended.String()} }},
	{attributeState, func(e *webhook.Event, _ string) attributeValue { return attributeValue{text: e.State} }},
	{attributeMode, func(e *webhook.Event, _ string) attributeValue { return attributeValue{text: e.Mode} }},
	{attributeClass, func(e *webhook.Event, _ string) attributeValue { return attributeValue{text: e.Class} }},
	{attributeCause, func(e *webhook.Event, _ string) attributeValue { return attributeValue{text: e.Cause} }},
	{attributeDomain, func(e *webhook.Event, _ string) attributeValue { return attributeValue{text: e.Domain} }},
	{attributeAccount, func(e *webhook.Event, _ string) attributeValue { return attributeValue{text: e.Account} }},
}

type eventAttribute struct {
	name string
	of   func(e *webhook.Event, tag string) attributeValue
}

// attributeValue is a text or a number; the zero value is none.
type attributeValue struct {
	text   string
	number int64
}

// A series is known by the bytes of its attributes: for each, in the order of their names, its
// name, a byte for its type, and its value.
const (
	typeText   = 's'
	typeNumber = 'i'
	typeTrue   = 't'
)

// overflowKey is the key of the overflow series.
var overflowKey = string(append(appendText(nil, overflowAttribute), typeTrue))

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendAttribute(b []byte, name string, value attributeValue) []byte {
	switch {
	case value.text != "":
		return appendText(append(appendText(b, name), typeText), truncated(value.text))
	case value.number != 0:
		return binary.AppendVarint(append(appendText(b, name), typeNumber), value.number)
	}
	return b
}

// truncated cuts a text to maxAttributeLength bytes, at the start of a character.
func truncated(text string) string { return webhook.Cut(text, maxAttributeLength) }

// putAttributes is the reverse of appendAttribute. What does not come from there ends it.
func putAttributes(key string, attributes pcommon.Map) {
	rest := []byte(key)
	text := func() string {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			rest = nil
			return ""
		}
		value := rest[n : n+int(length)]
		rest = rest[n+int(length):]
		return string(value)
	}
	for name := text(); len(rest) > 0; name = text() {
		kind := rest[0]
		rest = rest[1:]
		switch kind {
		case typeText:
			attributes.PutStr(name, text())
		case typeNumber:
			number, n := binary.Varint(rest)
			rest = rest[max(n, 0):]
			attributes.PutInt(name, number)
		case typeTrue:
			attributes.PutBool(name, true)
		}
	}
}

// counters are the metrics that are enabled.
type counters struct {
	instruments []instrument
	tags        tagFilter
	delta       bool
}

// instrument is a metric. It counts the events of a kind, once each or once for each of their tags.
type instrument struct {
	kind                    webhook.Kind
	name, description, unit string
	byTag                   bool
	enabled                 bool
	strategy                string           // aggregation_strategy
	attributes              []eventAttribute // in the order of their names
}

// newInstruments returns all instruments there are.
func newInstruments(config *Config) []instrument {
	metrics, info := config.Metrics, metadata.MetricsInfo
	return []instrument{{
		kind: webhook.Delivery, name: info.EmailDeliveries.Name, unit: "{delivery}",
		description: "Emails that were delivered, as far as the receiving server said so. Some of them may bounce later.",
		enabled:     metrics.EmailDeliveries.Enabled,
		strategy:    metrics.EmailDeliveries.AggregationStrategy,
		attributes:  countedAttributes(metrics.EmailDeliveries.EnabledAttributes, config.CountBy),
	}, {
		kind: webhook.Delivery, name: info.EmailDeliveriesByTag.Name, unit: "{delivery}", byTag: true,
		description: "Emails that were delivered, once for each distinct tag of the message.",
		enabled:     metrics.EmailDeliveriesByTag.Enabled,
		strategy:    metrics.EmailDeliveriesByTag.AggregationStrategy,
		attributes:  countedAttributes(metrics.EmailDeliveriesByTag.EnabledAttributes, config.CountBy),
	}, {
		kind: webhook.Failure, name: info.EmailDeliveryFailures.Name, unit: "{failure}",
		description: "Emails that could not be delivered.",
		enabled:     metrics.EmailDeliveryFailures.Enabled,
		strategy:    metrics.EmailDeliveryFailures.AggregationStrategy,
		attributes:  countedAttributes(metrics.EmailDeliveryFailures.EnabledAttributes, config.CountBy),
	}, {
		kind: webhook.Failure, name: info.EmailDeliveryFailuresByTag.Name, unit: "{failure}", byTag: true,
		description: "Emails that could not be delivered, once for each distinct tag of the message.",
		enabled:     metrics.EmailDeliveryFailuresByTag.Enabled,
		strategy:    metrics.EmailDeliveryFailuresByTag.AggregationStrategy,
		attributes:  countedAttributes(metrics.EmailDeliveryFailuresByTag.EnabledAttributes, config.CountBy),
	}}
}

// metricsThatCount returns the names of all metrics that count a kind of event.
func metricsThatCount(kind webhook.Kind) (names []string) {
	for _, in := range newInstruments(createDefaultConfig().(*Config)) {
		if in.kind == kind {
			names = append(names, in.name)
		}
	}
	return names
}

// newCounters expects a valid configuration.
func newCounters(config *Config) *counters {
	return &counters{
		instruments: slices.DeleteFunc(newInstruments(config), func(in instrument) bool { return !in.enabled }),
		tags:        newTagFilter(config.Tags),
		delta:       config.Aggregation.Temporality == temporalityDelta,
	}
}

// kinds of the events that are accepted: failures first, and what else is counted.
func (c *counters) kinds() []webhook.Kind {
	kinds := []webhook.Kind{webhook.Failure}
	for i := range c.instruments {
		if kind := c.instruments[i].kind; !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// countedAttributes returns the attributes that a metric has.
func countedAttributes[K ~string](enabled []K, countBy []string) []eventAttribute {
	attributes := slices.DeleteFunc(slices.Clone(eventAttributes), func(attribute eventAttribute) bool {
		return !slices.Contains(enabled, K(attribute.name))
	})
	for _, variable := range countBy {
		value := func(e *webhook.Event, _ string) attributeValue { return attributeValue{text: e.Variable(variable)} }
		attributes = append(attributes, eventAttribute{variablePrefix + variable, value})
	}
	slices.SortFunc(attributes, func(a, b eventAttribute) int { return strings.Compare(a.name, b.name) })
	return attributes
}

// names of the metrics.
func (c *counters) names() []string {
	names := make([]string, len(c.instruments))
	for i := range c.instruments {
		names[i] = c.instruments[i].name
	}
	return names
}

// counts returns what an event counts.
func (c *counters) counts(e *webhook.Event) []ledger.Count {
	counts := make([]ledger.Count, 0, 1+len(e.Tags))
	for i := range c.instruments {
		in := &c.instruments[i]
		switch {
		case in.kind != e.Kind:
		case !in.byTag:
			counts = append(counts, ledger.Count{Metric: i, Attributes: in.key(e, "")})
		default:
			counted := make([]string, 0, len(e.Tags))
			for _, tag := range e.Tags {
				key := truncated(tag)
				if c.tags.match(tag) && !slices.Contains(counted, key) {
					counted = append(counted, key)
					counts = append(counts, ledger.Count{Metric: i, Attributes: in.key(e, key)})
				}
			}
		}
	}
	return counts
}

// key returns the key of the series in which an event counts.
func (in *instrument) key(e *webhook.Event, tag string) string {
	key := make([]byte, 0, 256)
	for i := range in.attributes {
		key = appendAttribute(key, in.attributes[i].name, in.attributes[i].of(e, tag))
	}
	return string(key)
}

// newMetrics makes what is sent of a collection.
func (c *counters) newMetrics(
	collection *ledger.Collection, resource pcommon.Resource, version string,
) pmetric.Metrics {
	metrics := pmetric.NewMetrics()
	rm := metrics.ResourceMetrics().AppendEmpty()
	resource.CopyTo(rm.Resource())
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(metadata.ScopeName)
	sm.Scope().SetVersion(version)

	for i, in := range c.instruments {
		points := collection.Metrics[i].Points
		if len(points) == 0 {
			continue
		}
		m := sm.Metrics().AppendEmpty()
		m.SetName(in.name)
		m.SetDescription(in.description)
		m.SetUnit(in.unit)
		sum := m.SetEmptySum()
		sum.SetIsMonotonic(true)
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		if c.delta {
			sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		}
		sum.DataPoints().EnsureCapacity(len(points))
		for i := range points {
			putPoint(&points[i], sum.DataPoints().AppendEmpty())
		}
	}
	return metrics
}

func putPoint(point *ledger.Point, to pmetric.NumberDataPoint) {
	to.SetStartTimestamp(pcommon.NewTimestampFromTime(point.Start))
	to.SetTimestamp(pcommon.NewTimestampFromTime(point.Time))
	putAttributes(point.Attributes, to.Attributes())
	if point.Ended {
		to.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
		return
	}
	to.SetIntValue(point.Value)
}
