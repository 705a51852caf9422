package smtpfailurereceiver

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// What is held for callers who have shown nothing yet. docs/security.md has the attack on each.
const (
	// maxHeaderBytes bounds the header of a request.
	maxHeaderBytes = 32 << 10
	// maxHeld bounds what is held, by the costs below, for connections whose request was not read
	// to its end.
	maxHeld = 192 << 20

	// plainCost and tlsCost are what an open connection takes.
	plainCost, tlsCost = 16 << 10, 64 << 10
	// A header of many small fields is held ten times as large as it is sent; a body, in a buffer
	// that grows, twice.
	headerCost, bodyCost = 10, 2
	// sameCost is what makes no difference between connections: good requests send less than one
	// gives away.
	sameCost = 128 << 10
)

// http2Limits are what a connection may make the server hold with HTTP/2: frames and bodies that
// nobody has asked for yet are small, and an end that does not read what it is sent is given up.
var http2Limits = http.HTTP2Config{
	MaxConcurrentStreams:          100,
	MaxReadFrameSize:              16 << 10,
	MaxReceiveBufferPerConnection: 64 << 10,
	MaxReceiveBufferPerStream:     64 << 10,
	MaxDecoderHeaderTableSize:     4 << 10,
	WriteByteTimeout:              30 * time.Second,
}

// connections bounds what is held for requests that were not read to their end. Past the bound
// those are closed that have sent most without being done, and of several the oldest: not those who
// send little, and are done soon.
type connections struct {
	max, base int
	onClose   func()

	mu   sync.Mutex
	held int
	next int // the age of the next connection
	open map[*connection]struct{}
}

// connection is one of them. Its fields are connections' to read and write.
type connection struct {
	net.Conn

	all  *connections
	age  int
	sent int // since a request was last read to its end
}

func newConnections(maxBody int64) *connections {
	return &connections{
		// Bodies that are allowed to be large need room to be so.
		max: maxHeld + 16*int(maxBody), base: plainCost, onClose: func() {}, open: make(map[*connection]struct{}),
	}
}

func (c *connections) cost(sent int) int {
	header := min(sent, maxHeaderBytes)
	return c.base + headerCost*header + bodyCost*(sent-header)
}

// countingListener counts what its connections cost.
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
	counted := &connection{Conn: conn, all: l.connections}
	l.mu.Lock()
	l.next++
	counted.age = l.next
	l.open[counted] = struct{}{}
	l.held += l.base
	l.mu.Unlock()
	l.makeRoom()
	return counted, nil
}

// Read implements net.Conn.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.all.setSent(c, func(sent int) int { return sent + n })
	c.all.makeRoom()
	return n, err
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.all.mu.Lock()
	if _, ok := c.all.open[c]; ok {
		delete(c.all.open, c)
		c.all.held -= c.all.cost(c.sent)
	}
	c.all.mu.Unlock()
	return c.Conn.Close()
}

func (c *connections) setSent(conn *connection, sent func(int) int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.open[conn]; ok {
		c.held -= c.cost(conn.sent)
		conn.sent = sent(conn.sent)
		c.held += c.cost(conn.sent)
	}
}

// done notes that a connection has nothing more that was not read to its end.
func (c *connections) done(conn net.Conn) {
	if tlsConn, ok := conn.(*tls.Conn); ok {
		conn = tlsConn.NetConn()
	}
	if counted, ok := conn.(*connection); ok {
		c.setSent(counted, func(int) int { return 0 })
	}
}

// makeRoom closes connections until an eighth of the bound is free, if it is passed.
func (c *connections) makeRoom() {
	c.mu.Lock()
	if c.held <= c.max {
		c.mu.Unlock()
		return
	}
	all := make([]*connection, 0, len(c.open))
	for conn := range c.open {
		all = append(all, conn)
	}
	slices.SortFunc(all, func(a, b *connection) int {
		return cmp.Or(cmp.Compare(c.cost(b.sent)/sameCost, c.cost(a.sent)/sameCost), cmp.Compare(a.age, b.age))
	})
	held, n := c.held, 0
	for ; held > c.max-c.max/8; n++ {
		held -= c.cost(all[n].sent)
	}
	c.mu.Unlock()
	for _, conn := range all[:n] {
		_ = conn.Close()
	}
	c.onClose()
}

type connectionKey struct{}

// bound has a server take no more than it should, and note when a request was read.
func (c *connections) bound(server *http.Server) {
	server.MaxHeaderBytes = maxHeaderBytes
	server.HTTP2 = &http2Limits
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, conn)
	}
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateIdle {
			c.done(conn)
		}
	}
}

// read notes that a request was read to its end.
func (c *connections) read(req *http.Request) {
	if conn, ok := req.Context().Value(connectionKey{}).(net.Conn); ok {
		c.done(conn)
	}
}
