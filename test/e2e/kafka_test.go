package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/test/otlpsink"
)

// startBroker runs a Kafka broker in this process and returns its address. With more than one
// partition, order is only kept where the configuration sees to it.
func startBroker(t *testing.T) string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1),
		kfake.SeedTopics(3, "email_failures_logs", "email_failures_metrics"),
		kfake.GroupMinSessionTimeout(time.Second))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}

// startProducer starts a collector that takes reports and writes to Kafka.
func startProducer(t *testing.T, broker, example string, environment ...string) *collector {
	t.Helper()
	return startExample(t, example, append(environment, "KAFKA_BROKER="+broker),
		"receivers::smtp_failure::aggregation::interval=200ms")
}

// startConsumer starts a collector that reads from Kafka and writes to backends for logs and
// metrics.
func startConsumer(t *testing.T, broker, group, logs, metrics string) *collector {
	t.Helper()
	var settings []string
	for _, receiver := range []string{"receivers::kafka/logs::", "receivers::kafka/metrics::"} {
		settings = append(settings, receiver+"error_backoff::initial_interval=100ms",
			// How long the partitions of one that was killed wait for it.
			receiver+"session_timeout=2s", receiver+"heartbeat_interval=500ms")
	}
	return startExample(t, "kafka-consumer", []string{
		"KAFKA_BROKER=" + broker, "KAFKA_GROUP=" + group,
		"LOKI_ENDPOINT=" + logs, "PROMETHEUS_OTLP_ENDPOINT=" + metrics,
	}, settings...)
}

// TestKafka sends reports through Kafka with the two examples and kills both collectors meanwhile.
// What arrives is compared in a sink and, read by other groups, in a real Loki and Prometheus.
func TestKafka(t *testing.T) {
	const n, repeats, seed = 2000, 200, 5
	random := rand.New(rand.NewPCG(seed, 0))
	broker, s := startBroker(t), startSink(t)
	start := time.Now()
	producer := startProducer(t, broker, "kafka")
	consumer := startConsumer(t, broker, "first", s.URL, s.URL)

	reports := newReports(random, "kafka-", n)
	for _, r := range reports {
		// Loki refuses what is more than an hour older than the newest.
		if r.Time != 0 {
			r.Time = start.Unix() - random.Int64N(1800)
		}
	}
	list := slices.Concat(reports, reports[:repeats])
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	sender := newSender(producer.url(), 16, seed)
	require.NoError(t, sender.send(t.Context(), list[:len(list)/2]))
	consumer.eventually(t, "a part of it came through", func() bool { return s.received() >= n/4 })

	// Both collectors are killed, the consumer after the sink has accepted what it sent and before it
	// knows.
	require.NoError(t, s.SetMode(otlpsink.HoldResponse))
	before, sent := s.received(), make(chan error, 1)
	go func() { sent <- sender.send(t.Context(), list[len(list)/2:]) }()
	consumer.eventually(t, "more of it came through", func() bool { return s.received() > before })
	consumer.kill()
	producer.kill()
	require.NoError(t, s.SetMode(otlpsink.Accept))
	consumer.start(t)
	producer.start(t)
	require.NoError(t, <-sent)

	ids := idsOf(reports)
	waitUntilHas(t, consumer, s, ids, wanted(reports))
	s.checkRecords(t, ids)
	s.checkSeries(t)
	byReceiver, byExporter := s.repeats()
	assert.Positive(t, byExporter, "the consumer was killed before it could know that its messages were accepted")
	t.Logf("%d distinct reports, %d posts: %d records; %d exported again by the receiver, %d by Kafka",
		n, len(list), s.received(), byReceiver, byExporter)

	t.Run("to Loki and Prometheus", func(t *testing.T) { testKafkaToServers(t, broker, start, reports) })
}

// testKafkaToServers has other groups read all that is in Kafka, into real servers.
func testKafkaToServers(t *testing.T, broker string, start time.Time, reports []*report) {
	t.Helper()
	loki := startLoki(t)
	prometheus := startPrometheus(t, "global: {scrape_interval: 15s}\n", t.TempDir(), "--web.enable-otlp-receiver")
	want := make(map[string]int)
	for _, r := range reports {
		want[r.labels()["email_failure_class"]]++
	}
	counted := func() map[string]int {
		got := make(map[string]int)
		expr := "sum by (email_failure_class) (email_delivery_failures_total)"
		for _, sample := range prometheus.query(t, expr, time.Now()) {
			got[string(sample.Metric["email_failure_class"])] = int(sample.Value)
		}
		return got
	}
	records := func() []logRecord {
		return loki.records(t, `{service_name="smtp_failure"}`, start.Add(-2*time.Hour), time.Now().Add(time.Minute),
			5000)
	}
	check := func() {
		uids, classes := make(map[string]bool), make(map[string]int)
		for _, record := range records() {
			if uid := record.metadata["log_record_uid"]; !uids[uid] {
				uids[uid] = true
				classes[record.metadata["email_failure_class"]]++
			}
		}
		assert.Len(t, uids, len(reports))
		assert.Equal(t, want, classes)
		assert.Equal(t, want, counted())
		t.Logf("Prometheus: %v; Loki: %d records with %d uids", counted(), len(records()), len(uids))
	}
	second := startConsumer(t, broker, "second", loki.url+"/otlp", prometheus.url+"/api/v1/otlp")
	second.eventually(t, "it is all in Loki and in Prometheus", func() bool {
		return maps.Equal(counted(), want) && len(records()) >= len(reports)
	})
	check()

	// All of it again, as after a loss of the offsets. Prometheus refuses old samples, and the
	// consumer has to go on all the same.
	third := startConsumer(t, broker, "third", loki.url+"/otlp", prometheus.url+"/api/v1/otlp")
	third.eventually(t, "it came again", func() bool {
		samples := scrape(t, third.telemetry)
		return sum(samples, `otelcol_exporter_sent_log_records exporter="otlp_http/loki"`) >= float64(len(reports)) &&
			sum(samples, `otelcol_exporter_send_failed_metric_points exporter="otlp_http/prometheus"`) > 0
	})
	check()
}

// TestScaleOut runs two replicas of the example behind its balancer, with Kafka as their backend,
// and restarts one of them. Counts must be as exact as the documentation says.
func TestScaleOut(t *testing.T) {
	const n, connections, seed = 1000, 8, 7
	broker, s := startBroker(t), startSink(t)
	var replicas []*collector
	balancer := freeAddress(t)
	environment := []string{"LISTEN=" + balancer}
	for i := range 2 {
		replica := newCollector(t, []string{
			"KAFKA_BROKER=" + broker, "REPLICA=replica-" + strconv.Itoa(i),
			"RECIPIENT_MODE=domain", "RECIPIENT_KEY=the same on both replicas",
		}, exampleFile("scale-out")).set("receivers::smtp_failure::aggregation::interval=200ms",
			"receivers::smtp_failure::ownership_files=[{name: ready.txt, content: ready}]").start(t)
		status, _ := get("http://" + replica.health)
		assert.Equal(t, http.StatusOK, status, "the balancer's probe")
		replicas = append(replicas, replica)
		environment = append(environment, fmt.Sprintf("REPLICA_%d=%s", i, replica.address),
			fmt.Sprintf("HEALTH_%d=%s", i, port(t, replica.health)))
	}
	startServer(t, balancer, "/ready.txt", environment, packaged(t, "haproxy"), "-db", "-f",
		root+"/examples/scale-out/haproxy.cfg")
	consumer := startConsumer(t, broker, "first", s.URL, s.URL)

	// A repeat goes to the replica that knows the report, over whichever connection it comes.
	reports := newReports(rand.New(rand.NewPCG(seed, 0)), "scale-out-", n)
	ids, want, repeated := idsOf(reports), wanted(reports), reports[:50]
	through := func() *sender { return newSender("http://"+balancer+"/failures", connections, seed) }
	require.NoError(t, through().send(t.Context(), reports[:n/2]))
	require.NoError(t, through().send(t.Context(), repeated))
	var known float64
	for _, replica := range replicas {
		known += sum(scrape(t, replica.telemetry), "otelcol_smtp_failure_duplicates")
	}
	assert.InDelta(t, len(repeated), known, 0, "repeats that were known for what they are")

	// A replica that is restarted costs what was on its way to it, at most, and the sum over the
	// replicas stays exact.
	sender, sent := through(), make(chan error, 1)
	go func() { sent <- sender.send(t.Context(), reports[n/2:]) }()
	replicas[0].eventually(t, "some were sent", func() bool { return sender.accepted.Load() > n/8 })
	replicas[0].stop(t)
	replicas[0].start(t)
	require.NoError(t, <-sent)
	t.Logf("while a replica was restarted: %v", sender.responses)
	assert.LessOrEqual(t, sender.requests-n/2, connections, "calls that failed while a replica was restarted")
	waitUntilHas(t, consumer, s, ids, want)
	assert.Equal(t, []string{"replica-0", "replica-1"}, s.instances())
	assert.Equal(t, n, s.received())

	// Sent to both replicas, each report is a repeat for one and new to the other.
	for _, replica := range replicas {
		require.NoError(t, newSender(replica.url(), 1, seed).send(t.Context(), repeated))
	}
	for name, value := range wanted(repeated) {
		want[name] += value
	}
	waitUntilHas(t, consumer, s, ids, want)
	consumer.eventually(t, "the repeats came through", func() bool { return s.received() >= n+len(repeated) })
	assert.Equal(t, n+len(repeated), s.received())
	// A record and its repeat have the same uid, though they come from two replicas without
	// addresses.
	s.checkRecords(t, ids)
}
