package certs

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
)

// readCRL reads the CRL on disk; nil when there is none.
func (a *Authority) readCRL() (*x509.RevocationList, error) {
	path := filepath.Join(a.dir, crlFile)
	block, err := readBlock(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, damaged(path, err)
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return nil, damaged(path, err)
	}
	if err := list.CheckSignatureFrom(a.cert); err != nil {
		return nil, damaged(path, err)
	}
	if list.Number == nil {
		return nil, damaged(path, errors.New("it has no number"))
	}
	return list, nil
}

func damaged(path string, err error) error {
	return fmt.Errorf("%s: %w: put a sound copy back, or move it away to have it written anew from %s", path, err, indexFile)
}

// writeCRL writes what the index or the former CRL calls revoked.
func (a *Authority) writeCRL(former *x509.RevocationList, now time.Time) error {
	template := &x509.RevocationList{
		Number: big.NewInt(a.index.CRLNumber), ThisUpdate: now.Add(-backdated), NextUpdate: now.Add(crlValidity),
	}
	listed := make(map[string]bool)
	if former != nil {
		for _, entry := range former.RevokedCertificateEntries {
			listed[mtls.SerialText(entry.SerialNumber)] = true
			template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: entry.SerialNumber, RevocationTime: entry.RevocationTime})
		}
	}
	for _, entry := range a.index.Certificates {
		if entry.RevokedAt == 0 || listed[entry.Serial] {
			continue
		}
		serial, err := serialOf(entry.Serial)
		if err != nil {
			return err
		}
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Unix(entry.RevokedAt, 0)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	if err != nil {
		return fmt.Errorf("signing the CRL: %w", err)
	}
	return replace(filepath.Join(a.dir, crlFile), 0o644, encode("X509 CRL", der))
}
