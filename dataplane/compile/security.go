package compile

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// connector says how the addresses of a service are reached. The upstream's host_header, if it has one, is
// what every target is called; without one a target is called by its own name. A target that is an address has none to prove: its
// certificate has to be for the service's host, or for that address.
func (r *run) connector(m *configv1.Service, s *table.Service, link upstream.Link, hostHeader string) func(balancer.Target, netip.AddrPort) *upstream.Peer {
	pools, host := r.pools, strings.ToLower(m.GetHost())
	return func(t balancer.Target, addr netip.AddrPort) *upstream.Peer {
		peer := &upstream.Peer{Authority: hostHeader}
		if hostHeader == "" {
			peer.Authority = authority(t, s.TLS)
		}
		own := link
		if link.Security != nil {
			copied := *link.Security
			copied.ServerName = serverName(peer.Authority)
			if hostHeader == "" && isAddress(t.Host) && t.Host != host {
				copied.ServerName, copied.Or = host, t.Host
			}
			own.Security = &copied
		}
		peer.Pool = pools.Pool(addr, own)
		return peer
	}
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
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

// link says how a service reaches its addresses, but for the names that go with them.
func (r *run) link(m *configv1.Service, up *configv1.Upstream) (link upstream.Link, reason string) {
	switch m.GetProtocol() {
	case "grpc", "grpcs":
		link.Protocol = upstream.HTTP2
	case "https":
		if r.options.HTTP2 {
			link.Protocol = upstream.Either
		}
	}
	link.Security, reason = r.security(m, up)
	return link, reason
}

// security says how connections of an https or grpcs service are protected; nil means in clear. Verification is on
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
		var digests []string
		s.Roots = x509.NewCertPool()
		for _, id := range ids {
			certificate := r.authority(id)
			if certificate == nil {
				return nil, "its CA certificate " + id + " does not exist or cannot be used"
			}
			s.Roots.AddCert(certificate)
			digest := sha256.Sum256(certificate.Raw)
			digests = append(digests, hex.EncodeToString(digest[:]))
		}
		slices.Sort(digests)
		s.RootsKey = strings.Join(slices.Compact(digests), " ")
	}
	if id := clientCertificate(m, up); id != "" {
		parsed := r.certificates[id]
		if parsed == nil {
			return nil, "its client certificate " + id + " does not exist or cannot be used"
		}
		s.Identity = upstream.NewIdentity(parsed.pairs...)
	}
	return s, ""
}

// clientCertificate is the id of the certificate that a service's upstream is shown: the service's, else the upstream
// entity's, else "", which is the node's own.
func clientCertificate(m *configv1.Service, up *configv1.Upstream) string {
	if id := m.GetClientCertificate().GetId(); id != "" {
		return id
	}
	return up.GetClientCertificate().GetId()
}

// shown tells one certificate that a service's upstream is shown from another. A reference may resolve to something new
// while all entities are as before.
func (r *run) shown(m *configv1.Service, up *configv1.Upstream) string {
	if id := clientCertificate(m, up); r.certificates[id] != nil {
		return r.certificates[id].key
	}
	return ""
}
