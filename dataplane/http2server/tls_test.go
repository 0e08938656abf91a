package http2server_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http2server"
)

// Over TLS requests tell of it, and a connection that has rested goes on.
func TestTLS(t *testing.T) {
	t.Parallel()
	borrowed := httptest.NewUnstartedServer(nil)
	borrowed.StartTLS()
	defer borrowed.Close()
	proxy := http1test.NewProxy(t, http1test.NewOrigin(t).Addr)
	proxy.Local = func(ex *exchange.Exchange) bool {
		r := &ex.Request
		ex.Answer(200, "text/plain", []byte(ex.Join(r.Scheme, " ", r.SNI(), " ", r.TLS.NegotiatedProtocol)))
		return true
	}
	server := http2server.New(proxy, http2server.Options{RestAfter: time.Millisecond})
	addr := http1test.Start(t, encrypted{server, &tls.Config{Certificates: borrowed.TLS.Certificates, NextProtos: []string{"h2"}}})
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "gate.test"}}
	defer transport.CloseIdleConnections()
	c := http.Client{Transport: transport, Timeout: patience}
	for range 3 {
		resp, err := c.Get("https://" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if string(body) != "https gate.test h2" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
		rests(t, server)
	}
	if open, active := server.Connections(); open != 1 || active != 0 {
		t.Errorf("%d connections, %d active", open, active)
	}
}

// encrypted is the server behind TLS.
type encrypted struct {
	*http2server.Server
	config *tls.Config
}

func (e encrypted) Serve(l net.Listener) error { return e.Server.Serve(tls.NewListener(l, e.config)) }
