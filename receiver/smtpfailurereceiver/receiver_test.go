package smtpfailurereceiver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// Every report counts once, whatever its time, from however many connections it comes.
func TestConcurrentReportsAreAllCounted(t *testing.T) {
	const connections = 32
	reports := 2000
	if *exhaustive {
		reports = 20_000
	}
	for _, tc := range []struct {
		name, temporality string
		spread            int // seconds between the times of two reports
	}{
		{"cumulative, in any order of time", temporalityCumulative, 1},
		{"delta, in any order of time", temporalityDelta, 1},
		{"cumulative, all with the same time", temporalityCumulative, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := defaultConfig()
			config.Aggregation.Interval = 20 * time.Millisecond
			config.Aggregation.Temporality = tc.temporality
			run := startRun(t, config)

			transport := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}
			client := &http.Client{Transport: transport}
			defer client.CloseIdleConnections()
			order := rand.New(rand.NewPCG(1, 2)).Perm(reports)
			var sent atomic.Int64
			var sending sync.WaitGroup
			for range connections {
				sending.Go(func() {
					for i := int(sent.Add(1)) - 1; i < reports; i = int(sent.Add(1)) - 1 {
						n := order[i]
						form := fmt.Sprintf("id=%d&time=%d&code=%d&tags[]=all&tags[]=tag%d",
							i, 1_795_000_000+n*tc.spread, 550+n%4, n%10)
						response, err := do(client, newForm(t.Context(), run.url(), form))
						if err != nil || response.status != http.StatusOK {
							t.Errorf("%d, %v", response.status, err)
							return
						}
					}
				})
			}
			sending.Wait()
			require.NoError(t, run.receiver.Shutdown(t.Context()))
			want := int64(reports)
			assert.Equal(t, map[string]int64{failuresMetric: want, byTagMetric: 2 * want}, totals(run.metrics))
			assert.Equal(t, reports, run.logs.LogRecordCount())
			assert.Equal(t, strconv.Itoa(reports), run.count(t, requests("accepted", 200)))
		})
	}
}

func TestRefusedCountersAreSentAgain(t *testing.T) {
	for _, temporality := range []string{temporalityCumulative, temporalityDelta} {
		t.Run(temporality, func(t *testing.T) {
			sink := new(consumertest.MetricsSink)
			var refusing atomic.Bool
			refusing.Store(true)
			config := defaultConfig()
			config.Aggregation.Temporality = temporality
			config.Aggregation.Interval = time.Hour
			run := startRun(t, config, func(r *smtpFailureReceiver) {
				r.metrics = metricsFunc(func(ctx context.Context, m pmetric.Metrics) error {
					if refusing.Load() {
						return errors.New("not now")
					}
					return sink.ConsumeMetrics(ctx, m)
				})
			})
			for i := range 3 {
				require.Equal(t, http.StatusOK, run.post(t, fmt.Sprintf("id=%d&code=550&tags=a", i)).status)
				require.Error(t, run.receiver.flush(t.Context()))
			}
			refusing.Store(false)
			require.NoError(t, run.receiver.flush(t.Context()))
			require.Equal(t, http.StatusOK, run.post(t, "id=last&code=550").status)
			require.NoError(t, run.receiver.Shutdown(t.Context()))
			assert.Equal(t, map[string]int64{failuresMetric: 4, byTagMetric: 3}, totals(sink))
			assert.Equal(t, "3", run.count(t, "otelcol_smtp_failure_flushes{outcome=refused,receiver=smtp_failure}"))
		})
	}
}

func TestShutdownReturnsTheErrorOfTheLastFlush(t *testing.T) {
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) {
		r.metrics = metricsFunc(func(context.Context, pmetric.Metrics) error { return errors.New("gone") })
	})
	run.post(t, "id=1")
	err := run.receiver.Shutdown(t.Context())
	require.ErrorContains(t, err, "the last totals were not sent: gone")
	assert.Equal(t, err, run.receiver.Shutdown(t.Context()), "the second call returns the same")
	run.receiver.shutdownErr = nil // for the clean-up of the run
}

// Prometheus' increase() sees the first failure of a kind only if there was a zero before.
func TestSeriesBeginAtZero(t *testing.T) {
	run := startRun(t, defaultConfig())
	for _, form := range []string{"id=1&code=550", "id=2&code=421"} {
		run.post(t, form)
		require.NoError(t, run.receiver.flush(t.Context()))
		require.NoError(t, run.receiver.flush(t.Context()))
	}
	values := map[int64][]int64{}
	for _, metrics := range run.metrics.AllMetrics() {
		sum := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum()
		for _, point := range sum.DataPoints().All() {
			code, _ := point.Attributes().Get(attributeCode)
			values[code.Int()] = append(values[code.Int()], point.IntValue())
		}
	}
	assert.Equal(t, map[int64][]int64{550: {0, 1, 1, 1}, 421: {0, 1}}, values)
}

// startWithoutServer starts the flush loop of a receiver that has accepted a report, in a bubble of
// synctest, where there is no network.
func startWithoutServer(
	t *testing.T, logger *zap.Logger, consume func(context.Context, pmetric.Metrics) error,
) *smtpFailureReceiver {
	t.Helper()
	settings := receivertest.NewNopSettings(metadata.Type)
	settings.Logger = logger
	r, err := newReceiver(settings, defaultConfig())
	require.NoError(t, err)
	r.metrics = metricsFunc(consume)
	r.counters = newCounters(r.config)
	r.ledger, err = r.openLedger(t.Context(), componenttest.NewNopHost())
	require.NoError(t, err)
	event, err := r.decoder.Form(webhook.Call{Body: "id=1", Arrived: r.now()})
	require.NoError(t, err)
	_, err = r.accept(t.Context(), &queuedEvent{Event: event})
	require.NoError(t, err)
	r.startFlushing()
	return r
}

func TestCountersAreSentEveryInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.WarnLevel)
		var flushed []time.Duration
		began := time.Now()
		r := startWithoutServer(t, zap.New(core), func(context.Context, pmetric.Metrics) error {
			flushed = append(flushed, time.Since(began))
			if len(flushed) == 2 {
				return errors.New("not now")
			}
			return nil
		})
		time.Sleep(35 * time.Second) // of the bubble's clock
		synctest.Wait()
		assert.Equal(t, []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second}, flushed)
		require.NoError(t, r.Shutdown(t.Context()))
		assert.Equal(t, 35*time.Second, flushed[len(flushed)-1])
		assert.Equal(t, 1, logged.Len(), "the refusal is logged")
	})
}

func TestShutdownWaitsForAFlushUntilItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startWithoutServer(t, zap.NewNop(), func(ctx context.Context, _ pmetric.Metrics) error {
			<-ctx.Done()
			return ctx.Err()
		})
		time.Sleep(11 * time.Second) // of the bubble's clock: a flush hangs
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, r.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestShutdownFinishesRequestsInFlight(t *testing.T) {
	logs, arrived, release := blockingLogs()
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) { r.logs = logs })
	status := make(chan int, 1)
	go func() {
		response, err := do(http.DefaultClient, newForm(context.WithoutCancel(t.Context()), run.url(), "id=1"))
		assert.NoError(t, err)
		status <- response.status
	}()
	<-arrived
	shut := make(chan error, 1)
	go func() { shut <- run.receiver.Shutdown(context.WithoutCancel(t.Context())) }()

	address := run.receiver.listener.Addr()
	require.Eventually(t, func() bool {
		connection, err := net.Dial(address.Network(), address.String())
		if err == nil {
			_ = connection.Close()
		}
		return err != nil
	}, testTimeout, time.Millisecond, "new connections are refused")
	close(release)
	assert.Equal(t, http.StatusOK, <-status)
	require.NoError(t, <-shut)
	assert.Equal(t, map[string]int64{failuresMetric: 1}, totals(run.metrics))
}

func TestInstanceForOneSignal(t *testing.T) {
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) { r.metrics = nil })
	assert.Equal(t, http.StatusOK, run.post(t, "id=1").status)
	assert.Equal(t, 1, run.logs.LogRecordCount())
	assert.Empty(t, run.receiver.counters.instruments)

	run = startRun(t, defaultConfig(), func(r *smtpFailureReceiver) { r.logs = nil })
	assert.Equal(t, http.StatusOK, run.post(t, "id=1").status)
	require.NoError(t, run.receiver.Shutdown(t.Context()))
	assert.Equal(t, int64(1), totals(run.metrics)[failuresMetric])
}

// createLogs creates a receiver for logs only.
func createLogs(t *testing.T, config *Config) *smtpFailureReceiver {
	t.Helper()
	settings := receivertest.NewNopSettings(metadata.Type)
	r, err := NewFactory().CreateLogs(t.Context(), settings, config, consumertest.NewNop())
	require.NoError(t, err)
	return r.(*smtpFailureReceiver)
}

func TestStartErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	defer taken.Close()
	endpoint := taken.Addr().String()
	nobody := configauth.Config{AuthenticatorID: component.MustNewID("nobody")}
	for message, change := range map[string]func(*Config){
		"http::endpoint: cannot listen on " + endpoint: func(c *Config) { c.HTTP.NetAddr.Endpoint = endpoint },
		`http: failed to resolve authenticator "nobody"`: func(c *Config) {
			c.HTTP.Auth = configoptional.Some(confighttp.AuthConfig{Config: nobody})
		},
		"ownership_files::0::file: open missing.txt": func(c *Config) {
			c.OwnershipFiles = []OwnershipFileConfig{{Name: "check.txt", File: "missing.txt"}}
		},
	} {
		config := defaultConfig()
		change(config)
		r := createLogs(t, config)
		host := &hostWith{extensions: map[component.ID]component.Component{}}
		require.ErrorContains(t, r.Start(t.Context(), host), message)
		require.NoError(t, r.Shutdown(t.Context()))
	}
}

// A socket that a killed process has left is replaced, and whatever else is at the path stays.
func TestStartOnUnixSocket(t *testing.T) {
	listenOn := func(path string) *net.UnixListener {
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		require.NoError(t, err)
		listener.SetUnlinkOnClose(false)
		t.Cleanup(func() { _ = listener.Close() })
		return listener
	}
	for name, tc := range map[string]struct {
		put    func(path string)
		starts bool
	}{
		"socket of a killed process": {func(path string) { require.NoError(t, listenOn(path).Close()) }, true},
		"socket in use":              {func(path string) { listenOn(path) }, false},
		"socket of another kind": {func(path string) {
			packets, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			require.NoError(t, err)
			t.Cleanup(func() { _ = packets.Close() })
		}, false},
		"file": {func(path string) { require.NoError(t, os.WriteFile(path, nil, 0o600)) }, false},
		"link to a socket of a killed process": {func(path string) {
			require.NoError(t, listenOn(path+"0").Close())
			require.NoError(t, os.Symlink(path+"0", path))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			// The name of a socket has to be short, which t.TempDir is not everywhere.
			directory, err := os.MkdirTemp("", "socket") //nolint:usetesting // see above
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, os.RemoveAll(directory)) })
			path := filepath.Join(directory, "s")
			tc.put(path)
			before, err := os.Lstat(path)
			require.NoError(t, err)

			config := defaultConfig()
			config.HTTP.NetAddr.Transport, config.HTTP.NetAddr.Endpoint = confignet.TransportTypeUnix, path
			r := createLogs(t, config)
			err = r.Start(t.Context(), componenttest.NewNopHost())
			if !tc.starts {
				require.ErrorIs(t, err, syscall.EADDRINUSE)
				after, err := os.Lstat(path)
				require.NoError(t, err)
				assert.True(t, os.SameFile(before, after), "it is still there")
				require.NoError(t, r.Shutdown(t.Context()))
				return
			}
			require.NoError(t, err)
			got := exchangeRaw(t, r.listener.Addr(), []byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
			assert.Contains(t, got, "404 Not Found")
			require.NoError(t, r.Shutdown(t.Context()))
			assert.NoFileExists(t, path)
		})
	}
}

func TestShutdownBeforeStart(t *testing.T) {
	factory, config := NewFactory(), defaultConfig()
	settings := receivertest.NewNopSettings(metadata.Type)
	create := func() component.Component {
		r, err := factory.CreateLogs(t.Context(), settings, config, consumertest.NewNop())
		require.NoError(t, err)
		return r
	}
	first := create()
	assert.Same(t, first, create(), "one receiver for one configuration")
	require.NoError(t, first.Shutdown(t.Context()))
	require.NoError(t, first.Shutdown(t.Context()))
	require.ErrorIs(t, first.Start(t.Context(), componenttest.NewNopHost()), errShutDown)
	assert.NotSame(t, first, create(), "the configuration can be used again")

	config.Timezone = "Mars/Olympus_Mons"
	_, err := NewFactory().CreateLogs(t.Context(), settings, config, consumertest.NewNop())
	require.ErrorContains(t, err, "timezone")
	_, err = NewFactory().CreateMetrics(t.Context(), settings, config, consumertest.NewNop())
	require.ErrorContains(t, err, "timezone")
}

func TestServerThatEndsIsAFatalError(t *testing.T) {
	host := &hostWith{status: make(chan *componentstatus.Event, 1)}
	run := startRunOn(t, host, defaultConfig())
	require.NoError(t, run.receiver.listener.Close())
	event := <-host.status
	assert.Equal(t, componentstatus.StatusFatalError, event.Status())
	require.ErrorContains(t, event.Err(), "the HTTP server ended")
	_ = run.receiver.Shutdown(t.Context())
	run.receiver.shutdownErr = nil // for the clean-up of the run
}

func TestUnauthenticatedEndpoints(t *testing.T) {
	for _, tc := range []struct {
		endpoint  string
		transport confignet.TransportType
		auth, tls bool
		ca        string
		want      bool
	}{
		{endpoint: "localhost:8550"},
		{endpoint: "127.0.0.1:8550"},
		{endpoint: "[::1]:8550"},
		{endpoint: "/run/failures.sock", transport: confignet.TransportTypeUnix},
		{endpoint: "0.0.0.0:8550", auth: true},
		{endpoint: "0.0.0.0:8550", tls: true, ca: "ca.pem"},
		{endpoint: "0.0.0.0:8550", tls: true, want: true},
		{endpoint: ":8550", want: true},
		{endpoint: "[::]:8550", want: true},
		{endpoint: "collector.example.com:8550", want: true},
	} {
		config := defaultConfig()
		config.HTTP.NetAddr = confignet.AddrConfig{Endpoint: tc.endpoint, Transport: tc.transport}
		if tc.auth {
			config.HTTP.Auth = configoptional.Some(confighttp.AuthConfig{})
		}
		if tc.tls {
			config.HTTP.TLS = configoptional.Some(configtls.ServerConfig{ClientCAFile: tc.ca})
		}
		assert.Equal(t, tc.want, (&smtpFailureReceiver{config: config}).isUnauthenticated(), "%+v", tc)
	}
}

func TestReplayableConfigs(t *testing.T) {
	for yaml, want := range map[string]string{
		"signature: {accounts: [environment-1]}":                                          "",
		"deduplication: {enabled: false}":                                                 "",
		"signature: {accounts: [environment-1]}\ndeduplication: {enabled: false}":         "deduplication::enabled",
		"signature: {accounts: [environment-1], max_age: 10m}\ndeduplication: {ttl: 10m}": "deduplication::ttl",
		"signature: {accounts: [environment-1], max_age: 10m}\ndeduplication: {ttl: 11m}": "",
		"signature: {accounts: [environment-1]}\ndeduplication: {max_entries: 9999}":      "deduplication::max_entries",
	} {
		reason := replayable(configOf(t, yaml))
		assert.Equal(t, want == "", reason == "", yaml)
		assert.Contains(t, reason, want, yaml)
	}
}

func TestStartLogsWarnings(t *testing.T) {
	for yaml, want := range map[string][]string{
		"{}": nil,
		"http: {endpoint: ':0'}\nresource_attributes: {job: mail}\nrecipient: {mode: drop}\ncount_by: [mailing]": {
			"Anyone who can reach the endpoint can inject failures",
			"Nothing is counted by a variable of count_by",
			"With resource_to_telemetry_conversion, an exporter drops the counters",
		},
		"http: {endpoint: ':0'}\nsignature: {accounts: [environment-1]}\ndeduplication: {enabled: false}": {
			"A captured call counts again when it is sent again",
		},
	} {
		core, logged := observer.New(zap.WarnLevel)
		config := configOf(t, yaml)
		if yaml == "{}" {
			config.HTTP.NetAddr.Endpoint = "localhost:0"
		}
		r := createLogs(t, config)
		r.logger = zap.New(core)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, r.Shutdown(t.Context()))
		if assert.Equal(t, len(want), logged.Len(), "%s: %v", yaml, logged.All()) {
			for i, entry := range logged.All() {
				assert.Contains(t, entry.Message, want[i])
			}
		}
	}
}
