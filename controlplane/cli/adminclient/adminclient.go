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
	"unicode"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/shared/secretfile"
)

const (
	defaultURL     = "http://127.0.0.1:8001"
	maxAnswerBytes = 512 << 20
	tokenVariable  = "KEEPGATE_ADMIN_TOKEN"
)

// Options says where the Admin API is and what proves the caller.
type Options struct {
	URL, TokenFile, CAFile string
	CertFile, KeyFile      string // the client's certificate
}

// Flags adds the options to a command and its subcommands.
func (o *Options) Flags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&o.URL, "admin-url", "", "where the Admin API is (default $KONG_ADMIN_URL, or "+defaultURL+")")
	flags.StringVar(&o.TokenFile, "admin-token-file", "", "the file of the caller's token (default $KEEPGATE_ADMIN_TOKEN, which holds the token itself)")
	flags.StringVar(&o.TokenFile, "token-file", "", "the same")
	_ = flags.MarkHidden("token-file") // declared above
	flags.StringVar(&o.CertFile, "admin-cert", "", "the certificate to show to an https --admin-url that asks for one (admin_ssl_client_ca)")
	flags.StringVar(&o.KeyFile, "admin-cert-key", "", "the private key of --admin-cert")
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
	text := cmp.Or(o.URL, os.Getenv("KONG_ADMIN_URL"), defaultURL) // Kong's name, as its tools read it
	base, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("--admin-url %q is no address as %s", text, defaultURL)
	}
	c := &Client{base: base}
	if err := c.readToken(o.TokenFile); err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSHandshakeTimeout: 5 * time.Second,
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}
	if transport.TLSClientConfig, err = o.tls(); err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	return c, nil
}

const maxToken = 64 << 10

// readToken takes the token of a file or else of the environment. It has no flag: those of other processes can be seen.
func (c *Client) readToken(path string) error {
	text, from := os.Getenv(tokenVariable), "$"+tokenVariable
	if path != "" {
		data, _, err := secretfile.Read(path, maxToken)
		if err != nil {
			return fmt.Errorf("--admin-token-file: %w", err)
		}
		defer clear(data)
		text, from = string(data), "--admin-token-file "+path
	}
	c.token = strings.TrimSpace(text)
	switch {
	case c.token == "" && path != "":
		return fmt.Errorf("%s is empty", from)
	case strings.ContainsFunc(c.token, unicode.IsControl):
		return fmt.Errorf("%s holds more than one line", from)
	case c.token != "" && c.base.Scheme == "http" && !isLoopback(c.base.Hostname()):
		return fmt.Errorf("the admin token is not sent in clear to %s: use https", c.base.Host)
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// tls says whom to believe, and what to show.
func (o Options) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		data, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("--admin-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("--admin-ca %s holds no certificate", o.CAFile)
		}
	}
	if o.CertFile == "" && o.KeyFile == "" {
		return config, nil
	}
	if o.CertFile == "" || o.KeyFile == "" {
		return nil, errors.New("--admin-cert and --admin-cert-key belong together")
	}
	cert, _, err := secretfile.KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("--admin-cert: %w", err)
	}
	config.Certificates = []tls.Certificate{cert}
	return config, nil
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
		return fmt.Errorf("calling the control plane at %s: %w", c.base.Host, explain(err))
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
