package smtpfailurereceiver

import (
	"cmp"
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// The memory that callers can take before they are known. docs/security.md has the attacks.
const (
	maxHeaderBytes = 32 << 10
	// maxUsed bounds the memory, by the estimates below, of requests that are not read to their
	// end.
	maxUsed = 192 << 20

	// plainCost and tlsCost are the memory of an open connection.
	plainCost, tlsCost = 16 << 10, 64 << 10
	// A header of many small fields takes ten times its size; a body, in a buffer that grows,
	// twice.
	headerCost, bodyCost = 10, 2
	// sameCost is the difference between two connections that is ignored: good requests stay below.
	sameCost = 128 << 10

	// closingDelay is how long a read waits while closed connections take much memory.
	closingDelay = 100 * time.Millisecond
)

// http2Limits bound what the server holds for a connection with HTTP/2.
var http2Limits = http.HTTP2Config{
	MaxConcurrentStreams:          100,
	MaxReadFrameSize:              16 << 10,
	MaxReceiveBufferPerConnection: 64 << 10,
	MaxReceiveBufferPerStream:     64 << 10,
	MaxDecoderHeaderTableSize:     4 << 10,
	WriteByteTimeout:              30 * time.Second,
}

// connections bounds the memory of requests that are not read to their end. Past the bound it
// closes the connections that have sent most of such a request, and of equals the oldest.
type connections struct {
	max, base int
	onClose   func()

	mu      sync.Mutex
	used    int // by open connections
	closing int // by closed ones that the server has not ended yet
	next    int // the number of the next connection
	open    map[*connection]struct{}
}

// connection is one of them, whose lock guards the fields.
type connection struct {
	net.Conn

	all    *connections
	number int
	sent   int  // bytes since the last request that was read to its end
	closed bool // but not ended
}

func newConnections(maxBody int64) *connections {
	return &connections{
		max:     maxUsed + 16*int(maxBody), // room for bodies that are allowed to be large
		base:    plainCost,
		onClose: func() {},
		open:    make(map[*connection]struct{}),
	}
}

// cost returns the memory of a connection that has sent so many bytes of a request.
func (c *connections) cost(sent int) int {
	header := min(sent, maxHeaderBytes)
	return c.base + headerCost*header + bodyCost*(sent-header)
}

// countingListener accepts connections and counts what they cost.
type countingListener struct {
	net.Listener
	*connections
}

// Accept implements net.Listener.
func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	counted := &connection{Conn: conn, all: l.connections, number: l.next}
	l.open[counted] = struct{}{}
	l.used += l.base
	l.evict()
	return counted, nil
}

// Read implements net.Conn. It slows down while connections are closed faster than they end.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.all.countRead(c, n) && err == nil {
		time.Sleep(closingDelay)
	}
	return n, err
}

// countRead counts what a connection has sent, and reports whether much memory is still taken by
// connections that were closed.
func (c *connections) countRead(conn *connection, n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.setSent(conn.sent + n)
	c.evict()
	return c.closing > c.max/8
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	return c.close()
}

// close closes the connection. The lock is held.
func (c *connection) close() error {
	if _, ok := c.all.open[c]; ok {
		delete(c.all.open, c)
		c.all.used -= c.all.cost(c.sent)
		c.all.closing += c.all.cost(c.sent)
		c.closed = true
	}
	return c.Conn.Close()
}

// setSent sets what the connection has sent. The lock is held.
func (c *connection) setSent(sent int) {
	if _, ok := c.all.open[c]; ok {
		c.all.used += c.all.cost(sent) - c.all.cost(c.sent)
		c.sent = sent
	}
}

// evict closes connections until an eighth of the bound is free, if it is passed. The lock is
// held.
func (c *connections) evict() {
	if c.used <= c.max {
		return
	}
	for _, conn := range slices.SortedFunc(maps.Keys(c.open), func(a, b *connection) int {
		return cmp.Or(cmp.Compare(c.cost(b.sent)/sameCost, c.cost(a.sent)/sameCost), cmp.Compare(a.number, b.number))
	}) {
		if c.used <= c.max-c.max/8 {
			break
		}
		_ = conn.close()
	}
	c.onClose()
}

// done records that all requests of a connection were read to their end.
func (c *connections) done(conn net.Conn) {
	if counted := countedOf(conn); counted != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		counted.setSent(0)
	}
}

// end records that the server has nothing of a connection any more.
func (c *connections) end(conn net.Conn) {
	if counted := countedOf(conn); counted != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if counted.closed {
			counted.closed = false
			c.closing -= c.cost(counted.sent)
		}
	}
}

// countedOf returns the connection below TLS, if any, or nil if it is not counted.
func countedOf(conn net.Conn) *connection {
	if tlsConn, ok := conn.(*tls.Conn); ok {
		conn = tlsConn.NetConn()
	}
	counted, _ := conn.(*connection)
	return counted
}

type connectionKey struct{}

// limit sets the limits of a server, and has it say what becomes of connections.
func (c *connections) limit(server *http.Server) {
	server.MaxHeaderBytes = maxHeaderBytes
	server.HTTP2 = &http2Limits
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, conn)
	}
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		switch state {
		case http.StateIdle:
			c.done(conn)
		case http.StateClosed:
			c.end(conn)
		}
	}
}

// read records that a request was read to its end.
func (c *connections) read(req *http.Request) {
	if conn, ok := req.Context().Value(connectionKey{}).(net.Conn); ok {
		c.done(conn)
	}
}
