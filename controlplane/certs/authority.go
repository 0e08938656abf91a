package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

// RenewAuthority certifies the CA's own key for another while, and that of the root where there is one. Names and keys stay, so whatever
// was issued is believed by those who have the new files and by those who have the old ones.
func (a *Authority) RenewAuthority(valid time.Duration) error {
	const op = "certs.RenewAuthority"
	if valid <= 0 {
		return fault.Newf(fault.Invalid, op, a.dir, "a CA cannot be valid for %v", valid)
	}
	former, _, err := a.readCRL()
	if err != nil {
		return failed(op, a.dir, err)
	}
	now := time.Now()
	if a.root == nil {
		cert, err := again(a.cert, a.cert, a.key.Public(), a.key, now.Add(valid), now)
		if err == nil {
			a.cert = cert
			err = a.write(now, former, nil)
		}
		return failed(op, a.dir, err)
	}
	signer, err := a.rootSigner(op)
	if err != nil {
		return err
	}
	root, err := again(a.root, a.root, signer.Public(), signer, now.Add(valid), now)
	if err == nil {
		a.cert, err = again(a.cert, root, a.key.Public(), a.key, now.Add(valid), now, signer)
	}
	if err == nil {
		a.root = root
		err = a.write(now, former, signer)
	}
	return failed(op, a.dir, err)
}

// ReplaceAuthority revokes the intermediate CA that signs, in the root's list, and makes another one of the same name below the same
// root. All that the former one has issued counts as revoked: nodes need new keys and certificates.
func (a *Authority) ReplaceAuthority() error {
	const op = "certs.ReplaceAuthority"
	if a.root == nil {
		return fault.Newf(fault.Invalid, op, a.dir, "this CA has no root above it that could revoke it: make another CA in another folder, and have nodes believe it alone")
	}
	signer, err := a.rootSigner(op)
	if err != nil {
		return err
	}
	now := time.Now()
	former, valid := a.cert, a.cert.NotAfter.Sub(a.cert.NotBefore)
	if left := a.root.NotAfter.Sub(now); left < valid {
		valid = left
	}
	if err := os.Link(filepath.Join(a.dir, keyFile), filepath.Join(a.dir, formerKeyFile)); err != nil && !os.IsExist(err) {
		return failed(op, a.dir, err)
	}
	if a.cert, a.key, err = a.authority(keyFile, former.Subject.CommonName, valid, now, a.root, signer); err != nil {
		return failed(op, a.dir, err)
	}
	for i := range a.index.Certificates {
		if entry := &a.index.Certificates[i]; entry.RevokedAt == 0 {
			entry.RevokedAt = now.Unix()
		}
	}
	if err = a.write(now, nil, signer, former); err == nil {
		err = os.Remove(filepath.Join(a.dir, formerKeyFile))
	}
	return failed(op, a.dir, err)
}

// formerKeyFile is there while an authority is being replaced.
const formerKeyFile = "ca.key.former"

func failed(op, dir string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Internal, op, dir, err)
}

func (a *Authority) rootSigner(op string) (crypto.Signer, error) {
	path := filepath.Join(a.dir, rootKey)
	if _, err := os.Lstat(path); os.IsNotExist(err) {
		return nil, fault.Newf(fault.Invalid, op, a.dir, "the root has to sign: bring %s back to %s for this command", rootKey, path)
	}
	signer, err := privatekey.Read(path)
	if err != nil {
		return nil, err
	}
	if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(a.root.PublicKey) {
		return nil, fault.Newf(fault.Corrupt, op, a.dir, "%s is not the key of %s", rootKey, rootFile)
	}
	return signer, nil
}

// again certifies a CA's key once more; the signer is that of the certificate above it, its own where none is given.
func again(cert, above *x509.Certificate, public crypto.PublicKey, own crypto.Signer, end, now time.Time, signer ...crypto.Signer) (*x509.Certificate, error) {
	if len(signer) > 0 {
		own = signer[0]
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: cert.Subject, NotBefore: now.Add(-backdated), NotAfter: end, IsCA: true, BasicConstraintsValid: true,
		MaxPathLen: cert.MaxPathLen, MaxPathLenZero: cert.MaxPathLenZero, KeyUsage: cert.KeyUsage, SubjectKeyId: cert.SubjectKeyId,
	}
	if cert == above {
		above = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above, public, own)
	if err != nil {
		return nil, fmt.Errorf("signing the CA certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// write writes the certificates of the authority and all lists: its own after the former one, and the root's, by its signer, with what
// it revokes.
func (a *Authority) write(now time.Time, former *x509.RevocationList, root crypto.Signer, revoked ...*x509.Certificate) error {
	var roots []byte
	if root != nil {
		var err error
		if roots, err = a.rootList(now, root, revoked); err != nil {
			return err
		}
		if err := durable.WriteFile(filepath.Join(a.dir, rootFile), 0o644, encode("CERTIFICATE", a.root.Raw)); err != nil {
			return err
		}
	}
	if err := durable.WriteFile(filepath.Join(a.dir, caFile), 0o644, encode("CERTIFICATE", a.cert.Raw)); err != nil {
		return err
	}
	if a.root != nil {
		if err := durable.WriteFile(filepath.Join(a.dir, chainFile), 0o644, append(encode("CERTIFICATE", a.cert.Raw), encode("CERTIFICATE", a.root.Raw)...)); err != nil {
			return err
		}
	}
	if former != nil && former.Number.IsInt64() {
		a.index.CRLNumber = max(a.index.CRLNumber, former.Number.Int64())
	}
	a.index.CRLNumber++
	data, err := a.index.encode()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(a.dir, indexFile), fs.FileMode(0o600), data); err != nil {
		return err
	}
	return a.writeCRL(former, roots, now)
}

// rootList is the root's next list, as PEM: all that stands in the one before, and what is revoked now.
func (a *Authority) rootList(now time.Time, root crypto.Signer, revoked []*x509.Certificate) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-backdated), NextUpdate: a.root.NotAfter}
	blocks, err := readBlocks(filepath.Join(a.dir, crlFile))
	if err != nil {
		return nil, err
	}
	for _, block := range blocks {
		former, err := x509.ParseRevocationList(block.Bytes)
		if err != nil || former.CheckSignatureFrom(a.root) != nil {
			continue // the list of the CA below
		}
		list.Number = new(big.Int).Add(former.Number, big.NewInt(1))
		for _, entry := range former.RevokedCertificateEntries {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: entry.SerialNumber, RevocationTime: entry.RevocationTime})
		}
	}
	for _, cert := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.root, root)
	if err != nil {
		return nil, fmt.Errorf("signing the root's CRL: %w", err)
	}
	return encode("X509 CRL", der), nil
}
