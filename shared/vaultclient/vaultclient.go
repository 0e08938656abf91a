// Package vaultclient reads secrets of HashiCorp Vault or OpenBao over their HTTP API: logging in, both versions of the
// key-value store, and keys wrapped by the transit engine. It writes nothing there but the end of its own logins.
//
// What the caller can do about an error is its fault kind; which step failed is its [Step]. Tokens and what is read are
// [secret.Bytes], and stand in no error. The API was written down at developer.hashicorp.com/vault/api-docs (secret/kv/kv-v1,
// secret/kv/kv-v2, auth/kubernetes, secret/transit, auth/token, and for namespaces docs/enterprise/namespaces) and openbao.org/api-docs.
//
// A server is only spoken to over TLS 1.2 or newer, and in clear on this machine alone, as a test server or an agent beside the
// process is. Answers are bounded. Where a standby points to the active node the client follows, by the same scheme.
package vaultclient

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/vaultrule"
)

// Options says where the server is. All but the address may be left out.
type Options struct {
	Address  string         // https://host:port
	CAFile   string         // PEM of the authorities that count, read for each connection; "": those of Roots
	Roots    *x509.CertPool // nil: those of the system
	Timeout  time.Duration  // of each request; default 5 s
	Attempts int            // how often a request is made that the server has no time for; default 3

	Namespace string // "": the root namespace
	// Who says where the server is may not be who this process works for: Reach refuses addresses before they are connected
	// to, and Follows says to which other hosts a standby may point. nil: any.
	Reach   func(netip.Addr) error
	Follows func(host string) bool
}

// Client speaks to one server. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	options   Options
	transport *http.Transport
}

const (
	idleFor        = 10 * time.Second
	maxHeaderBytes = 64 << 10
)

// New makes a client and connects to nothing.
func New(options Options) (*Client, error) {
	base, err := parseAddress(options.Address)
	if err != nil {
		return nil, err
	}
	if options.Timeout <= 0 {
		options.Timeout = 5 * time.Second
	}
	if options.Attempts <= 0 {
		options.Attempts = 3
	}
	options.Namespace = strings.Trim(options.Namespace, "/")
	if options.Namespace != "" {
		if wrong := vaultrule.Namespace(options.Namespace); wrong != "" {
			return nil, fault.New(fault.Invalid, "vaultclient.New", "namespace", &Failure{StepAddress, wrong, nil})
		}
	}
	c := &Client{base: base, options: options}
	c.transport = &http.Transport{
		Proxy: nil, DialContext: c.dial, DialTLSContext: c.dialTLS, IdleConnTimeout: idleFor, MaxIdleConnsPerHost: 1,
		MaxResponseHeaderBytes: maxHeaderBytes, DisableCompression: true,
	}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Address is where the server is.
func (c *Client) Address() string { return c.base.String() }

// CheckAddress says what is wrong with an address, and what mends it.
func CheckAddress(address string) error {
	_, err := parseAddress(address)
	return err
}

func parseAddress(address string) (*url.URL, error) {
	refuse := func(why string) error {
		return fault.New(fault.Invalid, "vaultclient.New", "address", &Failure{StepAddress, why + "; write it as https://vault.example.com:8200", nil})
	}
	if address == "" {
		return nil, refuse("it is empty")
	}
	base, err := url.Parse(address)
	switch {
	case err != nil || base.Opaque != "" || base.Hostname() == "":
		return nil, refuse("no URL of a server")
	case base.Scheme != "https" && base.Scheme != "http":
		return nil, refuse("its scheme is not https")
	case base.User != nil:
		return nil, refuse("it holds a user name or password, which Vault does not take")
	case base.RawQuery != "" || base.Fragment != "" || strings.Trim(base.Path, "/") != "":
		return nil, refuse("it has more than a host and a port: the mount and the path are given apart from it")
	case base.Scheme == "http" && !vaultrule.Here(base.Hostname()):
		return nil, refuse("http:// would send the token and the keys over the network in clear: it is for this machine alone")
	}
	base.Path = ""
	return base, nil
}
