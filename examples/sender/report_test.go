package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestWrite(t *testing.T) {
	const (
		start = "id=x&type=failure&timestamp=2026-11-22+09%3A00%3A00&time=1795338000&recipient=zo%C3%AB%2Bx%40b%C3%BCcher.example&action=failed"
		rest  = "&state=rcptto&code=550&extended=5.1.1&description=550+5.1.1%0Aunknown"
	)
	for name, test := range map[string]struct {
		encoding int
		change   func(*report)
		want     string
	}{
		"tags[]":        {0, nil, start + rest + "&tags%5B%5D=a+b&tags%5B%5D=c"},
		"tags[n]":       {1, nil, start + rest + "&tags%5B0%5D=a+b&tags%5B1%5D=c"},
		"tags repeated": {2, nil, start + rest + "&tags=a+b&tags=c"},
		"tags joined":   {3, nil, start + rest + "&tags=a+b%3Bc"},
		"no tags":       {3, func(r *report) { r.Tags = nil }, start + rest},
		"JSON": {4, nil, `{"action":"failed","code":"550","description":"550 5.1.1\nunknown","extended":"5.1.1","id":"x",` +
			`"recipient":"zoë+x@bücher.example","state":"rcptto","tags":["a b","c"],"time":"1795338000","timestamp":"2026-11-22 09:00:00","type":"failure"}`},
		"JSON with an id alone": {4, func(r *report) { *r = report{ID: "x", dialect: dialects[2]} }, `{"id":"x"}`},
		"untyped dialect":       {0, func(r *report) { *r = report{ID: "x", State: "data", dialect: dialects[2]} }, "id=x&state=data"},
		"delivery": {
			3, func(r *report) { r.Tags = nil; r.deliver(rand.New(rand.NewPCG(1, 3))); r.encoding = encodings[0] },
			"id=x&type=delivery&timestamp=2026-11-22+09%3A00%3A00&time=1795338000&recipient=zo%C3%AB%2Bx%40b%C3%BCcher.example" +
				"&code=250&extended=2.0.0&description=250+2.0.0+Ok%3A+queued+by+mx1.b%C3%BCcher.example",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &report{
				ID: "x", Recipient: "zoë+x@bücher.example", Tags: []string{"a b", "c"}, State: "rcptto", Code: "550", Extended: "5.1.1",
				Type: "failure", Action: "failed", Description: "550 5.1.1\nunknown", dialect: dialects[0], age: 30 * time.Second,
			}
			if test.change != nil {
				test.change(r)
			}
			r.encoding = encodings[test.encoding]
			reported := time.Date(2026, 11, 22, 9, 0, 30, 0, time.UTC)
			r.write(reported)
			assert.Equal(t, test.want, string(r.body))
			assert.Equal(t, r.dialect.typed, r.Time == reported.Unix()-30)
			r.write(reported.Add(time.Hour))
			assert.Equal(t, test.want, string(r.body), "a repeat is the same bytes")
		})
	}
}
