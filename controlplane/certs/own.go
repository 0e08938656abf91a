package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
)

// renewalShare of a certificate's life must be left, or Own renews it.
const renewalShare = 3

// Own keeps a certificate for a node that nobody gave one: an authority in dir whose only purpose is this node and
// those that get their certificates from it. It makes what is missing, renews a certificate that has less than a
// third of its life left, and says what it made. The files are node.crt and node.key beside the authority's.
func Own(dir string, spec Spec) (files mtls.Files, made string, err error) {
	paths := PathsIn(dir)
	files = mtls.Files{Cert: filepath.Join(dir, "node.crt"), Key: filepath.Join(dir, "node.key"), CA: paths.CA, CRL: paths.CRL}
	cert, err := readCertificate(files.Cert)
	switch {
	case err == nil && time.Until(cert.NotAfter) > cert.NotAfter.Sub(cert.NotBefore)/renewalShare:
		return files, "", nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return files, "", fault.New(fault.Invalid, "certs.Own", files.Cert, err)
	}
	if made, err = own(dir, files, spec); err != nil {
		return files, "", fault.New(fault.KindOf(err), "certs.Own", dir, err)
	}
	return files, made, nil
}

func own(dir string, files mtls.Files, spec Spec) (made string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	authority, err := Open(dir)
	made = "a certificate"
	if _, absent := os.Lstat(files.CA); errors.Is(absent, fs.ErrNotExist) {
		authority, err = Create(dir, "default", Options{})
		made = "an authority and a certificate"
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, authority.Close()) }()
	issued, err := authority.Issue(spec)
	if err != nil {
		return "", err
	}
	defer issued.KeyPEM.Wipe()
	issued.KeyPEM.Reveal(func(key []byte) { err = durable.WriteFile(files.Key, 0o600, key) })
	if err != nil {
		return "", fmt.Errorf("writing the key: %w", err)
	}
	return made, durable.WriteFile(files.Cert, 0o644, issued.CertPEM)
}
