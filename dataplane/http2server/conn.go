package http2server

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/http2server/hpack"
	"github.com/keepgate/keepgate/shared/parking"
)

var errReset = errors.New("the stream was reset")

// How a connection takes leave, RFC 9113 §6.8.
const (
	staying  uint8 = iota
	leaving        // told to go elsewhere; what is on its way is still served
	parting        // told which stream was the last
	wentAway       // and nothing is left to say
)

// conn is one client's connection.
type conn struct {
	srv        *Server
	prev, next *conn // guarded by srv.mu
	nc         net.Conn
	under      net.Conn             // of TLS; nc without
	fd         syscall.RawConn      // of the socket; nil: the connection never rests
	tls        *tls.ConnectionState // nil in clear, and while the connection rests
	policy     string               // that its handshake ran under
	peer       exchange.Peer
	scheme     string

	// Of the reading goroutine.
	in      wire.Input
	fields  hpack.Decoder
	onField func(name, value string, fixed bool) // c.list.field, made once
	list    list                                 // the header list that is being read
	block   *wire.Block                          // of a header list in several frames; nil: none is open
	blocked int                                  // bytes in block
	pieces  int                                  // frames of it
	opening frame                                // that it began with
	data    frame                                // that is being read; length is what is left of it, 0: none
	padding int                                  // of data, what is left of it
	opened  bool                                 // the client's preface has come
	greeted bool                                 // and its settings
	grown   bool                                 // in has a large block
	said    bool                                 // something was put that nobody writes yet
	killed  bool                                 // a stream was, since the last frame
	calm    calm

	heard   atomic.Int64 // of exchange.Now: when something last came
	partial atomic.Int64 // since when the rest of something is waited for; 0: nothing is
	writeBy atomic.Int64 // when the write under way must be done; 0: none is
	earned  atomic.Int64 // see calm

	mu        sync.Mutex
	streams   []*stream // guarded by mu: that have a handler
	open      int       // guarded by mu: that the client may not have ended yet
	idleSince int64     // guarded by mu: of exchange.Now; when open became 0
	last      uint32    // guarded by mu: the highest stream that the client began
	resets    [32]uint32
	resetAt   int    // guarded by mu, as resets: streams that we reset, the latest
	send      int64  // guarded by mu: what the client takes of data
	takes     int64  // guarded by mu: what it takes of a new stream
	recv      int64  // guarded by mu: what it may send
	credit    int64  // guarded by mu: of what it sent, what it has not been told that it was taken
	out       []byte // guarded by mu: frames that nobody writes yet
	spare     []byte // guarded by mu: memory for out
	writing   bool   // guarded by mu: somebody writes, and will write out too
	flushing  bool   // guarded by mu: the crew will
	forget    bool   // guarded by mu: the next header list has to begin with a change of the table's size
	room      sync.Cond
	err       error // guarded by mu: why nothing is read or written any more
	bye       uint8 // guarded by mu: how far its end has come
	byeAt     int64 // guarded by mu: since when
	askedAt   int64 // guarded by mu: when a silent client was asked whether it lives
	sentRest  bool  // guarded by mu: reading is interrupted to rest
	resting   bool  // guarded by mu: it was, and nothing has come since

	parking.Place
}

// policed is the socket under a tls.Conn when somebody watched the handshake; see exchange.Request.Handshake.
type policed interface{ HandshakePolicy() string }

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc, under: nc, scheme: "http", send: defaultWindow, takes: defaultWindow, recv: connWindow}
	c.in = wire.Input{Blocks: &s.blocks}
	c.room.L = &c.mu
	c.onField = c.list.field
	c.peer.Remote, c.peer.Local = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	now := exchange.Now()
	c.heard.Store(now)
	c.idleSince = now
	if t, ok := nc.(*tls.Conn); ok {
		c.scheme, c.under = "https", t.NetConn()
		if !t.ConnectionState().HandshakeComplete {
			_ = t.SetDeadline(time.Now().Add(s.options.HeadTimeout))
			_ = t.Handshake() // a failure shows at the first read
			_ = t.SetDeadline(time.Time{})
		}
		c.know()
		if p, ok := c.under.(policed); ok {
			c.policy = p.HandshakePolicy()
		}
	}
	if c.tls == nil || c.tls.HandshakeComplete {
		c.fd = socketOf(nc)
	}
	c.out, c.said = greeting(&s.options), true // before anybody can say something else
	return c
}

// know has what TLS says of the connection at hand.
func (c *conn) know() {
	if t, ok := c.nc.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.tls = &state
	}
}

// socketOf finds the socket below what was put around it, nil when there is none.
func socketOf(nc net.Conn) syscall.RawConn {
	for {
		if sc, ok := nc.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				return raw
			}
			return nil
		}
		around, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = around.NetConn()
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// serve runs the connection to its end, or until it rests: then it is somebody else's.
func (c *conn) serve() (rests bool) {
	err := c.read()
	if err == errRests {
		return true
	}
	c.abandon(err)
	if why, ok := err.(code); ok {
		c.explain(why)
	}
	_ = c.nc.Close()
	c.in.Drop()
	c.srv.blocks.Give(c.block)
	c.block = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.streams) > 0 || c.flushing || c.writing {
		c.room.Wait()
	}
	return false
}

// greeting is our settings, RFC 9113 §3.4, and how much we take.
func greeting(o *Options) []byte {
	w := appendFrame(make([]byte, 0, 64), 2*settingSize, frameSettings, 0, 0)
	w = appendSetting(w, settingStreams, uint32(o.MaxStreams))
	w = appendSetting(w, settingFields, uint32(o.MaxHeadBytes))
	return appendWindow(w, 0, connWindow-defaultWindow)
}

// abandon ends everything that is under way: the client has gone, or may as well have.
func (c *conn) abandon(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	for _, s := range c.streams {
		s.cut(exchange.ErrBodyCut)
	}
	c.room.Broadcast()
	c.mu.Unlock()
	c.abortGone()
}

// explain says why the connection ends, and stays until the client has heard it: a close with unread input could take the words with
// it. The client has a moment for all of that.
func (c *conn) explain(why code) {
	const patience = 500 * time.Millisecond
	_ = c.nc.SetDeadline(time.Now().Add(patience))
	c.mu.Lock()
	for c.writing {
		c.room.Wait()
	}
	w := c.out
	c.out = nil
	if c.bye != wentAway {
		w = appendGoAway(w, c.last, why)
	}
	c.mu.Unlock()
	if len(w) > 0 {
		if _, err := c.nc.Write(w); err != nil {
			return
		}
	}
	type closeWriter interface{ CloseWrite() error }
	if half, ok := c.nc.(closeWriter); !ok || half.CloseWrite() != nil {
		return
	}
	block := c.srv.blocks.Large()
	defer c.srv.blocks.Give(block)
	for total := 0; total < 64<<20; {
		n, err := c.nc.Read(block.B)
		if total += n; err != nil {
			return
		}
	}
}

// cutOff ends the connection without a word: those of TLS could wait for the client.
func (c *conn) cutOff() {
	_ = c.under.Close()
	c.srv.lot.Wake(&c.Place)
}

// leave asks the client to go elsewhere. What it sent before it hears so is still served: the answer to the ping tells when.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bye != staying || c.err != nil {
		return
	}
	c.bye, c.byeAt = leaving, exchange.Now()
	c.out = appendPing(appendGoAway(c.out, maxWindow, codeNone), 0, []byte(leavePing))
	c.flushSoon()
}

// part says which stream was the last one. mu is held.
func (c *conn) part() {
	if c.bye >= parting || c.err != nil {
		return
	}
	c.bye = parting
	c.out = appendGoAway(c.out, c.last, codeNone)
	c.flushSoon()
}

// settle ends a connection that has nothing more to do. mu is held.
func (c *conn) settle() {
	if c.bye == parting && len(c.streams) == 0 && len(c.out) == 0 && !c.writing && c.err == nil {
		c.bye, c.err = wentAway, codeNone
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
		c.srv.lot.Wake(&c.Place)
	}
	if len(c.streams) == 0 {
		c.room.Broadcast()
	}
}

// The pings that we send: their answers mean something.
const (
	leavePing = "going..."
	alivePing = "alive?.."
)
