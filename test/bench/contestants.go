package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/test/otlpsink"
)

// contestant is one of the processes that are compared.
type contestant struct {
	name       string
	configs    string // the files of a collector; none: it is a floor
	signed     bool
	deliveries bool

	*server

	next     requests
	statuses map[int]int       // of all responses
	figures  map[int][]figures // by the number of connections, one for each round
}

func contestants() []*contestant {
	return []*contestant{
		{name: "floor"},
		{name: "floor-signed", signed: true},
		{name: "floor-rsa", signed: true},
		{name: "ours", configs: "ours"},
		{name: "ours-signed", configs: "ours signature", signed: true},
		{name: "ours-storage", configs: "ours storage"},
		{name: "ours-fsync", configs: "ours storage fsync"},
		{name: "ours-exporting", configs: "ours exporting"},
		{name: "ours-durable", configs: "ours exporting storage fsync durable"},
		{name: "ours-deliveries", configs: "ours deliveries", deliveries: true},
		{name: "ours-deliveries-signed", configs: "ours deliveries signature", deliveries: true, signed: true},
		{name: "stock", configs: "stock"},
	}
}

// chosen returns the contestants that were asked for and the floors that they are compared with.
func (b *bench) chosen() []*contestant {
	all := contestants()
	signed := slices.ContainsFunc(all, func(one *contestant) bool { return one.signed && b.wants(one.name) })
	return slices.DeleteFunc(all, func(one *contestant) bool {
		isFloor := one.configs == "" && (signed || !one.signed)
		return !isFloor && !b.wants(one.name)
	})
}

// peers are the servers that contestants need.
type peers struct {
	dns     *signaturetest.DNSServer
	sink    *otlpsink.Sink
	storage string
}

func (b *bench) startPeers() *peers {
	p := &peers{
		dns: signaturetest.StartDNS(), sink: must(otlpsink.Start("127.0.0.1:0", nil)),
		storage: must(os.MkdirTemp(b.directory, "storage")),
	}
	p.dns.Set(signaturetest.KeyName, signaturetest.TXT(signaturetest.KeyRecord(signaturetest.Key(keyBits, ""))))
	return p
}

func (p *peers) stop() {
	p.dns.Close()
	check(p.sink.Close(), os.RemoveAll(p.storage))
}

// start starts the process, and makes the requests for it: as many as are given if they are signed,
// otherwise without end.
func (one *contestant) start(ctx context.Context, program string, p *peers, signed int) {
	one.statuses, one.figures = make(map[int]int), make(map[int][]figures)
	bodies := failureBodies()
	if one.deliveries {
		bodies = deliveryBodies()
	}
	if one.next = numbered(bodies); one.signed {
		one.next = presigned(ctx, bodies, signed)
	}
	environment := []string{
		"BENCH_RESOLVER=" + p.dns.Address, "BENCH_BACKEND=" + p.sink.URL, "BENCH_STORAGE=" + p.storage + "/" + one.name,
	}
	if one.name == "floor-rsa" {
		environment = append(environment, "BENCH_RSA=yes")
	}
	one.server = start(ctx, one.name, program, environment, strings.Fields(one.configs)...)
}

// send sends for a while and keeps count of the responses.
func (one *contestant) send(connections int, duration time.Duration, next requests) *outcome {
	o := (&load{address: one.address, connections: connections, next: next}).run(duration)
	for status, n := range o.statuses {
		one.statuses[status] += n
	}
	return o
}
