package mtls

import (
	"crypto/tls"
	"errors"
	"slices"
	"time"
)

// JoinProtocol is the ALPN name of a connection by which a node asks for its first certificate.
const JoinProtocol = "keepgate-join/1"

// JoinConfig returns the listening side of a connection by which a node asks for its first certificate: it shows this
// side's chain with the CAs at its end, by whose hash the node knows them, asks for no certificate, and believes
// nobody. It is of this moment: ask for it at each hello. Under [Shared] nobody can join, and no handshake succeeds.
func (s *Source) JoinConfig() *tls.Config {
	t := s.trust.Load()
	config := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{JoinProtocol},
		ClientAuth:             tls.NoClientCert,
		SessionTicketsDisabled: true,
	}
	if s.options.Mode == Shared {
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errNoJoining }
		return config
	}
	config.Certificates = []tls.Certificate{t.shown()}
	return config
}

// shown is the own certificate with all that leads to the CAs that are believed.
func (t *trust) shown() tls.Certificate {
	pair := t.pair
	pair.Certificate = slices.Clone(pair.Certificate)
	chains, _ := t.ownChains(t.roots, time.Now()) // without one there is nothing to add
	for _, chain := range chains {
		for _, ca := range chain[1:] {
			if !slices.ContainsFunc(pair.Certificate, func(der []byte) bool { return string(der) == string(ca.Raw) }) {
				pair.Certificate = append(pair.Certificate, ca.Raw)
			}
		}
	}
	return pair
}

var errNoJoining = errors.New("cluster_mtls = shared has no certificates to give")
