package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Servers of other projects, which `make e2e` builds.
const (
	prometheusBinary = root + "/.tools/prometheus"
	promtoolBinary   = root + "/.tools/promtool"
	lokiBinary       = root + "/.tools/loki"
)

// startup is how long a server may take until it is ready, on a machine that does other things too.
const startup = 90 * time.Second

// server is a running server of another project.
type server struct {
	name    string
	url     string // without a slash at the end
	process *os.Process
	exited  chan struct{}
	err     error
	output  output
}

// requireBinary fails the test when a binary was not built. It does not skip: a test that was not run shows nothing.
func requireBinary(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("there is no .tools/%s: `make e2e` builds it (%v)", filepath.Base(path), err)
	}
}

// startServer starts a server, and returns when it says that it is ready. It is killed at the end of the test.
func startServer(t *testing.T, name, address, readyPath string, environment []string, path string, args ...string) *server {
	t.Helper()
	requireBinary(t, path)
	s := &server{name: name, url: "http://" + address, exited: make(chan struct{})}
	command := exec.Command(path, args...)
	command.Env = append(os.Environ(), environment...)
	command.Stdout, command.Stderr = &s.output, &s.output
	if err := command.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	s.process = command.Process
	go func() {
		s.err = command.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the end of the output of %s:\n%s", name, tail(s.output.String(), 60))
		}
	})
	s.eventually(t, startup, "it is ready", func() error {
		_, err := s.fetch(readyPath, nil)
		return err
	})
	return s
}

// kill ends the server at once, if it still runs.
func (s *server) kill() {
	_ = s.process.Kill()
	<-s.exited
}

// eventually fails the test when the check does not succeed in time, with what it said last, or when the server exits before it does.
func (s *server) eventually(t *testing.T, timeout time.Duration, what string, check func() error) {
	t.Helper()
	timer := time.After(timeout)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-s.exited:
			t.Fatalf("waited until %s, but %s exited: %v", what, s.name, s.err)
		case <-timer:
			t.Fatalf("%s: waited %s until %s: %v", s.name, timeout, what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// fetch gets a path of the server. What the server says of an error is part of the error.
func (s *server) fetch(path string, parameters url.Values) ([]byte, error) {
	response, err := http.Get(s.url + path + "?" + parameters.Encode())
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	return body, nil
}

// api gets a path of the HTTP API that Prometheus has and Loki copied, and decodes the answer's `data`.
func (s *server) api(path string, parameters url.Values, data any) error {
	body, err := s.fetch(path, parameters)
	if err != nil {
		return err
	}
	answer := struct {
		Status string
		Error  string
		Data   any
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: %w: %.200s", path, err, body)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s: %s", path, answer.Status, answer.Error)
	}
	return nil
}

// instant is an element of the result of an instant query. A scalar has no labels.
type instant struct {
	labels map[string]string
	value  float64
}

// series is an element of the result of a range query.
type series struct {
	labels map[string]string
	points []timed
}

type timed struct {
	at    time.Time
	value float64
}

// first and last are those within the range of the query.
func (s series) first() timed { return s.points[0] }
func (s series) last() timed  { return s.points[len(s.points)-1] }

// queryData is the `data` of an answer to a query.
type queryData struct {
	ResultType string
	Result     json.RawMessage
}

// pair is a time in seconds and a number as text, which JSON has as a list of two.
type pair struct{ timed }

func (p *pair) UnmarshalJSON(text []byte) error {
	var at float64
	var value string
	if err := json.Unmarshal(text, &[]any{&at, &value}); err != nil {
		return err
	}
	number, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return err
	}
	p.timed = timed{at: time.UnixMicro(int64(at * 1e6)), value: number}
	return nil
}

// instants asks for one value of each series, at a time.
func (s *server) instants(path, query string, at time.Time) ([]instant, error) {
	var data queryData
	if err := s.api(path, url.Values{"query": {query}, "time": {unix(at)}}, &data); err != nil {
		return nil, err
	}
	switch data.ResultType {
	case "scalar":
		var scalar pair
		err := json.Unmarshal(data.Result, &scalar)
		return []instant{{value: scalar.value}}, err
	case "vector":
		var vector []struct {
			Metric map[string]string
			Value  pair
		}
		err := json.Unmarshal(data.Result, &vector)
		result := make([]instant, len(vector))
		for i, element := range vector {
			result[i] = instant{labels: element.Metric, value: element.Value.value}
		}
		return result, err
	}
	return nil, errors.New("the result is a " + data.ResultType)
}

// matrix asks for the values of each series in a range of time.
func (s *server) matrix(path, query string, from, to time.Time, step time.Duration) ([]series, error) {
	parameters := url.Values{
		"query": {query}, "start": {unix(from)}, "end": {unix(to)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
	}
	var data queryData
	if err := s.api(path, parameters, &data); err != nil {
		return nil, err
	}
	if data.ResultType != "matrix" {
		return nil, errors.New("the result is a " + data.ResultType)
	}
	return matrixOf(data.Result)
}

func matrixOf(text []byte) ([]series, error) {
	var matrix []struct {
		Metric map[string]string
		Values []pair
	}
	err := json.Unmarshal(text, &matrix)
	result := make([]series, len(matrix))
	for i, element := range matrix {
		result[i].labels = element.Metric
		for _, value := range element.Values {
			result[i].points = append(result[i].points, value.timed)
		}
	}
	return result, err
}

// unix is a time as the APIs of both servers read it.
func unix(at time.Time) string {
	return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)
}

// prometheusServer is a running Prometheus.
type prometheusServer struct{ *server }

// startPrometheus starts a Prometheus with the text of its configuration. Files that it names, such as rules, need absolute paths.
// Give --web.enable-remote-write-receiver or --web.enable-otlp-receiver as an argument to send to it.
func startPrometheus(t *testing.T, config string, args ...string) *prometheusServer {
	t.Helper()
	directory, address := t.TempDir(), freeAddress(t)
	configFile := filepath.Join(directory, "prometheus.yaml")
	if err := os.WriteFile(configFile, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"--config.file=" + configFile,
		"--storage.tsdb.path=" + filepath.Join(directory, "data"),
		"--web.listen-address=" + address,
	}, args...)
	return &prometheusServer{startServer(t, "Prometheus", address, "/-/ready", nil, prometheusBinary, args...)}
}

// query evaluates an expression at a time.
func (p *prometheusServer) query(t *testing.T, expr string, at time.Time) []instant {
	t.Helper()
	result, err := p.instants("/api/v1/query", expr, at)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return result
}

// samples returns the samples of a range selector such as `email_delivery_failures_total[10m]` as they were stored.
func (p *prometheusServer) samples(t *testing.T, selector string, at time.Time) []series {
	t.Helper()
	var data queryData
	err := p.api("/api/v1/query", url.Values{"query": {selector}, "time": {unix(at)}}, &data)
	if err != nil {
		t.Fatalf("%s: %v", selector, err)
	}
	result, err := matrixOf(data.Result)
	if err != nil {
		t.Fatalf("%s: %v", selector, err)
	}
	return result
}

// lokiServer is a running Loki.
type lokiServer struct {
	*server
	otlp string // the endpoint for an otlp_http exporter
}

// startLoki starts a Loki with the example's configuration. It keeps everything in a directory of its own.
func startLoki(t *testing.T) *lokiServer {
	t.Helper()
	address := freeAddress(t)
	environment := []string{
		"LOKI_ADDRESS=127.0.0.1", "LOKI_PORT=" + port(t, address), "LOKI_GRPC_PORT=" + port(t, freeAddress(t)), "LOKI_DIRECTORY=" + t.TempDir(),
	}
	s := startServer(t, "Loki", address, "/ready", environment, lokiBinary,
		"-config.file="+root+"/examples/grafana/loki.yaml", "-config.expand-env=true",
		// Its parts find each other at once, and not after 10 seconds.
		"-frontend.scheduler-dns-lookup-period=250ms", "-querier.dns-lookup-period=250ms",
		// A test sends a day in a minute.
		"-distributor.ingestion-rate-limit-mb=64", "-distributor.ingestion-burst-size-mb=64",
		"-ingester.per-stream-rate-limit=64MB", "-ingester.per-stream-rate-limit-burst=64MB",
	)
	return &lokiServer{server: s, otlp: s.url + "/otlp"}
}

// query evaluates a metric query at a time.
func (l *lokiServer) query(t *testing.T, logql string, at time.Time) []instant {
	t.Helper()
	result, err := l.instants("/loki/api/v1/query", logql, at)
	if err != nil {
		t.Fatalf("%s: %v", logql, err)
	}
	return result
}

// logRecord is what Loki keeps of a log record: labels are what it indexes, metadata the rest, or what the query made of them.
type logRecord struct {
	at       time.Time
	line     string
	labels   map[string]string
	metadata map[string]string
	parsed   map[string]string
}

// records returns what a log query finds from a time to another, the newest first, up to a limit.
func (l *lokiServer) records(t *testing.T, logql string, from, to time.Time, limit int) []logRecord {
	t.Helper()
	result, err := l.find(logql, from, to, limit)
	if err != nil {
		t.Fatalf("%s: %v", logql, err)
	}
	return result
}

func (l *lokiServer) find(logql string, from, to time.Time, limit int) ([]logRecord, error) {
	parameters := url.Values{
		"query": {logql}, "start": {strconv.FormatInt(from.UnixNano(), 10)}, "end": {strconv.FormatInt(to.UnixNano(), 10)},
		"limit": {strconv.Itoa(limit)}, "direction": {"backward"},
	}
	request, err := http.NewRequest(http.MethodGet, l.url+"/loki/api/v1/query_range?"+parameters.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	// As Grafana asks: labels apart from metadata.
	request.Header.Set("X-Loki-Response-Encoding-Flags", "categorize-labels")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, body)
	}
	var answer struct {
		Data struct {
			ResultType string
			Result     []struct {
				Stream map[string]string
				Values [][]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if answer.Data.ResultType != "streams" {
		return nil, errors.New("the result is a " + answer.Data.ResultType)
	}
	var records []logRecord
	for _, stream := range answer.Data.Result {
		for _, value := range stream.Values {
			var at, line string
			var categories struct{ StructuredMetadata, Parsed map[string]string }
			targets := []any{&at, &line, &categories}
			for i, raw := range value {
				if err := json.Unmarshal(raw, targets[i]); err != nil {
					return nil, err
				}
			}
			nanoseconds, err := strconv.ParseInt(at, 10, 64)
			if err != nil {
				return nil, err
			}
			records = append(records, logRecord{
				at: time.Unix(0, nanoseconds), line: line,
				labels: stream.Stream, metadata: categories.StructuredMetadata, parsed: categories.Parsed,
			})
		}
	}
	return records, nil
}
