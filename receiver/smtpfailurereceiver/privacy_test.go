package smtpfailurereceiver

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
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

const testKey = configopaque.String("0123456789abcdef")

// watched is a receiver of which nothing that gets out is missed: records, metrics, answers, spans, logs down to debug, and self-telemetry.
type watched struct {
	*run
	logged *observer.ObservedLogs
	out    strings.Builder
}

func startWatched(t *testing.T, config *Config) *watched {
	t.Helper()
	core, logged := observer.New(zap.DebugLevel)
	return &watched{logged: logged, run: startRun(t, config, func(r *smtpFailureReceiver) {
		r.settings.Logger = zap.New(core)
		r.logger = r.settings.Logger
	})}
}

func (w *watched) send(t *testing.T, contentType, body string) {
	t.Helper()
	w.out.WriteString(exchangeRaw(t, w.receiver.listener.Addr(), fmt.Appendf(nil,
		"POST /failures HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body)))
}

// all shuts the receiver down and returns what got out, in lower case.
func (w *watched) all(t *testing.T) string {
	t.Helper()
	out := &w.out
	out.WriteString(w.selfTelemetry(t))
	require.NoError(t, w.receiver.Shutdown(t.Context()))
	for _, logs := range w.logs.AllLogs() {
		text, err := new(plog.JSONMarshaler).MarshalLogs(logs)
		require.NoError(t, err)
		out.Write(text)
	}
	for _, metrics := range w.metrics.AllMetrics() {
		text, err := new(pmetric.JSONMarshaler).MarshalMetrics(metrics)
		require.NoError(t, err)
		out.Write(text)
	}
	for _, entry := range w.logged.All() {
		fmt.Fprintln(out, entry.Message, entry.ContextMap())
	}
	for _, span := range w.telemetry.SpanRecorder.Ended() {
		fmt.Fprintln(out, span.Name(), span.Attributes(), span.Events(), span.Status())
	}
	unescaped := percentEscape.ReplaceAllStringFunc(out.String(), func(escape string) string {
		text, _ := url.PathUnescape(escape)
		return text
	})
	return strings.ToLower(out.String() + unescaped)
}

var percentEscape = regexp.MustCompile(`(%[0-9A-Fa-f]{2})+`)

// privateConfig has all that could tell something switched on.
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

// secretText is a report whose every text that may be free is free, made anew each time, with what must not be seen of it.
type secretText struct {
	rng     *rand.Rand
	secrets []string
}

func (s *secretText) word() string {
	letters := []rune("abcdefghijklmnopqrstuvwxyzäéøжя山")
	word := []rune("x")
	for range 7 + s.rng.IntN(8) {
		word = append(word, letters[s.rng.IntN(len(letters))])
	}
	return string(word)
}

func (s *secretText) secret() string {
	word := s.word()
	s.secrets = append(s.secrets, word)
	return word
}

// text is free text.
func (s *secretText) text() string {
	forms := []string{"%s", "550 5.1.1 <%s@elsewhere.example> unknown", "user %s", "4%s", "Dear %s,\r\n\tyour mail", "http://%s:pw@host/"}
	return strings.ReplaceAll(forms[s.rng.IntN(len(forms))], "%s", s.secret())
}

// report returns the variables of a report. The recipient is in its id, its tags and its state, as people put it there.
func (s *secretText) report(hideDomain bool) map[string]any {
	local, domain := s.word()+[]string{"", ".", "-", "_", "+"}[s.rng.IntN(5)]+"doe"+fmt.Sprint(s.rng.IntN(100)), "x"+fmt.Sprint(s.rng.Uint32())+".example"
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

func formOf(variables map[string]any) string {
	values := url.Values{}
	var add func(name string, value any)
	add = func(name string, value any) {
		switch value := value.(type) {
		case string:
			values.Add(name, value)
		case []string:
			for _, one := range value {
				values.Add(name+"[]", one)
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(value)) {
				add(name+"["+key+"]", value[key])
			}
		}
	}
	for name, value := range variables {
		add(name, value)
	}
	return values.Encode()
}

// TestNothingThatIsFreeTextLeaves is the property that the private modes are for: with description: drop, nothing that was sent in a free-text
// variable, and nothing of the recipient that the mode does not tell, occurs in anything that gets out.
func TestNothingThatIsFreeTextLeaves(t *testing.T) {
	const reports = 60
	for _, mode := range []string{"full", "domain", "hmac", "drop"} {
		t.Run(mode, func(t *testing.T) {
			s := &secretText{rng: rand.New(rand.NewPCG(16, uint64(len(mode))))}
			w := startWatched(t, privateConfig(t, mode))
			for i := range reports {
				report := s.report(mode == "drop")
				if i%2 == 0 {
					w.send(t, typeForm, formOf(report))
					continue
				}
				body, err := json.Marshal(report)
				require.NoError(t, err)
				if i%10 == 1 {
					body = body[:len(body)-1-s.rng.IntN(len(body)-1)]
				}
				w.send(t, typeJSON, string(body))
			}
			out := w.all(t)
			seen := 0
			for _, secret := range s.secrets {
				if strings.Contains(out, strings.ToLower(secret)) {
					seen++
					if mode != "full" {
						t.Errorf("%q got out", secret)
					}
				}
			}
			assert.Equal(t, mode == "full", seen > 0, "the test can see what gets out")
			for _, told := range []string{`"news"`, `"copernica.mailing"`, `"m1"`, "error.type", "log.record.uid", `"email.deliveries.by_tag"`} {
				assert.Contains(t, out, told, "what may be told is")
			}
			assert.Greater(t, w.logs.LogRecordCount(), reports/2)
			warned := w.logged.FilterField(zap.String("variable", "campaign")).FilterLevelExact(zap.WarnLevel).Len()
			assert.Equal(t, mode != "full", warned == 1, "it is warned that nothing is counted by a variable that is not told")
		})
	}
}

// TestRedactedDescription has the description told, without its addresses.
func TestRedactedDescription(t *testing.T) {
	config := privateConfig(t, "domain")
	config.Recipient.Description = descriptionRedact
	w := startWatched(t, config)
	w.send(t, typeForm, "id=1&recipient=jane@acme.example&code=550&description=550+<jane@acme.example>+unknown,+ask+bob@acme.example")
	w.send(t, typeForm, "id=2&recipient=jane@acme.example&code=550")
	out := w.all(t)
	assert.Contains(t, out, "550 <[recipient]> unknown, ask [address]")
	assert.Contains(t, out, `"body":{"stringvalue":"550 _other"}`, "a line takes the place of a description that is not there")
	assert.NotContains(t, out, "jane")
	assert.NotContains(t, out, "bob")
}

const telling = "id=1&time=1795256098&recipient=Jan.Jansen@voorbeeld.nl&tags[]=news&code=550"

// TestAGuessCannotBeConfirmed sends the same report to two receivers. In full mode anyone can compute log.record.uid; in every other
// mode it depends on a key, be it configured or made by the receiver.
func TestAGuessCannotBeConfirmed(t *testing.T) {
	uid := func(mode string, key configopaque.String) string {
		config := defaultConfig()
		config.Recipient.Mode, config.Recipient.Key = mode, key
		run := startRun(t, config, asItIs)
		require.Equal(t, http.StatusOK, run.post(t, telling).status)
		require.Equal(t, http.StatusOK, run.post(t, telling).status)
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
		assert.NotEqual(t, keyed, uid(mode, "0123456789abcdeg"))
		assert.NotEqual(t, keyed, full)
	}
}

func TestTheRandomKeySurvivesWithTheStore(t *testing.T) {
	directory := t.TempDir()
	uids := map[string]bool{}
	for range 2 {
		config := storageConfig()
		config.Recipient.Mode = "drop"
		config.Deduplication.Enabled = false // the second time has to make a record too
		run := startRunOn(t, newStorageHost(t, directory), config, asItIs)
		require.Equal(t, http.StatusOK, run.post(t, telling).status)
		value, _ := run.logs.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get(attributeUID)
		uids[value.Str()] = true
		require.NoError(t, run.receiver.Shutdown(t.Context()))
	}
	assert.Len(t, uids, 1)
}

// TestIdentitiesOverAChange sends one report before and after a restart with another configuration. Where the change makes another identity,
// it counts again.
func TestIdentitiesOverAChange(t *testing.T) {
	private := func(c *Config) { c.Recipient.Mode, c.Recipient.Key = "domain", testKey }
	for _, tc := range []struct {
		name          string
		before, after func(*Config)
		known         bool
	}{
		{"none", func(*Config) {}, func(*Config) {}, true},
		{"from full", func(*Config) {}, private, false},
		{"to full", private, func(*Config) {}, false},
		{"between other modes", private, func(c *Config) { c.Recipient.Mode, c.Recipient.Key = "drop", testKey }, true},
		{"another key", private, func(c *Config) { c.Recipient.Mode, c.Recipient.Key = "domain", "0123456789abcdeg" }, false},
		{"a key in place of the random one", func(c *Config) { c.Recipient.Mode = "domain" }, private, false},
		{"a key in full", func(*Config) {}, func(c *Config) { c.Recipient.Key = testKey }, true},
		{"description and variables", private, func(c *Config) {
			private(c)
			c.Recipient.Description, c.Recipient.Variables = descriptionRedact, []string{"mailing"}
		}, true},
		{"signature", func(*Config) {}, func(c *Config) { c.Signature = signedConfig("environment-1").Signature }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			directory := t.TempDir()
			send := func(change func(*Config)) (records int) {
				config := storageConfig()
				change(config)
				run := startRunOn(t, newStorageHost(t, directory), config, func(r *smtpFailureReceiver) { r.resolver = keyRecords() })
				const form = "id=1&recipient=jane@acme.example&time=1795256098&code=550&description=no&mailing=m1"
				request := newForm(t.Context(), run.url(), form)
				sign(request, form, "environment-1")
				answer, err := do(http.DefaultClient, request)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, answer.status)
				require.NoError(t, run.receiver.Shutdown(t.Context()))
				return run.logs.LogRecordCount()
			}
			require.Equal(t, 1, send(tc.before))
			assert.Equal(t, tc.known, send(tc.after) == 0)
		})
	}
}

// TestAStricterModeEndsSeries counts a report before and after a restart. What a stricter mode does not allow to be told is not sent again, not even
// as a series that ends, and what it allows goes on.
func TestAStricterModeEndsSeries(t *testing.T) {
	for _, tc := range []struct {
		before, after string
		ends          bool
	}{
		{"full", "full", false},
		{"full", "domain", true},
		{"full", "hmac", true},
		{"full", "drop", true},
		{"domain", "hmac", false},
		{"hmac", "drop", true},
		{"drop", "domain", false},
		{"drop", "full", false},
	} {
		t.Run(tc.before+" to "+tc.after, func(t *testing.T) {
			directory := t.TempDir()
			session := func(mode, id string) (total int64, sent string) {
				config := privateConfig(t, mode)
				config.Storage, config.Aggregation.Interval = &storageID, time.Hour
				config.Metrics.EmailDeliveryFailuresByTag.Enabled = false
				run := startRunOn(t, newStorageHost(t, directory), config, asItIs)
				require.NoError(t, run.receiver.flush(t.Context()))
				require.Equal(t, http.StatusOK, run.post(t, "id="+id+"&recipient=jane@acme.example&code=550&state=for+jane@acme.example").status)
				require.NoError(t, run.receiver.Shutdown(t.Context()))
				for _, metrics := range run.metrics.AllMetrics() {
					text, err := new(pmetric.JSONMarshaler).MarshalMetrics(metrics)
					require.NoError(t, err)
					sent += string(text)
				}
				for _, metric := range run.metrics.AllMetrics()[len(run.metrics.AllMetrics())-1].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
					for _, point := range metric.Sum().DataPoints().All() {
						total += point.IntValue()
					}
				}
				return total, sent
			}
			total, _ := session(tc.before, "1")
			require.EqualValues(t, 1, total)
			total, sent := session(tc.after, "2")
			want := int64(2)
			if tc.ends {
				want = 1
			}
			assert.Equal(t, want, total)
			if tc.after != "full" {
				assert.NotContains(t, sent, "jane")
			}
			assert.Equal(t, tc.after != "drop", strings.Contains(sent, "acme.example"))
		})
	}
}
