package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretfile"
	"github.com/keepgate/keepgate/shared/selfsigned"
	"github.com/keepgate/keepgate/shared/servercert"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// fallback are the certificates for clients whose server name has none in the configuration: ssl_cert, or one of our own.
type fallback struct {
	files   []string
	holders []*servercert.Holder // of each file
}

func newFallback(s dpsettings.DataPlane, log *slog.Logger) (*fallback, error) {
	files, keys := s.Proxy.SSLCert, s.Proxy.SSLKey
	if len(files) != len(keys) {
		return nil, fault.Newf(fault.Invalid, "app.Run", "ssl_cert", "%d certificates and %d keys: give one ssl_cert_key for each", len(files), len(keys))
	}
	f := &fallback{}
	add := func(file string, read func() (tls.Certificate, error)) error {
		holder, err := servercert.New(read)
		if err != nil {
			return err
		}
		f.files, f.holders = append(f.files, file), append(f.holders, holder)
		return nil
	}
	for i, file := range files {
		if err := add(file, func() (tls.Certificate, error) {
			cert, notice, err := secretfile.KeyPair(file, keys[i])
			if notice != "" {
				log.Warn("ssl_cert_key: " + notice)
			}
			return cert, err
		}); err != nil {
			return nil, fmt.Errorf("ssl_cert: %w", err)
		}
	}
	if len(files) > 0 {
		return f, nil
	}
	const name = "keepgate-default"
	dir := filepath.Join(s.Process.Prefix, "ssl")
	err := add(filepath.Join(dir, name+".crt"), func() (tls.Certificate, error) {
		cert, made, err := selfsigned.Load(dir, name)
		if made {
			log.Warn("made a self-signed certificate for clients whose server name has none; set ssl_cert and ssl_cert_key", "folder", dir)
		}
		return cert, err
	})
	if err != nil {
		return nil, fmt.Errorf("the certificate for clients without a server name: %w", err)
	}
	return f, nil
}

// choose returns the first certificate that the client can verify, or else the first, by which crypto/tls says what the
// client lacks.
func (f *fallback) choose(hello *tls.ClientHelloInfo) *tls.Certificate {
	for _, holder := range f.holders {
		if cert := holder.Certificate(); hello.SupportsCertificate(cert) == nil {
			return cert
		}
	}
	return f.holders[0].Certificate()
}

// reload reads the files again. A pair that cannot be used stays as it was; the others change.
func (f *fallback) reload(log *slog.Logger) {
	for i, holder := range f.holders {
		switch changed, err := holder.Reload(); {
		case err != nil:
			log.Error("a certificate for clients is not usable; going on with the one in use", "file", f.files[i], "error", err)
		case changed:
			log.Info("another certificate is shown to clients", "file", f.files[i], "not_after", holder.Leaf().NotAfter)
		}
	}
}
