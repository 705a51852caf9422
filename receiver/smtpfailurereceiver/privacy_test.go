package smtpfailurereceiver

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// telling is a report in which every field tells the recipient's address.
const telling = "id=1&time=1795256098&recipient=Jan.Jansen%2Btest%40voorbeeld.nl&state=jan.jansen%2Btest@voorbeeld.nl&code=jan.jansen@voorbeeld.nl" +
	"&extended=jan.jansen@voorbeeld.nl&action=jan.jansen@voorbeeld.nl" +
	"&description=550+5.1.1+%3CJan.Jansen%2Btest%40Voorbeeld.nl%3E+unknown%2C+ask+postmaster@voorbeeld.nl&tags[]=to:jan.jansen%2Btest@voorbeeld.nl" +
	"&parameters[mail]=jan.jansen%2540voorbeeld.nl&parameters[jan.jansen@voorbeeld.nl]=1&interests[]=mailto:jan.jansen%2Btest@voorbeeld.nl"

// TestNothingTellsTheRecipient looks for the address in everything that comes out: records, metrics, answers, logs and self-telemetry.
func TestNothingTellsTheRecipient(t *testing.T) {
	for _, mode := range []string{"full", "domain", "hmac", "drop"} {
		t.Run(mode, func(t *testing.T) {
			config := defaultConfig()
			config.Recipient.Mode = mode
			if mode == "hmac" {
				config.Recipient.Key = configopaque.String("0123456789abcdef")
			}
			logger, logged := observer.New(zap.DebugLevel)
			run := startRun(t, config, func(r *smtpFailureReceiver) { r.logger = zap.New(logger) })
			address := run.receiver.listener.Addr()
			request := func(body string) []byte {
				return fmt.Appendf(nil, "POST /failures HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			out := exchangeRaw(t, address, request(telling))
			require.Contains(t, out, "200 OK")
			out += exchangeRaw(t, address, request(strings.Replace(telling, "id=1", "type=jan.jansen@voorbeeld.nl", 1)))
			out += exchangeRaw(t, address, request(strings.Replace(telling, "id=1", "id=", 1)))
			out += run.selfTelemetry(t)
			require.NoError(t, run.receiver.Shutdown(t.Context()))

			for _, logs := range run.logs.AllLogs() {
				text, err := new(plog.JSONMarshaler).MarshalLogs(logs)
				require.NoError(t, err)
				out += string(text)
			}
			for _, metrics := range run.metrics.AllMetrics() {
				text, err := new(pmetric.JSONMarshaler).MarshalMetrics(metrics)
				require.NoError(t, err)
				out += string(text)
			}
			for _, entry := range logged.All() {
				out += fmt.Sprint(entry.Message, entry.ContextMap())
			}
			out = strings.ToLower(out)
			assert.Equal(t, mode == "full", strings.Contains(out, "jansen"))
			assert.Equal(t, mode != "drop", strings.Contains(out, "voorbeeld.nl"))
			// What is left can still be read.
			assert.Contains(t, out, "550 5.1.1")
		})
	}
}

// TestAGuessCannotBeConfirmed sends the same report to two receivers. In full mode anyone can compute log.record.uid; in every other
// mode it depends on a key, be it configured or made by the receiver.
func TestAGuessCannotBeConfirmed(t *testing.T) {
	uid := func(mode string, key configopaque.String) string {
		config := defaultConfig()
		config.Recipient = RecipientConfig{Mode: mode, Key: key}
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
		keyed := uid(mode, "0123456789abcdef")
		assert.Equal(t, keyed, uid(mode, "0123456789abcdef"))
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
