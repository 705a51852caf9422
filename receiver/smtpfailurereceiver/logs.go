package smtpfailurereceiver

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// Log attributes that are not metric attributes too.
const (
	eventName = "email.delivery.failed"

	attributeMessageID = "email.message.id"
	attributeMeaning   = "smtp.response.enhanced_status_meaning"
	attributeAddress   = "email.recipient.address"
	attributeTags      = "email.tags"
	attributeType      = "copernica.type"
	attributeAction    = "copernica.action"
	attributeUID       = "log.record.uid"

	// variablePrefix goes before the name of every variable that has no attribute of its own.
	variablePrefix = "copernica."
)

// newLogs makes the log records of events.
func newLogs(events []*queuedEvent, resource pcommon.Resource, version string) plog.Logs {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	resource.CopyTo(rl.Resource())
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(metadata.ScopeName)
	sl.Scope().SetVersion(version)

	sl.LogRecords().EnsureCapacity(len(events))
	for _, event := range events {
		putRecord(event.Event, sl.LogRecords().AppendEmpty())
	}
	return logs
}

func putRecord(e *webhook.Event, record plog.LogRecord) {
	record.SetEventName(eventName)
	record.SetObservedTimestamp(pcommon.NewTimestampFromTime(e.Arrived))
	record.SetTimestamp(pcommon.NewTimestampFromTime(e.Time))
	body := e.Description
	if body == "" {
		body = e.Summary()
	}
	record.Body().SetStr(body)

	if e.Class == smtpstatus.ClassTransient {
		record.SetSeverityNumber(plog.SeverityNumberWarn)
		record.SetSeverityText("WARN")
	} else {
		record.SetSeverityNumber(plog.SeverityNumberError)
		record.SetSeverityText("ERROR")
	}

	record.SetDroppedAttributesCount(uint32(e.Dropped))
	attributes := record.Attributes()
	attributes.EnsureCapacity(15 + len(e.Variables))
	put := func(name, value string) {
		if value != "" {
			attributes.PutStr(name, value)
		}
	}
	put(attributeMessageID, e.ID)
	put(attributeAddress, e.Recipient)
	meaning, _ := e.Extended.Meaning()
	put(attributeMeaning, meaning)
	put(attributeType, e.Type)
	put(attributeAction, e.Action)
	put(attributeUID, e.Identity.String())
	for _, attribute := range eventAttributes {
		value := attribute.of(e, "")
		put(attribute.name, value.text)
		if value.number != 0 {
			attributes.PutInt(attribute.name, value.number)
		}
	}
	putSlice(attributes, attributeTags, e.Tags)
	for _, v := range e.Variables {
		name := variablePrefix + v.Name
		if v.List == nil {
			attributes.PutStr(name, v.Value)
		} else {
			putSlice(attributes, name, v.List)
		}
	}
}

func putSlice(attributes pcommon.Map, name string, values []string) {
	if len(values) == 0 {
		return
	}
	slice := attributes.PutEmptySlice(name)
	slice.EnsureCapacity(len(values))
	for _, value := range values {
		slice.AppendEmpty().SetStr(value)
	}
}
