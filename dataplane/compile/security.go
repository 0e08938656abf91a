package compile

import (
	"crypto/x509"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// connector says how the addresses of a service are reached. The upstream's host_header, if it has one, is
// what every target is called.
func (r *run) connector(s *table.Service, security *upstream.Security, hostHeader string) func(balancer.Target, netip.AddrPort) *upstream.Peer {
	pools := r.pools
	return func(t balancer.Target, addr netip.AddrPort) *upstream.Peer {
		peer := &upstream.Peer{Authority: hostHeader}
		if hostHeader == "" {
			peer.Authority = authority(t, s.TLS)
		}
		var own *upstream.Security
		if security != nil {
			copied := *security
			copied.ServerName = serverName(peer.Authority)
			own = &copied
		}
		peer.Pool = pools.Pool(addr, own)
		return peer
	}
}

// authority is the Host header of a target: its port only when the scheme does not imply it.
func authority(t balancer.Target, tls bool) string {
	standard := uint16(80)
	if tls {
		standard = 443
	}
	port := strconv.Itoa(int(t.Port))
	joined := net.JoinHostPort(t.Host, port)
	if t.Port == standard {
		return strings.TrimSuffix(joined, ":"+port)
	}
	return joined
}

func serverName(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.Trim(authority, "[]")
}

// security says how connections of an https service are protected; nil means in clear. Verification is on
// unless tls_verify switches it off.
func (r *run) security(m *configv1.Service, up *configv1.Upstream) (*upstream.Security, string) {
	if p := m.GetProtocol(); p != "https" && p != "grpcs" {
		return nil, ""
	}
	s := &upstream.Security{Verify: m.TlsVerify == nil || m.GetTlsVerify(), Depth: r.options.Depth, Roots: r.options.Roots}
	if m.TlsVerifyDepth != nil {
		s.Depth = int(m.GetTlsVerifyDepth())
	}
	if ids := m.GetCaCertificates().GetValues(); len(ids) > 0 {
		s.Roots = x509.NewCertPool()
		for _, id := range ids {
			certificate := r.authority(id)
			if certificate == nil {
				return nil, "its CA certificate " + id + " does not exist or cannot be used"
			}
			s.Roots.AddCert(certificate)
			s.RootsKey += string(certificate.Raw)
		}
	}
	id := m.GetClientCertificate().GetId()
	if id == "" {
		id = up.GetClientCertificate().GetId()
	}
	if id != "" {
		parsed := r.certificates[id]
		if parsed == nil {
			return nil, "its client certificate " + id + " does not exist or cannot be used"
		}
		s.Certificate, s.CertificateKey = parsed.pairs[0], parsed.key
	}
	return s, ""
}
