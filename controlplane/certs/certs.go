// Package certs is the cluster's own certificate authority, on files in one folder.
//
//	ca.crt       the CA's certificate
//	ca.key       its private key, mode 0600; needed to issue and to revoke, by no running process
//	crl.pem      what is revoked, signed, with a number that only grows
//	issued.json  every certificate ever issued
//
// A certificate is in issued.json before anyone holds it, so that whatever the CA has signed can be
// revoked by its name. Every change writes the CRL anew, which keeps its nextUpdate ahead, and keeps every
// serial that the CRL on disk already has: an old issued.json brings no revoked certificate back.
//
// One folder serves one organisation. Names, roles and environments come from the operator; from a
// certificate request only the public key is taken. Who is let in by a certificate is shared/mtls's duty.
package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
)

const (
	caFile    = "ca.crt"
	keyFile   = "ca.key"
	crlFile   = "crl.pem"
	indexFile = "issued.json"
	lockFile  = ".lock"

	caValidity   = 10 * 365 * 24 * time.Hour
	leafValidity = 365 * 24 * time.Hour
	crlValidity  = 400 * 24 * time.Hour // more than a leaf's: renewing leaves renews the CRL in time
	backdated    = 5 * time.Minute      // clocks of a cluster differ a little
)

// Paths names the files of a CA folder that nodes need.
type Paths struct{ CA, CRL string }

// PathsIn returns the files of a CA folder that nodes need.
func PathsIn(dir string) Paths {
	return Paths{CA: filepath.Join(dir, caFile), CRL: filepath.Join(dir, crlFile)}
}

// Authority is an open CA folder. While it is open no other process changes the folder.
type Authority struct {
	dir   string
	lock  *os.File
	cert  *x509.Certificate
	key   crypto.Signer
	index index
}

// Create makes a CA in a folder that has none. Zero validity means ten years.
func Create(dir, organisation string, valid time.Duration) (*Authority, error) {
	const op = "certs.Create"
	probe := mtls.Identity{Role: mtls.Admin, Organisation: organisation, Name: "probe"}
	if err := probe.Validate(); err != nil {
		return nil, fault.New(fault.Invalid, op, dir, err)
	}
	if valid < 0 {
		return nil, fault.Newf(fault.Invalid, op, dir, "a CA cannot be valid for %v", valid)
	}
	if valid == 0 {
		valid = caValidity
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Invalid, op, dir, err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, dir, err)
	}
	a, err := create(dir, organisation, valid)
	if err != nil {
		_ = unlock(lock)
		return nil, err
	}
	a.lock = lock
	return a, nil
}

func create(dir, organisation string, valid time.Duration) (*Authority, error) {
	const op = "certs.Create"
	for _, name := range []string{caFile, keyFile, crlFile, indexFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Newf(fault.Conflict, op, dir,
				"%s is there already: nothing was changed (without a %s beside it it is left from an interrupted init and may be removed)", name, caFile)
		}
	}
	key, keyPEM, err := mtls.NewKey()
	if err != nil {
		return nil, fault.New(fault.Internal, op, dir, err)
	}
	der, err := selfSign(key, organisation, time.Now(), valid)
	if err != nil {
		return nil, fault.New(fault.Internal, op, dir, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fault.New(fault.Internal, op, dir, err)
	}
	a := &Authority{dir: dir, cert: cert, key: key, index: index{Version: indexVersion, Organisation: organisation}}
	// ca.crt comes last: a folder without it is no CA yet.
	keyPEM.Reveal(func(data []byte) { err = replace(filepath.Join(dir, keyFile), 0o600, data) })
	if err == nil {
		err = a.save(time.Now())
	}
	if err == nil {
		err = replace(filepath.Join(dir, caFile), 0o644, encode("CERTIFICATE", der))
	}
	if err != nil {
		return nil, fault.New(fault.Internal, op, dir, err)
	}
	return a, nil
}

func selfSign(key crypto.Signer, organisation string, now time.Time, valid time.Duration) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{Organization: []string{organisation}, CommonName: "Keepgate cluster CA"},
		NotBefore:    now.Add(-backdated), NotAfter: now.Add(valid),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, // it signs leaves only
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the CA certificate: %w", err)
	}
	return der, nil
}

// Open opens a CA folder to issue and to revoke. The caller closes it.
func Open(dir string) (*Authority, error) {
	const op = "certs.Open"
	if _, err := os.Stat(filepath.Join(dir, caFile)); err != nil {
		return nil, fault.Newf(fault.NotFound, op, dir, "there is no CA here (%w): keepgate-cp certs init --dir %s", err, dir)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, dir, err)
	}
	a, err := open(dir)
	if err != nil {
		_ = unlock(lock)
		return nil, err
	}
	a.lock = lock
	return a, nil
}

func open(dir string) (*Authority, error) {
	const op = "certs.Open"
	cert, err := readCertificate(filepath.Join(dir, caFile))
	if err != nil {
		return nil, fault.New(fault.Corrupt, op, dir, err)
	}
	key, err := mtls.ReadKey(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(cert.PublicKey) {
		return nil, fault.Newf(fault.Corrupt, op, dir, "%s is not the key of %s", keyFile, caFile)
	}
	a := &Authority{dir: dir, cert: cert, key: key}
	if a.index, err = readIndex(dir); err != nil {
		return nil, fault.New(fault.Corrupt, op, dir, err)
	}
	list, err := a.readCRL()
	if err != nil {
		return nil, fault.New(fault.Corrupt, op, dir, err)
	}
	merge(a.index.Certificates, list)
	return a, nil
}

// Close lets other processes change the folder.
func (a *Authority) Close() error { return unlock(a.lock) }

// Certificate returns the CA's certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// CRLNumber returns the number of the CRL that was written last.
func (a *Authority) CRLNumber() int64 { return a.index.CRLNumber }

// newSerial makes a serial of 128 random bits, positive as RFC 5280 §4.1.2.2 asks.
func newSerial() *big.Int {
	for {
		random := make([]byte, 16)
		_, _ = rand.Read(random) // never fails: crypto/rand ends the process instead
		if serial := new(big.Int).SetBytes(random); serial.Sign() > 0 {
			return serial
		}
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
