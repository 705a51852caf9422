package smtpfailurereceiver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/failure"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// typical is a report as PHP encodes it.
const typical = "id=msg-0001&type=failure&timestamp=2026-11-21+10%3A14%3A58&time=1795256098&recipient=jan.jansen%2Btest%40voorbeeld.nl" +
	"&action=failed&state=rcptto&code=550&extended=5.1.1&description=550+5.1.1+%3Cjan.jansen%2Btest%40voorbeeld.nl%3E%3A+Recipient+address" +
	"+rejected%3A+User+unknown&tags%5B0%5D=nieuwsbrief&tags%5B1%5D=week+47"

func typicalReport(b *testing.B) *failure.Report {
	b.Helper()
	report, err := new(failure.Decoder).Form(typical)
	require.NoError(b, err)
	return &report
}

func BenchmarkNewLogs(b *testing.B) {
	report := typicalReport(b)
	resource, err := newResource(nil)
	require.NoError(b, err)
	b.ReportAllocs()
	var logs plog.Logs
	for b.Loop() {
		logs = newLogs(&arrival{report: report, uid: report.Identity(""), at: arrivedAt}, resource, "test")
	}
	require.Equal(b, 1, logs.LogRecordCount())
}

// BenchmarkCount counts one report, with its two tags, while so many series are held.
func BenchmarkCount(b *testing.B) {
	for _, series := range []int{1, 1000, 100_000} {
		b.Run(strconv.Itoa(series), func(b *testing.B) {
			c := withSeries(series)
			report := typicalReport(b)
			b.ReportAllocs()
			for b.Loop() {
				count(c, report)
			}
		})
	}
}

// BenchmarkFlush makes what is sent of so many series each interval.
func BenchmarkFlush(b *testing.B) {
	for _, series := range []int{1, 1000, 100_000} {
		b.Run(strconv.Itoa(series), func(b *testing.B) {
			c := withSeries(series)
			resource, err := newResource(nil)
			require.NoError(b, err)
			flush := func() {
				var reports []*counter.Report[labels]
				for _, m := range c.metrics {
					reports = append(reports, m.sums.Collect(arrivedAt))
				}
				c.newMetrics(reports, resource, "test")
				for _, report := range reports {
					report.Taken()
				}
			}
			flush()
			b.ReportAllocs()
			for b.Loop() {
				flush()
			}
		})
	}
}

// withSeries returns counters of which email.delivery.failures has so many series.
func withSeries(n int) *counters {
	config := defaultConfig()
	config.Aggregation.CardinalityLimit = n
	c := newCounters(config, arrivedAt)
	for i := range n {
		count(c, &failure.Report{State: strconv.Itoa(i)})
	}
	return c
}

func count(c *counters, report *failure.Report) {
	for i, keys := range c.keys(report, "") {
		for _, key := range keys {
			c.metrics[i].sums.Add(key, arrivedAt)
		}
	}
}

// BenchmarkHandle takes a request from its headers to its answer, without the network.
func BenchmarkHandle(b *testing.B) {
	config := defaultConfig()
	r, err := newReceiver(receivertest.NewNopSettings(metadata.Type), config)
	require.NoError(b, err)
	r.logs, r.metrics = consumertest.NewNop(), consumertest.NewNop()
	r.counters = newCounters(config, r.now())
	r.ledger, err = r.openLedger(b.Context(), componenttest.NewNopHost())
	require.NoError(b, err)
	handler := r.answering(http.HandlerFunc(r.handle))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		request := httptest.NewRequest(http.MethodPost, defaultPath, strings.NewReader(typical+"&id="+strconv.Itoa(n)))
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != http.StatusOK {
			b.Fatal(answer.Code)
		}
	}
}

// BenchmarkRequests sends reports over 64 connections to a receiver that keeps its ledger in memory, and to one that keeps it in file_storage
// with a sync of each write. What it reports is the time for each report, with the client's share in it.
func BenchmarkRequests(b *testing.B) {
	const connections = 64
	for _, kept := range []string{"memory", "storage"} {
		b.Run(kept, func(b *testing.B) {
			config := defaultConfig()
			config.HTTP.NetAddr.Endpoint = "localhost:0"
			host := componenttest.NewNopHost()
			if kept == "storage" {
				config.Storage = &storageID
				host = newStorageHost(b, b.TempDir())
			}
			factory := NewFactory()
			settings := receivertest.NewNopSettings(metadata.Type)
			r, err := factory.CreateLogs(b.Context(), settings, config, consumertest.NewNop())
			require.NoError(b, err)
			_, err = factory.CreateMetrics(b.Context(), settings, config, consumertest.NewNop())
			require.NoError(b, err)
			require.NoError(b, r.Start(b.Context(), host))
			defer func() { require.NoError(b, r.Shutdown(context.WithoutCancel(b.Context()))) }()

			url := "http://" + r.(*smtpFailureReceiver).listener.Addr().String() + defaultPath
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
			defer client.CloseIdleConnections()
			var id atomic.Int64
			b.SetParallelism(connections / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					form := typical + "&id=" + strconv.FormatInt(id.Add(1), 10)
					answer, err := do(client, newForm(context.Background(), url, form))
					if err != nil || answer.status != http.StatusOK {
						b.Error(answer.status, err)
						return
					}
				}
			})
		})
	}
}
