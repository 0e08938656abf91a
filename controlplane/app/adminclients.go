package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"sync/atomic"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// adminClients are the authorities whose certificates clients of the Admin API must show.
type adminClients struct {
	settings cpsettings.Admin
	current  atomic.Pointer[x509.CertPool] // nil: none is asked for
}

func newAdminClients(s cpsettings.Admin) (*adminClients, error) {
	c := &adminClients{settings: s}
	return c, c.Reload()
}

// Reload reads the authorities again. When they cannot be used, those in use stay.
func (c *adminClients) Reload() error {
	pool, err := clientAuthorities(c.settings)
	if err == nil {
		c.current.Store(pool)
	}
	return err
}

// clientAuthorities reads admin_ssl_client_ca; nil when it is empty.
func clientAuthorities(s cpsettings.Admin) (*x509.CertPool, error) {
	if s.SSLClientCA == "" {
		return nil, nil
	}
	data, err := os.ReadFile(s.SSLClientCA)
	if err != nil {
		return nil, fault.New(fault.Invalid, "app.Run", "admin_ssl_client_ca", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fault.Newf(fault.Invalid, "app.Run", "admin_ssl_client_ca", "%s holds no certificate", s.SSLClientCA)
	}
	return pool, nil
}

var errNoClientCertificate = errors.New("the Admin API asks for a client certificate (admin_ssl_client_ca)")

// Config adds to a server's configuration that clients show a certificate of the authorities in use at each handshake.
func (c *adminClients) Config(config *tls.Config) *tls.Config {
	if c.current.Load() == nil {
		return config
	}
	config.ClientAuth = tls.RequireAnyClientCert // and verified here, by the authorities of now
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errNoClientCertificate
		}
		intermediates := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			intermediates.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: c.current.Load(), Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		return err
	}
	return config
}
