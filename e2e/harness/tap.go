package harness

import (
	"bytes"
	"crypto/tls"
	"net"
	"sync"
)

// Tap is a relay between a data plane and a control plane that has both their certificates and keys, and writes down what the
// data plane says, in clear.
type Tap struct {
	Address string // what stands for the control plane's
	to      string
	near    *tls.Config // as the control plane
	far     *tls.Config // as the data plane
	t       T
	socket  net.Listener

	mu    sync.Mutex
	heard bytes.Buffer          // guarded by mu
	conns map[net.Conn]struct{} // guarded by mu
}

// NewTap makes a tap before a control plane, for the data plane that has cert and key. It ends with the test.
func (c *Cluster) NewTap(cp *ControlPlane, cert, key string) *Tap {
	c.T.Helper()
	load := func(cert, key string) []tls.Certificate {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			c.T.Fatalf("reading what the tap stands for: %v", err)
		}
		return []tls.Certificate{pair}
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.T.Fatalf("making a tap: %v", err)
	}
	t := &Tap{
		Address: socket.Addr().String(), to: cp.Cluster, t: c.T, socket: socket, conns: map[net.Conn]struct{}{},
		near: &tls.Config{
			Certificates: load(c.Cert("control-plane.crt"), c.Cert("control-plane.key")), ClientAuth: tls.RequireAnyClientCert,
			NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13,
		},
		far: &tls.Config{
			Certificates: load(cert, key), NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13,
			InsecureSkipVerify: true, // it is this test's own
		},
	}
	var running sync.WaitGroup
	running.Go(func() { t.accept(&running) })
	c.T.Cleanup(func() {
		_ = socket.Close()
		t.mu.Lock()
		for conn := range t.conns {
			_ = conn.Close()
		}
		t.mu.Unlock()
		running.Wait()
	})
	return t
}

// Heard fails the test unless the data plane said what is known, and reports as what form it said what is hidden; "" when in
// none.
func (t *Tap) Heard(known, hidden string) (form string) {
	t.t.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !bytes.Contains(t.heard.Bytes(), []byte(known)) {
		t.t.Fatalf("the tap heard %d bytes, and not what it has to hear", t.heard.Len())
	}
	for form, trace := range Traces(hidden) {
		if bytes.Contains(t.heard.Bytes(), trace) {
			return form
		}
	}
	return ""
}

func (t *Tap) accept(running *sync.WaitGroup) {
	for {
		near, err := t.socket.Accept()
		if err != nil {
			return // closed at the test's end
		}
		far, err := net.Dial("tcp", t.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		t.mu.Lock()
		t.conns[near], t.conns[far] = struct{}{}, struct{}{}
		t.mu.Unlock()
		one, other := tls.Server(near, t.near), tls.Client(far, t.far)
		running.Go(func() { t.carry(other, one, true) })
		running.Go(func() { t.carry(one, other, false) })
	}
}

// carry copies one direction until an end closes.
func (t *Tap) carry(to, from net.Conn, said bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if said {
				t.mu.Lock()
				t.heard.Write(buffer[:n])
				t.mu.Unlock()
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
