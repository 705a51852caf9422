package smtpfailurereceiver

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

const (
	testKey  = configopaque.String("0123456789abcdef")
	otherKey = configopaque.String("0123456789abcdeg")
)

// observedRun is a receiver of which all that gets out is kept: records, metrics, responses, spans,
// logs down to debug, and self-telemetry.
type observedRun struct {
	*run
	logged *observer.ObservedLogs
	out    strings.Builder
}

func startObserved(t *testing.T, config *Config) *observedRun {
	t.Helper()
	core, logged := observer.New(zap.DebugLevel)
	return &observedRun{logged: logged, run: startRun(t, config, func(r *smtpFailureReceiver) {
		r.settings.Logger = zap.New(core)
		r.logger = r.settings.Logger
	})}
}

func (o *observedRun) send(t *testing.T, contentType, body string) {
	t.Helper()
	o.out.WriteString(exchangeRaw(t, o.receiver.listener.Addr(), fmt.Appendf(nil,
		"POST /failures HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body)))
}

// all shuts the receiver down and returns what got out, in lower case, and with escapes undone.
func (o *observedRun) all(t *testing.T) string {
	t.Helper()
	o.out.WriteString(o.selfTelemetry(t))
	require.NoError(t, o.receiver.Shutdown(t.Context()))
	for _, logs := range o.logs.AllLogs() {
		text, err := new(plog.JSONMarshaler).MarshalLogs(logs)
		require.NoError(t, err)
		o.out.Write(text)
	}
	o.out.WriteString(metricsJSON(t, o.run))
	for _, entry := range o.logged.All() {
		fmt.Fprintln(&o.out, entry.Message, entry.ContextMap())
	}
	for _, span := range o.telemetry.SpanRecorder.Ended() {
		fmt.Fprintln(&o.out, span.Name(), span.Attributes(), span.Events(), span.Status())
	}
	unescaped := percentEscapes.ReplaceAllStringFunc(o.out.String(), func(escapes string) string {
		text, _ := url.PathUnescape(escapes)
		return text
	})
	return strings.ToLower(o.out.String() + unescaped)
}

var percentEscapes = regexp.MustCompile(`(%[0-9A-Fa-f]{2})+`)

func metricsJSON(t *testing.T, r *run) (all string) {
	t.Helper()
	for _, metrics := range r.metrics.AllMetrics() {
		text, err := new(pmetric.JSONMarshaler).MarshalMetrics(metrics)
		require.NoError(t, err)
		all += string(text)
	}
	return all
}

// privateConfig enables all that could reveal something.
func privateConfig(t *testing.T, mode string) *Config {
	t.Helper()
	return configOf(t, fmt.Sprintf(`
recipient: {mode: %s, key: %s, variables: [mailing]}
count_by: [mailing, campaign]
metrics:
  email.delivery.failures: {attributes: [smtp.state, error.type, email.recipient.domain, copernica.account.id]}
  email.delivery.failures.by_tag: {attributes: [email.tag, smtp.state, email.recipient.domain]}
  email.deliveries: {enabled: true, attributes: [email.recipient.domain]}
  email.deliveries.by_tag: {enabled: true, attributes: [email.tag, email.recipient.domain]}
`, mode, string(testKey)))
}

// secretReports makes reports with free text wherever it may be, and keeps what must not get out.
type secretReports struct {
	rng     *rand.Rand
	secrets []string
}

func (s *secretReports) word() string {
	return "x" + strconv.FormatUint(s.rng.Uint64(), 36) + "äжя山"
}

func (s *secretReports) secret() string {
	word := s.word()
	s.secrets = append(s.secrets, word)
	return word
}

func (s *secretReports) text() string {
	forms := []string{"%s", "550 5.1.1 <%s@elsewhere.example> unknown", "user %s", "4%s", "Dear %s,\r\n\tyour mail", "http://%s:pw@host/"}
	return strings.ReplaceAll(forms[s.rng.IntN(len(forms))], "%s", s.secret())
}

// report returns the variables of a report. The recipient is in its id, its tags and its state, as
// people put it there.
func (s *secretReports) report(hideDomain bool) map[string]any {
	local := s.word() + []string{"", ".", "-", "_", "+"}[s.rng.IntN(5)] + fmt.Sprintf("doe%d", s.rng.IntN(100))
	domain := fmt.Sprintf("x%d.example", s.rng.Uint32())
	s.secrets = append(s.secrets, local)
	if hideDomain {
		s.secrets = append(s.secrets, domain)
	}
	address := local + "@" + domain
	variables := map[string]any{
		"id":          fmt.Sprintf("%d-%s", s.rng.Int(), local),
		"type":        "failure",
		"recipient":   address,
		"state":       "for " + strings.ToUpper(address),
		"tags":        []string{"news", address, "to:" + local, url.QueryEscape(address)},
		"description": s.text(),
		"mailing":     "m1",
		"campaign":    s.text(),
		"parameters":  map[string]any{s.secret(): s.text(), "k": []string{s.text()}},
		s.secret():    s.text(),
		"Description": s.text(),
		"fields":      map[string]any{"firstname": s.secret(), "to": address},
	}
	for _, name := range []string{"code", "extended", "time", "timestamp", "action"} {
		if s.rng.IntN(2) == 0 {
			variables[name] = s.text()
		}
	}
	switch s.rng.IntN(8) {
	case 0:
		variables["recipient"] = []string{s.secret() + "@a.example", address}
	case 1:
		variables["type"] = s.text()
	case 2:
		variables["id"] = ""
	case 3:
		variables["type"] = "delivery"
	case 4:
		variables["description"] = []string{s.text(), s.text()}
	}
	return variables
}

// addTo adds a variable to a form: lists and objects by the names of their elements.
func addTo(form url.Values, name string, value any) {
	switch value := value.(type) {
	case string:
		form.Add(name, value)
	case []string:
		form[name+"[]"] = value
	case map[string]any:
		for key, element := range value {
			addTo(form, name+"["+key+"]", element)
		}
	}
}

// TestPrivateModesRevealNoFreeText checks that with description: drop nothing that was sent in a
// free-text variable, and nothing of the recipient that the mode does not reveal, gets out.
func TestPrivateModesRevealNoFreeText(t *testing.T) {
	const reports = 60
	for _, mode := range []string{"full", "domain", "hmac", "drop"} {
		t.Run(mode, func(t *testing.T) {
			s := &secretReports{rng: rand.New(rand.NewPCG(16, uint64(len(mode))))}
			o := startObserved(t, privateConfig(t, mode))
			for i := range reports {
				report := s.report(mode == "drop")
				if i%2 == 0 {
					form := url.Values{}
					for name, value := range report {
						addTo(form, name, value)
					}
					o.send(t, typeForm, form.Encode())
					continue
				}
				body, err := json.Marshal(report)
				require.NoError(t, err)
				if i%10 == 1 {
					body = body[:len(body)-1-s.rng.IntN(len(body)-1)]
				}
				o.send(t, typeJSON, string(body))
			}
			out := o.all(t)
			seen := 0
			for _, secret := range s.secrets {
				if strings.Contains(out, strings.ToLower(secret)) {
					seen++
					assert.Equal(t, "full", mode, "%q got out", secret)
				}
			}
			assert.Equal(t, mode == "full", seen > 0, "the test can see what gets out")
			for _, revealed := range []string{`"news"`, `"copernica.mailing"`, `"m1"`, "error.type", "log.record.uid", `"email.deliveries.by_tag"`} {
				assert.Contains(t, out, revealed)
			}
			assert.Greater(t, o.logs.LogRecordCount(), reports/2)
			warned := o.logged.FilterField(zap.String("variable", "campaign")).FilterLevelExact(zap.WarnLevel).Len()
			assert.Equal(t, mode != "full", warned == 1, "a warning that nothing is counted by a variable that is not revealed")
		})
	}
}

func TestRedactedDescription(t *testing.T) {
	config := privateConfig(t, "domain")
	config.Recipient.Description = descriptionRedact
	o := startObserved(t, config)
	o.send(t, typeForm, "id=1&recipient=jane@acme.example&code=550&description=550+<jane@acme.example>+unknown,+ask+bob@acme.example")
	o.send(t, typeForm, "id=2&recipient=jane@acme.example&code=550")
	out := o.all(t)
	assert.Contains(t, out, "550 <[recipient]> unknown, ask [address]")
	assert.Contains(t, out, `"body":{"stringvalue":"550 _other"}`, "a summary takes the place of an absent description")
	assert.NotContains(t, out, "jane")
	assert.NotContains(t, out, "bob")
}

// TestRecordUIDDependsOnKey sends the same report to receivers. In full mode anyone can compute
// log.record.uid; in every other mode it depends on a key, configured or made by the receiver.
func TestRecordUIDDependsOnKey(t *testing.T) {
	uid := func(mode string, key configopaque.String) string {
		config := defaultConfig()
		config.Recipient.Mode, config.Recipient.Key = mode, key
		run := startRun(t, config)
		const form = "id=1&time=1795256098&recipient=Jan.Jansen@voorbeeld.nl&tags[]=news&code=550"
		require.Equal(t, http.StatusOK, run.post(t, form).status)
		require.Equal(t, http.StatusOK, run.post(t, form).status)
		require.Equal(t, 1, run.logs.LogRecordCount(), "a repeat is still known")
		value, _ := run.logs.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get(attributeUID)
		return value.Str()
	}
	full := uid("full", "")
	assert.Equal(t, full, uid("full", ""))
	for _, mode := range []string{"domain", "drop"} {
		first, second := uid(mode, ""), uid(mode, "")
		assert.NotEqual(t, first, second, "%s: each receiver has a random key", mode)
	}
	for _, mode := range []string{"domain", "hmac", "drop"} {
		keyed := uid(mode, testKey)
		assert.Equal(t, keyed, uid(mode, testKey))
		assert.NotEqual(t, keyed, uid(mode, otherKey))
		assert.NotEqual(t, keyed, full)
	}
}

// TestIdentityAcrossConfigurations sends one report before and after a restart with another
// configuration. Where that makes another identity, the report is not known.
func TestIdentityAcrossConfigurations(t *testing.T) {
	mode := func(mode string, key configopaque.String) func(*Config) {
		return func(c *Config) { c.Recipient.Mode, c.Recipient.Key = mode, key }
	}
	for name, tc := range map[string]struct {
		before, after func(*Config)
		known         bool
	}{
		"none":                     {mode("full", ""), mode("full", ""), true},
		"from full":                {mode("full", ""), mode("domain", testKey), false},
		"to full":                  {mode("domain", testKey), mode("full", ""), false},
		"between other modes":      {mode("domain", testKey), mode("drop", testKey), true},
		"another key":              {mode("domain", testKey), mode("domain", otherKey), false},
		"the stored random key":    {mode("drop", ""), mode("drop", ""), true},
		"from random to given key": {mode("domain", ""), mode("domain", testKey), false},
		"a key in full":            {mode("full", ""), mode("full", testKey), true},
		"signature":                {mode("full", ""), func(c *Config) { c.Signature = signedConfig("environment-1").Signature }, false},
		"description and variables": {mode("domain", testKey), func(c *Config) {
			mode("domain", testKey)(c)
			c.Recipient.Description, c.Recipient.Variables = descriptionRedact, []string{"mailing"}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			send := func(change func(*Config)) (records int) {
				config := storageConfig()
				change(config)
				run := startRunOn(t, newStorageHost(t, directory), config, func(r *smtpFailureReceiver) { r.resolver = keyRecords() })
				const form = "id=1&recipient=jane@acme.example&time=1795256098&code=550&description=no&mailing=m1"
				request := newForm(t.Context(), run.url(), form)
				sign(request, form, "environment-1")
				response, err := do(http.DefaultClient, request)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, response.status)
				require.NoError(t, run.receiver.Shutdown(t.Context()))
				return run.logs.LogRecordCount()
			}
			require.Equal(t, 1, send(tc.before))
			assert.Equal(t, tc.known, send(tc.after) == 0)
		})
	}
}

// TestStricterModeEndsSeries counts a report before and after a restart. What a stricter mode does
// not reveal is not sent again, not even as a series that ends.
func TestStricterModeEndsSeries(t *testing.T) {
	for _, tc := range []struct {
		before, after string
		total         int64 // after both
	}{
		{"full", "full", 2},
		{"full", "domain", 1},
		{"full", "hmac", 1},
		{"full", "drop", 1},
		{"domain", "hmac", 2},
		{"hmac", "drop", 1},
		{"drop", "domain", 2},
		{"drop", "full", 2},
	} {
		t.Run(tc.before+" to "+tc.after, func(t *testing.T) {
			directory := t.TempDir()
			session := func(mode, id string) *run {
				config := privateConfig(t, mode)
				config.Storage, config.Aggregation.Interval = &storageID, time.Hour
				run := startRunOn(t, newStorageHost(t, directory), config)
				require.NoError(t, run.receiver.flush(t.Context()))
				require.Equal(t, http.StatusOK, run.post(t, "id="+id+"&recipient=jane@acme.example&code=550&state=for+jane@acme.example").status)
				require.NoError(t, run.receiver.Shutdown(t.Context()))
				return run
			}
			require.EqualValues(t, 1, totals(session(tc.before, "1").metrics)[failuresMetric])
			second := session(tc.after, "2")
			assert.Equal(t, tc.total, totals(second.metrics)[failuresMetric])
			sent := metricsJSON(t, second)
			assert.Equal(t, tc.after == "full", strings.Contains(sent, "jane"))
			assert.Equal(t, tc.after != "drop", strings.Contains(sent, "acme.example"))
		})
	}
}
