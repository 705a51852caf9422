package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// Servers of other projects, which `make e2e` builds.
const (
	prometheusBinary = root + "/.tools/prometheus"
	promtoolBinary   = root + "/.tools/promtool"
	lokiBinary       = root + "/.tools/loki"
)

// server is a running server of another project.
type server struct {
	*process
	promv1.API // of Prometheus, a part of which Loki has too

	url string
}

// startServer starts a server and returns when it says that it is ready.
func startServer(t *testing.T, address, readyPath string, environment []string, path string, args ...string) *server {
	t.Helper()
	command := exec.Command(path, args...)
	command.Env = append(os.Environ(), environment...)
	s := &server{process: startProcess(t, command), url: "http://" + address}
	s.eventually(t, path+" is ready", func() bool {
		status, _ := get(s.url + readyPath)
		return status == http.StatusOK
	})
	return s
}

func newAPI(t *testing.T, url string) promv1.API {
	t.Helper()
	client, err := api.NewClient(api.Config{Address: url})
	require.NoError(t, err)
	return promv1.NewAPI(client)
}

// startPrometheus starts a Prometheus with the text of its configuration, and its data in a
// directory.
func startPrometheus(t *testing.T, config, data string, args ...string) *server {
	t.Helper()
	address := freeAddress(t)
	s := startServer(t, address, "/-/ready", nil, prometheusBinary, append([]string{
		"--config.file=" + write(t, "prometheus.yaml", config),
		"--storage.tsdb.path=" + data, "--web.listen-address=" + address,
	}, args...)...)
	s.API = newAPI(t, s.url)
	return s
}

// startLoki starts a Loki with the example's configuration.
func startLoki(t *testing.T) *server {
	t.Helper()
	address := freeAddress(t)
	environment := []string{
		"LOKI_ADDRESS=127.0.0.1", "LOKI_PORT=" + port(t, address), "LOKI_GRPC_PORT=" + port(t, freeAddress(t)),
		"LOKI_DIRECTORY=" + t.TempDir(),
	}
	s := startServer(t, address, "/ready", environment, lokiBinary,
		"-config.file="+root+"/examples/grafana/loki.yaml", "-config.expand-env=true",
		// Start in less than 10 seconds.
		"-frontend.scheduler-dns-lookup-period=250ms", "-querier.dns-lookup-period=250ms",
		// Allow for a day of records in a minute.
		"-distributor.ingestion-rate-limit-mb=64", "-distributor.ingestion-burst-size-mb=64",
		"-ingester.per-stream-rate-limit=64MB", "-ingester.per-stream-rate-limit-burst=64MB",
	)
	s.API = newAPI(t, s.url+"/loki")
	return s
}

// vector evaluates an expression at a time.
func (s *server) vector(t *testing.T, expr string, at time.Time) (model.Vector, error) {
	t.Helper()
	value, _, err := s.Query(t.Context(), expr, at)
	switch value := value.(type) {
	case model.Vector:
		return value, err
	case *model.Scalar:
		return model.Vector{{Value: value.Value}}, err
	}
	return nil, fmt.Errorf("the result is a %T: %w", value, err)
}

// query does the same and fails the test on an error.
func (s *server) query(t *testing.T, expr string, at time.Time) model.Vector {
	t.Helper()
	result, err := s.vector(t, expr, at)
	require.NoError(t, err, expr)
	return result
}

// until waits until the result of a query is enough.
func (s *server) until(t *testing.T, expr string, enough func(model.Vector) bool) {
	t.Helper()
	var (
		result model.Vector
		err    error
	)
	failure := s.wait(t.Context(), expr, func() bool {
		result, err = s.vector(t, expr, time.Now())
		return err == nil && enough(result)
	})
	require.NoError(t, failure, "the result is %v (%v)", result, err)
}

func hasResult(v model.Vector) bool { return len(v) > 0 }

func isAtLeast(want float64) func(model.Vector) bool {
	return func(v model.Vector) bool { return len(v) > 0 && float64(v[0].Value) >= want }
}

func isOne(want float64) func(model.Vector) bool {
	return func(v model.Vector) bool { return len(v) == 1 && float64(v[0].Value) == want }
}

// single returns the value of a result that has to have one.
func single(t *testing.T, result model.Vector) float64 {
	t.Helper()
	require.Len(t, result, 1)
	return float64(result[0].Value)
}

// samples returns the samples of a range selector such as `name[10m]` as they were stored.
func (s *server) samples(t *testing.T, selector string, at time.Time) model.Matrix {
	t.Helper()
	value, _, err := s.Query(t.Context(), selector, at)
	require.NoError(t, err, selector)
	require.IsType(t, model.Matrix{}, value)
	return value.(model.Matrix)
}

// logRecord is what Loki keeps of a log record: labels are what it indexes, metadata is the rest.
type logRecord struct {
	at               time.Time
	line             string
	labels, metadata map[string]string
}

// records returns what a log query finds from a time to another, the newest first, up to a limit.
func (s *server) records(t *testing.T, query string, from, to time.Time, limit int) []logRecord {
	t.Helper()
	parameters := url.Values{
		"query": {query}, "limit": {strconv.Itoa(limit)}, "direction": {"backward"},
		"start": {strconv.FormatInt(from.UnixNano(), 10)}, "end": {strconv.FormatInt(to.UnixNano(), 10)},
	}
	// As Grafana asks: labels apart from metadata.
	status, body := get(s.url+"/loki/api/v1/query_range?"+parameters.Encode(),
		"X-Loki-Response-Encoding-Flags: categorize-labels")
	require.Equal(t, http.StatusOK, status, "%s: %s", query, body)
	var response struct {
		Data struct {
			ResultType string
			Result     []struct {
				Stream map[string]string
				Values []json.RawMessage
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &response))
	require.Equal(t, "streams", response.Data.ResultType)
	var records []logRecord
	for _, stream := range response.Data.Result {
		for _, value := range stream.Values {
			var nanoseconds, line string
			var more struct{ StructuredMetadata map[string]string }
			require.NoError(t, json.Unmarshal(value, &[]any{&nanoseconds, &line, &more}))
			at, err := strconv.ParseInt(nanoseconds, 10, 64)
			require.NoError(t, err)
			records = append(records, logRecord{time.Unix(0, at), line, stream.Stream, more.StructuredMetadata})
		}
	}
	return records
}

// startNginx starts an nginx whose one server has the locations, which pass calls on to the
// collector.
func startNginx(t *testing.T, locations, collector, readyPath string) *server {
	t.Helper()
	const documented = "http://127.0.0.1:8550;"
	require.Contains(t, locations, documented)
	path, directory, address := packaged(t, "nginx"), t.TempDir(), freeAddress(t)
	config := "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {}\n" +
		"http {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path " + kind + ";\n"
	}
	config += "server {\nlisten " + address + ";\n" +
		strings.ReplaceAll(locations, documented, "http://"+collector+";") + "}\n}\n"
	return startServer(t, address, readyPath, nil, path, "-p", directory, "-c", write(t, "nginx.conf", config), "-e",
		"stderr")
}
