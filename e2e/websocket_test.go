package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/keepgate/keepgate/e2e/harness"
)

// WebSocket connections pass in clear and over TLS, to upstreams in clear and over TLS, both ways and to their end;
// who may not open one is told so before.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	c, keys := harness.New(t), newPKI(t)
	keys.authority("ca")
	keys.issue("ca", "api", "/CN=api", "IP:127.0.0.1")
	plain := httptest.NewServer(http.HandlerFunc(echoSocket))
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(echoSocket))
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{keys.pair("api")}}
	secure.StartTLS()
	defer secure.Close()
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge", cp, "--ssl-trusted-certificate", keys.file("ca.crt"))
	dp.Launch()
	cp.Admin().Push(fmt.Sprintf(`_format_version: "3.0"
services:
- {name: plain, url: %q, routes: [{name: plain, paths: [/plain]}], plugins: [{name: key-auth}]}
- {name: secure, url: %q, routes: [{name: secure, paths: [/secure]}], plugins: [{name: key-auth}]}
consumers:
- {username: alice, keyauth_credentials: [{key: a-key-for-sockets}]}
`, plain.URL, secure.URL))
	dp.Await(401, "/plain")
	for _, path := range []string{"/plain", "/secure"} {
		for _, base := range []string{"ws://" + dp.Proxy, "wss://" + dp.TLS} {
			t.Run(base[:3]+path, func(t *testing.T) { socket(t, base+path) })
		}
	}
}

func socket(t *testing.T, url string) {
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the self-signed default
	defer client.CloseIdleConnections()
	options := &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"echo"}, HTTPHeader: http.Header{}}
	if _, response, err := websocket.Dial(ctx, url, options); err == nil || response == nil || response.StatusCode != 401 {
		t.Fatalf("without a key: %v, %v", response, err)
	}
	options.HTTPHeader.Set("apikey", "a-key-for-sockets")
	connection, _, err := websocket.Dial(ctx, url, options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.CloseNow() }()
	connection.SetReadLimit(1 << 22)
	if connection.Subprotocol() != "echo" {
		t.Errorf("the subprotocol is %q", connection.Subprotocol())
	}
	large := strings.Repeat("x", 1<<20)
	for _, text := range []string{"", "hello", large} {
		for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
			if err := connection.Write(ctx, kind, []byte(text)); err != nil {
				t.Fatal(err)
			}
			got, answer, err := connection.Read(ctx)
			if err != nil || got != kind || string(answer) != text {
				t.Fatalf("%d bytes as %v came back as %d bytes as %v, %v", len(text), kind, len(answer), got, err)
			}
		}
	}
	if err := connection.Write(ctx, websocket.MessageText, []byte("bye")); err != nil {
		t.Fatal(err)
	}
	_, _, err = connection.Read(ctx)
	if closed, ok := errors.AsType[websocket.CloseError](err); !ok || closed.Code != 4001 || closed.Reason != "as asked" {
		t.Errorf("the end is %v", err)
	}
}

// echoSocket sends back what it gets, until "bye".
func echoSocket(w http.ResponseWriter, r *http.Request) {
	connection, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}})
	if err != nil {
		return
	}
	defer func() { _ = connection.CloseNow() }()
	connection.SetReadLimit(1 << 22)
	for {
		kind, message, err := connection.Read(r.Context())
		if err != nil {
			return
		}
		if string(message) == "bye" {
			_ = connection.Close(4001, "as asked") // the other end sees how it went
			return
		}
		if connection.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}
