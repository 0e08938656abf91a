package harness

import (
	"net"
	"sync"
)

// Wire is a cable between a process and a server, which can be cut: what runs through it is dropped, and new
// connections are accepted and say nothing, as when packets vanish.
type Wire struct {
	Address string // what stands for the server's
	to      string
	socket  net.Listener

	mu    sync.Mutex
	cut   bool                  // guarded by mu
	conns map[net.Conn]struct{} // guarded by mu; both ends of every connection
}

// NewWire lays a cable to a server's address. It ends with the test.
func NewWire(t T, to string) *Wire {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("laying a wire: %v", err)
	}
	w := &Wire{Address: socket.Addr().String(), to: to, socket: socket, conns: map[net.Conn]struct{}{}}
	var running sync.WaitGroup
	running.Go(func() { w.accept(&running) })
	t.Cleanup(func() {
		_ = socket.Close()
		w.Cut()
		w.drop()
		running.Wait()
	})
	return w
}

// Cut lets nothing through any more. Connections stay open at both ends, and silent.
func (w *Wire) Cut() { w.set(true) }

// Heal lets new connections through; those of the time before are closed.
func (w *Wire) Heal() {
	w.drop()
	w.set(false)
}

func (w *Wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

func (w *Wire) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

func (w *Wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.conns {
		_ = conn.Close()
	}
	clear(w.conns)
}

func (w *Wire) keep(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[conn] = struct{}{}
}

func (w *Wire) accept(running *sync.WaitGroup) {
	for {
		near, err := w.socket.Accept()
		if err != nil {
			return // closed at the test's end
		}
		w.keep(near)
		if w.isCut() {
			continue
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		w.keep(far)
		running.Go(func() { w.carry(near, far) })
		running.Go(func() { w.carry(far, near) })
	}
}

// carry copies one direction until an end closes. While the wire is cut it reads on and drops what it reads.
func (w *Wire) carry(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !w.isCut() {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	if !w.isCut() {
		_, _ = to.Close(), from.Close()
	}
}
