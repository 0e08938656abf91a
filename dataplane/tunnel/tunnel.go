// Package tunnel reaches an address through a forward proxy: HTTP CONNECT (RFC 9110 §9.3.6), over TCP or TLS.
//
// The proxy sees who is called and nothing of what is said: the planes' own TLS runs inside. What the proxy wants to
// know of this node (Basic authentication, RFC 7617) is never part of an error.
package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	maxAnswer = 64 << 10
	timeout   = 15 * time.Second // where the caller sets no earlier end
)

// Proxy is a forward proxy.
type Proxy struct {
	address       string // host:port
	authorization secret.Bytes
	tls           *tls.Config // nil: in clear
}

// Options say how an https proxy is verified.
type Options struct {
	Roots    *x509.CertPool // nil: the system's
	Insecure bool           // verify nothing
}

// New reads http://user:password@host:port or https://…; errors hold nothing of it.
func New(server secret.Bytes, options Options) (*Proxy, error) {
	var at *url.URL
	var err error
	server.Reveal(func(text []byte) { at, err = url.Parse(strings.TrimSpace(string(text))) })
	switch {
	case err != nil:
		return nil, refuse("it is not a URL; a password with special characters has them as %XX, as in a%40b")
	case at.Scheme != "http" && at.Scheme != "https":
		return nil, refuse("it begins with neither http:// nor https://")
	case at.Hostname() == "":
		return nil, refuse("it names no host")
	case at.Path != "" && at.Path != "/" || at.RawQuery != "" || at.Fragment != "":
		return nil, refuse("it is http://host:port or https://host:port, with user:password@ before the host at most")
	}
	port := at.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[at.Scheme]
	}
	p := &Proxy{address: net.JoinHostPort(at.Hostname(), port)}
	if at.User != nil {
		password, _ := at.User.Password()
		p.authorization = secret.Take([]byte("Basic " + base64.StdEncoding.EncodeToString([]byte(at.User.Username()+":"+password))))
	}
	if at.Scheme == "https" {
		p.tls = &tls.Config{
			MinVersion: tls.VersionTLS12, ServerName: at.Hostname(), RootCAs: options.Roots,
			InsecureSkipVerify: options.Insecure, // proxy_server_ssl_verify=off; what runs inside is verified all the same
		}
	}
	return p, nil
}

// Through is how the control plane is reached by the settings cluster_use_proxy, proxy_server and
// proxy_server_ssl_verify; nil is straight.
func Through(use bool, server secret.Bytes, roots func() (*x509.CertPool, error), insecure bool) (func(context.Context, string) (net.Conn, error), error) {
	switch {
	case !use:
		return nil, nil
	case server.Len() == 0:
		return nil, fault.New(fault.Invalid, "tunnel.Through", "cluster_use_proxy", errors.New("set proxy_server to http://host:port too"))
	}
	pool, err := roots()
	if err != nil {
		return nil, err
	}
	proxy, err := New(server, Options{Roots: pool, Insecure: insecure})
	if err != nil {
		return nil, err
	}
	return proxy.Dial, nil
}

func refuse(why string) error {
	return fault.New(fault.Invalid, "tunnel.New", "proxy_server", errors.New(why))
}

// Address is where the proxy is.
func (p *Proxy) Address() string { return p.address }

// Dial opens a tunnel to host:port.
func (p *Proxy) Dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, fmt.Errorf("reaching proxy_server %s: %w", p.address, err)
	}
	through, err := p.open(ctx, conn, address)
	if err != nil {
		conn.Close() // it leads nowhere
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		return nil, fmt.Errorf("proxy_server %s: %w", p.address, err)
	}
	return through, nil
}

// open asks for the tunnel, and is cut off by ctx.
func (p *Proxy) open(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if p.tls != nil {
		secured := tls.Client(conn, p.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			stop()
			return nil, fmt.Errorf("its certificate: %w (verified against ssl_trusted_certificate, unless proxy_server_ssl_verify is off)", err)
		}
		conn = secured
	}
	reader, err := p.connect(conn, address)
	if !stop() && err == nil {
		err = errors.New("it was too slow")
	}
	if err != nil {
		return nil, err
	}
	if reader.Buffered() == 0 {
		return conn, nil
	}
	early, err := reader.Peek(reader.Buffered())
	return &begun{Conn: conn, early: early}, err
}

func (p *Proxy) connect(conn net.Conn, address string) (*bufio.Reader, error) {
	request := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if strings.ContainsAny(address, " \r\n") {
		return nil, fmt.Errorf("%q is no address", address)
	}
	var err error
	p.authorization.Reveal(func(value []byte) {
		line := ""
		if len(value) > 0 {
			line = "Proxy-Authorization: " + string(value) + "\r\n"
		}
		_, err = io.WriteString(conn, request+line+"\r\n")
	})
	if err != nil {
		return nil, fmt.Errorf("asking for a tunnel: %w", err)
	}
	limited := &io.LimitedReader{R: conn, N: maxAnswer}
	reader := bufio.NewReader(limited)
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, fmt.Errorf("reading its answer: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return nil, errors.New(refusal(response.StatusCode, address, p.authorization.Len() > 0))
	}
	return reader, nil
}

// refusal says what a proxy meant.
func refusal(status int, address string, authorized bool) string {
	switch status {
	case http.StatusProxyAuthRequired:
		if authorized {
			return "it does not accept the user and password of proxy_server (407)"
		}
		return "it wants a user and password: set proxy_server to http://user:password@host:port (407)"
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		return fmt.Sprintf("it does not allow a tunnel to %s (%d)", address, status)
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Sprintf("it cannot reach %s (%d)", address, status)
	}
	return fmt.Sprintf("it answers %d to a tunnel to %s", status, address)
}

// begun is a connection of which some bytes were read already.
type begun struct {
	net.Conn
	early []byte
}

// Read gives the early bytes first.
func (b *begun) Read(data []byte) (int, error) {
	if len(b.early) > 0 {
		n := copy(data, b.early)
		b.early = b.early[n:]
		return n, nil
	}
	return b.Conn.Read(data)
}
