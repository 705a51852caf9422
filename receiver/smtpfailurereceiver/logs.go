package smtpfailurereceiver

import (
	"context"
	"time"

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
	attributeAddress   = "email.recipient.address"
	attributeTags      = "email.tags"
	attributeType      = "copernica.type"
	attributeAction    = "copernica.action"
	attributeUID       = "log.record.uid"

	// variablePrefix goes before the name of every variable that has no attribute of its own.
	variablePrefix = "copernica."
	// reservedVariable is the one variable whose attribute would be taken for what the receiver itself vouches for: copernica.account.id.
	reservedVariable = "account.id"
	// unverifiedPrefix goes before it instead.
	unverifiedPrefix = "copernica.unverified."
)

// arrival is a report that arrived.
type arrival struct {
	report *webhook.Event
	// account that signed it; empty when that was not checked.
	account string
	uid     webhook.Identity
	at      time.Time
	// measured is the context of what is measured of it.
	measured context.Context
}

// newLogs makes the log record of a report.
func newLogs(a *arrival, resource pcommon.Resource, version string) plog.Logs {
	r := a.report
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	resource.CopyTo(rl.Resource())
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(metadata.ScopeName)
	sl.Scope().SetVersion(version)

	record := sl.LogRecords().AppendEmpty()
	record.SetEventName(eventName)
	record.SetObservedTimestamp(pcommon.NewTimestampFromTime(a.at))
	if r.FailedAt.IsZero() {
		record.SetTimestamp(record.ObservedTimestamp())
	} else {
		record.SetTimestamp(pcommon.NewTimestampFromTime(r.FailedAt))
	}
	body := r.Description
	if body == "" {
		body = r.Summary()
	}
	record.Body().SetStr(body)

	class := r.Class()
	if class == smtpstatus.ClassTransient {
		record.SetSeverityNumber(plog.SeverityNumberWarn)
		record.SetSeverityText("WARN")
	} else {
		record.SetSeverityNumber(plog.SeverityNumberError)
		record.SetSeverityText("ERROR")
	}

	attributes := record.Attributes()
	attributes.EnsureCapacity(14 + len(r.Others))
	put := func(name, value string) {
		if value != "" {
			attributes.PutStr(name, value)
		}
	}
	put(attributeMessageID, r.ID)
	put(attributeAddress, r.Recipient)
	put(attributeDomain, r.RecipientDomain())
	put(attributeState, r.State)
	put(attributeExtended, r.Extended.String())
	put(attributeMode, modeOf(r).String())
	put(attributeClass, class)
	put(attributeReason, r.Reason())
	put(attributeType, r.Type)
	put(attributeAction, r.Action)
	put(attributeAccount, a.account)
	put(attributeUID, a.uid.String())
	if r.Code != 0 {
		attributes.PutInt(attributeCode, int64(r.Code))
	}
	putSlice(attributes, attributeTags, r.Tags)
	for _, v := range r.Others {
		name := variablePrefix + v.Name
		if v.Name == reservedVariable {
			name = unverifiedPrefix + v.Name
		}
		if v.List == nil {
			attributes.PutStr(name, v.Value)
		} else {
			putSlice(attributes, name, v.List)
		}
	}
	return logs
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
