package proxy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// A client that announces a body and does not send it cannot make a target look dead that closes for want of it.
func TestSlowClientsDoNotFellTargets(t *testing.T) {
	t.Parallel()
	o := newMortal(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	list := balanced(passive, o.addr)
	for _, e := range list {
		if m, ok := e.message.(*configv1.Service); ok {
			m.Retries = new(int64(0))
		}
	}
	g := newGateway(t, proxy.Options{}, list...)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "POST /r HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\nsome")
	if got, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("%q, %v", got, err)
	}
	g.settles(t)
	if h := g.health(t); h.Targets[0].State != balancer.Healthy {
		t.Errorf("a client sent too little, and the target is %s", h.Targets[0].State)
	}
	g.do(t, "POST", "/r", "all")
	g.settles(t)
	if h := g.health(t); h.Targets[0].State == balancer.Healthy {
		t.Error("the target closes on a whole request, and is healthy")
	}
}
