package dial

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/crl"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
	"github.com/keepgate/keepgate/shared/secretref"
	"github.com/keepgate/keepgate/shared/serverchain"
)

const (
	// maxFile bounds what is read: the system's bundle of authorities is some hundred KiB, a list of a busy authority some MiB.
	maxFile = 16 << 20
	// checkEvery is how often files are looked at for what connections in use were not made with.
	checkEvery = time.Second

	system = "system"
)

// material is all that connections are made with, read at one moment.
type material struct {
	number   uint64
	sum      [sha256.Size]byte
	password secret.Bytes
	tls      *tls.Config // nil: no TLS. A template: each handshake has its own
	trust    Trust
	lists    []*x509.RevocationList
}

// keys reads material and remembers the last that was good.
type keys struct {
	options Options
	network bool
	tell    func(error) // that the files are not usable now; nil: they are

	mu      sync.Mutex
	current *material // guarded by mu
	looked  time.Time // guarded by mu
}

// load reads everything again. An error beside material says why the files are not usable now; what was read before goes on.
func (k *keys) load() (*material, error) {
	read, stale, err := k.options.read(k.network)
	kept, err := k.keep(read, err)
	if err != nil {
		stale = err
	}
	k.tell(stale)
	return kept, err
}

func (k *keys) keep(read *material, err error) (*material, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looked = time.Now()
	switch {
	case err != nil && k.current != nil:
		return k.current, fmt.Errorf("going on with what was read before: %w", err)
	case err != nil:
		return nil, err
	case k.current != nil && k.current.sum == read.sum:
		return k.current, nil
	case k.current != nil:
		read.number = k.current.number + 1
	}
	k.current = read
	return read, nil
}

// generation counts how often the files had another content.
func (k *keys) generation() uint64 {
	k.mu.Lock()
	current, stale := k.current, time.Since(k.looked) > checkEvery
	k.mu.Unlock()
	if stale {
		if again, _ := k.load(); again != nil { // that they are not usable was told
			current = again
		}
	}
	return current.number
}

// read reads the files. stale says why the password may not be the newest.
func (o Options) read(network bool) (m *material, stale, err error) {
	m = &material{password: o.Password}
	sum := sha256.New()
	note := func(data []byte, err error) ([]byte, error) {
		fmt.Fprintf(sum, "%d:", len(data))
		sum.Write(data)
		return data, err
	}
	if o.PasswordFile != "" {
		data, err := note(readSecret(o.PasswordFile))
		if err != nil {
			return nil, nil, fmt.Errorf("pg_password_file: %w", err)
		}
		if secretref.Within(data) {
			clear(data)
			return nil, nil, fmt.Errorf("pg_password_file: %s holds a reference, which nobody would follow: write the password itself into it", o.PasswordFile)
		}
		m.password = secret.Take(bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r")))
	}
	if o.PasswordSource != nil {
		if m.password, stale = o.PasswordSource(); stale != nil {
			stale = fmt.Errorf("going on with what was read before: %w", stale)
		}
		m.password.Reveal(func(data []byte) { _, _ = note(data, nil) })
	}
	if o.TLS && network {
		if err := m.secure(o, note); err != nil {
			return nil, nil, err
		}
	}
	sum.Sum(m.sum[:0])
	return m, stale, nil
}

// secure reads what TLS needs.
func (m *material) secure(o Options, note func([]byte, error) ([]byte, error)) (err error) {
	m.tls = &tls.Config{MinVersion: max(o.MinVersion, tls.VersionTLS12), InsecureSkipVerify: true} // see configFor
	if o.Verify {
		if m.trust, err = o.authorities(note); err != nil {
			return fmt.Errorf("ssl_trusted_certificate: %w", err)
		}
	}
	if o.CRL != "" {
		data, err := note(readFile(o.CRL))
		if err == nil {
			m.lists, err = crl.Parse(data)
		}
		if err != nil {
			return fmt.Errorf("pg_ssl_crl_file: %w", err)
		}
	}
	if o.Cert == "" {
		return nil
	}
	cert, err := note(readFile(o.Cert))
	if err != nil {
		return fmt.Errorf("pg_ssl_cert: %w", err)
	}
	key, err := note(readSecret(o.Key))
	if err != nil {
		return fmt.Errorf("pg_ssl_cert_key: %w", err)
	}
	defer clear(key)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("pg_ssl_cert and pg_ssl_cert_key: %w", err)
	}
	// Whatever authorities the server names: it may know ours by way of a certificate that it has and we do not show, and one that it
	// refuses tells more than one that was never sent.
	m.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return nil
}

// check refuses what can never work.
func (o Options) check() error {
	if !o.TLS {
		return nil
	}
	for _, file := range []struct{ key, path string }{{"pg_ssl_cert", o.Cert}, {"pg_ssl_cert_key", o.Key}, {"pg_ssl_crl_file", o.CRL}} {
		if file.path != "" && !filepath.IsAbs(file.path) {
			return fmt.Errorf("%s needs an absolute path, not %q", file.key, file.path)
		}
	}
	for _, from := range o.Trusted {
		text := serverchain.InlinePEM(from)
		switch {
		case bytes.Contains(text, []byte("PRIVATE KEY-----")):
			return errors.New("ssl_trusted_certificate holds a private key: take it away from where it stands")
		case from != system && text == nil && !filepath.IsAbs(from):
			return fmt.Errorf("ssl_trusted_certificate needs absolute paths, not %q", from)
		}
	}
	switch {
	case o.Cert != "" && o.Key == "":
		return errors.New("pg_ssl_cert needs pg_ssl_cert_key, its private key")
	case o.Key != "" && o.Cert == "":
		return errors.New("pg_ssl_cert_key needs pg_ssl_cert, its certificate")
	case o.CRL != "" && !o.Verify:
		return errors.New("pg_ssl_crl_file needs pg_ssl_verify = on")
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	text, err := secretfile.ReadAny(path, maxFile) // no secret
	return text.Data, err
}

func readSecret(path string) ([]byte, error) {
	data, _, err := secretfile.Read(path, maxFile) // what is not refused is not told of
	return data, err
}
