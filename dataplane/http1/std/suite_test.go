package std_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http1/std"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	http1test.Run(t, func(_ testing.TB, handler exchange.Handler) http1test.Engine {
		return std.New(handler, std.Options{})
	})
}

// What goes without saying is said to those who expect nginx's headers.
func TestSaysThatConnectionsAreKept(t *testing.T) {
	t.Parallel()
	for _, says := range []bool{false, true} {
		engine := std.New(http1test.NewProxy(t, http1test.NewOrigin(t).Addr), std.Options{SayKeepAlive: says})
		c := http1test.Dial(t, http1test.Start(t, engine))
		want := map[bool]string{true: "keep-alive"}[says]
		c.Send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, body := c.Response("GET"); body != "hello /a" || resp.Header.Get("Connection") != want {
			t.Errorf("says %v: %q %v", says, body, resp.Header)
		}
		c.Send("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if resp, _ := c.Response("GET"); len(resp.Header["Connection"]) > 0 && resp.Header.Get("Connection") != "close" || !resp.Close {
			t.Errorf("says %v at the end: %v", says, resp.Header)
		}
		c.Closed()
	}
}
