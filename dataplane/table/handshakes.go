package table

import (
	"crypto/x509"
	"net/netip"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Handshake is the policy of TLS handshakes on clients' certificates: whether one is asked for, and what the request
// says. Nobody is turned away by it: plugins judge what a client shows.
type Handshake struct {
	// Key names the policy: equal keys, equal policies. "" asks for nothing.
	Key string
	// Authorities are named in the request, nil for none. They verify nothing.
	Authorities *x509.CertPool
}

// Handshakes finds the policy for a server name. It is immutable. A nil one asks nobody.
type Handshakes struct {
	names byName[*Handshake]
	asks  bool
}

// nothing is the policy that asks for no certificate.
var nothing = &Handshake{}

// NewHandshakes makes the index of policies by server name ("a.example", "*.example", "prefix.*"), whose wildcards stand for
// any number of labels, as in routes; "*" is the default policy, that of clients without a server name too.
func NewHandshakes(policies map[string]*Handshake) *Handshakes {
	h := &Handshakes{names: newByName(policies)}
	if h.names.rest == nil {
		h.names.rest = nothing
	}
	for _, policy := range policies {
		h.asks = h.asks || policy.Key != ""
	}
	return h
}

// Asks says whether any client is asked for a certificate.
func (h *Handshakes) Asks() bool { return h != nil && h.asks }

// For returns the policy of a handshake with this server name, "" for none. An address is no server name (RFC 6066 §3)
// and has the default policy.
func (h *Handshakes) For(serverName string) *Handshake {
	switch {
	case !h.Asks():
		return nothing
	case address(serverName):
		return h.names.rest
	}
	return h.names.findDeep(serverName)
}

// ForHost returns the policy that connections for a request's Host, with its port if it has one, are made under.
func (h *Handshakes) ForHost(host string) *Handshake {
	if !h.Asks() {
		return nothing
	}
	host, _ = exchange.SplitHost(host)
	return h.For(host)
}

// address says whether a name is an IP address, in brackets or not. Only what ends like one is looked at.
func address(name string) bool {
	if name == "" {
		return false
	}
	switch last := name[len(name)-1]; {
	case last == ']':
		return name[0] == '['
	case '0' <= last && last <= '9', strings.IndexByte(name, ':') >= 0:
		_, err := netip.ParseAddr(name)
		return err == nil
	}
	return false
}
