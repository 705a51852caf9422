package smtpfailurereceiver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configmiddleware"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What is held for those who have shown nothing yet, and what they can cause. test/e2e has the
// attacks on the built distribution.

// rewriting is a middleware that changes requests.
type rewriting struct {
	component.StartFunc
	component.ShutdownFunc
	rewrite func(http.ResponseWriter, *http.Request)
}

func (m rewriting) GetHTTPHandler(context.Context) (func(context.Context, http.Handler) (http.Handler, error), error) {
	return func(_ context.Context, next http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			m.rewrite(w, req)
			next.ServeHTTP(w, req)
		}), nil
	}, nil
}

func startRewriting(t *testing.T, config *Config, rewrite func(http.ResponseWriter, *http.Request)) *run {
	t.Helper()
	id := component.MustNewID("rewriting")
	config.HTTP.Middlewares = []configmiddleware.Config{{ID: id}}
	host := &hostWith{extensions: map[component.ID]component.Component{id: rewriting{rewrite: rewrite}}}
	return startRunOn(t, host, config, func(r *smtpFailureReceiver) { r.resolver = records{} })
}

func TestMiddlewaresThatRewriteLetNobodyIn(t *testing.T) {
	for name, test := range map[string]struct {
		rewrite func(*http.Request)
		line    string
	}{
		"strips a prefix": {func(r *http.Request) { r.URL.Path = strings.TrimPrefix(r.URL.Path, "/hooks") }, "POST /hooks/failures"},
		"cleans slashes":  {func(r *http.Request) { r.URL.Path = strings.ReplaceAll(r.URL.Path, "//", "/") }, "POST //failures"},
		"trailing slash":  {func(r *http.Request) { r.URL.Path = strings.TrimSuffix(r.URL.Path, "/") }, "POST /failures/"},
		"changes methods": {func(r *http.Request) { r.Method = strings.ToUpper(r.Method) }, "post /failures"},
	} {
		t.Run(name, func(t *testing.T) {
			run := startRewriting(t, signedConfig("environment-1"), func(_ http.ResponseWriter, r *http.Request) { test.rewrite(r) })
			got := exchangeRaw(t, run.receiver.listener.Addr(),
				[]byte(test.line+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 13\r\n\r\nid=1&code=550"))
			assert.Contains(t, got, "401 Unauthorized")
			assert.Contains(t, got, "WWW-Authenticate: Signature")
			assert.Zero(t, run.logs.LogRecordCount())
			assert.Equal(t, "1", run.count(t, "otelcol_smtp_failure_refusals{reason=not_checked,receiver=smtp_failure}"))
		})
	}
}

func TestAResponseThatIsBrokenOffIsCounted(t *testing.T) {
	run := startRewriting(t, defaultConfig(), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err := do(http.DefaultClient, newForm(t.Context(), run.url(), "id=1"))
	require.ErrorIs(t, err, io.EOF, "the connection ends")
	assert.Equal(t, "1", run.count(t, requests("aborted", 0)))

	assert.PanicsWithValue(t, http.ErrAbortHandler, func() {
		run.receiver.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "partly")
			panic(http.ErrAbortHandler)
		})).ServeHTTP(httptest.NewRecorder(), newForm(t.Context(), defaultPath, ""))
	})
	assert.Equal(t, "1", run.count(t, requests("aborted", 200)))
}

// certificate writes a certificate of one's own and its key.
func certificate(t *testing.T) configtls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	config := configtls.Config{CertFile: filepath.Join(t.TempDir(), "cert.pem"), KeyFile: filepath.Join(t.TempDir(), "key.pem")}
	require.NoError(t, os.WriteFile(config.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(config.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	return config
}

// startTLS starts a receiver with TLS and signatures, and returns what it logs.
func startTLS(t *testing.T) (*run, *observer.ObservedLogs) {
	t.Helper()
	config := signedConfig("environment-1")
	config.HTTP.TLS = configoptional.Some(configtls.ServerConfig{Config: certificate(t)})
	core, logged := observer.New(zap.DebugLevel)
	run := startRun(t, config, func(r *smtpFailureReceiver) {
		r.settings.Logger = zap.New(core)
		r.logger = limited(r.settings.Logger)
		r.resolver = records{}
	})
	return run, logged
}

func (r *run) dialTLS(t *testing.T, protocol string) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", r.receiver.listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestAFloodOfTLSErrorsDoesNotFillTheLog(t *testing.T) {
	run, logged := startTLS(t)
	for i := range 100 {
		for _, text := range []string{"GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\x00\x05hello", ""} {
			conn, err := net.Dial("tcp", run.receiver.listener.Addr().String())
			require.NoError(t, err)
			_, _ = io.WriteString(conn, text)
			require.NoError(t, conn.(*net.TCPConn).CloseWrite())
			_, _ = conn.Read(make([]byte, 1))
			require.NoError(t, conn.Close())
		}
		if i%10 == 0 {
			conn := run.dialTLS(t, http2.NextProtoTLS)
			_, _ = io.WriteString(conn, strings.Repeat("jane@example.com", 10))
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	assert.Equal(t, 10, logged.FilterMessage("A TLS handshake failed").Len())
	assert.LessOrEqual(t, logged.FilterMessage("The HTTP server reports an error").Len(), 10)
	assert.Less(t, logged.Len(), 30)
	for _, entry := range logged.All() {
		assert.Less(t, len(fmt.Sprint(entry.ContextMap())), 400)
	}
}

func TestTheHeaderOfARequestIsBounded(t *testing.T) {
	run, _ := startTLS(t)
	for protocol, header := range map[string]string{
		"one large header":   "x: " + strings.Repeat("x", maxHeaderBytes+4096),
		"many small headers": strings.Repeat("abcd:\r\n", (maxHeaderBytes+4096)/7) + "a:",
	} {
		t.Run(protocol, func(t *testing.T) {
			conn := run.dialTLS(t, "http/1.1")
			go func() { _, _ = io.WriteString(conn, "POST /failures HTTP/1.1\r\nHost: x\r\n"+header+"\r\n\r\n") }()
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
		})
	}

	// HTTP/2 says so before, and ends the connection of whoever sends more all the same.
	conn := run.dialTLS(t, http2.NextProtoTLS)
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	require.NoError(t, framer.WriteSettings())
	settings := map[http2.SettingID]uint32{}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":path", Value: defaultPath}, {Name: ":scheme", Value: "https"}} {
		require.NoError(t, encoder.WriteField(field))
	}
	require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes()}))
	go func() {
		for i := 0; ; i++ {
			block.Reset()
			_ = encoder.WriteField(hpack.HeaderField{Name: fmt.Sprintf("x-%d", i), Value: strings.Repeat("x", 1000), Sensitive: true})
			if framer.WriteContinuation(1, false, block.Bytes()) != nil {
				return
			}
		}
	}()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
		if frame, ok := frame.(*http2.SettingsFrame); ok && !frame.IsAck() {
			require.NoError(t, frame.ForeachSetting(func(s http2.Setting) error { settings[s.ID] = s.Val; return nil }))
		}
	}
	assert.LessOrEqual(t, settings[http2.SettingMaxHeaderListSize], uint32(maxHeaderBytes+512))
	assert.Equal(t, uint32(16<<10), settings[http2.SettingMaxFrameSize])
	assert.Equal(t, uint32(100), settings[http2.SettingMaxConcurrentStreams])
	assert.Equal(t, uint32(64<<10), settings[http2.SettingInitialWindowSize])
}

// Connections that have sent most of an unfinished request are closed past the bound, the oldest of
// equals first. One that sends an ordinary request is not, nor one whose request was read.
func TestConnectionsThatAreUnreadMakeRoom(t *testing.T) {
	logs, arrived, release := blockingLogs()
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) {
		r.logs = logs
		r.connections.max = 8 * 36 << 10 * headerCost
	})
	dial := func(text string) net.Conn {
		conn, err := net.Dial("tcp", run.receiver.listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, text)
		require.NoError(t, err)
		return conn
	}
	ok := func(conn net.Conn) {
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, http.StatusOK, response.StatusCode)
	}
	const begun = "POST /failures HTTP/1.1\r\nHost: x\r\n"
	read := dial(begun + "X: " + strings.Repeat("x", 30<<10) + "\r\nContent-Length: 4\r\n\r\nid=1")
	<-arrived
	ordinary := dial(begun + "X: " + strings.Repeat("x", 1<<10))
	ended := make(chan struct{}, 20)
	for range 20 {
		conn := dial(begun + strings.Repeat("a:\r\n", 30<<10/4))
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			ended <- struct{}{}
		}()
	}
	// Nine of them have room.
	for range 20 - 9 {
		<-ended
	}
	c := run.receiver.connections
	c.mu.Lock()
	assert.LessOrEqual(t, c.used, c.max)
	c.mu.Unlock()
	close(release)
	ok(read)
	_, err := io.WriteString(ordinary, "\r\nContent-Length: 4\r\n\r\nid=1")
	require.NoError(t, err)
	ok(ordinary)
}

func TestWhatConnectionsCost(t *testing.T) {
	c := newConnections(0)
	c.max = 8 * plainCost
	ours, theirs := net.Pipe()
	listener := countingListener{listenerThat(func() (net.Conn, error) { return ours, nil }), c}
	var all []*connection
	for range 8 {
		conn, err := listener.Accept()
		require.NoError(t, err)
		all = append(all, conn.(*connection))
	}
	go func() { _, _ = theirs.Write(make([]byte, 100)) }()
	_, err := all[7].Read(make([]byte, 100))
	require.NoError(t, err)
	assert.NotContains(t, c.open, all[0], "what was sent makes no difference, and so the oldest goes")
	assert.NotContains(t, c.open, all[1])
	assert.Len(t, c.open, 6)
	assert.Equal(t, 6*plainCost+100*headerCost, c.used)

	c.done(all[7])
	assert.Equal(t, 6*plainCost, c.used)
	require.NoError(t, all[7].Close())
	_ = all[7].Close()
	assert.Equal(t, 5*plainCost, c.used)
	c.done(all[7])
	assert.Equal(t, 5*plainCost, c.used, "it is gone")
}

// listenerThat is a listener that does as told.
type listenerThat func() (net.Conn, error)

func (l listenerThat) Accept() (net.Conn, error) { return l() }
func (listenerThat) Close() error                { return nil }
func (listenerThat) Addr() net.Addr              { return nil }

func TestReplaysAreWarnedOf(t *testing.T) {
	for _, test := range []struct {
		yaml, warning string
	}{
		{"signature: {accounts: [environment-1]}", ""},
		{"deduplication: {enabled: false}", ""},
		{"signature: {accounts: [environment-1]}\ndeduplication: {enabled: false}", "deduplication::enabled"},
		{"signature: {accounts: [environment-1], max_age: 10m}\ndeduplication: {ttl: 10m}", "deduplication::ttl"},
		{"signature: {accounts: [environment-1], max_age: 10m}\ndeduplication: {ttl: 11m}", ""},
		{"signature: {accounts: [environment-1]}\ndeduplication: {max_entries: 9999}", "deduplication::max_entries"},
	} {
		core, logged := observer.New(zap.WarnLevel)
		startRun(t, configOf(t, test.yaml), func(r *smtpFailureReceiver) { r.logger = zap.New(core) })
		if test.warning == "" {
			assert.Zero(t, logged.Len(), test.yaml)
			continue
		}
		if assert.Equal(t, 1, logged.Len(), test.yaml) {
			assert.Contains(t, logged.All()[0].ContextMap()["reason"], test.warning)
		}
	}
}
