package smtpfailurereceiver

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// signatureVectors are calls that the senders' own reference signed.
type signatureVectors struct {
	KeyID   string `json:"key_id"`
	Record  string `json:"dns_txt"`
	Date    string `json:"date"`
	Vectors []struct {
		Name    string            `json:"name"`
		Method  string            `json:"method"`
		Target  string            `json:"request_target"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	} `json:"vectors"`
}

func readSignatureVectors(t *testing.T) signatureVectors {
	t.Helper()
	content, err := os.ReadFile("../../testdata/vectors/signature.json")
	require.NoError(t, err)
	var v signatureVectors
	require.NoError(t, json.Unmarshal(content, &v))
	require.NotEmpty(t, v.Vectors)
	return v
}

// records is a DNS that holds these TXT records.
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

func signedConfig(accounts ...string) *Config {
	config := defaultConfig()
	config.Signature = configoptional.Some(SignatureConfig{Accounts: accounts, MaxAge: 5 * time.Minute})
	return config
}

func TestCallsSignedByTheReferenceAreLetIn(t *testing.T) {
	v := readSignatureVectors(t)
	date, err := http.ParseTime(v.Date)
	require.NoError(t, err)
	for _, vector := range v.Vectors {
		t.Run(vector.Name, func(t *testing.T) {
			run := startRun(t, signedConfig("environment-1234", "account-1234"), func(r *smtpFailureReceiver) {
				r.now = func() time.Time { return date }
				r.resolver = records{v.KeyID: v.Record}
			})
			raw := func(body string) []byte {
				var request bytes.Buffer
				fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nConnection: close\r\n", vector.Method, vector.Target)
				headers := maps.Clone(vector.Headers)
				headers["content-length"] = fmt.Sprint(len(body))
				for _, name := range slices.Sorted(maps.Keys(headers)) {
					fmt.Fprintf(&request, "%s: %s\r\n", name, headers[name])
				}
				fmt.Fprintf(&request, "\r\n%s", body)
				return request.Bytes()
			}
			assert.Equal(t, "200 OK\n", exchangeRaw(t, run.receiver.listener.Addr(), raw(vector.Body)))
			assert.Equal(t, "200 OK\n", exchangeRaw(t, run.receiver.listener.Addr(), raw(vector.Body)), "a repeat is no attack")
			answer := exchangeRaw(t, run.receiver.listener.Addr(), raw(strings.Replace(vector.Body, "msg", "fak", 1)))
			assert.Equal(t, "401 Unauthorized\nContent-Type: text/plain; charset=utf-8\nWWW-Authenticate: Signature\n\nunauthorized\n", answer)

			require.Equal(t, 1, run.logs.LogRecordCount())
			attributes := run.logs.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes()
			account, _ := attributes.Get(attributeAccount)
			assert.Equal(t, vector.Headers["x-copernica-id"], account.Str())
		})
	}
}

// signer signs calls as the senders do.
type signer struct {
	key   *rsa.PrivateKey
	keyID string
}

func newSigner(t *testing.T) (*signer, records) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	s := &signer{key: key, keyID: "one._domainkey.copernica.com"}
	return s, records{s.keyID: "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)}
}

func (s *signer) sign(t *testing.T, request *http.Request, body []byte, account string) {
	t.Helper()
	digest := sha256.Sum256(body)
	request.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	request.Header.Set("Digest", "SHA-256="+base64.StdEncoding.EncodeToString(digest[:]))
	request.Header.Set("X-Copernica-ID", account)
	text := fmt.Sprintf("(request-target): post %s\nhost: %s\ndate: %s\ndigest: %s\nx-copernica-id: %s",
		request.URL.RequestURI(), request.URL.Host, request.Header.Get("Date"), request.Header.Get("Digest"), account)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	require.NoError(t, err)
	request.Header.Set("Signature", fmt.Sprintf(`keyId=%q,algorithm="rsa-sha256",headers="(request-target) host date digest x-copernica-id",signature=%q`,
		s.keyID, base64.StdEncoding.EncodeToString(signature)))
}

func TestASignedBodyIsCheckedBeforeItIsDecompressed(t *testing.T) {
	s, dns := newSigner(t)
	run := startRun(t, signedConfig("environment-1"), func(r *smtpFailureReceiver) { r.resolver = dns })
	var body bytes.Buffer
	writer := gzip.NewWriter(&body)
	_, err := writer.Write([]byte("id=1&code=550"))
	require.NoError(t, err)
	require.NoError(t, writer.Close())

	request := newForm(t.Context(), run.url(), body.String())
	request.Header.Set("Content-Encoding", "gzip")
	s.sign(t, request, body.Bytes(), "environment-1")
	answer, err := do(http.DefaultClient, request)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, answer.status)
	assert.Equal(t, 1, run.logs.LogRecordCount())
}

func TestUnsignedAndBadlySignedCallsAreRefused(t *testing.T) {
	s, dns := newSigner(t)
	dns["two._domainkey.copernica.com"] = "SERVFAIL"
	logger, logged := observer.New(zap.WarnLevel)
	run := startRun(t, signedConfig("environment-1"), func(r *smtpFailureReceiver) {
		r.resolver = dns
		r.logger = limited(zap.New(logger))
	})
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"as it should be", func(*http.Request) {}, 200},
		{"unsigned", func(r *http.Request) { r.Header.Del("Signature") }, 401},
		{"of another account", func(r *http.Request) { r.Header.Set("X-Copernica-Id", "environment-2") }, 401},
		{"old", func(r *http.Request) {
			r.Header.Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		}, 401},
		{"with a key that is not there", func(r *http.Request) {
			r.Header.Set("Signature", strings.Replace(r.Header.Get("Signature"), "one.", "nine.", 1))
		}, 401},
		{"with a key that cannot be looked up", func(r *http.Request) {
			r.Header.Set("Signature", strings.Replace(r.Header.Get("Signature"), "one.", "two.", 1))
		}, 503},
		{"and too large", func(r *http.Request) {
			r.Body = http.NoBody
			r.GetBody = nil
			r.ContentLength = 0
			r.Header.Set("Digest", "SHA-256=")
		}, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			const form = "id=1&recipient=jane@example.com"
			request := newForm(t.Context(), run.url(), form)
			s.sign(t, request, []byte(form), "environment-1")
			test.change(request)
			answer, err := do(http.DefaultClient, request)
			require.NoError(t, err)
			assert.Equal(t, test.status, answer.status)
			if test.status == 503 {
				assert.Equal(t, retryAfter, answer.header.Get("Retry-After"))
			}
		})
	}
	assert.Equal(t, "1", run.count(t, requests("key_unavailable", 503)))
	assert.Equal(t, "5", run.count(t, requests("unauthorized", 401)))
	assert.NotEmpty(t, logged.All())
	for _, entry := range logged.All() {
		assert.NotContains(t, fmt.Sprint(entry.Message, entry.ContextMap()), "jane")
	}
}

func TestAFloodOfRefusalsDoesNotFillTheLog(t *testing.T) {
	_, dns := newSigner(t)
	logger, logged := observer.New(zap.WarnLevel)
	run := startRun(t, signedConfig("environment-1"), func(r *smtpFailureReceiver) {
		r.resolver = dns
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
	answer := exchangeRaw(t, run.receiver.listener.Addr(), []byte("GET /check.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	assert.Equal(t, "200 OK\nContent-Type: text/plain; charset=utf-8\n\n1a2b3c", answer)
	answer = exchangeRaw(t, run.receiver.listener.Addr(), []byte("GET /failures HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	assert.Contains(t, answer, "405 Method Not Allowed")
}

func TestTheVerifiedAccountCanBeCountedBy(t *testing.T) {
	s, dns := newSigner(t)
	config := signedConfig("environment-1", "account-2")
	config.Metrics.EmailDeliveryFailures.EnabledAttributes = append(config.Metrics.EmailDeliveryFailures.EnabledAttributes,
		metadata.EmailDeliveryFailuresMetricAttributeKeyMetricCopernicaAccountID)
	run := startRun(t, config, func(r *smtpFailureReceiver) { r.resolver = dns })
	for _, account := range []string{"environment-1", "account-2"} {
		request := newForm(t.Context(), run.url(), "id=1")
		s.sign(t, request, []byte("id=1"), account)
		answer, err := do(http.DefaultClient, request)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, answer.status, "the same id of another account is another report")
	}
	require.NoError(t, run.receiver.Shutdown(t.Context()))
	all := run.metrics.AllMetrics()
	counted := map[string]int64{}
	for _, point := range all[len(all)-1].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().All() {
		account, _ := point.Attributes().Get(attributeAccount)
		counted[account.Str()] = point.IntValue()
	}
	assert.Equal(t, map[string]int64{"environment-1": 1, "account-2": 1}, counted)
}

// After a restart a key that verified a call is looked up without waiting for all the names that others make up.
func TestKnownKeysSurviveARestart(t *testing.T) {
	s, dns := newSigner(t)
	directory := t.TempDir()
	for range 2 {
		config := signedConfig("environment-1")
		config.Storage = &storageID
		run := startRunOn(t, newStorageHost(t, directory), config, func(r *smtpFailureReceiver) { r.resolver = dns })
		known := string(run.receiver.ledger.Value(keptKnownKeys))
		request := newForm(t.Context(), run.url(), "id=1")
		s.sign(t, request, []byte("id=1"), "environment-1")
		got, err := do(http.DefaultClient, request)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, got.status)
		assert.Equal(t, s.keyID, string(run.receiver.ledger.Value(keptKnownKeys)))
		require.NoError(t, run.receiver.Shutdown(t.Context()))
		if known != "" {
			return
		}
	}
	t.Error("nothing was kept")
}

// head is the head of a call that is signed, or made to look it, without its body.
func head(t *testing.T, s *signer, run *run, lengthHeader string, forge bool) []byte {
	t.Helper()
	request := newForm(t.Context(), run.url(), "")
	digest := sha256.Sum256([]byte("id=1"))
	covered := "(request-target) host date digest x-copernica-id"
	text := "(request-target): post /failures\nhost: " + request.URL.Host + "\ndate: " + time.Now().UTC().Format(http.TimeFormat) +
		"\ndigest: SHA-256=" + base64.StdEncoding.EncodeToString(digest[:]) + "\nx-copernica-id: environment-1"
	var head bytes.Buffer
	head.WriteString("POST /failures HTTP/1.1\r\n" + lengthHeader + "\r\n")
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "(") {
			head.WriteString(line + "\r\n")
		}
	}
	if !strings.HasPrefix(lengthHeader, "Content-Length") {
		covered += " content-length"
		text += "\ncontent-length: 4"
	}
	sum := sha256.Sum256([]byte(text))
	if forge {
		sum[0]++
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	require.NoError(t, err)
	fmt.Fprintf(&head, "Signature: keyId=%q,algorithm=\"rsa-sha256\",headers=%q,signature=%q\r\n\r\n", s.keyID, covered, base64.StdEncoding.EncodeToString(signature))
	return head.Bytes()
}

func TestNobodyWithoutAKeyMakesTheServerReadABody(t *testing.T) {
	s, dns := newSigner(t)
	run := startRun(t, signedConfig("environment-1"), func(r *smtpFailureReceiver) {
		r.resolver = dns
		r.unverified = make(chan struct{}, 1)
	})
	address := run.receiver.listener.Addr()
	// The body never comes, so an answer that waited for it would not come in time.
	answer := exchangeRaw(t, address, head(t, s, run, "Content-Length: 4", true))
	assert.Contains(t, answer, "401 Unauthorized")
	answer = exchangeRaw(t, address, []byte("POST /failures HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"))
	assert.Contains(t, answer, "401 Unauthorized")

	// Where the length is signed and not sent, the body has to be read first: of one such call at a time here.
	chunked := head(t, s, run, "Transfer-Encoding: chunked", false)
	first, err := net.Dial(address.Network(), address.String())
	require.NoError(t, err)
	defer first.Close()
	_, err = first.Write(chunked)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(run.receiver.unverified) == 1 }, patience, time.Millisecond)
	answer = exchangeRaw(t, address, chunked)
	assert.Contains(t, answer, "503 Service Unavailable")
	assert.Contains(t, answer, "Retry-After: "+retryAfter)
	assert.Equal(t, "1", run.count(t, requests("overloaded", 503)))

	_, err = first.Write([]byte("4\r\nid=1\r\n0\r\n\r\n"))
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(first), nil)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusOK, response.StatusCode)
}
