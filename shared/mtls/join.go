package mtls

import (
	"crypto/tls"
	"errors"

	"github.com/keepgate/keepgate/shared/mtls/trust"
)

// JoinProtocol is the ALPN name of a connection by which a node asks for its first certificate.
const JoinProtocol = "keepgate-join/1"

// JoinConfig returns the listening side of a connection by which a node asks for its first certificate: it shows this
// side's chain with the CAs at its end, by whose hash the node knows them, asks for no certificate, and believes
// nobody. It is of this moment: ask for it at each hello. Under [trust.Shared] nobody can join, and no handshake succeeds.
func (s *Source) JoinConfig() *tls.Config {
	t := s.current.Load()
	config := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{JoinProtocol},
		ClientAuth:             tls.NoClientCert,
		SessionTicketsDisabled: true,
	}
	if s.options.Mode == trust.Shared {
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errNoJoining }
		return config
	}
	config.Certificates = []tls.Certificate{t.Shown()}
	return config
}

var errNoJoining = errors.New("cluster_mtls = shared has no certificates to give")
