package e2e

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
)

const formType = "Content-Type: application/x-www-form-urlencoded"

// call makes a request with headers such as "Name: value", and returns the status and the body of
// the response, or 0 and what went wrong.
func call(client *http.Client, method, url, body string, headers ...string) (status int, text string) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	for _, header := range headers {
		if name, value, ok := strings.Cut(header, ": "); ok {
			request.Header.Set(name, value)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	content, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(content)
}

func get(url string, headers ...string) (status int, text string) {
	return call(http.DefaultClient, http.MethodGet, url, "", headers...)
}

func post(url string, form url.Values) (status int) {
	status, _ = call(http.DefaultClient, http.MethodPost, url, form.Encode(), formType)
	return status
}

// postOne sends one report, which has to be accepted.
func postOne(t *testing.T, c *collector, id string) {
	t.Helper()
	require.Equal(t, http.StatusOK, post(c.url(), someReport(id).form()))
}

// sample is a line of the Prometheus text format.
type sample struct {
	name   string
	labels string // between commas
	value  float64
}

var (
	sampleLine = regexp.MustCompile(`(?m)^([a-z_]+)\{(.*)\} (\S+)$`)
	labelPair  = regexp.MustCompile(`[a-z_]+="[^"]*"`)
)

func scrape(t *testing.T, address string) []sample {
	t.Helper()
	status, text := get("http://" + address + "/metrics")
	require.Equal(t, http.StatusOK, status, text)
	var samples []sample
	for _, match := range sampleLine.FindAllStringSubmatch(text, -1) {
		value, err := strconv.ParseFloat(match[3], 64)
		require.NoError(t, err)
		samples = append(samples, sample{match[1], "," + match[2] + ",", value})
	}
	return samples
}

// sum adds up the series that a selector such as `name a="b" c="d"` selects.
func sum(samples []sample, selector string) (total float64) {
	name, labels, _ := strings.Cut(selector, " ")
	for _, s := range samples {
		missing := func(label string) bool { return !strings.Contains(s.labels, ","+label+",") }
		if s.name == name && !slices.ContainsFunc(labelPair.FindAllString(labels, -1), missing) {
			total += s.value
		}
	}
	return total
}

// readRecords returns the attributes of the records in the complete lines of a file that the file
// exporter writes.
func readRecords(t *testing.T, path string) (records []map[string]any) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	for line := range strings.Lines(string(content)) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs([]byte(line))
		require.NoError(t, err, line)
		for r := range recordsOf(logs) {
			records = append(records, r.Attributes().AsRaw())
		}
	}
	return records
}

// rawResponse is a response, without what differs from one time to the next.
type rawResponse struct {
	status       int
	header, body string
}

// rawConn is one connection, over which a test sends what it likes.
type rawConn struct {
	net.Conn
	reader *bufio.Reader
}

func dial(address string) (*rawConn, error) {
	connection, err := net.DialTimeout("tcp", address, 30*time.Second)
	if err != nil {
		return nil, err
	}
	return &rawConn{connection, bufio.NewReader(connection)}, nil
}

// exchange sends a request and reads the response.
func (w *rawConn) exchange(raw string) (rawResponse, error) {
	if err := w.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return rawResponse{}, err
	}
	if _, err := io.WriteString(w, raw); err != nil {
		return rawResponse{}, err
	}
	return w.read()
}

func (w *rawConn) read() (rawResponse, error) {
	response, err := http.ReadResponse(w.reader, nil)
	if err != nil {
		return rawResponse{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	response.Header.Del("Date")
	// It depends on whether the body was read.
	response.Header.Del("Connection")
	var header strings.Builder
	_ = response.Header.Write(&header) // It is written to memory.
	return rawResponse{response.StatusCode, header.String(), string(body)}, err
}

// exchangeOnce does the same over a connection of its own.
func exchangeOnce(address, raw string) (rawResponse, error) {
	w, err := dial(address)
	if err != nil {
		return rawResponse{}, err
	}
	defer w.Close()
	return w.exchange(raw)
}
