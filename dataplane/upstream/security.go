package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"

	"github.com/keepgate/keepgate/shared/serverchain"
)

// Protocol is what is spoken to an upstream.
type Protocol uint8

const (
	HTTP1  Protocol = iota // HTTP/1.1
	HTTP2                  // HTTP/2 alone: by ALPN, in clear with prior knowledge
	Either                 // over TLS what ALPN chooses, HTTP/2 first; in clear HTTP/1.1
)

// Security is how connections to an upstream are protected.
type Security struct {
	ServerName string // SNI, and the name that the certificate has to be for
	Or         string // an address that the certificate may be for instead, or ""
	Verify     bool
	Depth      int            // most intermediate certificates; below 0: any number
	Roots      *x509.CertPool // nil: the system's
	RootsKey   string         // equal for equal sets
	Identity   *Identity      // nil: the node's own, if it has one
}

// trust is all that an operator can change about a Security but the names, which go with the target.
type trust struct {
	protocol            Protocol
	tls, verify         bool
	depth               int
	roots, identity, or string
}

// TLS is the configuration for handshakes with the upstream; node is the node's own identity or nil. Policy runs in
// VerifyConnection, so on resumed sessions too; sessions stay within the configuration that made them.
func (s *Security) TLS(node *Node, protocols ...string) *tls.Config {
	c := &tls.Config{
		ServerName: s.ServerName, NextProtos: protocols, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, // serverchain does it, unless tls_verify is false
		ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
	c.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return s.identity(node).choose(request), nil
	}
	if s.Verify {
		demand := serverchain.Demand{Host: s.ServerName, Or: s.Or, Roots: s.Roots, Depth: s.Depth, DepthName: "tls_verify_depth"}
		c.VerifyConnection = func(state tls.ConnectionState) error { return serverchain.Verify(state.PeerCertificates, demand) }
	}
	return c
}

func (s *Security) identity(node *Node) *Identity {
	if s.Identity != nil {
		return s.Identity
	}
	return node.Identity()
}

// Identity is who the gate is to an upstream: one certificate, or two with different kinds of key.
type Identity struct {
	pairs []*tls.Certificate
	key   string
}

// NewIdentity makes an Identity. Those of equal certificates are equal in all that matters.
func NewIdentity(pairs ...*tls.Certificate) *Identity {
	sum := sha256.New()
	for _, pair := range pairs {
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(pair.Certificate))))
		for _, der := range pair.Certificate {
			sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(der))))
			sum.Write(der)
		}
	}
	return &Identity{pairs: pairs, key: hex.EncodeToString(sum.Sum(nil))}
}

// Key is equal for identities of equal certificates.
func (i *Identity) Key() string {
	if i == nil {
		return ""
	}
	return i.key
}

// choose picks the certificate that the upstream can accept; failing that one whose signature it understands, as its list of
// authorities is a hint (RFC 8446 §4.2.4) that OpenSSL and nginx pass over; failing that the first, so that the upstream
// says what it misses.
func (i *Identity) choose(request *tls.CertificateRequestInfo) *tls.Certificate {
	if i == nil || len(i.pairs) == 0 {
		return new(tls.Certificate)
	}
	for _, pair := range i.pairs {
		if request.SupportsCertificate(pair) == nil {
			return pair
		}
	}
	anyAuthority := *request
	anyAuthority.AcceptableCAs = nil
	for _, pair := range i.pairs {
		if anyAuthority.SupportsCertificate(pair) == nil {
			return pair
		}
	}
	return i.pairs[0]
}
