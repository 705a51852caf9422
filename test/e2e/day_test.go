package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	dayReports    = 5000
	dayDeliveries = 15000
	dayPlayed     = time.Minute
	// dayScrape is the scrape interval of the Prometheus that scrapes.
	dayScrape = time.Second

	failuresTotal   = "email_delivery_failures_total"
	failuresByTag   = "email_delivery_failures_by_tag_total"
	deliveriesTotal = "email_deliveries_total"
	deliveriesByTag = "email_deliveries_by_tag_total"
)

// playedDay is a day of failures that was sent to the distribution, and the servers that received
// them.
type playedDay struct {
	*collector

	loki *server
	// scraping scrapes the collector and has the rules; sentTo gets the counters by remote write
	// and by OTLP.
	scraping, sentTo *server

	from, to            time.Time
	reports, deliveries []report
	// calls is how many other calls had each outcome.
	calls map[string]int
}

// newKind is sent once at the end. No other report has its status.
var newKind = report{
	ID: "the-first-of-its-kind", Recipient: "somebody@example.com", Tags: []string{"newsletter"},
	Type: "failure", Action: "failed",
	State: "rcptto", Code: "501", Extended: "5.1.3", Description: "501 5.1.3 Bad recipient address syntax",
	Sends: 1, Status: http.StatusOK,
}

// TestDay sends a day of failures in a minute to the distribution, with a real Loki and two real
// Prometheus servers as backends, and compares what they have with what was sent: by queries of its
// own, those of the dashboard, and the rules.
func TestDay(t *testing.T) {
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
}

// startDay starts the servers and the collector between them.
func startDay(t *testing.T) *playedDay {
	t.Helper()
	d := &playedDay{calls: map[string]int{}, loki: startLoki(t)}
	d.sentTo = startPrometheus(t, "global: {scrape_interval: 1m}\n", t.TempDir(),
		"--web.enable-remote-write-receiver", "--web.enable-otlp-receiver")
	d.collector = newCollector(t, []string{
		"LOKI_ENDPOINT=" + d.loki.url + "/otlp", "REMOTE_WRITE_ENDPOINT=" + d.sentTo.url + "/api/v1/write",
		"OTLP_METRICS_ENDPOINT=" + d.sentTo.url + "/api/v1/otlp/v1/metrics",
	}, exampleFile("prometheus-remote-write"), root+"/examples/grafana/collector.yaml", "testdata/day.yaml")
	config := grafanaPrometheusConfig(t, d.collector)
	require.Contains(t, config, "scrape_interval: 5s")
	config = strings.Replace(config, "scrape_interval: 5s", "scrape_interval: "+dayScrape.String(), 1)
	d.scraping = startPrometheus(t, config, t.TempDir())
	d.start(t)
	d.scraping.until(t, "sum(up)", isOne(2))
	return d
}

// play runs the example sender, and makes other calls beside it.
func (d *playedDay) play(t *testing.T) {
	t.Helper()
	record := filepath.Join(t.TempDir(), "sent.jsonl")
	d.from = time.Now()
	sender := startProcess(t, exec.Command(goBuild(t, "./examples/sender"), "-url", d.url(),
		"-reports", strconv.Itoa(dayReports), "-deliveries", strconv.Itoa(dayDeliveries),
		"-day", dayPlayed.String(), "-repeats", "0.05", "-record", record))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n, running := 0, true; running; n++ {
		select {
		case <-sender.exited:
			running = false
		case <-tick.C:
			d.callOtherwise(t)
			odd := report{
				ID: fmt.Sprintf("odd-%d", n), Recipient: "Odd.One@Example.COM",
				Tags:  []string{`say "hi" & <bye>`, "päck; week 47"},
				State: "rcptto", Code: "5xx", Extended: "5.one", Description: "5xx what was that?",
				Time: time.Now().Unix(), Sends: 1, Status: http.StatusOK,
			}
			require.Equal(t, http.StatusOK, post(d.url(), odd.form()))
			d.reports = append(d.reports, odd)
		}
	}
	require.NoError(t, sender.err)
	t.Logf("sender: %s", sender.output.String())

	odd, again, ids := len(d.reports), 0, map[string]bool{}
	for line := range strings.Lines(readFile(t, record)) {
		var r report
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		assert.Equal(t, http.StatusOK, r.Status, r.ID)
		again += r.Sends - 1
		// A message that bounces was delivered before.
		assert.False(t, ids[r.Type+r.ID], "the sender recorded %s twice", r.ID)
		ids[r.Type+r.ID] = true
		if r.Type == "delivery" {
			d.deliveries = append(d.deliveries, r)
		} else {
			d.reports = append(d.reports, r)
		}
	}
	require.Len(t, d.deliveries, dayDeliveries)
	require.Len(t, d.reports, dayReports+odd)
	assert.Positive(t, again, "reports that were sent again")
	d.waitUntilArrived(t)
}

// callOtherwise makes a call for each outcome that needs no signature and reports no failure.
func (d *playedDay) callOtherwise(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		method, path, contentType, body string
		want                            int
		outcome                         string
	}{
		{http.MethodGet, "/failures", "", "", http.StatusMethodNotAllowed, "method_not_allowed"},
		{http.MethodPost, "/failures", formType, "hello=world", http.StatusBadRequest, "invalid"},
		{http.MethodPost, "/failures", formType, "id=1&type=open", http.StatusBadRequest, "other_webhook"},
		{
			http.MethodPost, "/failures", "Content-Type: text/xml", "<failure/>", http.StatusUnsupportedMediaType,
			"unsupported_media_type",
		},
		{
			http.MethodPost, "/failures", formType, "id=" + strings.Repeat("1", 300*1024),
			http.StatusRequestEntityTooLarge, "too_large",
		},
		{http.MethodGet, "/robots.txt", "", "", http.StatusNotFound, "not_found"},
	} {
		// What is too large is refused before it is read, and the connection closed.
		status, text := call(http.DefaultClient, c.method, "http://"+d.address+c.path, c.body, c.contentType,
			"Expect: 100-continue")
		require.Equal(t, c.want, status, text)
		d.calls[c.outcome]++
	}
}

// way is how counters get to a Prometheus.
type way struct {
	name   string
	server *server
	// matcher selects its series.
	matcher string
}

func (d *playedDay) ways() []way {
	return []way{
		{"scrape", d.scraping, `via=""`},
		{"remote write", d.sentTo, `via="remote_write"`},
		{"OTLP", d.sentTo, `via=""`},
	}
}

// metric returns a selector of its series.
func (w way) metric(name string, matchers ...string) string {
	return name + "{" + strings.Join(append(matchers, w.matcher), ",") + "}"
}

// waitUntilArrived waits until every server has at least as much as was sent.
func (d *playedDay) waitUntilArrived(t *testing.T) {
	t.Helper()
	for _, w := range d.ways() {
		w.server.until(t, "sum("+w.metric(failuresTotal)+")", isAtLeast(float64(len(d.reports))))
		w.server.until(t, "sum("+w.metric(deliveriesTotal)+")", isAtLeast(float64(len(d.deliveries))))
	}
	d.loki.until(t, `sum(count_over_time({service_name="smtp_failure"} [1h]))`, isAtLeast(float64(len(d.reports))))
}

// sendNewKind sends the first failure of its kind, and returns when increase() shows it, on each
// way.
func (d *playedDay) sendNewKind(t *testing.T) {
	t.Helper()
	matcher := fmt.Sprintf("smtp_response_enhanced_status_code=%q", newKind.Extended)
	for _, w := range d.ways() {
		require.Empty(t, w.server.query(t, w.metric(failuresTotal, matcher), time.Now()), w.name)
	}
	began, report := time.Now(), newKind
	report.Time = began.Unix()
	require.Equal(t, http.StatusOK, post(d.url(), report.form()))
	d.reports = append(d.reports, report)
	for _, w := range d.ways() {
		for _, metric := range []string{failuresTotal, failuresByTag} {
			w.server.until(t, "sum(increase("+w.metric(metric, matcher)+"[1m])) > 0", hasResult)
		}
	}
	t.Logf("the first of its kind is visible after %s", time.Since(began).Round(time.Millisecond))
	d.waitUntilArrived(t)
	d.to = time.Now()
}

// grouping is what the numbers are compared by.
type grouping struct {
	label string
	// of returns the values of the label for a report, more than one for its tags.
	of func(report) []string
}

var byTag = grouping{"email_tag", func(r report) []string { return r.distinctTags() }}

func groupings() []grouping {
	all := []grouping{{"", func(report) []string { return []string{""} }}}
	for _, label := range []string{
		"email_failure_class", "error_type", "smtp_response_status_code", "smtp_response_enhanced_status_code",
		"smtp_state", "email_failure_mode",
	} {
		all = append(all, grouping{label, func(r report) []string { return []string{r.labels()[label]} }})
	}
	return all
}

// count adds reports up.
func (g grouping) count(reports []report) map[string]float64 {
	counts := map[string]float64{}
	for _, report := range reports {
		for _, value := range g.of(report) {
			counts[value]++
		}
	}
	return counts
}

// valuesBy returns the values of a result, added up by a label.
func valuesBy(label string, result model.Vector) map[string]float64 {
	values := map[string]float64{}
	for _, element := range result {
		values[string(element.Metric[model.LabelName(label)])] += float64(element.Value)
	}
	return values
}

// testTotals compares the counters in Prometheus with what was sent.
func (d *playedDay) testTotals(t *testing.T) {
	for _, w := range d.ways() {
		for _, g := range groupings() {
			result := w.server.query(t, "sum by ("+g.label+") ("+w.metric(failuresTotal)+")", d.to)
			assert.Equal(t, g.count(d.reports), valuesBy(g.label, result), "%s by %s", w.name, g.label)
		}
		result := w.server.query(t, "sum by (email_tag) ("+w.metric(failuresByTag)+")", d.to)
		assert.Equal(t, byTag.count(d.reports), valuesBy(byTag.label, result), w.name)
		assert.Empty(t, w.server.query(t, w.metric(failuresTotal, `otel_metric_overflow="true"`), d.to), w.name)
	}
}

// synchronous returns the failures that are not of messages that were delivered before.
func (d *playedDay) synchronous() []report {
	return slices.DeleteFunc(slices.Clone(d.reports), func(r report) bool { return r.State == "bounce" })
}

// testDeliveries compares the deliveries in Prometheus with what was sent, and the failure rate of
// each campaign with the one that was played.
func (d *playedDay) testDeliveries(t *testing.T) {
	delivered := byTag.count(d.deliveries)
	for _, w := range d.ways() {
		total := w.server.query(t, "sum("+w.metric(deliveriesTotal)+")", d.to)
		assert.InDelta(t, dayDeliveries, single(t, total), 0, w.name)
		result := w.server.query(t, "sum by (email_tag) ("+w.metric(deliveriesByTag)+")", d.to)
		assert.Equal(t, delivered, valuesBy(byTag.label, result), w.name)
	}
	failed, attempted := byTag.count(d.reports), byTag.count(slices.Concat(d.deliveries, d.synchronous()))
	assert.Greater(t, failed["campaign-autumn"]/attempted["campaign-autumn"],
		5*failed["newsletter"]/attempted["newsletter"],
		"the rate of the campaign that is refused")

	w := d.ways()[0]
	increase := func(metric string, matchers ...string) string {
		return "sum by (email_tag) (increase(" + w.metric(metric, matchers...) + "[" + d.window() + "]))"
	}
	rates := valuesBy(byTag.label, w.server.query(t, increase(failuresByTag)+" / ("+increase(deliveriesByTag)+" + "+
		increase(failuresByTag, `email_failure_mode="synchronous"`)+")", d.to))
	for tag := range delivered {
		if failed[tag] > 0 {
			// increase() stretches a series by up to 1.1 times the interval between its samples.
			assert.InEpsilon(t, failed[tag]/attempted[tag], rates[tag], 0.05, "the failure rate of %s", tag)
		}
	}
}

// window returns a range selector's range that holds the day, and the minute before it in which
// some of its failures happened.
func (d *playedDay) window() string {
	return fmt.Sprintf("%ds", int(math.Ceil(d.to.Sub(d.from).Seconds()))+90)
}

// testRecords compares every record in Loki with the report that it comes from.
func (d *playedDay) testRecords(t *testing.T) {
	from, to := d.from.Add(-90*time.Second), d.to.Add(time.Second)
	records := d.recordsBetween(t, from, to)
	byID, uids := map[string]logRecord{}, map[string]bool{}
	for _, record := range records {
		byID[record.metadata["email_message_id"]] = record
		uids[record.metadata["log_record_uid"]] = true
	}
	require.Len(t, records, len(d.reports))
	assert.Len(t, byID, len(d.reports))
	assert.Len(t, uids, len(d.reports))
	for _, report := range d.reports {
		if !checkRecord(t, byID[report.ID], report) {
			break
		}
	}
	// A lookup by the id of a message.
	for _, report := range []report{d.reports[0], d.reports[len(d.reports)/2], d.reports[len(d.reports)-1]} {
		found := d.loki.records(t, fmt.Sprintf(`{service_name="smtp_failure"} | email_message_id=%q`, report.ID),
			from, to, 10)
		if assert.Len(t, found, 1, report.ID) {
			checkRecord(t, found[0], report)
		}
	}
}

// recordsBetween returns all records of a time, in as many queries as the limit of a response asks
// for.
func (d *playedDay) recordsBetween(t *testing.T, from, to time.Time) []logRecord {
	t.Helper()
	// Loki's parts hand each other responses of up to 4 MiB.
	const limit = 2000
	records := d.loki.records(t, `{service_name="smtp_failure"}`, from, to, limit)
	if len(records) < limit {
		return records
	}
	// The end of a range is not part of it.
	middle := from.Add(to.Sub(from) / 2)
	return append(d.recordsBetween(t, from, middle), d.recordsBetween(t, middle, to)...)
}

func checkRecord(t *testing.T, record logRecord, report report) bool {
	t.Helper()
	got := maps.Clone(record.metadata)
	ok := true
	for _, name := range []string{"log_record_uid", "observed_timestamp", "scope_name", "scope_version"} {
		ok = assert.NotEmpty(t, got[name], "%s of %s", name, report.ID) && ok
		delete(got, name)
	}
	ok = assert.Equal(t, report.metadata(), got, report.ID) && ok
	ok = assert.Equal(t, report.Description, record.line, report.ID) && ok
	if report.Time != 0 {
		ok = assert.Equal(t, report.Time, record.at.Unix(), report.ID) && ok
	}
	ok = assert.Equal(t, "smtp_failure", record.labels["service_name"]) && ok
	return assert.NotEmpty(t, record.labels["service_instance_id"]) && ok
}

// testRecordCounts compares counts by Loki with what was sent.
func (d *playedDay) testRecordCounts(t *testing.T) {
	count := func(label, pipeline string) map[string]float64 {
		expr := fmt.Sprintf(`sum by (%s) (count_over_time({service_name="smtp_failure"} %s [%s]))`, label, pipeline,
			d.window())
		return valuesBy(label, d.loki.query(t, expr, d.to.Add(time.Second)))
	}
	for _, g := range groupings() {
		assert.Equal(t, g.count(d.reports), count(g.label, ""), g.label)
	}
	for tag, want := range byTag.count(d.reports) {
		pipeline := "| email_tags=~`.*" + regexp.QuoteMeta(jsonText(tag)) + ".*`"
		assert.Equal(t, map[string]float64{"": want}, count("", pipeline), tag)
	}
}

// testIncrease checks that increase() sees every failure, the first of each series included.
//
// increase() is the difference between the last sample in the range and the first, stretched to the
// ends of the range. Neither end is stretched here: not the beginning, since every counter begins
// at zero; not the end, when the time of the query is that of the last scrape. So it is exact then.
// At any other time it may be stretched by up to 1.1 times the interval between samples.
func (d *playedDay) testIncrease(t *testing.T) {
	w := d.ways()[0]
	want, upTo, last := float64(len(d.reports)), 0.0, d.lastScrape(t)
	for _, s := range d.scraping.samples(t, w.metric(failuresTotal)+"["+d.window()+"]", d.to) {
		first, final := s.Values[0], s.Values[len(s.Values)-1]
		assert.Zero(t, first.Value, "the first sample of %v", s.Metric)
		// How much a series may be stretched depends on its age.
		sampled := final.Timestamp.Sub(first.Timestamp).Seconds()
		between := sampled / float64(len(s.Values)-1)
		upTo += float64(final.Value-first.Value) * (1 + 1.1*between/sampled)
	}
	increase := "sum(increase(" + w.metric(failuresTotal) + "[" + d.window() + "]))"
	assert.InEpsilon(t, want, single(t, d.scraping.query(t, increase, last)), 1e-6, "at the time of a scrape")
	got := single(t, d.scraping.query(t, increase, last.Add(dayScrape/2)))
	assert.True(t, got >= want && got <= upTo*(1+1e-6), "between scrapes it is %v, want from %v to %v", got, want, upTo)
	t.Logf("increase() of %v failures half a scrape interval after a scrape: %v (at most %.1f)", want, got, upTo)
}

// lastScrape is when the counters were last scraped.
func (d *playedDay) lastScrape(t *testing.T) (last time.Time) {
	t.Helper()
	for _, s := range d.scraping.samples(t, failuresTotal+"[1m]", d.to) {
		if at := s.Values[len(s.Values)-1].Timestamp.Time(); at.After(last) {
			last = at
		}
	}
	return last
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
	got := valuesBy("outcome", d.scraping.query(t,
		`sum by (outcome) ({__name__=~"otelcol_smtp_failure_requests(_total)?"})`, d.to))
	// On a busy machine a copy may have waited too long for the other.
	want["in_flight"] = got["in_flight"]
	want["duplicate"] -= got["in_flight"]
	for outcome := range got {
		want[outcome] += 0 // Every outcome is there from the start.
	}
	assert.Equal(t, want, got)
	duplicates := d.scraping.query(t, `sum({__name__=~"otelcol_smtp_failure_duplicates(_total)?"})`, d.to)
	assert.InDelta(t, want["duplicate"], single(t, duplicates), 0)
}

// testRules checks that Prometheus took every rule and can evaluate it.
func (d *playedDay) testRules(t *testing.T) {
	var pending, failed error
	counts := map[string]int{}
	check := func(kind, name string, health promv1.RuleHealth, lastError string) {
		counts[kind]++
		if health == promv1.RuleHealthUnknown {
			pending = errors.Join(pending, errors.New(name))
		} else if health != promv1.RuleHealthGood || lastError != "" {
			failed = errors.Join(failed, fmt.Errorf("%s: %s %s", name, health, lastError))
		}
	}
	d.scraping.eventually(t, "every rule was evaluated", func() bool {
		rules, err := d.scraping.Rules(t.Context())
		require.NoError(t, err)
		pending, failed, counts = nil, nil, map[string]int{}
		for _, group := range rules.Groups {
			for _, rule := range group.Rules {
				switch rule := rule.(type) {
				case promv1.AlertingRule:
					check("alert", rule.Name, rule.Health, rule.LastError)
				case promv1.RecordingRule:
					check("record", rule.Name, rule.Health, rule.LastError)
				}
			}
		}
		return pending == nil
	})
	require.NoError(t, failed)
	// No rule of the files is missing.
	want := map[string]int{}
	files, err := filepath.Glob(root + "/examples/prometheus/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range regexp.MustCompile(`(?m)^\s*(?:- )?(alert|record):`).FindAllSubmatch(text, -1) {
			want[string(match[1])]++
		}
	}
	assert.Len(t, want, 2)
	assert.Equal(t, want, counts)
	t.Logf("rules that are evaluated: %v", counts)
}
