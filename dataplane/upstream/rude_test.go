package upstream_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rude is a server that speaks HTTP/2 frame by frame, as it is told.
type rude struct {
	*http2.Framer
	nc    net.Conn
	conns int // which connection this is, from 1
}

// answer sends a response's head; fields are name, value, name, value.
func (r *rude) answer(stream uint32, end bool, fields ...string) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = r.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

// serveRude calls on for every frame that comes; it says false to end the connection.
func serveRude(t *testing.T, on func(r *rude, f http2.Frame) bool) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for count := 1; ; count++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[nc] = true
			mu.Unlock()
			wg.Go(func() {
				defer nc.Close()
				if _, err := io.ReadFull(nc, make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				r := &rude{http2.NewFramer(nc, nc), nc, count}
				_ = r.WriteSettings()
				for {
					f, err := r.ReadFrame()
					if err != nil {
						return
					}
					if f.Header().Type == http2.FrameSettings && !f.(*http2.SettingsFrame).IsAck() {
						_ = r.WriteSettingsAck()
					}
					if !on(r, f) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for nc := range open {
			_ = nc.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l
}

func isHead(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders }
