package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

var errUnwired = errors.New("mtls: the configuration for this client was not asked for")

// Server returns the configuration of a listening side that accepts the given roles; none accepts nobody.
// It follows the files: every handshake uses the trust of its moment.
func (s *Source) Server(allow ...Role) *tls.Config {
	d := demand{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, roles: slices.Clone(allow), responders: true}
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

func (s *Source) serverNow(d demand) *tls.Config {
	t := s.trust.Load()
	auth := tls.RequireAndVerifyClientCert
	if s.options.Mode == Shared {
		auth = tls.RequireAnyClientCert // nobody has signed it but itself: VerifyConnection compares it
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{t.pair},
		ClientAuth:             auth,
		ClientCAs:              t.roots,
		SessionTicketsDisabled: true,
		VerifyConnection:       s.verifier(d),
	}
}

// Client returns the configuration of a dialling side that expects a peer of one role. With a serverName
// the peer's certificate must also carry that DNS name or IP address; under [Shared] it is always [SharedName].
func (s *Source) Client(serverName string, expect Role) *tls.Config {
	if s.options.Mode == Shared {
		serverName = SharedName
	}
	d := demand{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, serverName: serverName, roles: []Role{expect}}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: serverName,
		// The standard check would use the CAs of the moment when this configuration was made, and cannot
		// do without a name. VerifyConnection does the same check, with today's CAs, and more.
		InsecureSkipVerify:     true, // verified in VerifyConnection
		VerifyConnection:       s.verifier(d),
		SessionTicketsDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &s.trust.Load().pair, nil
		},
	}
}

func (s *Source) verifier(d demand) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		seen, err := s.trust.Load().verify(cs, d, time.Now())
		if err != nil || !d.responders {
			return err
		}
		return s.ask(context.Background(), seen, awaited)
	}
}
