// Package adminclient calls the Admin API for the commands that work through a running control plane.
//
// It follows no redirect and uses no proxy: what it sends may hold secrets.
package adminclient

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	defaultURL     = "http://127.0.0.1:8001"
	maxAnswerBytes = 512 << 20
)

// Options says where the Admin API is and what proves the caller.
type Options struct {
	URL, TokenFile, CAFile string
}

// Flags adds the options to a command and its subcommands.
func (o *Options) Flags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&o.URL, "admin-url", "", "where the Admin API is (default $KONG_ADMIN_URL, or "+defaultURL+")")
	flags.StringVar(&o.TokenFile, "token-file", "", "the admin token's file (admin_token_file of the control plane)")
	flags.StringVar(&o.CAFile, "admin-ca", "", "the certificate that an https --admin-url is verified against (default: the system's)")
}

// Client calls one control plane.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// Open reads what the options name; it calls nobody yet.
func (o Options) Open() (*Client, error) {
	text := cmp.Or(o.URL, os.Getenv("KONG_ADMIN_URL"), defaultURL) // KEEPGATE_* are the programs' settings alone
	base, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("--admin-url %q is no address as %s", text, defaultURL)
	}
	c := &Client{base: base}
	if o.TokenFile != "" {
		if err := c.readToken(o.TokenFile); err != nil {
			return nil, err
		}
	}
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSHandshakeTimeout: 5 * time.Second,
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}
	if o.CAFile != "" {
		if transport.TLSClientConfig, err = trusting(o.CAFile); err != nil {
			return nil, err
		}
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	return c, nil
}

func (c *Client) readToken(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	if c.token = strings.TrimSpace(string(data)); c.token == "" {
		return fmt.Errorf("--token-file %s is empty", path)
	}
	if c.base.Scheme == "http" && !isLoopback(c.base.Hostname()) {
		return fmt.Errorf("the admin token is not sent in clear to %s: use https", c.base.Host)
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func trusting(path string) (*tls.Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--admin-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("--admin-ca %s holds no certificate", path)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// Refusal is an answer that is no success.
type Refusal struct {
	Status  int
	Message string
	Body    []byte
}

func (r *Refusal) Error() string {
	if r.Message == "" {
		return fmt.Sprintf("the control plane answered %d %s", r.Status, http.StatusText(r.Status))
	}
	return fmt.Sprintf("the control plane refused (%d): %s", r.Status, r.Message)
}

// Call sends one request and reads the answer into a value, unless that is nil. An answer that is no success is a
// *[Refusal].
func (c *Client) Call(ctx context.Context, method, path, contentType string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("calling the control plane: %w", err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		request.Header.Set("Keepgate-Admin-Token", c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the path
		}
		return fmt.Errorf("calling the control plane at %s: %w", c.base.Host, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("reading the control plane's answer: %w", err)
	}
	if response.StatusCode/100 != 2 {
		refusal := &Refusal{Status: response.StatusCode, Body: answer}
		var said struct{ Message string }
		if json.Unmarshal(answer, &said) == nil {
			refusal.Message = said.Message
		}
		return refusal
	}
	if into == nil || len(answer) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("the answer of %s is not the Admin API's: %w", c.base.Host, err)
	}
	return nil
}
