package vaultclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/keepgate/keepgate/shared/serverchain"
)

const maxCABytes = 1 << 20

func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: c.options.Timeout, Control: c.mayReach}).DialContext(ctx, network, address)
	if err == nil {
		return conn, nil
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return nil, f
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return nil, &Failure{StepDNS, "the name " + dns.Name + " has no address", err}
		}
		return nil, &Failure{StepDNS, "asking for the address of " + dns.Name + ": " + dns.Err, err}
	}
	if isTimeout(err) {
		return nil, &Failure{StepTCP, "nothing answers at " + address + " in time", err}
	}
	return nil, &Failure{StepTCP, "connecting to " + address + ": " + errors.Unwrap(opError(err)).Error(), err}
}

// mayReach is asked when the name is resolved already: what a name leads to may change between two questions.
func (c *Client) mayReach(_, address string, _ syscall.RawConn) error {
	if c.options.Reach == nil {
		return nil
	}
	to, err := netip.ParseAddrPort(address)
	if err == nil {
		err = c.options.Reach(to.Addr().WithZone("").Unmap())
	}
	if err != nil {
		return &Failure{StepAddress, err.Error(), err}
	}
	return nil
}

// opError makes sure that there is an error within.
func opError(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op
	}
	return &net.OpError{Err: err}
}

func (c *Client) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Failure{StepAddress, "no address of a server", err}
	}
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	plain, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS12,
		// VerifyConnection verifies, by the one rule for servers that an operator names.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if err := serverchain.Verify(s.PeerCertificates, serverchain.Demand{Host: host, Roots: roots, Depth: -1}); err != nil {
				return &Failure{StepTLS, err.Error(), err}
			}
			return nil
		},
	})
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close() // the handshake's error says more
		if f, ok := errors.AsType[*Failure](err); ok {
			return nil, f
		}
		return nil, &Failure{StepTLS, "no TLS with " + address + ": " + err.Error(), err}
	}
	return conn, nil
}

// roots reads the file of authorities, if there is one, so that a new one counts for the next connection. nil are those of
// the system.
func (c *Client) roots() (*x509.CertPool, error) {
	if c.options.CAFile == "" {
		return c.options.Roots, nil
	}
	fail := func(why string, err error) error {
		return &Failure{StepTLS, "the file of authorities " + c.options.CAFile + ": " + why, err}
	}
	info, err := os.Stat(c.options.CAFile)
	if err != nil {
		return nil, fail(reason(err), err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxCABytes {
		return nil, fail("no file, or a very long one", nil)
	}
	text, err := os.ReadFile(c.options.CAFile)
	if err != nil {
		return nil, fail(reason(err), err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fail("no certificate in PEM in it", nil)
	}
	return roots, nil
}

// reason is an error of the file system without the path, which is told.
func reason(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
