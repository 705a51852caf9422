package main

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// meanings map each registered enhanced status to its meaning, and other details of a registered
// subject to the meaning of the subject.
func meanings() []any {
	registered := map[string]dashboard.ValueMappingResult{}
	var subjects []any
	text := func(s string) dashboard.ValueMappingResult {
		return dashboard.ValueMappingResult{Text: &s, Index: new(int32(len(registered) + len(subjects)))}
	}
	registered["none"] = text("No enhanced status")
	registered["overflow"] = text("Counted past the cardinality limit, without attributes")
	for subject := range uint16(1000) {
		for detail := range uint16(1000) {
			for _, class := range []uint16{2, 4, 5} {
				status := smtpstatus.Enhanced{Class: class, Subject: subject, Detail: detail}
				if meaning, ok := status.Meaning(); ok {
					registered[status.String()] = text(meaning)
				}
			}
		}
	}
	for subject := range uint16(1000) {
		if meaning, ok := (smtpstatus.Enhanced{Class: 5, Subject: subject}).Meaning(); ok {
			subjects = append(subjects, dashboard.RegexMap{
				Type: dashboard.MappingTypeRegexToText,
				Options: dashboard.DashboardRegexMapOptions{
					Pattern: fmt.Sprintf(`[245]\.%d\.\d+`, subject),
					Result:  text(meaning + " (a detail that is not registered)"),
				},
			})
		}
	}
	return append([]any{dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: registered}}, subjects...)
}
