package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	dayReports    = 5000
	dayDeliveries = 15000
	dayPlayed     = time.Minute
	// dayScrape is the scrape interval of the Prometheus that scrapes.
	dayScrape = time.Second
	// arrived is how long what was sent may take to be in every server.
	arrived = 30 * time.Second

	failuresTotal = "email_delivery_failures_total"
	failuresByTag = "email_delivery_failures_by_tag_total"

	deliveriesTotal = "email_deliveries_total"
	deliveriesByTag = "email_deliveries_by_tag_total"
)

// playedDay is a day of failures that was played against the distribution, and the servers that it ended up in.
type playedDay struct {
	collector *collector
	loki      *lokiServer
	// scraping scrapes the collector and has the rules; sentTo gets the counters by remote write and by OTLP.
	scraping, sentTo *prometheusServer

	from, to time.Time
	// reports are of failures, deliveries of messages that were delivered.
	reports, deliveries []sentReport
	// calls is how many other calls had each outcome.
	calls map[string]int
	took  map[string]time.Duration
}

// sentReport is a distinct report that was sent, as the sender records it.
type sentReport struct {
	ID          string
	Recipient   string
	Tags        []string
	State       string
	Code        string
	Extended    string
	Type        string
	Action      string
	Description string
	Time        int64
	Sends       int
	Status      int
}

// causes are the values of error.type for what TestDay sends, by a part of the description; the first that fits.
var causes = []struct{ part, cause string }{
	{"User unknown", "recipient_unknown"},
	{"does not exist", "recipient_unknown"},
	{"No such user", "recipient_unknown"},
	{"Access denied", "recipient_unknown"}, // with 5.4.1
	{"Mailbox unavailable", "recipient_unknown"},
	{"Bad recipient address syntax", "recipient_unknown"},
	{"null MX", "domain_not_found"},
	{"Bad destination host", "domain_not_found"},
	{"Host or domain name not found", "domain_not_found"},
	{"is disabled", "recipient_inactive"},
	{"out of storage space", "mailbox_full"},
	{"Mailbox size limit exceeded", "mailbox_full"},
	{"Over quota", "mailbox_full"},
	{"members only", "recipient_restricted"},
	{"poor reputation", "reputation_block"},
	{"for spam", "spam_content"},
	{"virus", "virus"},
	{"malformed", "content_rejected"},
	{"Message size exceeds", "message_too_large"},
	{"neither SPF nor DKIM", "authentication_failed"},
	{"unauthenticated mail", "authentication_failed"},
	{"DKIM signature", "authentication_failed"},
	{"sender refused", "sender_rejected"},
	{"sender address does not resolve", "sender_rejected"},
	{"reverse hostname", "reverse_dns"},
	{"rejected by the policy", "policy"},
	{"Too many connections", "rate_limited"},
	{"unusual rate", "rate_limited"},
	{"Greylisted", "greylisted"},
	{"Relay access denied", "relay_denied"},
	{"certificate", "tls_required"},
	{"Invalid argument", "protocol_error"},
	{"timed out", "connection_failed"},
	{"No address found", "connection_failed"},
	{"does not answer", "connection_failed"},
	{"Mailbox busy", "server_error"},
	{"Service not available", "server_error"},
	{"Temporary lookup failure", "server_error"},
	{"Insufficient system storage", "server_error"},
	{"Too many hops", "mail_loop"},
	{"Delivery time expired", "expired"},
	{"suppression list", "suppressed"},
	{"Transaction failed", "_OTHER"},
	{"says nothing of why", "_OTHER"},
	{"what was that?", "_OTHER"},
}

// newKind is sent once, when all else has arrived. Nothing of the day has its status.
var newKind = sentReport{
	ID: "the-first-of-its-kind", Recipient: "somebody@example.com", Tags: []string{"newsletter"}, State: "rcptto", Code: "501", Extended: "5.1.3",
	Type: "failure", Action: "failed", Description: "501 5.1.3 Bad recipient address syntax",
}

var (
	typedCode     = regexp.MustCompile(`^[1-9][0-9][0-9]$`)
	typedExtended = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`)
)

// labels returns the labels that the counters have for the report, without the tag. An attribute without a value has none.
func (r *sentReport) labels(t *testing.T) map[string]string {
	t.Helper()
	labels := map[string]string{"email_failure_mode": "synchronous", "email_failure_class": "unknown", "smtp_state": r.State}
	if r.State == "bounce" {
		labels["email_failure_mode"] = "asynchronous"
	}
	status := ""
	if typedCode.MatchString(r.Code) {
		labels["smtp_response_status_code"], status = r.Code, r.Code
	}
	if typedExtended.MatchString(r.Extended) {
		labels["smtp_response_enhanced_status_code"], status = r.Extended, r.Extended
	}
	switch {
	case strings.HasPrefix(status, "5"):
		labels["email_failure_class"] = "permanent"
	case strings.HasPrefix(status, "4"):
		labels["email_failure_class"] = "transient"
	}
	for _, known := range causes {
		if strings.Contains(r.Description, known.part) {
			labels["error_type"] = known.cause
			break
		}
	}
	if labels["error_type"] == "" {
		t.Fatalf("the table of causes has none for %+v", r)
	}
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	return labels
}

// metadata returns what Loki keeps beside the line, as far as it comes from the report.
func (r *sentReport) metadata(t *testing.T) map[string]string {
	t.Helper()
	metadata := r.labels(t)
	metadata["email_message_id"] = r.ID
	metadata["email_recipient_address"] = r.Recipient
	// With the A-label of the day's only domain that needs one.
	domain := strings.ToLower(r.Recipient[strings.LastIndex(r.Recipient, "@")+1:])
	metadata["email_recipient_domain"] = strings.Replace(domain, "bücher", "xn--bcher-kva", 1)
	metadata["smtp_response_enhanced_status_meaning"] = meaningOf(metadata["smtp_response_enhanced_status_code"])
	metadata["copernica_type"] = r.Type
	metadata["copernica_action"] = r.Action
	if len(r.Tags) > 0 {
		var tags bytes.Buffer
		encoder := json.NewEncoder(&tags)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(r.Tags); err != nil {
			t.Fatal(err)
		}
		metadata["email_tags"] = strings.TrimSpace(tags.String())
	}
	if metadata["smtp_response_status_code"] == "" {
		metadata["copernica_code"] = r.Code
	}
	if metadata["smtp_response_enhanced_status_code"] == "" {
		metadata["copernica_extended"] = r.Extended
	}
	metadata["severity_text"], metadata["severity_number"], metadata["detected_level"] = "ERROR", "17", "error"
	if metadata["email_failure_class"] == "transient" {
		metadata["severity_text"], metadata["severity_number"], metadata["detected_level"] = "WARN", "13", "warn"
	}
	maps.DeleteFunc(metadata, func(_, value string) bool { return value == "" })
	return metadata
}

func (r *sentReport) form() url.Values {
	form := url.Values{
		"id": {r.ID}, "recipient": {r.Recipient}, "state": {r.State}, "code": {r.Code}, "extended": {r.Extended}, "type": {r.Type},
		"action": {r.Action}, "description": {r.Description}, "tags[]": r.Tags,
	}
	if r.Time != 0 {
		form.Set("time", strconv.FormatInt(r.Time, 10))
	}
	return form
}

// TestDay plays a day of failures in a minute against the distribution with a real Loki and two real Prometheus servers behind it, and asks them
// for everything: what was sent, the queries of the dashboard and the state of the rules.
func TestDay(t *testing.T) {
	requireBinary(t, prometheusBinary)
	requireBinary(t, lokiBinary)
	d := startDay(t)
	d.play(t)
	d.sendNewKind(t)

	t.Run("totals", d.testTotals)
	t.Run("deliveries", d.testDeliveries)
	t.Run("records", d.testRecords)
	t.Run("counts of records", d.testRecordCounts)
	t.Run("increase", d.testIncrease)
	t.Run("other calls", d.testOtherCalls)
	t.Run("rules", d.testRules)
	t.Run("dashboard", d.testDashboard)
	t.Run("tables", d.testTables)

	t.Logf("%d distinct reports, %d calls that report none; %v", len(d.reports), sumOf(d.calls), d.took)
}

func sumOf(numbers map[string]int) int {
	sum := 0
	for _, number := range numbers {
		sum += number
	}
	return sum
}

// startDay starts the servers and the collector between them.
func startDay(t *testing.T) *playedDay {
	t.Helper()
	began := time.Now()
	d := &playedDay{calls: map[string]int{}, took: map[string]time.Duration{}}
	receiver, metrics, telemetry := freeAddress(t), freeAddress(t), freeAddress(t)

	d.loki = startLoki(t)
	d.sentTo = startPrometheus(t, "global: {scrape_interval: 1m}\n", "--web.enable-remote-write-receiver", "--web.enable-otlp-receiver")
	d.scraping = startPrometheus(t, scrapeConfig(t, metrics, telemetry))

	environment := []string{
		"STORAGE_DIRECTORY=" + t.TempDir(), "SMTP_FAILURE_ENDPOINT=" + receiver, "HEALTH_CHECK_ENDPOINT=" + freeAddress(t),
		"TELEMETRY_HOST=127.0.0.1", "TELEMETRY_PORT=" + port(t, telemetry), "LOKI_ENDPOINT=" + d.loki.otlp, "PROMETHEUS_EXPORTER=" + metrics,
		"REMOTE_WRITE_ENDPOINT=" + d.sentTo.url + "/api/v1/write", "OTLP_METRICS_ENDPOINT=" + d.sentTo.url + "/api/v1/otlp/v1/metrics",
	}
	c, err := launch(environment, "--config", root+"/examples/prometheus-remote-write/config.yaml",
		"--config", root+"/examples/grafana/collector.yaml", "--config", "testdata/day.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d.collector = c
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("the end of the output of the collector:\n%s", tail(c.output.String(), 60))
		}
	})
	c.failuresURL = "http://" + receiver + "/failures"
	c.metricsURL = "http://" + metrics + "/metrics"
	c.eventually(t, "the receiver answers", func() bool {
		response, err := http.Get(c.failuresURL)
		if err != nil {
			return false
		}
		d.calls["method_not_allowed"]++
		return response.Body.Close() == nil
	})
	d.scraping.eventually(t, arrived, "both targets are scraped", func() error {
		up, err := d.scraping.instants("/api/v1/query", "sum(up)", time.Now())
		if err == nil && (len(up) != 1 || up[0].value != 2) {
			err = fmt.Errorf("sum(up) is %v, want 2", up)
		}
		return err
	})
	d.took["start"] = time.Since(began).Round(time.Millisecond)
	return d
}

// scrapeConfig is the example's configuration of Prometheus, with the addresses and the pace of the test.
func scrapeConfig(t *testing.T, metrics, telemetry string) string {
	t.Helper()
	const pace = "scrape_interval: 5s"
	text := grafanaPrometheusConfig(t, map[string]string{"localhost:9464": metrics, "localhost:8888": telemetry})
	if strings.Count(text, pace) != 1 {
		t.Fatalf("the example's configuration of Prometheus does not have %q once", pace)
	}
	return strings.Replace(text, pace, "scrape_interval: "+dayScrape.String(), 1)
}

// changed returns the text of a file with replacements, each of which has to fit once.
func changed(t *testing.T, path string, replacements map[string]string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for old, replacement := range replacements {
		if n := strings.Count(text, old); n != 1 {
			t.Fatalf("%s has %q %d times, want once", path, old, n)
		}
		text = strings.Replace(text, old, replacement, 1)
	}
	return text
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// ruleFiles returns the files of the example rules. Other files in the folder are no rules.
func ruleFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(root + "/examples/prometheus/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^groups:`).Match(text) {
			continue
		}
		rules = append(rules, file)
	}
	return rules
}

// play has the example sender play the day, and makes calls beside it that report nothing, or something odd.
func (d *playedDay) play(t *testing.T) {
	t.Helper()
	sender, record := goBuild(t, "./examples/sender"), filepath.Join(t.TempDir(), "sent.jsonl")
	var summary output
	command := exec.CommandContext(t.Context(), sender, "-url", d.collector.failuresURL, "-reports", strconv.Itoa(dayReports),
		"-deliveries", strconv.Itoa(dayDeliveries), "-day", dayPlayed.String(), "-repeats", "0.05", "-record", record)
	command.Stdout, command.Stderr = &summary, &summary
	d.from = time.Now()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()

	var odd []sentReport
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n, running := 0, true; running; n++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("sender: %v\n%s", err, summary.String())
			}
			running = false
		case <-tick.C:
			d.callOtherwise(t)
			report := sentReport{
				ID: fmt.Sprintf("odd-%d", n), Recipient: "Odd.One@Example.COM", Tags: []string{`say "hi" & <bye>`, "päck; week 47"}, State: "rcptto",
				Code: "5xx", Extended: "5.one", Description: "5xx what was that?", Time: time.Now().Unix(), Sends: 1, Status: http.StatusOK,
			}
			d.post(t, report, http.StatusOK)
			odd = append(odd, report)
		}
	}
	d.took["day"] = time.Since(d.from).Round(time.Millisecond)
	t.Logf("sender: %s", strings.TrimSpace(summary.String()))

	for _, report := range readSent(t, record) {
		if report.Type == "delivery" {
			d.deliveries = append(d.deliveries, report)
		} else {
			d.reports = append(d.reports, report)
		}
	}
	if len(d.deliveries) != dayDeliveries {
		t.Fatalf("the sender recorded %d deliveries, want %d", len(d.deliveries), dayDeliveries)
	}
	d.reports = append(d.reports, odd...)
	if len(d.reports) != dayReports+len(odd) {
		t.Fatalf("the sender recorded %d reports, want %d", len(d.reports)-len(odd), dayReports)
	}
	again := 0
	for _, report := range slices.Concat(d.reports, d.deliveries) {
		if report.Status != http.StatusOK {
			t.Errorf("%s was answered with %d", report.ID, report.Status)
		}
		again += report.Sends - 1
	}
	if again == 0 {
		t.Error("no report was sent twice")
	}
	d.waitUntilArrived(t)
}

func readSent(t *testing.T, path string) []sentReport {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var reports []sentReport
	ids := map[string]bool{}
	for decoder := json.NewDecoder(file); ; {
		var report sentReport
		if err := decoder.Decode(&report); err != nil {
			if errors.Is(err, io.EOF) {
				return reports
			}
			t.Fatal(err)
		}
		// A message that bounces was delivered before.
		if id := report.Type + " " + report.ID; ids[id] {
			t.Fatalf("the sender recorded %s twice", id)
		} else {
			ids[id] = true
		}
		reports = append(reports, report)
	}
}

// callOtherwise makes calls that do not report a failure, of each kind that the receiver tells apart without a signature.
func (d *playedDay) callOtherwise(t *testing.T) {
	t.Helper()
	const form = "application/x-www-form-urlencoded"
	for _, call := range []struct {
		method, path, contentType, body string
		want                            int
		outcome                         string
	}{
		{http.MethodGet, "/failures", "", "", http.StatusMethodNotAllowed, "method_not_allowed"},
		{http.MethodPost, "/failures", form, "hello=world", http.StatusBadRequest, "invalid"},
		{http.MethodPost, "/failures", form, "id=1&type=open", http.StatusBadRequest, "other_webhook"},
		{http.MethodPost, "/failures", "text/xml", "<failure/>", http.StatusUnsupportedMediaType, "unsupported_media_type"},
		{http.MethodPost, "/failures", form, "id=" + strings.Repeat("1", 300*1024), http.StatusRequestEntityTooLarge, "too_large"},
		{http.MethodGet, "/robots.txt", "", "", http.StatusNotFound, "not_found"},
	} {
		address := strings.TrimSuffix(d.collector.failuresURL, "/failures") + call.path
		request, err := http.NewRequestWithContext(t.Context(), call.method, address, strings.NewReader(call.body))
		if err != nil {
			t.Fatal(err)
		}
		if call.contentType != "" {
			request.Header.Set("Content-Type", call.contentType)
		}
		// What is too large is refused before it is read, and the connection closed.
		request.Header.Set("Expect", "100-continue")
		d.do(t, request, call.want)
		d.calls[call.outcome]++
	}
}

func (d *playedDay) post(t *testing.T, report sentReport, want int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.collector.failuresURL, strings.NewReader(report.form().Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	d.do(t, request, want)
}

func (d *playedDay) do(t *testing.T, request *http.Request, want int) {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != want {
		t.Fatalf("%s %s: %s, want %d", request.Method, request.URL, response.Status, want)
	}
}

// way is a way from the receiver to a Prometheus.
type way struct {
	name   string
	server *prometheusServer
	// matcher selects the series that took it.
	matcher string
}

func (d *playedDay) ways() []way {
	return []way{
		{"scrape", d.scraping, `via=""`},
		{"remote write", d.sentTo, `via="remote_write"`},
		{"OTLP", d.sentTo, `via=""`},
	}
}

// metric returns a selector of what took the way.
func (w way) metric(name string, matchers ...string) string {
	return name + "{" + strings.Join(append(matchers, w.matcher), ",") + "}"
}

// waitUntilArrived returns when every server has as much as was sent. Whether it has exactly that, the tests check.
func (d *playedDay) waitUntilArrived(t *testing.T) {
	t.Helper()
	enough := func(want int, result []instant, err error) error {
		if err != nil {
			return err
		}
		if len(result) == 0 || result[0].value < float64(want) {
			return fmt.Errorf("there are %v, want %v", result, want)
		}
		return nil
	}
	for _, w := range d.ways() {
		w.server.eventually(t, arrived, "all is counted by way of "+w.name, func() error {
			result, err := w.server.instants("/api/v1/query", "sum("+w.metric(failuresTotal)+")", time.Now())
			return enough(len(d.reports), result, err)
		})
		w.server.eventually(t, arrived, "all deliveries are counted by way of "+w.name, func() error {
			result, err := w.server.instants("/api/v1/query", "sum("+w.metric(deliveriesTotal)+")", time.Now())
			return enough(len(d.deliveries), result, err)
		})
	}
	d.loki.eventually(t, arrived, "it has all records", func() error {
		result, err := d.loki.instants("/loki/api/v1/query", `sum(count_over_time({service_name="smtp_failure"} [1h]))`, time.Now())
		return enough(len(d.reports), result, err)
	})
}

// sendNewKind sends the first failure of its kind, and returns when increase() shows it, on each way.
func (d *playedDay) sendNewKind(t *testing.T) {
	t.Helper()
	began := time.Now()
	matcher := fmt.Sprintf("smtp_response_enhanced_status_code=%q", newKind.Extended)
	for _, w := range d.ways() {
		if result := w.server.query(t, w.metric(failuresTotal, matcher), time.Now()); len(result) > 0 {
			t.Fatalf("%s: the kind that is to be new is there: %v", w.name, result)
		}
	}
	report := newKind
	report.Time, report.Sends, report.Status = time.Now().Unix(), 1, http.StatusOK
	d.post(t, report, http.StatusOK)
	d.reports = append(d.reports, report)
	for _, w := range d.ways() {
		for _, metric := range []string{failuresTotal, failuresByTag} {
			expr := "sum(increase(" + w.metric(metric, matcher) + "[1m])) > 0"
			w.server.eventually(t, arrived, "`"+expr+"` shows the first failure of a kind by way of "+w.name, func() error {
				result, err := w.server.instants("/api/v1/query", expr, time.Now())
				if err == nil && len(result) == 0 {
					err = errors.New("no result")
				}
				return err
			})
		}
	}
	d.took["first of a kind visible"] = time.Since(began).Round(time.Millisecond)
	d.waitUntilArrived(t)
	d.to = time.Now()
}

// grouping is what the numbers are compared by.
type grouping struct {
	label string
	// of returns the values of the label for a report, more than one for its tags.
	of func(sentReport) []string
}

func groupings(t *testing.T) []grouping {
	t.Helper()
	all := []grouping{{"", func(sentReport) []string { return []string{""} }}}
	for _, label := range []string{
		"email_failure_class", "error_type", "smtp_response_status_code", "smtp_response_enhanced_status_code", "smtp_state", "email_failure_mode",
	} {
		all = append(all, grouping{label, func(r sentReport) []string { return []string{r.labels(t)[label]} }})
	}
	return all
}

// count adds the reports up.
func (d *playedDay) count(g grouping) map[string]float64 { return countOf(d.reports, g) }

func countOf(reports []sentReport, g grouping) map[string]float64 {
	counts := map[string]float64{}
	for _, report := range reports {
		for _, value := range g.of(report) {
			counts[value]++
		}
	}
	return counts
}

// compare compares the numbers of a server, by the value of a label, with what was sent.
func compare(t *testing.T, what, label string, got []instant, want map[string]float64) {
	t.Helper()
	counts := map[string]float64{}
	for _, element := range got {
		counts[element.labels[label]] += element.value
	}
	for _, value := range slices.Sorted(maps.Keys(want)) {
		if counts[value] != want[value] {
			t.Errorf("%s, %s=%q: %v, want %v", what, label, value, counts[value], want[value])
		}
		delete(counts, value)
	}
	for _, value := range slices.Sorted(maps.Keys(counts)) {
		t.Errorf("%s, %s=%q: %v, want none", what, label, value, counts[value])
	}
}

var byTag = grouping{"email_tag", func(r sentReport) []string { return slices.Compact(slices.Sorted(slices.Values(r.Tags))) }}

// testTotals compares the counters in Prometheus with what was sent.
func (d *playedDay) testTotals(t *testing.T) {
	for _, w := range d.ways() {
		for _, g := range groupings(t) {
			compare(t, w.name, g.label, w.server.query(t, "sum by ("+g.label+") ("+w.metric(failuresTotal)+")", d.to), d.count(g))
		}
		compare(t, w.name, byTag.label, w.server.query(t, "sum by (email_tag) ("+w.metric(failuresByTag)+")", d.to), d.count(byTag))
		if result := w.server.query(t, w.metric(failuresTotal, `otel_metric_overflow="true"`), d.to); len(result) > 0 {
			t.Errorf("%s: the overflow series has something: %v", w.name, result)
		}
	}
}

// window returns a range selector's range that holds the day, and the minute before it in which some of its failures happened.
func (d *playedDay) window() string {
	return fmt.Sprintf("%ds", int(math.Ceil(d.to.Sub(d.from).Seconds()))+90)
}

// testRecords compares every record in Loki with the report that it comes from.
func (d *playedDay) testRecords(t *testing.T) {
	records := d.recordsBetween(t, d.from.Add(-90*time.Second), d.to.Add(time.Second))
	byID, uids := map[string][]logRecord{}, map[string]string{}
	for _, record := range records {
		id, uid := record.metadata["email_message_id"], record.metadata["log_record_uid"]
		byID[id] = append(byID[id], record)
		if other, found := uids[uid]; found || uid == "" {
			t.Errorf("%s and %s have the same log.record.uid %q", id, other, uid)
		}
		uids[uid] = id
	}
	if len(records) != len(d.reports) {
		t.Errorf("there are %d records, want %d", len(records), len(d.reports))
	}
	wrong := 0
	for _, report := range d.reports {
		found := byID[report.ID]
		if len(found) != 1 {
			t.Errorf("there are %d records of %s, want 1", len(found), report.ID)
			continue
		}
		if wrong < 10 && !d.checkRecord(t, found[0], report) {
			wrong++
		}
	}

	// The way from a complaint to its record.
	for _, report := range []sentReport{d.reports[0], d.reports[len(d.reports)/2], d.reports[len(d.reports)-1]} {
		lookup := fmt.Sprintf(`{service_name="smtp_failure"} | email_message_id=%q`, report.ID)
		found := d.loki.records(t, lookup, d.from.Add(-90*time.Second), d.to.Add(time.Second), 10)
		if len(found) != 1 {
			t.Errorf("a lookup by the id %s finds %d records, want 1", report.ID, len(found))
			continue
		}
		d.checkRecord(t, found[0], report)
	}
}

// recordsBetween returns all records of a time, in as many queries as the limit of an answer asks for.
func (d *playedDay) recordsBetween(t *testing.T, from, to time.Time) []logRecord {
	t.Helper()
	// Loki's parts hand each other answers of up to 4 MiB.
	const limit = 2000
	records := d.loki.records(t, `{service_name="smtp_failure"}`, from, to, limit)
	if len(records) < limit {
		return records
	}
	// The end of a range is not part of it.
	middle := from.Add(to.Sub(from) / 2)
	return append(d.recordsBetween(t, from, middle), d.recordsBetween(t, middle, to)...)
}

// fromElsewhere is metadata that does not come from the report.
var fromElsewhere = []string{"log_record_uid", "observed_timestamp", "scope_name", "scope_version"}

func (*playedDay) checkRecord(t *testing.T, record logRecord, report sentReport) bool {
	t.Helper()
	got := maps.Clone(record.metadata)
	for _, name := range fromElsewhere {
		if got[name] == "" {
			t.Errorf("%s has no %s", report.ID, name)
			return false
		}
		delete(got, name)
	}
	if want := report.metadata(t); !maps.Equal(got, want) {
		t.Errorf("%s has\n%v, want\n%v", report.ID, got, want)
		return false
	}
	if record.line != report.Description {
		t.Errorf("%s has the line %q, want %q", report.ID, record.line, report.Description)
		return false
	}
	if report.Time != 0 && !record.at.Equal(time.Unix(report.Time, 0)) {
		t.Errorf("%s is of %v, want %v", report.ID, record.at, time.Unix(report.Time, 0))
		return false
	}
	if record.labels["service_name"] != "smtp_failure" || record.labels["service_instance_id"] == "" {
		t.Errorf("%s has the labels %v", report.ID, record.labels)
		return false
	}
	return true
}

// testRecordCounts has Loki do the counting.
func (d *playedDay) testRecordCounts(t *testing.T) {
	at := d.to.Add(time.Second)
	count := func(label, pipeline string) []instant {
		return d.loki.query(t, fmt.Sprintf(`sum by (%s) (count_over_time({service_name="smtp_failure"} %s [%s]))`, label, pipeline, d.window()), at)
	}
	for _, g := range groupings(t) {
		compare(t, "Loki", g.label, count(g.label, ""), d.count(g))
	}
	for tag, want := range d.count(byTag) {
		pipeline := "| email_tags=~`.*" + regexp.QuoteMeta(jsonText(t, tag)) + ".*`"
		compare(t, "Loki, records with the tag "+tag, "", count("", pipeline), map[string]float64{"": want})
	}
}

// jsonText is a text as a list in Loki's metadata has it.
func jsonText(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// testIncrease checks that increase() sees every failure, the first of each series included.
//
// increase() is the difference between the last sample in the range and the first, stretched to the ends of the range. Neither end is stretched here:
// not the beginning, since every counter begins at zero and cannot have been less before; not the end, when the time of the query is that of
// the last scrape. So it is exact then. At any other time it may be stretched by up to 1.1 times the interval between samples.
func (d *playedDay) testIncrease(t *testing.T) {
	w := d.ways()[0]
	stored := w.server.samples(t, w.metric(failuresTotal)+"["+d.window()+"]", d.to)
	var last time.Time
	var difference float64
	for _, s := range stored {
		if s.first().value != 0 {
			t.Errorf("%v: the first sample is %v, want 0", s.labels, s.first().value)
		}
		difference += s.last().value - s.first().value
		if s.last().at.After(last) {
			last = s.last().at
		}
	}
	want := float64(len(d.reports))
	if difference != want {
		t.Errorf("the last samples are %v more than the first, want %v", difference, want)
	}

	increase := "sum(increase(" + w.metric(failuresTotal) + "[" + d.window() + "]))"
	if got := single(t, w.server.query(t, increase, last)); math.Abs(got-want) > 1e-6*want {
		t.Errorf("at the time of a scrape, %s is %v, want %v", increase, got, want)
	}

	// Each series may be stretched by as much as its age allows.
	upTo := 0.0
	for _, s := range stored {
		sampled := s.last().at.Sub(s.first().at).Seconds()
		between := sampled / float64(len(s.points)-1)
		upTo += (s.last().value - s.first().value) * (1 + 1.1*between/sampled)
	}
	between := last.Add(dayScrape / 2)
	got := single(t, w.server.query(t, increase, between))
	if got < want || got > upTo*(1+1e-6) {
		t.Errorf("between two scrapes, %s is %v, want from %v to %v", increase, got, want, upTo)
	}
	t.Logf("%d failures in %d series; increase() at a scrape: %v, half a scrape interval later: %v (at most %.1f)",
		len(d.reports), len(stored), single(t, w.server.query(t, increase, last)), got, upTo)
}

func single(t *testing.T, result []instant) float64 {
	t.Helper()
	if len(result) != 1 {
		t.Fatalf("there are %d values, want one", len(result))
	}
	return result[0].value
}

// testOtherCalls compares the receiver's own counters with all the calls that were made.
func (d *playedDay) testOtherCalls(t *testing.T) {
	want := map[string]float64{"accepted": float64(len(d.reports) + len(d.deliveries))}
	for outcome, n := range d.calls {
		want[outcome] = float64(n)
	}
	for _, report := range slices.Concat(d.reports, d.deliveries) {
		want["duplicate"] += float64(report.Sends - 1)
	}
	// The names end in _total in some set-ups.
	const requests = `{__name__=~"otelcol_smtp_failure_requests(_total)?"}`
	outcomes := d.scraping.query(t, "sum by (outcome) ("+requests+")", d.to)
	for _, outcome := range outcomes {
		if _, ok := want[outcome.labels["outcome"]]; !ok {
			// Every outcome is there from the start.
			want[outcome.labels["outcome"]] = 0
		}
		if outcome.labels["outcome"] == "in_flight" {
			// On a busy machine a copy may have waited too long for the other.
			want["in_flight"] = outcome.value
			want["duplicate"] -= outcome.value
		}
	}
	compare(t, "requests", "outcome", outcomes, want)
	const duplicates = `sum({__name__=~"otelcol_smtp_failure_duplicates(_total)?"})`
	if got := single(t, d.scraping.query(t, duplicates, d.to)); got != want["duplicate"] {
		t.Errorf("%s is %v, want %v", duplicates, got, want["duplicate"])
	}
}

// testRules checks that Prometheus took every rule and can evaluate it.
func (d *playedDay) testRules(t *testing.T) {
	var rules struct {
		Groups []struct {
			Name  string
			File  string
			Rules []struct {
				Name, Type, Health, LastError string
			}
		}
	}
	pending := errors.New("not asked yet")
	d.scraping.eventually(t, 2*time.Minute, "every rule was evaluated", func() error {
		if err := d.scraping.api("/api/v1/rules", nil, &rules); err != nil {
			return err
		}
		pending = nil
		for _, group := range rules.Groups {
			for _, rule := range group.Rules {
				if rule.Health == "unknown" {
					pending = errors.Join(pending, errors.New(rule.Name))
				}
			}
		}
		return pending
	})
	types := map[string]int{}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			types[rule.Type]++
			if rule.Health != "ok" || rule.LastError != "" {
				t.Errorf("%s, %s, %s: %s %s", filepath.Base(group.File), group.Name, rule.Name, rule.Health, rule.LastError)
			}
		}
	}
	// As many as are written down: none was left out.
	want := map[string]int{}
	for _, file := range ruleFiles(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want["alerting"] += len(regexp.MustCompile(`(?m)^\s*(- )?alert:`).FindAll(text, -1))
		want["recording"] += len(regexp.MustCompile(`(?m)^\s*(- )?record:`).FindAll(text, -1))
	}
	if !maps.Equal(types, want) || want["alerting"] == 0 || want["recording"] == 0 {
		t.Errorf("Prometheus has %v, the files %v", types, want)
	}
	t.Logf("rules that are evaluated: %v", types)
}
