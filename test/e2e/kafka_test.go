package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// The topics of the examples.
const (
	kafkaLogs    = "email_failures_logs"
	kafkaMetrics = "email_failures_metrics"
	// kafkaPartitions is more than one, so that order is only kept where the configuration sees to it.
	kafkaPartitions = 3
)

// startBroker runs a Kafka broker in this process and returns its address.
func startBroker(t *testing.T) string {
	t.Helper()
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1), kfake.SeedTopics(kafkaPartitions, kafkaLogs, kafkaMetrics), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatalf("start a broker: %v", err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}

// newProducer is a collector that takes reports and writes to Kafka, with the configuration of an example, which only sends its counters
// more often here.
func newProducer(t *testing.T, s *sink, broker, example string, environment ...string) *deployment {
	t.Helper()
	d := newDeployment(t, s)
	receiver, err := url.Parse(d.failuresURL)
	if err != nil {
		t.Fatal(err)
	}
	d.environment = append([]string{"KAFKA_BROKER=" + broker, "STORAGE_DIRECTORY=" + d.store}, environment...)
	d.args = []string{
		"--config", root + "/examples/" + example + "/config.yaml",
		"--set", "receivers::smtp_failure::http::endpoint=" + receiver.Host,
		"--set", "receivers::smtp_failure::aggregation::interval=200ms",
		"--set", d.telemetry(t),
	}
	return d
}

// newConsumer is a collector that reads from Kafka, with the configuration of the example.
func newConsumer(t *testing.T, s *sink, broker string, environment, args []string) *deployment {
	t.Helper()
	d := newDeployment(t, s)
	// It takes no reports; what answers when it runs is its telemetry.
	d.failuresURL = d.telemetryURL
	d.environment = append([]string{"KAFKA_BROKER=" + broker}, environment...)
	d.args = append([]string{
		"--config", root + "/examples/kafka-consumer/config.yaml",
		"--set", "receivers::kafka::error_backoff::initial_interval=100ms",
		// How long the partitions of one that was killed wait for it.
		"--set", "receivers::kafka::session_timeout=2s",
		"--set", "receivers::kafka::heartbeat_interval=500ms",
		"--set", d.telemetry(t),
	}, args...)
	return d
}

// newSinkConsumer is a consumer with the sink in the place of both backends.
func newSinkConsumer(t *testing.T, s *sink, broker string) *deployment {
	t.Helper()
	var args []string
	for _, exporter := range []string{"otlp_http/loki", "otlp_http/prometheus"} {
		args = append(args, forSink(exporter)...)
	}
	return newConsumer(t, s, broker, []string{"LOKI_ENDPOINT=http://" + s.address, "PROMETHEUS_OTLP_ENDPOINT=http://" + s.address}, args)
}

// forSink has an otlp_http exporter write what the sinks of these tests read: plain JSON.
func forSink(exporter string) []string {
	return []string{"--set", "exporters::" + exporter + "::encoding=json", "--set", "exporters::" + exporter + "::compression=none"}
}

// telemetry sets the port of the collector's own metrics.
func (d *deployment) telemetry(t *testing.T) string {
	t.Helper()
	address, err := url.Parse(d.telemetryURL)
	if err != nil {
		t.Fatal(err)
	}
	return "service::telemetry::metrics::readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: " + address.Port() + "}}}}]"
}

// newRecentReports returns reports of the last half hour: Loki refuses what is more than an hour older than the newest.
func newRecentReports(random *rand.Rand, prefix string, n int) []*failure {
	reports := newReports(random, prefix, n)
	now := time.Now().Unix()
	for _, r := range reports {
		if r.time != 0 {
			r.time = now - random.Int64N(1800)
		}
	}
	return reports
}

// taken is the number of log records that the sink took.
func (s *sink) taken() (n int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, a := range s.records {
		n += a.records
	}
	return n
}

// instances are those that the sink has counters of.
func (s *sink) instances() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	instances := make(map[string]bool)
	for key := range s.series {
		instances[key.instance] = true
	}
	return slices.Sorted(maps.Keys(instances))
}

// arrive waits until every record is in the sink and its totals are the wanted ones.
func (s *sink) arrive(ctx context.Context, t *testing.T, d *deployment, ids []string, want totals) {
	t.Helper()
	err := d.wait(ctx, "all of it came through", func() bool {
		lines, _ := s.totals().difference(want)
		return len(lines) == 0 && len(s.missing(ids)) == 0
	})
	if err != nil {
		lines, miscounted := s.totals().difference(want)
		t.Fatalf("%v: %d records are missing and %d failures miscounted: %v", err, len(s.missing(ids)), miscounted, lines)
	}
}

// TestKafka sends reports through Kafka with the two examples, kills the collectors at both ends while it does, and compares what arrives: at
// a sink that keeps everything, and, read again from the beginning by another group, at a real Loki and a real Prometheus.
func TestKafka(t *testing.T) {
	const n, repeats, connections, seed = 2000, 200, 16, 5
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	random := rand.New(rand.NewPCG(seed, 0))
	broker, s := startBroker(t), startSink(t)
	start := time.Now()

	producer := newProducer(t, s, broker, "kafka")
	consumer := newSinkConsumer(t, s, broker)
	for _, d := range []*deployment{producer, consumer} {
		if err := d.start(ctx); err != nil {
			t.Fatal(err)
		}
	}

	reports := newRecentReports(random, "kafka-", n)
	list := append(slices.Clone(reports), reports[:repeats]...)
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	post := newSender(producer.failuresURL, connections, seed)
	if err := post.send(ctx, list[:len(list)/2]); err != nil {
		t.Fatal(err)
	}
	if err := consumer.wait(ctx, "a part of it came through", func() bool { return s.taken() >= n/4 }); err != nil {
		t.Fatal(err)
	}

	// In the middle of the rest, both collectors are killed: that at the far end when the sink has taken what it sent, and it cannot know.
	s.down(mute)
	before, sent := s.taken(), make(chan error, 1)
	go func() { sent <- post.send(ctx, list[len(list)/2:]) }()
	if err := consumer.wait(ctx, "more of it came through", func() bool { return s.taken() > before }); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*deployment{consumer, producer} {
		d.current.kill()
	}
	if err := s.up(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*deployment{consumer, producer} {
		if err := d.start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}

	ids, want := idsOf(reports), wanted(reports)
	s.arrive(ctx, t, consumer, ids, want)
	s.checkRecords(t, ids)
	s.checkSeries(t)
	more := s.surplus()
	if more.resent == 0 {
		t.Error("no record came twice, though the consumer was killed before it could know that its messages were taken")
	}
	t.Logf("%d distinct reports, %d posts: %d records with %d uids; %d came twice, %d of these handed over again by the receiver, %d by Kafka",
		n, len(list), s.taken(), n, more.records, more.handedOver, more.resent)

	t.Run("to Loki and Prometheus", func(t *testing.T) {
		testKafkaToServers(ctx, t, s, broker, start, reports)
	})
}

// testKafkaToServers has another group read all that is in Kafka, into real servers.
func testKafkaToServers(ctx context.Context, t *testing.T, s *sink, broker string, start time.Time, reports []*failure) {
	t.Helper()
	loki, prometheus := startLoki(t), startPrometheus(t, "global: {scrape_interval: 15s}\n", "--web.enable-otlp-receiver")
	second := newConsumer(t, s, broker, []string{
		"KAFKA_GROUP=second", "LOKI_ENDPOINT=" + loki.otlp, "PROMETHEUS_OTLP_ENDPOINT=" + prometheus.url + "/api/v1/otlp",
	}, nil)
	if err := second.start(ctx); err != nil {
		t.Fatal(err)
	}

	byClass := make(map[string]int)
	for _, r := range reports {
		byClass[r.kind.want["email.failure.class"].(string)]++
	}
	counted := func() map[string]int {
		got := make(map[string]int)
		for _, sample := range prometheus.query(t, "sum by (email_failure_class) (email_delivery_failures_total)", time.Now()) {
			got[sample.labels["email_failure_class"]] = int(sample.value)
		}
		return got
	}
	records := func() []logRecord {
		return loki.records(t, `{service_name="smtp_failure"}`, start.Add(-2*time.Hour), time.Now().Add(time.Minute), 5000)
	}
	err := second.wait(ctx, "it is all in Loki and in Prometheus", func() bool {
		return maps.Equal(counted(), byClass) && len(records()) >= len(reports)
	})
	if err != nil {
		t.Errorf("%v: Prometheus counts %v, want %v; Loki has %d records of %d", err, counted(), byClass, len(records()), len(reports))
	}

	uids, classes := make(map[string]bool), make(map[string]int)
	found := records()
	for _, record := range found {
		if uid := record.metadata["log_record_uid"]; !uids[uid] {
			uids[uid] = true
			classes[record.metadata["email_failure_class"]]++
		}
	}
	if len(uids) != len(reports) || !maps.Equal(classes, byClass) {
		t.Errorf("Loki has %d uids, by class %v; want %d, %v", len(uids), classes, len(reports), byClass)
	}
	t.Logf("Prometheus: %v; Loki: %d records with %d uids, by class %v", counted(), len(found), len(uids), classes)

	// All of it once more, into the same two, as after a crash that took the offsets along. Prometheus refuses what is older than what it has,
	// and the consumer has to go on all the same.
	third := newConsumer(t, s, broker, slices.Concat(second.environment, []string{"KAFKA_GROUP=third"}), nil)
	if err := third.start(ctx); err != nil {
		t.Fatal(err)
	}
	refused := func() float64 {
		return sum(scrape(t, third.telemetryURL), `otelcol_exporter_send_failed_metric_points exporter="otlp_http/prometheus"`)
	}
	err = third.wait(ctx, "it came again", func() bool {
		sent := sum(scrape(t, third.telemetryURL), `otelcol_exporter_sent_log_records exporter="otlp_http/loki"`)
		return int(sent) >= len(reports) && refused() > 0
	})
	if err != nil {
		t.Fatal(err)
	}
	clear(uids)
	found = records()
	for _, record := range found {
		uids[record.metadata["log_record_uid"]] = true
	}
	if got := counted(); len(uids) != len(reports) || !maps.Equal(got, byClass) {
		t.Errorf("Loki has %d uids, want %d; Prometheus counts %v, want %v", len(uids), len(reports), got, byClass)
	}
	t.Logf("once more: Prometheus: %v, having refused %v points; Loki: %d records with %d uids", counted(), refused(), len(found), len(uids))
}

// TestScaleOut puts two replicas of the example behind its balancer, and Kafka behind them, and restarts one
// of them meanwhile. What the documentation says is exact has to be, and what it says is not has to be off by
// just what it says.
func TestScaleOut(t *testing.T) {
	const n, connections, seed = 1000, 8, 7
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	random := rand.New(rand.NewPCG(seed, 0))
	broker, s := startBroker(t), startSink(t)

	var replicas []*deployment
	balancer := fixedAddress(t)
	environment := []string{"LISTEN=" + balancer}
	for i := range 2 {
		health := fixedAddress(t)
		replica := newProducer(t, s, broker, "scale-out",
			"REPLICA=replica-"+strconv.Itoa(i), "HEALTH_ENDPOINT="+health, "RECIPIENT_MODE=domain", "RECIPIENT_KEY=the same on both replicas")
		replica.args = append(replica.args, "--set", "receivers::smtp_failure::ownership_files=[{name: ready.txt, content: ready}]")
		if err := replica.start(ctx); err != nil {
			t.Fatal(err)
		}
		checkHealth(t, health)
		replicas = append(replicas, replica)
		environment = append(environment,
			fmt.Sprintf("REPLICA_%d=%s", i, addressOf(t, replica.failuresURL)), fmt.Sprintf("HEALTH_%d=%s", i, port(t, health)))
	}
	startServer(t, "HAProxy", balancer, "/ready.txt", environment, packaged(t, "haproxy"), "-db", "-f", root+"/examples/scale-out/haproxy.cfg")
	consumer := newSinkConsumer(t, s, broker)
	if err := consumer.start(ctx); err != nil {
		t.Fatal(err)
	}

	// A repeat goes to the replica that knows the report, over whichever connection it comes.
	reports := newReports(random, "scale-out-", n)
	ids, want := idsOf(reports), wanted(reports)
	repeated := reports[:50]
	through := func() *sender { return newSender("http://"+balancer+"/failures", connections, seed) }
	for _, list := range [][]*failure{reports[:n/2], repeated} {
		if err := through().send(ctx, list); err != nil {
			t.Fatal(err)
		}
	}
	var known float64
	for _, replica := range replicas {
		known += sum(scrape(t, replica.telemetryURL), "otelcol_smtp_failure_duplicates")
	}
	if known != float64(len(repeated)) {
		t.Errorf("%v of %d repeats were known for what they are", known, len(repeated))
	}

	// A replica that is restarted costs what was on its way to it, at most, and the sum over the replicas stays exact.
	post, sent := through(), make(chan error, 1)
	go func() { sent <- post.send(ctx, reports[n/2:]) }()
	if err := replicas[0].wait(ctx, "some were sent", func() bool { return post.acknowledged.Load() > n/8 }); err != nil {
		t.Fatal(err)
	}
	if err := replicas[0].terminate(ctx); err != nil {
		t.Fatal(err)
	}
	if err := replicas[0].start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	t.Logf("while a replica was restarted: %v", post.answers)
	if failed := post.requests - n/2; failed > connections {
		t.Errorf("%d calls failed while a replica was restarted", failed)
	}
	s.arrive(ctx, t, consumer, ids, want)
	if got := s.instances(); !slices.Equal(got, []string{"replica-0", "replica-1"}) {
		t.Errorf("the counters are those of %v", got)
	}
	if s.taken() != n {
		t.Errorf("%d records, want %d", s.taken(), n)
	}

	// Sent to both of them, each report is known to one and new to the other.
	for _, replica := range replicas {
		if err := newSender(replica.failuresURL, 1, seed).send(ctx, repeated); err != nil {
			t.Fatal(err)
		}
	}
	again := wanted(repeated)
	for metric := range want {
		for name, value := range again[metric] {
			want[metric][name] += value
		}
	}
	s.arrive(ctx, t, consumer, ids, want)
	err := consumer.wait(ctx, "the repeats came through", func() bool { return s.taken() >= n+len(repeated) })
	if err != nil {
		t.Error(err)
	}
	if got := s.taken(); got != n+len(repeated) {
		t.Errorf("%d records, want %d", got, n+len(repeated))
	}
	// A record and its repeat carry the same uid, though they come from two replicas that never met and tell no address.
	s.checkRecords(t, ids)
}

func checkHealth(t *testing.T, address string) {
	t.Helper()
	response, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Errorf("the balancer's probe gets %s", response.Status)
	}
}
