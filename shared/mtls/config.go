package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

var errUnwired = errors.New("mtls: the configuration for this client was not asked for")

// Server returns the configuration of a listening side that accepts the given roles; none accepts nobody.
// It follows the files: every handshake uses the trust of its moment.
func (s *Source) Server(allow ...identity.Role) *tls.Config {
	d := trust.Demand{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, Roles: slices.Clone(allow)}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.serverNow(d), nil
		},
		// What follows is never reached while GetConfigForClient is in place; should somebody remove it,
		// nobody gets in.
		ClientCAs:        x509.NewCertPool(),
		GetCertificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errUnwired },
		VerifyConnection: func(tls.ConnectionState) error { return errUnwired },
	}
}

func (s *Source) serverNow(d trust.Demand) *tls.Config {
	t := s.current.Load()
	auth := tls.RequireAndVerifyClientCert
	if s.options.Mode == trust.Shared {
		auth = tls.RequireAnyClientCert // nobody has signed it but itself: VerifyConnection compares it
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{t.Own().Pair},
		ClientAuth:             auth,
		ClientCAs:              t.Roots(),
		SessionTicketsDisabled: true,
		VerifyConnection:       s.verifier(d, true),
	}
}

// Client returns the configuration of a dialling side that expects a peer of one role. With a serverName
// the peer's certificate must also carry that DNS name or IP address; under [trust.Shared] it is always [trust.SharedName].
func (s *Source) Client(serverName string, expect identity.Role) *tls.Config {
	if s.options.Mode == trust.Shared {
		serverName = trust.SharedName
	}
	d := trust.Demand{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, ServerName: serverName, Roles: []identity.Role{expect}}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: serverName,
		// The standard check would use the CAs of the moment when this configuration was made, and cannot
		// do without a name. VerifyConnection does the same check, with today's CAs, and more.
		InsecureSkipVerify:     true, // verified in VerifyConnection
		VerifyConnection:       s.verifier(d, false),
		SessionTicketsDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair := s.current.Load().Own().Pair
			return &pair, nil
		},
	}
}

// verifier judges peers by the trust of the moment; of clients the responders are asked too.
func (s *Source) verifier(d trust.Demand, clients bool) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		seen, err := s.current.Load().Verify(cs, d, time.Now())
		if err != nil || !clients {
			return err
		}
		return s.ask(context.Background(), seen, awaited)
	}
}
