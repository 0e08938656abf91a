package listener_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/listener"
	"github.com/keepgate/keepgate/shared/selfsigned"
)

const (
	version1 = "PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n"
	version2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0f\xc0\x00\x02\x01\xc0\x00\x02\x02\x0f\xa0\x01\xbb\x04\x00\x00"
	local2   = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	said     = "192.0.2.1:4000 192.0.2.2:443 192.0.2.1 "
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// behindProxy starts sockets in clear and with TLS.
func behindProxy(t *testing.T, native bool, trusted []netip.Prefix, change func(*listener.Options)) fixture {
	t.Helper()
	cert, _, err := selfsigned.Load(t.TempDir(), "default")
	if err != nil {
		t.Fatal(err)
	}
	options := listener.Options{Certificate: always(&cert), TrustedProxies: trusted}
	if change != nil {
		change(&options)
	}
	return start(t, native, "127.0.0.1:0 http2 proxy_protocol, 127.0.0.1:0 ssl http2 proxy_protocol", options)
}

// through makes clients whose connections begin with header.
func through(t *testing.T, addr, header string, protocols func(*http.Protocols)) *http.Client {
	t.Helper()
	c := client(addr, "x.test", nil, protocols)
	transport := c.Transport.(*http.Transport)
	transport.DisableKeepAlives = false
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			_, err = io.WriteString(nc, header)
		}
		return nc, err
	}
	c.Timeout = 30 * time.Second
	t.Cleanup(transport.CloseIdleConnections)
	return c
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	http1, http2, h2c := func(p *http.Protocols) { p.SetHTTP1(true) }, func(p *http.Protocols) { p.SetHTTP2(true) }, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }
	for name, native := range map[string]bool{"native": true, "std": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := behindProxy(t, native, loopback, nil)
			for how, test := range map[string]struct {
				addr, url string
				protocols func(*http.Protocols)
			}{
				"HTTP/1.1": {f.addrs[0], "http://x.test/", http1}, "h2c": {f.addrs[0], "http://x.test/", h2c},
				"HTTP/1.1 by TLS": {f.addrs[1], "https://x.test/", http1}, "HTTP/2 by TLS": {f.addrs[1], "https://x.test/", http2},
			} {
				for version, header := range map[string]string{"1": version1, "2": version2, "local": local2, "unknown": "PROXY UNKNOWN\r\n"} {
					t.Run(how+", version "+version, func(t *testing.T) {
						t.Parallel()
						c := through(t, test.addr, header, test.protocols)
						for range 3 { // over one connection
							resp, err := c.Get(test.url)
							if err != nil {
								t.Fatal(err)
							}
							_, _ = io.Copy(io.Discard, resp.Body)
							_ = resp.Body.Close()
							peer := resp.Header.Get("X-Peer")
							if known := header == version1 || header == version2; known && strings.TrimSpace(peer) != strings.TrimSpace(said) ||
								!known && (!strings.HasPrefix(peer, "127.0.0.1:") || !strings.Contains(peer, " "+test.addr+" 127.0.0.1")) {
								t.Errorf("peer %q", peer)
							}
						}
					})
				}
			}
		})
	}
}

// A request may follow in the same packet, and bytes of it must not be lost to the header.
func TestProxyHeaderAndRequestTogether(t *testing.T) {
	t.Parallel()
	for name, native := range map[string]bool{"native": true, "std": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := behindProxy(t, native, loopback, nil)
			nc := dialed(t, f.addrs[0])
			const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
			_, _ = io.WriteString(nc, version1+request+request)
			in := bufio.NewReader(nc)
			for range 2 {
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(resp.Body); err != nil || !strings.HasPrefix(resp.Header.Get("X-Peer"), said[:20]) {
					t.Fatalf("%v, peer %q", err, resp.Header.Get("X-Peer"))
				}
			}
		})
	}
}

func dialed(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	return nc
}

func TestProxiesThatAreNotTrusted(t *testing.T) {
	t.Parallel()
	for name, trusted := range map[string][]netip.Prefix{"nobody": nil, "others": {netip.MustParsePrefix("10.0.0.0/8")}} {
		f := behindProxy(t, true, trusted, nil)
		resp, err := through(t, f.addrs[0], version1, func(p *http.Protocols) { p.SetHTTP1(true) }).Get("http://x.test/")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if peer := resp.Header.Get("X-Peer"); !strings.HasPrefix(peer, "127.0.0.1:") {
			t.Errorf("%s: peer %q", name, peer)
		}
	}
}

// Without a header, or with a broken one, nothing is said and nothing served. A balancer that only looks whether
// somebody is there leaves no trace.
func TestConnectionsWithoutAProxyHeader(t *testing.T) {
	t.Parallel()
	f := behindProxy(t, true, loopback, nil)
	for _, addr := range f.addrs {
		for _, text := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PROXY TCP4 1.1.1.1 1.1.1.1 x 1\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
			nc := dialed(t, addr)
			_, _ = io.WriteString(nc, text)
			if got, err := io.ReadAll(nc); len(got) > 0 || isTimeout(err) {
				t.Errorf("%q: %q, %v", text, got, err)
			}
		}
		_ = dialed(t, addr).Close()
	}
	// The other way round: a header where none is expected is no request.
	plain := start(t, true, "127.0.0.1:0", listener.Options{})
	nc := dialed(t, plain.addrs[0])
	_, _ = io.WriteString(nc, version1+"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(nc), nil); err != nil || resp.StatusCode != 400 {
		t.Errorf("%v, %v", resp, err)
	}
}

// Whoever connects and is silent, or slow, before the first request, is cut off.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	f := behindProxy(t, true, loopback, func(o *listener.Options) { o.HandshakeTimeout = 200 * time.Millisecond })
	for name, begin := range map[string]string{
		"silent": "", "header in part": version1[:20], "no handshake": version1, "handshake in part": version1 + "\x16\x03\x01\x02\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := dialed(t, f.addrs[1])
			if _, err := io.WriteString(nc, begin); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(nc); isTimeout(err) {
				t.Errorf("still open: %q, %v", got, err)
			}
		})
	}
	t.Run("dripping", func(t *testing.T) {
		t.Parallel()
		nc := dialed(t, f.addrs[1])
		begin := time.Now()
		for i := 0; ; i++ {
			if _, err := nc.Write([]byte{"PROXY UNKNOWN                              "[i%20]}); err != nil {
				break
			}
			if time.Since(begin) > 20*time.Second {
				t.Fatal("still open")
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}
