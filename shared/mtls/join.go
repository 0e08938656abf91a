package mtls

import (
	"crypto/tls"
	"crypto/x509"
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

// shown is the own certificate with all that leads to the CAs that are believed, and from those to a root.
func (t *trust) shown() tls.Certificate {
	pair := t.pair
	pair.Certificate = slices.Clone(pair.Certificate)
	show := func(ca *x509.Certificate) (added bool) {
		if slices.ContainsFunc(pair.Certificate, func(der []byte) bool { return string(der) == string(ca.Raw) }) {
			return false
		}
		pair.Certificate = append(pair.Certificate, ca.Raw)
		return true
	}
	chains, _ := t.ownChains(t.roots, time.Now()) // without one there is nothing to add
	var last []*x509.Certificate
	for _, chain := range chains {
		for _, ca := range chain[1:] {
			show(ca)
		}
		last = append(last, chain[len(chain)-1])
	}
	for len(last) > 0 { // a CA that is believed ends a chain, though another one of the file may have signed it
		ca := last[0]
		last = last[1:]
		for _, above := range t.cas {
			if !above.Equal(ca) && ca.CheckSignatureFrom(above) == nil && show(above) {
				last = append(last, above)
			}
		}
	}
	return pair
}

var errNoJoining = errors.New("cluster_mtls = shared has no certificates to give")
