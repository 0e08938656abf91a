package app

import (
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretfile"
	"github.com/keepgate/keepgate/shared/selfsigned"
	"github.com/keepgate/keepgate/shared/servercert"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// givenCertificate reads the certificate that the settings name for the Admin API; nil when they name none.
func givenCertificate(s cpsettings.Admin) (cert *tls.Certificate, notice string, err error) {
	if s.SSLCert == "" && s.SSLKey == "" {
		return nil, "", nil
	}
	if s.SSLCert == "" || s.SSLKey == "" {
		return nil, "", fault.Newf(fault.Invalid, "app.Run", "admin_ssl_cert", "admin_ssl_cert and admin_ssl_cert_key belong together; set both or none")
	}
	pair, notice, err := secretfile.KeyPair(s.SSLCert, s.SSLKey)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "app.Run", "admin_ssl_cert", err)
	}
	return &pair, notice, nil
}

// adminCertificate is what the Admin API's TLS listeners show; nil when there are none. One that the settings name is
// looked at in any case.
func adminCertificate(s cpsettings.ControlPlane, log *slog.Logger) (*servercert.Holder, error) {
	given, _, err := givenCertificate(s.Admin)
	if err != nil || !slices.ContainsFunc(s.Admin.Listen, func(at values.Listener) bool { return at.TLS }) {
		return nil, err
	}
	if given != nil {
		return servercert.New(func() (tls.Certificate, error) {
			cert, notice, err := givenCertificate(s.Admin)
			if err != nil {
				return tls.Certificate{}, err
			}
			if notice != "" {
				log.Warn("admin_ssl_cert_key: " + notice)
			}
			return *cert, nil
		})
	}
	dir := filepath.Join(s.Process.Prefix, "ssl")
	return servercert.New(func() (tls.Certificate, error) {
		cert, made, err := selfsigned.Load(dir, "keepgate-admin")
		if made {
			log.Warn("made a self-signed certificate for the Admin API; set admin_ssl_cert and admin_ssl_cert_key", "folder", dir)
		}
		return cert, err
	})
}

// reloadAdminCertificate reads the certificate again, where there is one.
func (p *plane) reloadAdminCertificate() {
	if err := p.adminClients.Reload(); err != nil {
		p.log.Error("admin_ssl_client_ca or admin_ssl_client_crl on disk is not usable; going on with what is in use", "error", err)
	}
	if p.adminCert == nil {
		return
	}
	changed, err := p.adminCert.Reload()
	switch {
	case err != nil:
		p.log.Error("the Admin API's certificate on disk is not usable; going on with the one in use", "error", err)
	case changed:
		p.log.Info("the Admin API shows another certificate", "expires", p.adminCert.Leaf().NotAfter)
	}
}
