package certs

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// readCRL reads the CA's list on disk, nil when there is none, and the root's, empty when there is none.
func (a *Authority) readCRL() (own *x509.RevocationList, roots []byte, err error) {
	path := filepath.Join(a.dir, crlFile)
	blocks, err := readBlocks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, damaged(path, err)
	}
	for _, block := range blocks {
		list, err := x509.ParseRevocationList(block.Bytes)
		switch {
		case err != nil:
			return nil, nil, damaged(path, err)
		case list.Number == nil:
			return nil, nil, damaged(path, errors.New("it has no number"))
		case own == nil && list.CheckSignatureFrom(a.cert) == nil:
			own = list
		case roots == nil && a.root != nil && list.CheckSignatureFrom(a.root) == nil:
			roots = pem.EncodeToMemory(block)
		default:
			return nil, nil, damaged(path, errors.New("it holds a list that is not this CA's"))
		}
	}
	return own, roots, nil
}

func damaged(path string, err error) error {
	return fmt.Errorf("%s: %w: put a sound copy back, or move it away to have it written anew from %s", path, err, indexFile)
}

// writeCRL writes what the index or the former CRL calls revoked.
func (a *Authority) writeCRL(former *x509.RevocationList, roots []byte, now time.Time) error {
	template := &x509.RevocationList{
		Number: big.NewInt(a.index.CRLNumber), ThisUpdate: now.Add(-backdated), NextUpdate: now.Add(crlValidity),
	}
	listed := make(map[string]bool)
	if former != nil {
		for _, entry := range former.RevokedCertificateEntries {
			listed[identity.SerialText(entry.SerialNumber)] = true
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
	return durable.WriteFile(filepath.Join(a.dir, crlFile), 0o644, append(encode("X509 CRL", der), roots...))
}

// WriteCRL writes the CRL anew, so that it need not be renewed for another while.
func (a *Authority) WriteCRL() error {
	if err := a.save(time.Now()); err != nil {
		return fault.New(fault.Internal, "certs.WriteCRL", a.dir, err)
	}
	return nil
}
