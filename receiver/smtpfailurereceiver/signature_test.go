package smtpfailurereceiver

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// records is a resolver that knows these TXT records by name.
type records map[string]string

func (r records) LookupTXT(_ context.Context, name string) ([]string, error) {
	switch record := r[strings.TrimSuffix(name, ".")]; record {
	case "":
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case "SERVFAIL":
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	default:
		return []string{record}, nil
	}
}

// keyRecords knows the key of newSigned.
func keyRecords() records {
	return records{signaturetest.KeyName: signaturetest.KeyRecord(signaturetest.Key(2048, ""))}
}

func signedConfig(accounts ...string) *Config {
	config := defaultConfig()
	config.Signature = configoptional.Some(SignatureConfig{Accounts: accounts, MaxAge: 5 * time.Minute})
	return config
}

// newSigned returns a request that closes its connection, which is not signed yet.
func newSigned(body string) *signaturetest.Request {
	r := signaturetest.NewRequest(signaturetest.Key(2048, ""), body)
	r.Add("Connection", "close")
	return r
}

// sign signs a request for net/http's client.
func sign(request *http.Request, body, account string) {
	signed := newSigned(body)
	signed.Host, signed.Target = request.URL.Host, request.URL.RequestURI()
	signed.Set("X-Copernica-ID", account)
	signed.Del("Connection")
	maps.Copy(request.Header, signed.Sign().Header)
}

// exchange sends a request and returns the response.
func (r *run) exchange(t *testing.T, request *signaturetest.Request) string {
	t.Helper()
	return exchangeRaw(t, r.receiver.listener.Addr(), []byte(request.Raw()))
}

const (
	plainText      = "Content-Type: text/plain; charset=utf-8\n"
	unauthorized   = "401 Unauthorized\n" + plainText + "WWW-Authenticate: Signature\n\nunauthorized\n"
	keyUnavailable = "503 Service Unavailable\n" + plainText + "Retry-After: " + retryAfter + "\n\n" +
		"the key of the signature cannot be looked up now, try again later\n"
)

func TestRequestsSignedByTheReferenceAreAccepted(t *testing.T) {
	v := signaturetest.ReadVectors("../../testdata/vectors/signature.json")
	require.NotEmpty(t, v.Requests)
	for name, vector := range v.Requests {
		t.Run(name, func(t *testing.T) {
			run := startRun(t, signedConfig(signaturetest.Account), func(r *smtpFailureReceiver) {
				r.now = func() time.Time { return v.Date }
				r.resolver = records{v.KeyName: v.KeyRecord}
			})
			vector.Add("Connection", "close")
			assert.Equal(t, "200 OK\n", run.exchange(t, vector))
			assert.Equal(t, "200 OK\n", run.exchange(t, vector), "a repeat is no attack")
			vector.Body = strings.Replace(vector.Body, "msg", "fak", 1)
			assert.Equal(t, unauthorized, run.exchange(t, vector))

			require.Equal(t, 1, run.logs.LogRecordCount())
			attributes := run.logs.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes()
			account, _ := attributes.Get(attributeAccount)
			assert.Equal(t, signaturetest.Account, account.Str())
		})
	}
}

func TestSignedBodyIsCheckedBeforeItIsDecompressed(t *testing.T) {
	run := startRun(t, signedConfig(signaturetest.Account), func(r *smtpFailureReceiver) { r.resolver = keyRecords() })
	var body bytes.Buffer
	writer := gzip.NewWriter(&body)
	_, err := writer.Write([]byte("id=1&code=550"))
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	request := newSigned(body.String())
	request.Add("Content-Encoding", "gzip")
	assert.Equal(t, "200 OK\n", run.exchange(t, request.Sign()))
	assert.Equal(t, 1, run.logs.LogRecordCount())
}

func TestUnsignedAndBadlySignedRequestsAreRefused(t *testing.T) {
	const unknown, failing = "nine" + signaturetest.KeyDomain, "two" + signaturetest.KeyDomain
	dns := keyRecords()
	dns[failing] = "SERVFAIL"
	logger, logged := observer.New(zap.WarnLevel)
	run := startRun(t, signedConfig(signaturetest.Account), func(r *smtpFailureReceiver) {
		r.resolver = dns
		r.logger = limited(zap.New(logger))
	})
	for _, test := range []struct {
		name          string
		before, after func(*signaturetest.Request)
		want          string
	}{
		{"unsigned", nil, func(r *signaturetest.Request) { r.Del("Signature") }, unauthorized},
		{"another account", func(r *signaturetest.Request) { r.Set("X-Copernica-ID", "x") }, nil, unauthorized},
		{"old", func(r *signaturetest.Request) { r.Set("Date", "Sat, 21 Nov 2020 10:15:00 GMT") }, nil, unauthorized},
		{"another body", nil, func(r *signaturetest.Request) { r.Body = "id=2" + r.Body[4:] }, unauthorized},
		{"unknown key", func(r *signaturetest.Request) { r.KeyID = unknown }, nil, unauthorized},
		{"key that cannot be looked up", func(r *signaturetest.Request) { r.KeyID = failing }, nil, keyUnavailable},
	} {
		request := newSigned("id=1&recipient=jane@example.com")
		if test.before != nil {
			test.before(request)
		}
		request.Sign()
		if test.after != nil {
			test.after(request)
		}
		assert.Equal(t, test.want, run.exchange(t, request), test.name)
	}
	assert.Equal(t, "1", run.count(t, requests("key_unavailable", 503)))
	assert.Equal(t, "5", run.count(t, requests("unauthorized", 401)))
	assert.Zero(t, run.logs.LogRecordCount())
	assert.NotEmpty(t, logged.All())
	for _, entry := range logged.All() {
		assert.NotContains(t, fmt.Sprint(entry.Message, entry.ContextMap()), "jane")
	}
}

func TestRefusalsAreLoggedAtALimitedRate(t *testing.T) {
	logger, logged := observer.New(zap.WarnLevel)
	run := startRun(t, signedConfig("environment-1"), func(r *smtpFailureReceiver) {
		r.resolver = records{}
		r.logger = limited(zap.New(logger))
	})
	for range 100 {
		assert.Equal(t, http.StatusUnauthorized, run.post(t, "id=1").status)
	}
	assert.Equal(t, 10, logged.Len())
}

func TestOwnershipFilesNeedNoSignature(t *testing.T) {
	config := signedConfig("environment-1")
	config.OwnershipFiles = []OwnershipFileConfig{{Name: "check.txt", Content: "1a2b3c"}}
	run := startRun(t, config, func(r *smtpFailureReceiver) { r.resolver = records{} })
	request := newSigned("")
	request.Method, request.Target = http.MethodGet, "/check.txt"
	assert.Equal(t, "200 OK\n"+plainText+"\n1a2b3c", run.exchange(t, request))
	request.Target = "/failures"
	assert.Contains(t, run.exchange(t, request), "405 Method Not Allowed")
}

func TestTheVerifiedAccountCanBeCountedBy(t *testing.T) {
	config := signedConfig("environment-1", "account-2")
	metric := &config.Metrics.EmailDeliveryFailures
	metric.EnabledAttributes = append(metric.EnabledAttributes,
		metadata.EmailDeliveryFailuresMetricAttributeKeyMetricCopernicaAccountID)
	run := startRun(t, config, func(r *smtpFailureReceiver) { r.resolver = keyRecords() })
	for _, account := range []string{"environment-1", "account-2"} {
		request := newSigned("id=1")
		request.Set("X-Copernica-ID", account)
		assert.Equal(t, "200 OK\n", run.exchange(t, request.Sign()), "the same id of another account is another report")
	}
	require.NoError(t, run.receiver.Shutdown(t.Context()))
	all := run.metrics.AllMetrics()
	last := all[len(all)-1].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	counted := map[string]int64{}
	for _, point := range last.Sum().DataPoints().All() {
		account, _ := point.Attributes().Get(attributeAccount)
		counted[account.Str()] = point.IntValue()
	}
	assert.Equal(t, map[string]int64{"environment-1": 1, "account-2": 1}, counted)
}

// After a restart, a key that verified a request is looked up before all names that others make up.
func TestKnownKeysSurviveARestart(t *testing.T) {
	directory := t.TempDir()
	for _, known := range []string{"", signaturetest.KeyName} {
		config := signedConfig(signaturetest.Account)
		config.Storage = &storageID
		host := newStorageHost(t, directory)
		run := startRunOn(t, host, config, func(r *smtpFailureReceiver) { r.resolver = keyRecords() })
		assert.Equal(t, known, string(run.receiver.ledger.Value(storedKnownKeys)))
		assert.Equal(t, "200 OK\n", run.exchange(t, newSigned("id=1").Sign()))
		assert.Equal(t, signaturetest.KeyName, string(run.receiver.ledger.Value(storedKnownKeys)))
		require.NoError(t, run.receiver.Shutdown(t.Context()))
	}
}

func TestBodyIsReadOnlyWithAValidSignature(t *testing.T) {
	run := startRun(t, signedConfig(signaturetest.Account), func(r *smtpFailureReceiver) {
		r.resolver = keyRecords()
		r.unverified = make(chan struct{}, 1)
	})
	address := run.receiver.listener.Addr()
	// The bodies never come, so a response that waited for one would not come in time.
	forged := newSigned("id=1").Sign()
	forged.Set("X-Nonce", "another")
	assert.Contains(t, exchangeRaw(t, address, []byte(forged.Head())), "401 Unauthorized")
	forged.Del("Signature")
	assert.Contains(t, exchangeRaw(t, address, []byte(forged.Head())), "401 Unauthorized")

	// Where the length is signed and not sent, the body has to be read first: here of one request
	// at a time.
	chunked := newSigned("id=1").Sign()
	chunked.SetChunked()
	first, err := net.Dial(address.Network(), address.String())
	require.NoError(t, err)
	defer first.Close()
	_, err = io.WriteString(first, chunked.Head())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(run.receiver.unverified) == 1 }, testTimeout, time.Millisecond)
	overloaded := exchangeRaw(t, address, []byte(chunked.Head()))
	assert.Contains(t, overloaded, "503 Service Unavailable")
	assert.Contains(t, overloaded, "Retry-After: "+retryAfter)
	assert.Equal(t, "1", run.count(t, requests("overloaded", 503)))

	_, err = io.WriteString(first, strings.TrimPrefix(chunked.Raw(), chunked.Head()))
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(first), nil)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusOK, response.StatusCode)
}
