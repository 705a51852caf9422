package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBody(t *testing.T) {
	reported := time.Date(2026, 11, 22, 9, 0, 30, 0, time.UTC)
	full := report{
		id: "run-1-000001", recipient: "zoë+x@bücher.example", tags: []string{"a b", "c"}, state: "rcptto", code: "550", extended: "5.1.1",
		kind: "failure", action: "failed", description: "550 5.1.1\nunknown", dialect: dialects[0], age: 30 * time.Second,
	}
	const variables = "id=run-1-000001&type=failure&timestamp=2026-11-22+09%3A00%3A00&time=1795338000&recipient=zo%C3%AB%2Bx%40b%C3%BCcher.example" +
		"&action=failed&state=rcptto&code=550&extended=5.1.1&description=550+5.1.1%0Aunknown"

	for _, test := range []struct {
		name     string
		encoding int
		change   func(*report)
		want     string
	}{
		{"tags[]", 0, nil, variables + "&tags%5B%5D=a+b&tags%5B%5D=c"},
		{"tags[n]", 1, nil, variables + "&tags%5B0%5D=a+b&tags%5B1%5D=c"},
		{"tags repeated", 2, nil, variables + "&tags=a+b&tags=c"},
		{"tags joined", 3, nil, variables + "&tags=a+b%3Bc"},
		{
			"JSON", 4, nil,
			`{"action":"failed","code":"550","description":"550 5.1.1\nunknown","extended":"5.1.1","id":"run-1-000001","recipient":"zoë+x@bücher.example",` +
				`"state":"rcptto","tags":["a b","c"],"time":"1795338000","timestamp":"2026-11-22 09:00:00","type":"failure"}`,
		},
		{"joined, without tags", 3, func(r *report) { r.tags = nil }, variables},
		{
			"JSON, with little to say", 4, func(r *report) { *r = report{id: "x", dialect: dialects[2]} }, `{"id":"x"}`,
		},
		{
			"older dialect", 0, func(r *report) { r.dialect, r.kind, r.action, r.tags, r.code = dialects[2], "", "", nil, "" },
			"id=run-1-000001&recipient=zo%C3%AB%2Bx%40b%C3%BCcher.example&state=rcptto&extended=5.1.1&description=550+5.1.1%0Aunknown",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := full
			if test.change != nil {
				test.change(&r)
			}
			r.encoding = encodings[test.encoding]
			assert.Equal(t, test.want, string(r.body(reported)))
		})
	}
}

func TestFailedIsZeroWhereTheDialectDoesNotSay(t *testing.T) {
	now := time.Unix(1000, 0)
	assert.Equal(t, int64(990), (&report{dialect: dialects[0], age: 10 * time.Second}).failed(now))
	assert.Zero(t, (&report{dialect: dialects[3], age: 10 * time.Second}).failed(now))
}
