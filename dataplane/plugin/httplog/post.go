package httplog

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/keepgate/keepgate/shared/serverchain"
)

// poster sends batches to one endpoint over connections of its own.
type poster struct {
	config    *config
	transport *http.Transport
}

func newPoster(k *Kind, c *config) poster {
	roots := k.options.Roots
	host := c.endpoint.Hostname()
	t := &http.Transport{
		Proxy: nil, DialContext: (&net.Dialer{Timeout: c.timeout, KeepAlive: -1}).DialContext,
		TLSHandshakeTimeout: c.timeout, ResponseHeaderTimeout: c.timeout, IdleConnTimeout: c.keepalive, DisableKeepAlives: c.keepalive == 0,
		MaxIdleConnsPerHost: c.senders, MaxConnsPerHost: c.senders, DisableCompression: true,
		// VerifyConnection verifies, by the one rule for servers that an operator names.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			if serverchain.Verify(s.PeerCertificates, serverchain.Demand{Host: host, Roots: roots, Depth: -1}) != nil {
				return errTrust
			}
			return nil
		}},
	}
	return poster{c, t}
}

// errTrust stands for a reason that shows whom the certificate is for.
var errTrust = errors.New("the certificate of the endpoint is not trusted")

func (p poster) close() { p.transport.CloseIdleConnections() }

// post sends a batch: one record as it is where batches have one, else an array. Any answer but 2xx is an error, which shows
// nothing of the endpoint.
func (p poster) post(ctx context.Context, batch []*[]byte) error {
	if p.config.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.config.timeout)
		defer cancel()
	}
	request, err := http.NewRequestWithContext(ctx, p.config.method, p.config.endpoint.String(), bytes.NewReader(p.body(batch)))
	if err != nil {
		return errors.New("no request can be made of http_endpoint")
	}
	request.Header = p.config.header
	response, err := p.transport.RoundTrip(request)
	if err != nil {
		return plain(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be used again
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("the endpoint answered %d", response.StatusCode)
	}
	return nil
}

func (p poster) body(batch []*[]byte) []byte {
	if p.config.batch == 1 {
		return *batch[0]
	}
	n := 2
	for _, record := range batch {
		n += len(*record) + 1
	}
	body := append(make([]byte, 0, n), '[')
	for i, record := range batch {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, *record...)
	}
	return append(body, ']')
}

// plain says what went wrong without the names and addresses that errors of package net bear.
func plain(err error) error {
	var (
		name    *net.DNSError
		timeout net.Error
		number  syscall.Errno
		hello   tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return errStopped
	case errors.Is(err, errTrust):
		return errTrust
	case errors.As(err, &name):
		return errors.New("the name of the endpoint was not found")
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("the endpoint did not answer in time")
	case errors.As(err, &number):
		return fmt.Errorf("connecting to the endpoint: %w", number)
	case errors.As(err, &hello):
		return errors.New("the endpoint does not speak TLS")
	}
	return errors.New("no answer from the endpoint")
}
