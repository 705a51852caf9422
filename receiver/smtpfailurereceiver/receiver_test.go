package smtpfailurereceiver

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	"go.opentelemetry.io/collector/receiver"
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
			run := startRun(t, config, asItIs)

			client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}}
			defer client.CloseIdleConnections()
			order := rand.New(rand.NewPCG(1, 2)).Perm(reports)
			var sent atomic.Int64
			var sending sync.WaitGroup
			for range connections {
				sending.Go(func() {
					for i := int(sent.Add(1)) - 1; i < reports; i = int(sent.Add(1)) - 1 {
						n := order[i]
						form := fmt.Sprintf("id=%d&time=%d&code=%d&tags[]=all&tags[]=tag%d", i, 1_795_000_000+n*tc.spread, 550+n%4, n%10)
						answer, err := do(client, newForm(t.Context(), run.url(), form))
						if err != nil || answer.status != http.StatusOK {
							t.Errorf("%d, %v", answer.status, err)
							return
						}
					}
				})
			}
			sending.Wait()
			require.NoError(t, run.receiver.Shutdown(t.Context()))
			assert.Equal(t, map[string]int64{failuresMetric: int64(reports), byTagMetric: int64(2 * reports)}, totals(run.metrics))
			assert.Equal(t, reports, run.logs.LogRecordCount())
			assert.Equal(t, strconv.Itoa(reports), run.count(t, requests("accepted", 200)))
		})
	}
}

func TestMetricsPipelinesThatRefuseCostNothing(t *testing.T) {
	for _, temporality := range []string{temporalityCumulative, temporalityDelta} {
		t.Run(temporality, func(t *testing.T) {
			sink := new(consumertest.MetricsSink)
			var refusing atomic.Bool
			refusing.Store(true)
			config := defaultConfig()
			config.Aggregation.Temporality = temporality
			config.Aggregation.Interval = time.Hour
			run := startRun(t, config, func(r *smtpFailureReceiver) {
				r.metrics = metricsThat(func(ctx context.Context, m pmetric.Metrics) error {
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

func TestLastTotalsThatAreRefusedAreAnErrorOfShutdown(t *testing.T) {
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) {
		r.metrics = metricsThat(func(context.Context, pmetric.Metrics) error { return errors.New("gone") })
	})
	run.post(t, "id=1")
	err := run.receiver.Shutdown(t.Context())
	require.ErrorContains(t, err, "the last totals were not sent: gone")
	assert.Equal(t, err, run.receiver.Shutdown(t.Context()), "twice is as once")
	run.receiver.shutdownErr = nil // for the clean-up of the run
}

func TestTheFirstFailureOfAKindIsSeenAsAnIncrease(t *testing.T) {
	run := startRun(t, defaultConfig(), asItIs)
	run.post(t, "id=1&code=550")
	require.NoError(t, run.receiver.flush(t.Context()))
	require.NoError(t, run.receiver.flush(t.Context()))
	run.post(t, "id=2&code=421")
	require.NoError(t, run.receiver.flush(t.Context()))
	require.NoError(t, run.receiver.flush(t.Context()))

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

func TestCountersGoOutEveryInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := receivertest.NewNopSettings(metadata.Type)
		logger, logged := observer.New(zap.WarnLevel)
		settings.Logger = zap.New(logger)
		r, err := newReceiver(settings, defaultConfig())
		require.NoError(t, err)
		var flushed []time.Duration
		began := time.Now()
		r.metrics = metricsThat(func(context.Context, pmetric.Metrics) error {
			flushed = append(flushed, time.Since(began))
			if len(flushed) == 2 {
				return errors.New("not now")
			}
			return nil
		})
		r.counters = newCounters(r.config)
		r.ledger, err = r.openLedger(t.Context(), componenttest.NewNopHost())
		require.NoError(t, err)
		report, err := r.decoder.Form(webhook.Call{Body: "id=1", Arrived: r.now()})
		require.NoError(t, err)
		_, err = r.accept(t.Context(), &queuedEvent{Event: report})
		require.NoError(t, err)

		r.startFlushing()
		time.Sleep(35 * time.Second) // of the bubble's clock
		synctest.Wait()
		assert.Equal(t, []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second}, flushed)
		require.NoError(t, r.Shutdown(t.Context()))
		assert.Equal(t, 35*time.Second, flushed[len(flushed)-1])
		assert.Equal(t, 1, logged.Len(), "what was refused is logged")
	})
}

func TestShutdownWaitsForAFlushUntilItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := newReceiver(receivertest.NewNopSettings(metadata.Type), defaultConfig())
		require.NoError(t, err)
		r.metrics = metricsThat(func(ctx context.Context, _ pmetric.Metrics) error {
			<-ctx.Done()
			return ctx.Err()
		})
		r.counters = newCounters(r.config)
		r.ledger, err = r.openLedger(t.Context(), componenttest.NewNopHost())
		require.NoError(t, err)
		report, err := r.decoder.Form(webhook.Call{Body: "id=1", Arrived: r.now()})
		require.NoError(t, err)
		_, err = r.accept(t.Context(), &queuedEvent{Event: report})
		require.NoError(t, err)
		r.startFlushing()
		time.Sleep(11 * time.Second) // of the bubble's clock: a flush hangs

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, r.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	logs, arrived, release := blockingLogs()
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) { r.logs = logs })
	answered := make(chan int, 1)
	go func() {
		answer, err := do(http.DefaultClient, newForm(context.WithoutCancel(t.Context()), run.url(), "id=1"))
		assert.NoError(t, err)
		answered <- answer.status
	}()
	<-arrived
	shut := make(chan error, 1)
	go func() { shut <- run.receiver.Shutdown(context.WithoutCancel(t.Context())) }()

	require.Eventually(t, func() bool { return !accepts(run.receiver.listener.Addr()) }, patience, time.Millisecond, "nothing new is taken")
	close(release)
	assert.Equal(t, http.StatusOK, <-answered)
	require.NoError(t, <-shut)
	assert.Equal(t, map[string]int64{failuresMetric: 1}, totals(run.metrics))
}

func accepts(address net.Addr) bool {
	connection, err := net.Dial(address.Network(), address.String())
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

func TestShutdownHonoursItsDeadline(t *testing.T) {
	logs, arrived, release := blockingLogs()
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) { r.logs = logs })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := do(http.DefaultClient, newForm(context.WithoutCancel(t.Context()), run.url(), "id=1"))
		assert.Error(t, err)
	}()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorContains(t, run.receiver.Shutdown(ctx), "requests were cut off")
	run.receiver.shutdownErr = nil // for the clean-up of the run
	close(release)
	<-ended
}

func TestSignalsThatAreNotUsed(t *testing.T) {
	t.Run("logs only", func(t *testing.T) {
		run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) { r.metrics = nil })
		assert.Equal(t, http.StatusOK, run.post(t, "id=1").status)
		assert.Equal(t, 1, run.logs.LogRecordCount())
		assert.Empty(t, run.receiver.counters.instruments, "nothing is held that nobody gets")
	})
	t.Run("metrics only", func(t *testing.T) {
		run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) { r.logs = nil })
		assert.Equal(t, http.StatusOK, run.post(t, "id=1").status)
		require.NoError(t, run.receiver.Shutdown(t.Context()))
		assert.Equal(t, int64(1), totals(run.metrics)[failuresMetric])
	})
}

func TestStartErrorsSayWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, test := range []struct {
		name, message string
		change        func(*Config)
	}{
		{"port in use", "http::endpoint: cannot listen on " + taken.Addr().String(), func(c *Config) { c.HTTP.NetAddr.Endpoint = taken.Addr().String() }},
		{"unknown authenticator", "http: failed to resolve authenticator \"nobody\"", func(c *Config) {
			c.HTTP.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: component.MustNewID("nobody")}})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := defaultConfig()
			test.change(config)
			r, err := NewFactory().CreateLogs(t.Context(), receivertest.NewNopSettings(metadata.Type), config, consumertest.NewNop())
			require.NoError(t, err)
			require.ErrorContains(t, r.Start(t.Context(), &hostWith{extensions: map[component.ID]component.Component{}}), test.message)
			assert.NoError(t, r.Shutdown(t.Context()))
		})
	}
}

// TestStartOnUnixSocket finds at the path what a killed process leaves there, and what is somebody else's.
func TestStartOnUnixSocket(t *testing.T) {
	left := func(t *testing.T, network, path string) io.Closer {
		if network == "unixgram" {
			packets, err := net.ListenUnixgram(network, &net.UnixAddr{Name: path, Net: network})
			require.NoError(t, err)
			return packets
		}
		listener, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
		require.NoError(t, err)
		listener.SetUnlinkOnClose(false)
		return listener
	}
	for _, test := range []struct {
		name   string
		put    func(t *testing.T, path string)
		starts bool
	}{
		{"nothing", func(*testing.T, string) {}, true},
		{"a socket of a process that was killed", func(t *testing.T, path string) {
			require.NoError(t, left(t, "unix", path).Close())
		}, true},
		{"a socket that is listened on", func(t *testing.T, path string) {
			listener := left(t, "unix", path)
			t.Cleanup(func() { require.NoError(t, listener.Close()) })
		}, false},
		{"a socket of another kind", func(t *testing.T, path string) {
			packets := left(t, "unixgram", path)
			t.Cleanup(func() { require.NoError(t, packets.Close()) })
		}, false},
		{"a file", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}, false},
		{"a link to such a socket", func(t *testing.T, path string) {
			require.NoError(t, left(t, "unix", path+"0").Close())
			require.NoError(t, os.Symlink(path+"0", path))
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The name of a socket has to be short, which t.TempDir is not everywhere.
			directory, err := os.MkdirTemp("", "socket") //nolint:usetesting // see above
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, os.RemoveAll(directory)) })
			path := filepath.Join(directory, "s")
			test.put(t, path)
			before, _ := os.Lstat(path)

			config := defaultConfig()
			config.HTTP.NetAddr.Transport, config.HTTP.NetAddr.Endpoint = confignet.TransportTypeUnix, path
			r, err := NewFactory().CreateLogs(t.Context(), receivertest.NewNopSettings(metadata.Type), config, consumertest.NewNop())
			require.NoError(t, err)
			err = r.Start(t.Context(), componenttest.NewNopHost())
			if !test.starts {
				require.ErrorIs(t, err, syscall.EADDRINUSE)
				after, err := os.Lstat(path)
				require.NoError(t, err)
				assert.True(t, os.SameFile(before, after), "it is still there")
				require.NoError(t, r.Shutdown(t.Context()))
				return
			}
			require.NoError(t, err)
			client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			}}}
			got, err := do(client, newForm(t.Context(), "http://collector"+defaultPath, "id=1"))
			require.NoError(t, err)
			assert.Equal(t, http.StatusOK, got.status)
			require.NoError(t, r.Shutdown(t.Context()))
			assert.NoFileExists(t, path)
		})
	}
}

func TestAnInvalidConfigurationMakesNoReceiver(t *testing.T) {
	factory := NewFactory()
	config := defaultConfig()
	config.Timezone = "Mars/Olympus_Mons"
	settings := receivertest.NewNopSettings(metadata.Type)
	_, err := factory.CreateLogs(t.Context(), settings, config, consumertest.NewNop())
	require.ErrorContains(t, err, "timezone")
	_, err = factory.CreateMetrics(t.Context(), settings, config, consumertest.NewNop())
	require.ErrorContains(t, err, "timezone")
}

func TestShutdownIsSafeAtAnyTime(t *testing.T) {
	factory := NewFactory()
	config := defaultConfig()
	create := func() receiver.Logs {
		r, err := factory.CreateLogs(t.Context(), receivertest.NewNopSettings(metadata.Type), config, consumertest.NewNop())
		require.NoError(t, err)
		return r
	}
	first := create()
	assert.Same(t, first, create(), "one receiver for one configuration")
	require.NoError(t, first.Shutdown(t.Context()), "before Start")
	require.NoError(t, first.Shutdown(t.Context()), "twice")
	require.ErrorIs(t, first.Start(t.Context(), componenttest.NewNopHost()), errShutDown)
	assert.NotSame(t, first, create(), "the configuration can be used again")
}

func TestAServerThatEndsByItselfIsAFatalStatus(t *testing.T) {
	host := &hostWith{status: make(chan *componentstatus.Event, 1)}
	config := defaultConfig()
	config.HTTP.NetAddr.Endpoint = "localhost:0"
	r, err := NewFactory().CreateLogs(t.Context(), receivertest.NewNopSettings(metadata.Type), config, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), host))
	require.NoError(t, r.(*smtpFailureReceiver).listener.Close())
	event := <-host.status
	assert.Equal(t, componentstatus.StatusFatalError, event.Status())
	require.ErrorContains(t, event.Err(), "the HTTP server ended")
	_ = r.Shutdown(t.Context())
}

func TestTwoReplicasNeverShareASeries(t *testing.T) {
	ids := map[string]bool{}
	for range 10 {
		resource := newResource(nil)
		id, ok := resource.Attributes().Get(attributeServiceInstanceID)
		require.True(t, ok)
		ids[id.Str()] = true
	}
	assert.Len(t, ids, 10)
}

func TestAnOpenDoorIsWarnedOf(t *testing.T) {
	authenticated := configoptional.Some(confighttp.AuthConfig{})
	for _, test := range []struct {
		endpoint  string
		transport confignet.TransportType
		auth      configoptional.Optional[confighttp.AuthConfig]
		tls       configoptional.Optional[configtls.ServerConfig]
		open      bool
	}{
		{endpoint: "localhost:8550"},
		{endpoint: "127.0.0.1:8550"},
		{endpoint: "[::1]:8550"},
		{endpoint: "/run/failures.sock", transport: confignet.TransportTypeUnix},
		{endpoint: "0.0.0.0:8550", auth: authenticated},
		{endpoint: "0.0.0.0:8550", tls: configoptional.Some(configtls.ServerConfig{ClientCAFile: "ca.pem"})},
		{endpoint: "0.0.0.0:8550", open: true},
		{endpoint: ":8550", open: true},
		{endpoint: "[::]:8550", open: true},
		{endpoint: "collector.example.com:8550", open: true},
		{endpoint: "0.0.0.0:8550", tls: configoptional.Some(configtls.ServerConfig{}), open: true},
		{endpoint: "8550", open: true},
	} {
		config := defaultConfig()
		config.HTTP.NetAddr.Endpoint = test.endpoint
		if test.transport != "" {
			config.HTTP.NetAddr.Transport = test.transport
		}
		config.HTTP.Auth, config.HTTP.TLS = test.auth, test.tls
		r := &smtpFailureReceiver{config: config}
		assert.Equal(t, test.open, r.isUnauthenticated(), "%+v", test)
	}

	logger, logged := observer.New(zap.WarnLevel)
	config := defaultConfig()
	config.HTTP.NetAddr.Endpoint = ":0"
	config.ResourceAttributes = map[string]string{"job": "mail"}
	settings := receivertest.NewNopSettings(metadata.Type)
	settings.Logger = zap.New(logger)
	r, err := NewFactory().CreateLogs(t.Context(), settings, config, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, r.Shutdown(t.Context()))
	assert.Equal(t, 1, logged.FilterMessageSnippet("inject failures").Len())
	assert.Equal(t, 1, logged.FilterMessageSnippet("name of a label").FilterField(zap.String("resource_attribute", "job")).Len())
}
