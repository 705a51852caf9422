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
	// overflowAttribute marks the series of what came past the limit (OpenTelemetry metrics SDK, "Overflow attribute").
	overflowAttribute = "otel.metric.overflow"

	// maxAttributeLength is the number of bytes of a text that the sender chooses and that becomes a metric attribute.
	// Longer ones are cut, so that the memory of the series has a bound.
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

// metricsOf are the metrics that count each kind of event.
var metricsOf = map[webhook.Kind][]string{
	webhook.Failure:  {metadata.MetricsInfo.EmailDeliveryFailures.Name, metadata.MetricsInfo.EmailDeliveryFailuresByTag.Name},
	webhook.Delivery: {metadata.MetricsInfo.EmailDeliveries.Name, metadata.MetricsInfo.EmailDeliveriesByTag.Name},
}

// shared are the attributes that the record of a report and the counters have in common. An attribute without a value is
// left out.
var shared = []sharedAttribute{
	{attributeCode, func(e *webhook.Event) attributeValue { return attributeValue{number: int64(e.Code)} }},
	{attributeExtended, func(e *webhook.Event) attributeValue { return attributeValue{text: e.Extended.String()} }},
	{attributeState, func(e *webhook.Event) attributeValue { return attributeValue{text: e.State} }},
	{attributeMode, func(e *webhook.Event) attributeValue { return attributeValue{text: modeOf(e)} }},
	{attributeClass, func(e *webhook.Event) attributeValue { return attributeValue{text: e.Class} }},
	{attributeCause, func(e *webhook.Event) attributeValue { return attributeValue{text: e.Cause} }},
	{attributeDomain, func(e *webhook.Event) attributeValue { return attributeValue{text: e.Domain} }},
	{attributeAccount, func(e *webhook.Event) attributeValue { return attributeValue{text: e.Account} }},
}

type sharedAttribute struct {
	name string
	of   func(e *webhook.Event) attributeValue
}

// valuesOf returns the values of the shared attributes.
func valuesOf(e *webhook.Event) []attributeValue {
	values := make([]attributeValue, len(shared))
	for i := range shared {
		values[i] = shared[i].of(e)
	}
	return values
}

// attributeValue is a text or a number; the zero value is none.
type attributeValue struct {
	text   string
	number int64
}

// A series is known by the bytes of its attributes: for each, in the order of their names, its name, a byte for its type,
// and its value.
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
		taken := rest[n : n+int(length)]
		rest = rest[n+int(length):]
		return string(taken)
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

// instrument is one metric.
type instrument struct {
	// kind of the events that it counts.
	kind                    webhook.Kind
	name, description, unit string
	// byTag reports whether a report counts once for each tag rather than once.
	byTag bool
	// attributes in the order of their names.
	attributes []countedAttribute
}

// countedAttribute is where a metric's attribute comes from.
type countedAttribute struct {
	name string
	// place in shared, or one of the following.
	place    int
	variable string
}

const (
	tagPlace      = -1
	variablePlace = -2
)

// newCounters expects a valid configuration.
func newCounters(config *Config) *counters {
	c := &counters{tags: newTagFilter(config.Tags), delta: config.Aggregation.Temporality == temporalityDelta}
	metrics, info := config.Metrics, metadata.MetricsInfo
	c.add(metrics.EmailDeliveries.Enabled, instrument{
		kind: webhook.Delivery, name: info.EmailDeliveries.Name, unit: "{delivery}",
		description: "Emails that were delivered, as far as the receiving server said so. Some of them may bounce later.",
		attributes:  countedAttributes(metrics.EmailDeliveries.EnabledAttributes, config.CountBy),
	})
	c.add(metrics.EmailDeliveriesByTag.Enabled, instrument{
		kind: webhook.Delivery, name: info.EmailDeliveriesByTag.Name, unit: "{delivery}", byTag: true,
		description: "Emails that were delivered, once for each distinct tag of the message.",
		attributes:  countedAttributes(metrics.EmailDeliveriesByTag.EnabledAttributes, config.CountBy),
	})
	c.add(metrics.EmailDeliveryFailures.Enabled, instrument{
		kind: webhook.Failure, name: info.EmailDeliveryFailures.Name, unit: "{failure}",
		description: "Emails that could not be delivered.",
		attributes:  countedAttributes(metrics.EmailDeliveryFailures.EnabledAttributes, config.CountBy),
	})
	c.add(metrics.EmailDeliveryFailuresByTag.Enabled, instrument{
		kind: webhook.Failure, name: info.EmailDeliveryFailuresByTag.Name, unit: "{failure}", byTag: true,
		description: "Emails that could not be delivered, once for each distinct tag of the message.",
		attributes:  countedAttributes(metrics.EmailDeliveryFailuresByTag.EnabledAttributes, config.CountBy),
	})
	return c
}

// kinds of the events that are taken: failures first, and what else is counted.
func (c *counters) kinds() []webhook.Kind {
	kinds := []webhook.Kind{webhook.Failure}
	for i := range c.instruments {
		if kind := c.instruments[i].kind; !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func (c *counters) add(enabled bool, in instrument) {
	if enabled {
		c.instruments = append(c.instruments, in)
	}
}

// countedAttributes returns the attributes that a metric has.
func countedAttributes[K ~string](enabled []K, countBy []string) []countedAttribute {
	var attributes []countedAttribute
	for _, name := range enabled {
		// The tag is the only one that is not there.
		place := slices.IndexFunc(shared, func(s sharedAttribute) bool { return s.name == string(name) })
		attributes = append(attributes, countedAttribute{name: string(name), place: place})
	}
	for _, variable := range countBy {
		attributes = append(attributes, countedAttribute{name: variablePrefix + variable, place: variablePlace, variable: variable})
	}
	slices.SortFunc(attributes, func(a, b countedAttribute) int { return strings.Compare(a.name, b.name) })
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

// counts returns what an event counts; values are those of its shared attributes.
func (c *counters) counts(e *webhook.Event, values []attributeValue) []ledger.Count {
	counts := make([]ledger.Count, 0, len(c.instruments)+len(e.Tags))
	for i := range c.instruments {
		in := &c.instruments[i]
		if in.kind != e.Kind {
			continue
		}
		if !in.byTag {
			counts = append(counts, ledger.Count{Metric: i, Attributes: in.key(e, values, "")})
			continue
		}
		counted := make([]string, 0, len(e.Tags))
		for _, tag := range e.Tags {
			if !c.tags.match(tag) {
				continue
			}
			if tag = truncated(tag); !slices.Contains(counted, tag) {
				counted = append(counted, tag)
				counts = append(counts, ledger.Count{Metric: i, Attributes: in.key(e, values, tag)})
			}
		}
	}
	return counts
}

// key returns the bytes of the attributes that the metric has.
func (in *instrument) key(e *webhook.Event, values []attributeValue, tag string) []byte {
	key := make([]byte, 0, 256)
	for i := range in.attributes {
		value := attributeValue{text: tag}
		switch attribute := &in.attributes[i]; attribute.place {
		case tagPlace:
		case variablePlace:
			value.text = e.Variable(attribute.variable)
		default:
			value = values[attribute.place]
		}
		key = appendAttribute(key, in.attributes[i].name, value)
	}
	return key
}

// newMetrics makes what is sent of a collection.
func (c *counters) newMetrics(collection *ledger.Collection, resource pcommon.Resource, version string) pmetric.Metrics {
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
