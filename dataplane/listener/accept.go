package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// accept serves each connection of s in a goroutine, until s is closed. Running out of files or memory is waited out.
func (l *Listener) accept(ctx context.Context, s socket, serving *sync.WaitGroup) error {
	const first, most = 5 * time.Millisecond, time.Second
	pause := first
	for {
		nc, err := s.Accept()
		switch {
		case err == nil:
			pause = first
			l.accepted.Add(1)
			serving.Go(func() { l.begin(s, nc, serving) })
			continue
		case errors.Is(err, net.ErrClosed):
			return nil
		}
		l.options.Log.Error("accept failed", "address", s.Addr().String(), "error", err.Error(), "retry", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, most)
	}
}

// begin reads who a proxy in front speaks for and shakes hands, where the socket wants it, and gives the connection to its
// engine.
func (l *Listener) begin(s socket, nc net.Conn, serving *sync.WaitGroup) {
	nc = ours(nc, &l.crowd)
	if s.tls != nil || s.spec.ProxyProtocol {
		if !l.early.begin(nc) {
			_ = nc.Close()
			return
		}
		_ = nc.SetDeadline(time.Now().Add(l.options.HandshakeTimeout))
		prepared, err := l.prepare(s, nc)
		l.early.done(nc)
		if err != nil {
			if s.tls != nil && !errors.Is(err, io.EOF) { // who goes without a word is a balancer that looks whether we live
				l.refused.Add(1)
			}
			_ = nc.Close()
			return
		}
		nc = prepared
		_ = nc.SetDeadline(time.Time{})
		if secure, ok := nc.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol == "h2" {
			l.queue.put(nc)
			return
		}
	}
	if l.native == nil {
		l.queue.put(nc)
		return
	}
	if _, secure := nc.(*tls.Conn); secure {
		serving.Go(func() { l.native.ServeConn(nc) }) // on a small stack: a handshake makes a large one
		return
	}
	l.native.ServeConn(nc)
}

// prepare does what a connection needs before its engine, under one deadline.
func (l *Listener) prepare(s socket, nc net.Conn) (net.Conn, error) {
	if s.spec.ProxyProtocol {
		said, err := readProxyHeader(nc)
		if err != nil {
			return nil, err
		}
		if c, ok := nc.(*conn); ok && said.remote.IsValid() && l.believes(nc.RemoteAddr()) {
			c.remote, c.local = net.TCPAddrFromAddrPort(said.remote), net.TCPAddrFromAddrPort(said.local)
		}
	}
	if s.tls == nil {
		return nc, nil
	}
	secure := tls.Server(nc, s.tls)
	return secure, secure.Handshake()
}

// believes says whether a proxy's word counts.
func (l *Listener) believes(proxy net.Addr) bool {
	tcp, ok := proxy.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, prefix := range l.options.TrustedProxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// HandOver takes a clear connection that opens with HTTP/2's preface. On a socket without the flag http2 it is closed.
func (l *Listener) HandOver(nc net.Conn) {
	local := socketAddr(nc)
	for _, s := range l.sockets {
		if s.spec.HTTP2 && !s.spec.TLS && samePort(s.Addr(), local) {
			l.queue.put(nc)
			return
		}
	}
	_ = nc.Close()
}

func samePort(a, b net.Addr) bool {
	x, ok1 := a.(*net.TCPAddr)
	y, ok2 := b.(*net.TCPAddr)
	return ok1 && ok2 && x.Port == y.Port && (x.IP.IsUnspecified() || x.IP.Equal(y.IP))
}
