package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestExamplesAreValid has the distribution check every example as it is.
func TestExamplesAreValid(t *testing.T) {
	for _, example := range examples(t) {
		t.Run(example, func(t *testing.T) {
			validate(t, nil, exampleFile(example))
		})
	}
}

// examples are the names of the folders with a configuration.
func examples(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob(exampleFile("*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d examples: %v", len(files), err)
	}
	for _, file := range files {
		names = append(names, filepath.Base(filepath.Dir(file)))
	}
	return names
}

func exampleFile(name string) string { return root + "/examples/" + name + "/config.yaml" }

func validate(t *testing.T, environment []string, config string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, "validate", "--config", config)
	command.Env = append(os.Environ(), environment...)
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestExamplesStart starts every example, moved to ports and directories of its own, with nobody where its backends should be, and sees
// it answer a report. What a backend that is away may not do is make it refuse or exit.
func TestExamplesStart(t *testing.T) {
	directory := t.TempDir()
	certificates := filepath.Join(directory, "certificates")
	if err := os.Mkdir(certificates, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command(root+"/examples/certificates.sh", certificates))
	// Those that do not answer 200 to an unsigned, unauthenticated report over plain HTTP.
	statuses := map[string]int{
		"signature": http.StatusUnauthorized, "basic-auth": http.StatusUnauthorized, "bearer-token": http.StatusUnauthorized,
		"tls": http.StatusBadRequest, "mtls": http.StatusBadRequest,
	}
	for _, example := range examples(t) {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			d := startExampleElsewhere(t, example, []string{"CERTIFICATES=" + certificates})
			if d.failuresURL == d.telemetryURL {
				// It takes no reports, but reads what another one wrote. That it runs is all there is to see.
				return
			}
			want := statuses[example]
			if want == 0 {
				want = http.StatusOK
			}
			if got := postOne(t, d.failuresURL, "example-1"); got != want {
				t.Errorf("answered with %d, want %d", got, want)
			}
			// Its own metrics are there, and so is it.
			if samples := scrape(t, d.telemetryURL); len(samples) == 0 {
				t.Error("it has no metrics of its own")
			}
			select {
			case <-d.current.exited:
				t.Errorf("it exited: %v", d.current.err)
			default:
			}
		})
	}
}

// environmentVariable is one in a configuration, with what is there unless it is set.
var environmentVariable = regexp.MustCompile(`\$\{env:([A-Z0-9_]+):-([^}]*)\}`)

// fixedEndpoint is an address in a configuration that does not come from the environment, by its port.
var fixedEndpoint = regexp.MustCompile(`endpoint: (?:localhost|0\.0\.0\.0):(\d+)`)

// elsewhere is a collector with a configuration in which every address and directory is moved: those that come from the environment by it,
// the rest by what is set.
func elsewhere(t *testing.T, text, file string, environment ...string) *deployment {
	t.Helper()
	d := newDeployment(t, &sink{address: fixedAddress(t)})
	receiver := strings.TrimSuffix(strings.TrimPrefix(d.failuresURL, "http://"), "/failures")
	d.environment = nil
	for _, variable := range environmentVariable.FindAllStringSubmatch(text, -1) {
		name, value := variable[1], variable[2]
		switch {
		case strings.HasPrefix(value, "http"):
			value = regexp.MustCompile(`localhost:\d+`).ReplaceAllString(value, fixedAddress(t))
		case strings.HasPrefix(value, "localhost:"):
			value = fixedAddress(t)
		case strings.HasPrefix(value, "data"):
			value = filepath.Join(t.TempDir(), "data")
		}
		d.environment = append(d.environment, name+"="+value)
	}
	d.environment = append(d.environment, environment...)
	d.args = []string{"--config", file, "--set", d.telemetry(t)}
	if strings.Contains(text, "smtp_failure:") {
		d.args = append(d.args, "--set", "receivers::smtp_failure::http::endpoint="+receiver)
	} else {
		// What answers then is its telemetry.
		d.failuresURL = d.telemetryURL
	}
	for _, match := range fixedEndpoint.FindAllStringSubmatch(text, -1) {
		switch port := match[1]; port {
		case "8550":
		case "9464":
			d.args = append(d.args, "--set", "exporters::prometheus::endpoint="+fixedAddress(t))
		case "13133":
			d.args = append(d.args, "--set", "extensions::health_check::endpoint="+fixedAddress(t))
		default:
			t.Fatalf("%s listens on port %s, which this test does not know how to move", file, port)
		}
	}
	if strings.Contains(text, "path: data/failures.jsonl") {
		d.args = append(d.args, "--set", "exporters::file::path="+filepath.Join(t.TempDir(), "failures.jsonl"))
	}
	return d
}

// postOne sends one report and returns the status of the answer.
func postOne(t *testing.T, target, id string) int {
	t.Helper()
	body := strings.NewReader("id=" + id + "&type=failure&recipient=jane@example.com&action=failed&state=rcptto&code=550&extended=5.1.1" +
		"&description=550+5.1.1+jane@example.com+is+unknown&tags[]=newsletter")
	response, err := http.Post(target, "application/x-www-form-urlencoded", body)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

// otlpServer takes OTLP over HTTP as JSON and keeps it.
type otlpServer struct {
	*httptest.Server
	mutex    sync.Mutex
	requests []otlpRequest
}

type otlpRequest struct {
	path, body string
	header     http.Header
}

func startOTLP(t *testing.T) *otlpServer {
	t.Helper()
	s := new(otlpServer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.mutex.Lock()
		s.requests = append(s.requests, otlpRequest{r.URL.Path, string(body), r.Header})
		s.mutex.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(s.Close)
	return s
}

// with returns the requests whose path ends so.
func (s *otlpServer) with(signal string) (requests []otlpRequest) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, r := range s.requests {
		if strings.HasSuffix(r.path, signal) {
			requests = append(requests, r)
		}
	}
	return requests
}

// records are all log records that came, and the text that they came in.
func (s *otlpServer) records(t *testing.T) (all []record, text string) {
	t.Helper()
	for _, r := range s.with("/v1/logs") {
		var logs struct {
			ResourceLogs []struct {
				ScopeLogs []struct{ LogRecords []record }
			}
		}
		if err := json.Unmarshal([]byte(r.body), &logs); err != nil {
			t.Fatalf("%v in %s", err, r.body)
		}
		for _, resource := range logs.ResourceLogs {
			for _, scope := range resource.ScopeLogs {
				all = append(all, scope.LogRecords...)
			}
		}
		text += r.body
	}
	return all, text
}

// startWithOTLP starts an example whose variables name servers of these tests.
func startWithOTLP(t *testing.T, example string, environment []string, exporters ...string) *deployment {
	t.Helper()
	args := []string{"--set", "receivers::smtp_failure::aggregation::interval=200ms"}
	for _, exporter := range exporters {
		args = append(args, forSink(exporter)...)
	}
	return startExampleElsewhere(t, example, environment, args...)
}

func startExampleElsewhere(t *testing.T, example string, environment []string, args ...string) *deployment {
	t.Helper()
	config, err := os.ReadFile(exampleFile(example))
	if err != nil {
		t.Fatal(err)
	}
	d := elsewhere(t, string(config), exampleFile(example), environment...)
	d.args = append(d.args, args...)
	if err := d.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestOTLPBackends sees the examples of backends that take OTLP deliver a report and its counters: to the right paths, with the credentials
// that the backend wants and in the temporality that it takes. No such backend runs here.
func TestOTLPBackends(t *testing.T) {
	const delta, cumulative = `"aggregationTemporality":1`, `"aggregationTemporality":2`
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("4711:secret"))
	for _, backend := range []struct {
		example, variable, path string
		environment             []string
		header                  http.Header
		temporality             string // empty: it takes no metrics
	}{
		{"durable", "OTLP_ENDPOINT", "", nil, nil, cumulative},
		{"loki", "LOKI_ENDPOINT", "/otlp", nil, nil, ""},
		{
			"grafana-cloud", "GRAFANA_CLOUD_OTLP_ENDPOINT", "/otlp",
			[]string{"GRAFANA_CLOUD_INSTANCE_ID=4711", "GRAFANA_CLOUD_TOKEN=secret"},
			http.Header{"Authorization": {basic}},
			cumulative,
		},
		{
			"elasticsearch", "ELASTIC_OTLP_ENDPOINT", "",
			[]string{"ELASTIC_API_KEY=secret"},
			http.Header{"Authorization": {"ApiKey secret"}},
			cumulative,
		},
		{
			"clickhouse", "CLICKSTACK_OTLP_ENDPOINT", "",
			[]string{"CLICKSTACK_API_KEY=secret"},
			http.Header{"Authorization": {"secret"}},
			cumulative,
		},
		{
			"datadog", "DATADOG_OTLP_ENDPOINT", "",
			[]string{"DD_API_KEY=secret"},
			http.Header{"Dd-Api-Key": {"secret"}, "Dd-Otel-Metric-Config": {`{"resource_attributes_as_tags": true}`}},
			delta,
		},
	} {
		t.Run(backend.example, func(t *testing.T) {
			t.Parallel()
			server := startOTLP(t)
			d := startWithOTLP(t, backend.example, append(backend.environment, backend.variable+"="+server.URL+backend.path), "otlp_http")
			if got := postOne(t, d.failuresURL, "otlp-1"); got != http.StatusOK {
				t.Fatalf("answered with %d", got)
			}
			counted := func(r otlpRequest) bool {
				return strings.Contains(r.body, `"asInt":"1"`) && strings.Contains(r.body, backend.temporality)
			}
			err := d.wait(t.Context(), "the record and the counters are there", func() bool {
				return len(server.with("/v1/logs")) > 0 && (backend.temporality == "" || slices.ContainsFunc(server.with("/v1/metrics"), counted))
			})
			if err != nil {
				t.Fatal(err)
			}
			if records, _ := server.records(t); len(records) != 1 || records[0].Attributes.byName()["email.message.id"] != "otlp-1" {
				t.Errorf("the records are %v", records)
			}
			for _, request := range server.with("") {
				if request.path != backend.path+"/v1/logs" && request.path != backend.path+"/v1/metrics" {
					t.Errorf("a request for %s", request.path)
				}
				for name, want := range backend.header {
					if got := request.header[name]; !slices.Equal(got, want) {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
			}
		})
	}
}

// TestRouting sees each record go to one of two places, by its class.
func TestRouting(t *testing.T) {
	t.Parallel()
	permanent, rest := startOTLP(t), startOTLP(t)
	d := startWithOTLP(t, "routing",
		[]string{"PERMANENT_OTLP_ENDPOINT=" + permanent.URL, "REST_OTLP_ENDPOINT=" + rest.URL}, "otlp_http/permanent", "otlp_http/rest")
	for i, code := range []string{"550", "451", "", "554", "421"} {
		body := strings.NewReader(fmt.Sprintf("id=route-%d&state=data&code=%s", i, code))
		response, err := http.Post(d.failuresURL, "application/x-www-form-urlencoded", body)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("answered with %s (%v)", response.Status, err)
		}
	}
	ids := func(s *otlpServer) (ids []string) {
		records, _ := s.records(t)
		for _, r := range records {
			ids = append(ids, r.Attributes.byName()["email.message.id"].(string))
		}
		slices.Sort(ids)
		return ids
	}
	err := d.wait(t.Context(), "all of it arrived", func() bool {
		return len(ids(permanent))+len(ids(rest)) >= 5 && len(rest.with("/v1/metrics")) > 0
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ids(permanent), []string{"route-0", "route-3"}; !slices.Equal(got, want) {
		t.Errorf("permanent: %v, want %v", got, want)
	}
	if got, want := ids(rest), []string{"route-1", "route-2", "route-4"}; !slices.Equal(got, want) {
		t.Errorf("the rest: %v, want %v", got, want)
	}
}

// TestRedaction sees a third party get a record without anything of the person in it, and us one with all of it.
func TestRedaction(t *testing.T) {
	t.Parallel()
	ours, theirs := startOTLP(t), startOTLP(t)
	d := startWithOTLP(t, "redaction",
		[]string{"OUR_OTLP_ENDPOINT=" + ours.URL, "THEIR_OTLP_ENDPOINT=" + theirs.URL}, "otlp_http/ours", "otlp_http/theirs")
	if got := postOne(t, d.failuresURL, "redacted-1"); got != http.StatusOK {
		t.Fatalf("answered with %d", got)
	}
	err := d.wait(t.Context(), "both have it", func() bool {
		return len(ours.with("/v1/logs")) > 0 && len(theirs.with("/v1/logs")) > 0 && len(ours.with("/v1/metrics")) > 0
	})
	if err != nil {
		t.Fatal(err)
	}
	kept, text := ours.records(t)
	if len(kept) != 1 || kept[0].Attributes.byName()["email.recipient.address"] != "jane@example.com" || !strings.Contains(text, "is unknown") {
		t.Errorf("we have %s", text)
	}
	told, text := theirs.records(t)
	if len(told) != 1 || told[0].Attributes.byName()["error.type"] != "recipient_unknown" {
		t.Errorf("they have %s", text)
	}
	uid, _ := kept[0].Attributes.byName()["log.record.uid"].(string)
	for _, private := range []string{"jane", "redacted-1", "newsletter", "is unknown", uid} {
		if strings.Contains(text, private) {
			t.Errorf("they are told %q: %s", private, text)
		}
	}
	if len(theirs.with("/v1/metrics")) != 0 {
		t.Error("they get counters")
	}
}

// TestServersBehindExamples has the examples for Prometheus and Loki deliver to real ones.
func TestServersBehindExamples(t *testing.T) {
	t.Run("prometheus", func(t *testing.T) {
		// prometheus.yaml as it is, but for addresses, rules and the interval.
		text, err := os.ReadFile(root + "/examples/prometheus/prometheus.yaml")
		if err != nil {
			t.Fatal(err)
		}
		exporter := fixedAddress(t)
		config := regexp.MustCompile(`(?m)^rule_files:\n(?:  - .*\n)+`).ReplaceAllString(string(text), "")
		config = strings.NewReplacer(
			"localhost:9464", exporter, "localhost:8888", fixedAddress(t), "scrape_interval: 15s", "scrape_interval: 200ms",
		).Replace(config)
		prometheus := startPrometheus(t, config)
		d := startOften(t, "prometheus", "500ms", "PROMETHEUS_EXPORTER="+exporter)
		// It takes some seconds until Prometheus scrapes what is in its configuration.
		err = d.wait(t.Context(), "Prometheus scrapes it", func() bool {
			return len(prometheus.query(t, `up{job="smtp_failure"} == 1`, time.Now())) == 1
		})
		if err != nil {
			t.Fatal(err)
		}
		checkFirstFailure(t, d, prometheus)
	})
	t.Run("prometheus-remote-write", func(t *testing.T) {
		prometheus := startPrometheus(t, "global: {scrape_interval: 15s}\n", "--web.enable-remote-write-receiver")
		d := startOften(t, "prometheus-remote-write", "200ms", "REMOTE_WRITE_ENDPOINT="+prometheus.url+"/api/v1/write")
		checkFirstFailure(t, d, prometheus)
	})
	t.Run("loki", func(t *testing.T) {
		loki := startLoki(t)
		d := startExampleElsewhere(t, "loki", []string{"LOKI_ENDPOINT=" + loki.otlp})
		if got := postOne(t, d.failuresURL, "loki-1"); got != http.StatusOK {
			t.Fatalf("answered with %d", got)
		}
		// The query of the example's comment.
		query := `{service_name="smtp_failure"} | error_type="recipient_unknown"`
		var found []logRecord
		err := d.wait(t.Context(), "the record is in Loki", func() bool {
			found = loki.records(t, query, time.Now().Add(-time.Hour), time.Now().Add(time.Minute), 10)
			return len(found) > 0
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || found[0].metadata["email_message_id"] != "loki-1" || found[0].labels["service_instance_id"] == "" {
			t.Errorf("Loki has %v", found)
		}
	})
}

func startOften(t *testing.T, example, interval string, environment ...string) *deployment {
	t.Helper()
	return startExampleElsewhere(t, example, environment, "--set", "receivers::smtp_failure::aggregation::interval="+interval)
}

// checkFirstFailure sends one report and sees it in Prometheus as an increase, of a series that has the labels of the receiver.
func checkFirstFailure(t *testing.T, d *deployment, prometheus *prometheusServer) {
	t.Helper()
	if got := postOne(t, d.failuresURL, "first-1"); got != http.StatusOK {
		t.Fatalf("answered with %d", got)
	}
	const series = `email_delivery_failures_total{job="smtp_failure",instance!="",error_type="recipient_unknown"}`
	var got []instant
	err := d.wait(t.Context(), "Prometheus sees the first failure as an increase", func() bool {
		got = prometheus.query(t, "increase("+series+"[1m]) > 0", time.Now())
		return len(got) == 1
	})
	if err != nil {
		t.Fatalf("%v: %v; it has %v", err, got, prometheus.query(t, `{__name__=~"email.*|up"}`, time.Now()))
	}
	if got := prometheus.query(t, series, time.Now()); len(got) != 1 || got[0].value != 1 {
		t.Errorf("the series is %v", got)
	}
}
