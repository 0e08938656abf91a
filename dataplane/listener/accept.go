package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/settings/values"
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
			serving.Go(func() { l.serve(s, nc) })
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

// serve shakes hands where the socket wants it and gives the connection to its engine.
func (l *Listener) serve(s socket, nc net.Conn) {
	if s.tls != nil {
		secure := tls.Server(nc, s.tls)
		_ = nc.SetDeadline(time.Now().Add(l.options.HandshakeTimeout))
		if err := secure.Handshake(); err != nil {
			l.refused.Add(1)
			_ = nc.Close()
			return
		}
		_ = nc.SetDeadline(time.Time{})
		nc = secure
		if secure.ConnectionState().NegotiatedProtocol == "h2" {
			l.queue.put(nc)
			return
		}
	}
	if l.native == nil {
		l.queue.put(nc)
		return
	}
	l.native.ServeConn(nc)
}

// HandOver takes a clear connection that opens with HTTP/2's preface. On a socket without the flag http2 it is closed.
func (l *Listener) HandOver(nc net.Conn) {
	local := nc.LocalAddr()
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

func (l *Listener) tlsConfig(spec values.Listener) *tls.Config {
	c := &tls.Config{
		MinVersion:       l.options.MinVersion,
		NextProtos:       []string{"http/1.1"},
		GetCertificate:   l.certificate,
		VerifyConnection: l.options.Verify,
	}
	if spec.HTTP2 {
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	if l.options.Verify != nil {
		c.ClientAuth = tls.RequestClientCert
	}
	return c
}

var errNoCertificate = errors.New("no certificate for the server name, and no default")

func (l *Listener) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if l.options.Certificate != nil {
		if cert, err := l.options.Certificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	if l.options.Default == nil {
		return nil, errNoCertificate
	}
	return l.options.Default, nil
}

// queue is a net.Listener fed by hand.
type queue struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (q *queue) put(nc net.Conn) {
	select {
	case q.conns <- nc:
	case <-q.closed:
		_ = nc.Close()
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case nc := <-q.conns:
		return nc, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
