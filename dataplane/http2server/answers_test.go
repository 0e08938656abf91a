package http2server_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// answers is a handler that does what a request's path says.
type answers struct {
	entered chan struct{} // of /hold
	now     atomic.Int64  // requests under way
	most    atomic.Int64
	aborted atomic.Int64
	last    chan exchange.Sent // of what has finished, if somebody listens
}

func newAnswers() *answers {
	return &answers{entered: make(chan struct{}, 10_000), last: make(chan exchange.Sent, 10_000)}
}

// waiter is somebody who waits for an upstream that never says anything.
type waiter struct{ left chan struct{} }

func (w *waiter) Abort() { close(w.left) }

func (a *answers) Serve(ex *exchange.Exchange) {
	for n := a.now.Add(1); n > a.most.Load(); {
		a.most.Store(n)
	}
	switch r := &ex.Request; r.Path {
	case "/echo":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			ex.Answer(exchange.StatusOf(err), "", []byte(err.Error()))
			return
		}
		ex.Response.Header.Set("X-Trailer", r.Trailer.Get("x-sum"))
		ex.Answer(200, "text/plain", body)
	case "/hold":
		w := &waiter{make(chan struct{})}
		ex.Client.Watch(w)
		a.entered <- struct{}{}
		<-w.left
		if ex.Client.Unwatch() {
			a.aborted.Add(1)
		}
	case "/large":
		ex.Answer(200, "text/plain", bytes.Repeat([]byte("0123456789"), 100_000))
	case "/endless":
		ex.Response.Status, ex.Response.ContentLength = 200, -1
		ex.Response.Stream = io.NopCloser(endless{})
	case "/fields":
		for i := range 400 {
			ex.Response.Header.Add(fmt.Sprint("X-Field-", i), strings.Repeat("v", 100))
		}
		ex.Answer(200, "text/plain", []byte("ok"))
	case "/host":
		ex.Answer(200, "text/plain", []byte(ex.Join(r.Host, " ", r.Header.Get("cookie"))))
	default:
		ex.Answer(200, "text/plain", []byte("ok"))
	}
}

func (a *answers) Finish(ex *exchange.Exchange) {
	a.now.Add(-1)
	select {
	case a.last <- ex.Sent:
	default:
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
