package smtpfailurereceiver

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// startTLS starts a receiver with TLS, and returns what it logs.
func startTLS(t *testing.T) (*run, *observer.ObservedLogs) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	server.Close()
	certificate := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	require.NoError(t, err)
	encode := func(kind string, der []byte) configopaque.String {
		return configopaque.String(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	config := defaultConfig()
	config.HTTP.TLS = configoptional.Some(configtls.ServerConfig{Config: configtls.Config{
		CertPem: encode("CERTIFICATE", certificate.Certificate[0]), KeyPem: encode("PRIVATE KEY", key),
	}})
	core, logged := observer.New(zap.DebugLevel)
	return startRun(t, config, func(r *smtpFailureReceiver) { r.logger = limited(zap.New(core)) }), logged
}

func (r *run) dialTLS(t *testing.T, protocol string) *tls.Conn {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}
	conn := tls.Client(dial(t, r.receiver.listener.Addr(), ""), config)
	require.NoError(t, conn.Handshake())
	return conn
}

func TestConnectionErrorsAreLoggedWithinBounds(t *testing.T) {
	run, logged := startTLS(t)
	for i := range 20 {
		for _, text := range []string{"GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\x00\x05hello", ""} {
			conn := dial(t, run.receiver.listener.Addr(), text)
			require.NoError(t, conn.(*net.TCPConn).CloseWrite())
			_, _ = conn.Read(make([]byte, 1))
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

func TestRequestHeaderIsBounded(t *testing.T) {
	run, _ := startTLS(t)
	for name, header := range map[string]string{
		"one large header":   "x: " + strings.Repeat("x", maxHeaderBytes+4096),
		"many small headers": strings.Repeat("abcd:\r\n", (maxHeaderBytes+4096)/7) + "a:",
	} {
		t.Run(name, func(t *testing.T) {
			conn := run.dialTLS(t, "http/1.1")
			go func() { _, _ = io.WriteString(conn, "POST /failures HTTP/1.1\r\nHost: x\r\n"+header+"\r\n\r\n") }()
			assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, statusFrom(t, conn))
		})
	}

	// With HTTP/2 the server announces its limits, and ends a connection that sends more.
	conn := run.dialTLS(t, http2.NextProtoTLS)
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	require.NoError(t, framer.WriteSettings())
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for name, value := range map[string]string{":method": "POST", ":path": defaultPath, ":scheme": "https"} {
		require.NoError(t, encoder.WriteField(hpack.HeaderField{Name: name, Value: value}))
	}
	require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes()}))
	go func() {
		for i := 0; ; i++ {
			block.Reset()
			field := hpack.HeaderField{Name: fmt.Sprintf("x-%d", i), Value: strings.Repeat("x", 1000), Sensitive: true}
			if encoder.WriteField(field) != nil || framer.WriteContinuation(1, false, block.Bytes()) != nil {
				return
			}
		}
	}()
	settings := map[http2.SettingID]uint32{}
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

// Past the bound the connections are closed that have sent most of an unfinished request, the
// oldest of equals first. Those that have sent little, or whose request was read, stay.
func TestConnectionsWithUnreadRequestsAreClosed(t *testing.T) {
	logs, arrived, release := blockingLogs()
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) {
		r.logs = logs
		r.connections.max = 8 * 36 << 10 * headerCost // room for nine unread headers
	})
	address := run.receiver.listener.Addr()
	const begun = "POST /failures HTTP/1.1\r\nHost: x\r\n"
	read := dial(t, address, begun+"X: "+strings.Repeat("x", 30<<10)+"\r\nContent-Length: 4\r\n\r\nid=1")
	<-arrived
	small := dial(t, address, begun+"X: "+strings.Repeat("x", 1<<10))
	closed := make(chan struct{}, 20)
	for range 20 {
		conn := dial(t, address, begun+strings.Repeat("a:\r\n", 30<<10/4))
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			closed <- struct{}{}
		}()
	}
	for range 20 - 9 {
		<-closed
	}
	c := run.receiver.connections
	c.mu.Lock()
	assert.LessOrEqual(t, c.used, c.max)
	c.mu.Unlock()
	close(release)
	assert.Equal(t, http.StatusOK, statusFrom(t, read))
	_, err := io.WriteString(small, "\r\nContent-Length: 4\r\n\r\nid=1")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, statusFrom(t, small))
}

func TestConnectionCosts(t *testing.T) { synctest.Test(t, testConnectionCosts) }

func testConnectionCosts(t *testing.T) {
	c := newConnections(0)
	c.max = 8 * plainCost
	var theirs net.Conn // the other end of the last one
	listener := countingListener{listenerFunc(func() (ours net.Conn, err error) {
		ours, theirs = net.Pipe()
		return ours, nil
	}), c}
	var all []*connection
	for range 8 {
		conn, err := listener.Accept()
		require.NoError(t, err)
		all = append(all, conn.(*connection))
	}
	// read reads 100 bytes and returns how long that takes.
	read := func(conn *connection) time.Duration {
		began := time.Now()
		go func() { _, _ = theirs.Write(make([]byte, 100)) }()
		_, err := conn.Read(make([]byte, 100))
		require.NoError(t, err)
		return time.Since(began)
	}
	assert.Equal(t, closingDelay, read(all[7]), "two were closed that have not ended")
	assert.NotContains(t, c.open, all[0], "100 bytes make no difference, so the oldest are closed")
	assert.NotContains(t, c.open, all[1])
	assert.Len(t, c.open, 6)
	assert.Equal(t, 6*plainCost+100*headerCost, c.used)
	c.end(all[0])
	assert.Zero(t, read(all[7]))
	assert.Equal(t, 6*plainCost+200*headerCost, c.used)

	c.done(all[7])
	assert.Equal(t, 6*plainCost, c.used)
	_ = all[7].Close()
	_ = all[7].Close()
	assert.Equal(t, 5*plainCost, c.used)
	c.done(all[7])
	assert.Equal(t, 5*plainCost, c.used, "it is closed")
	for _, conn := range all {
		_ = conn.Close()
		c.end(conn)
		c.end(conn)
	}
	assert.Zero(t, c.used)
	assert.Zero(t, c.closing)
}

// listenerFunc is a listener that accepts what a function returns.
type listenerFunc func() (net.Conn, error)

func (l listenerFunc) Accept() (net.Conn, error) { return l() }
func (listenerFunc) Close() error                { return nil }
func (listenerFunc) Addr() net.Addr              { return nil }
