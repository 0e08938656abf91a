package upstream_test

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// halting is a body that stops after its first bytes until it is interrupted.
type halting struct {
	first   string
	stop    chan struct{}
	once    sync.Once
	reading atomic.Int64
}

func (h *halting) Read(p []byte) (int, error) {
	if h.first != "" {
		n := copy(p, h.first)
		h.first = h.first[n:]
		return n, nil
	}
	h.reading.Add(1)
	defer h.reading.Add(-1)
	<-h.stop
	return 0, exchange.ErrBodyCut
}

func (h *halting) Interrupt() { h.once.Do(func() { close(h.stop) }) }

// Nobody reads the client's body any more when a response is over or a trip has failed.
func TestBodyIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]bool{"answered early": false, "refused": true} {
		l := serveRude(t, func(r *rude, f http2.Frame) bool {
			switch {
			case f.Header().Type == http2.FrameData && refuse:
				_ = r.WriteRSTStream(f.Header().StreamID, http2.ErrCodeRefusedStream)
			case f.Header().Type == http2.FrameData:
				r.answer(f.Header().StreamID, true, ":status", "413")
			}
			return true
		})
		p := newPools(t, client.Options{}).Pool(addrOf(l), upstream.Link{Protocol: upstream.HTTP2})
		body := &halting{first: "some", stop: make(chan struct{})}
		ex := post(body)
		err := p.RoundTrip(t.Context(), ex, &client.Head{Target: "/", Host: "a"}, patience)
		failure, _ := err.(*client.Error)
		if refuse != (failure != nil) || !refuse && ex.Response.Status != 413 {
			t.Errorf("%s: RoundTrip = %v, %d", name, err, ex.Response.Status)
		}
		cut := false // it depends on timing whether the next read had begun
		select {
		case <-body.stop:
			cut = true
		default:
		}
		if body.reading.Load() != 0 || refuse && failure.Repeatable(ex) == cut {
			t.Errorf("%s: somebody still reads, or an interrupted body is thought to be whole", name)
		}
	}
}

// A client's body that fails is the client's doing, and a client that leaves ends the wait.
func TestClientsThatFail(t *testing.T) {
	t.Parallel()
	came := make(chan struct{}, 8)
	l := serveRude(t, func(_ *rude, f http2.Frame) bool {
		if isHead(f) {
			came <- struct{}{}
		}
		return true
	})
	p := newPools(t, client.Options{}).Pool(addrOf(l), upstream.Link{Protocol: upstream.HTTP2})
	ex := post(io.MultiReader(strings.NewReader("x"), &halting{stop: closed()}))
	failure, _ := p.RoundTrip(t.Context(), ex, &client.Head{Target: "/", Host: "a"}, patience).(*client.Error)
	if failure == nil || failure.Kind != client.ClientBody || failure.Err != exchange.ErrBodyCut {
		t.Errorf("RoundTrip = %v, want the client's fault", failure)
	}
	<-came
	ex = post(nil)
	ex.Client = &leaver{when: came}
	failure, _ = p.RoundTrip(t.Context(), ex, &client.Head{Target: "/", Host: "a"}, patience).(*client.Error)
	if failure == nil || failure.Kind != client.ClientGone || failure.Repeatable(ex) {
		t.Errorf("RoundTrip = %v, want that the client has gone", failure)
	}
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// leaver is a client that leaves at some moment.
type leaver struct {
	when chan struct{}
	done chan struct{}
}

func (l *leaver) Watch(a exchange.Aborter) {
	l.done = make(chan struct{})
	go func() {
		defer close(l.done)
		<-l.when
		a.Abort()
	}()
}

func (l *leaver) Unwatch() bool {
	<-l.done
	return true
}
