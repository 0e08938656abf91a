package upstream

import (
	"crypto/tls"
	"errors"
)

var errDepth = errors.New("the upstream's certificate chain has more intermediates than tls_verify_depth allows")

// config makes the TLS configuration of a pool. Sessions are resumed within the pool only, so that they never
// carry a verdict over to another identity.
func (s *Security) config() *tls.Config {
	c := &tls.Config{
		ServerName: s.ServerName, RootCAs: s.Roots, InsecureSkipVerify: !s.Verify, // tls_verify=false asks for it
		NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
	if s.Certificate != nil {
		certificate := s.Certificate
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	if s.Verify && s.Depth >= 0 {
		depth := s.Depth
		c.VerifyConnection = func(state tls.ConnectionState) error {
			for _, chain := range state.VerifiedChains {
				if len(chain)-2 <= depth { // less the server's own certificate and the authority
					return nil
				}
			}
			return errDepth
		}
	}
	return c
}
