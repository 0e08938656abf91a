package upstream

import (
	"crypto/tls"
	"sync/atomic"

	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http2"
)

// wires are the connections of a pool as long as its identity does not change.
type wires struct {
	tls     *tls.Config  // nil: in clear
	http1   *tls.Config  // as tls, for requests that need HTTP/1.1
	idle    *client.Pool // HTTP/1.1
	streams *http2.Pool  // nil: no HTTP/2
}

// held is where a pool and its entry find the wires of the moment.
type held = atomic.Pointer[wires]

func (p *Pools) newWires(link Link) *wires {
	w := &wires{idle: client.NewPool(p.blocks, p.options)}
	speaksHTTP2 := link.Protocol == HTTP2 || link.Protocol == Either && link.Security != nil
	if speaksHTTP2 {
		w.streams = http2.NewPool(link.Security != nil, http2.Options{
			IdleTimeout: p.options.IdleTimeout, MaxRequests: p.options.MaxRequests, SingleUse: p.options.MaxIdle < 0, Trailers: link.Protocol == HTTP2,
		})
	}
	if link.Security == nil {
		return w
	}
	w.http1 = link.Security.TLS(p.node, "http/1.1")
	w.tls = w.http1
	if speaksHTTP2 {
		protocols := []string{"h2", "http/1.1"}
		if link.Protocol == HTTP2 {
			protocols = protocols[:1]
		}
		w.tls = link.Security.TLS(p.node, protocols...)
	}
	return w
}

func (w *wires) close() {
	w.idle.Close()
	if w.streams != nil {
		w.streams.Close()
	}
}

func (w *wires) open() {
	w.idle.Open()
	if w.streams != nil {
		w.streams.Open()
	}
}

// drain closes what is idle now.
func (w *wires) drain() {
	w.idle.Drain()
	if w.streams != nil {
		w.streams.Drain()
	}
}

func (w *wires) sweep() {
	w.idle.Sweep()
	if w.streams != nil {
		w.streams.Sweep()
	}
}

func (w *wires) counts() (idle, busy int) {
	idle, busy = w.idle.Counts()
	if w.streams != nil {
		i, b := w.streams.Counts()
		idle, busy = idle+i, busy+b
	}
	return idle, busy
}
