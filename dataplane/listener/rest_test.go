package listener_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http2server"
	"github.com/keepgate/keepgate/dataplane/listener"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/shared/selfsigned"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// whois answers with all that a request says of its connection.
type whois struct{}

func (whois) Serve(ex *exchange.Exchange) {
	r := &ex.Request
	who := "nobody"
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		who = r.TLS.PeerCertificates[0].SerialNumber.Text(16)
	}
	ex.Answer(200, "text/plain", fmt.Appendf(nil, "%s %s %q by %q, from %s to %s", r.Scheme, who, r.SNI(), r.Handshake, r.Remote, r.Local))
}

func (whois) Finish(*exchange.Exchange) {}

// What was proved of a client, by its certificate and by a proxy before it, stays with its connection over a rest.
func TestRestKeepsWhoItIs(t *testing.T) {
	t.Parallel()
	cert, _, err := selfsigned.Load(t.TempDir(), "default")
	if err != nil {
		t.Fatal(err)
	}
	policy := &table.Handshake{Key: "policy", Authorities: x509.NewCertPool()}
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var specs values.Listen
			if err := specs.UnmarshalText([]byte("127.0.0.1:0 ssl http2 proxy_protocol")); err != nil {
				t.Fatal(err)
			}
			l := listener.New(specs, listener.Options{
				Certificate: always(&cert), Handshake: func(string) *table.Handshake { return policy }, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			})
			one := http1.New(whois{}, http1.Options{RestAfter: time.Millisecond})
			two := http2server.New(whois{}, http2server.Options{RestAfter: time.Millisecond})
			l.Attach(one, two)
			if err := l.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- l.Run(ctx) }()
			dialled := 0
			protocols := new(http.Protocols)
			protocols.SetHTTP1(protocol != "h2")
			protocols.SetHTTP2(protocol == "h2")
			transport := &http.Transport{Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
				dialled++
				nc, err := net.Dial("tcp", l.Addrs()[0].String())
				if err == nil {
					_, err = io.WriteString(nc, "PROXY TCP4 192.0.2.7 192.0.2.8 1111 2222\r\n")
				}
				return nc, err
			}, TLSClientConfig: &tls.Config{ServerName: "name.test", InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}}}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
			want := fmt.Sprintf(`https %s "name.test" by "policy", from 192.0.2.7:1111 to 192.0.2.8:2222`, cert.Leaf.SerialNumber.Text(16))
			for range 3 {
				response, err := client.Get("https://name.test/")
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(response.Body); string(got) != want || err != nil {
					t.Fatalf("%s, %v; want %s", got, err, want)
				}
				for deadline := time.Now().Add(30 * time.Second); one.Resting()+two.Resting() != 1; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("the connection does not rest")
					}
				}
			}
			if dialled != 1 {
				t.Errorf("%d connections were made", dialled)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
