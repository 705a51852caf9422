package smtpfailurereceiver

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// What is held for callers who have shown nothing yet. docs/security.md has the attack on each.
const (
	// maxHeaderBytes bounds the header of a request, which may be held ten times as large as it is sent.
	maxHeaderBytes = 32 << 10
	// maxUnread bounds the connections and HTTP/2 streams whose request has not been read to its end.
	maxUnread = 1000
)

// http2Limits are what a connection may make the server hold with HTTP/2: frames and bodies that nobody has asked for
// yet are small, and an end that does not read what it is sent is given up.
var http2Limits = http.HTTP2Config{
	MaxConcurrentStreams:          100,
	MaxReadFrameSize:              16 << 10,
	MaxReceiveBufferPerConnection: 64 << 10,
	MaxReceiveBufferPerStream:     64 << 10,
	MaxDecoderHeaderTableSize:     4 << 10,
	WriteByteTimeout:              30 * time.Second,
}

// connections bounds how many connections there are that wait for a request, or whose request is being read. Past the
// bound the one that has been so for longest is closed: whoever comes new and does not dawdle always gets a turn.
type connections struct {
	max     int
	onClose func()

	mu     sync.Mutex
	unread list.List // of unread, the one that has been so for longest first
	places map[any]*list.Element
}

type unread struct {
	key  any
	conn net.Conn
}

func newConnections(limit int) *connections {
	return &connections{max: limit, onClose: func() {}, places: make(map[any]*list.Element)}
}

type connectionKey struct{}

// bound has the server count its connections.
func (c *connections) bound(server *http.Server) {
	server.MaxHeaderBytes = maxHeaderBytes
	server.HTTP2 = &http2Limits
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, conn)
	}
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew, http.StateIdle:
			c.add(conn, conn)
		case http.StateActive:
			// With HTTP/2 there are streams now, which are counted instead.
			if tlsConn, ok := conn.(*tls.Conn); ok && tlsConn.ConnectionState().NegotiatedProtocol == "h2" {
				c.remove(conn)
			} else {
				c.add(conn, conn)
			}
		case http.StateHijacked, http.StateClosed:
			c.remove(conn)
		}
	}
}

// begin notes that a request is being read, and returns the key to remove when it has been: that of its connection,
// which is counted already, or one of its own where a connection may have several.
func (c *connections) begin(state *requestState, req *http.Request) (key any) {
	conn, ok := req.Context().Value(connectionKey{}).(net.Conn)
	if !ok || req.ProtoMajor < 2 {
		return conn
	}
	c.add(state, conn)
	return state
}

// add makes what is known by key the last to be closed.
func (c *connections) add(key any, conn net.Conn) {
	if first := c.addOrReplace(key, conn); first != nil {
		if tlsConn, ok := first.(*tls.Conn); ok {
			// Without TLS's alert, for which an end that does not read would be waited for.
			first = tlsConn.NetConn()
		}
		_ = first.Close()
		c.onClose()
	}
}

// addOrReplace returns the connection that has to make room.
func (c *connections) addOrReplace(key any, conn net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place, ok := c.places[key]; ok {
		c.unread.MoveToBack(place)
		return nil
	}
	c.places[key] = c.unread.PushBack(unread{key, conn})
	if c.unread.Len() <= c.max {
		return nil
	}
	first := c.unread.Remove(c.unread.Front()).(unread)
	delete(c.places, first.key)
	return first.conn
}

func (c *connections) remove(key any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place, ok := c.places[key]; ok {
		c.unread.Remove(place)
		delete(c.places, key)
	}
}
