// Package certs is the cluster's own certificate authority, on files in one folder.
//
//	ca.crt       the certificate of the CA that issues
//	ca.key       its private key, mode 0600; needed to issue and to revoke, by no running process
//	crl.pem      what is revoked, signed, with a number that only grows
//	issued.json  every certificate ever issued
//
// Where the CA that issues is an intermediate one, there are two more, and crl.pem holds the lists of both:
//
//	root.crt     the root, which has certified ca.crt and nothing else
//	root.key     its private key, mode 0600; needed only to renew or to replace ca.crt: to be kept elsewhere
//	chain.crt    ca.crt and root.crt: whom nodes and servers believe
//
// Where the CA follows another one (init --after), there is one more:
//
//	cross.crt    the former CA's word for ca.crt as the authority of control planes; they show it beside their own
//
// A certificate is in issued.json before anyone holds it, so that whatever the CA has signed can be
// revoked by its name. Every change writes the CRL anew, which keeps its nextUpdate ahead, and keeps every
// serial that the CRL on disk already has: an old issued.json brings no revoked certificate back.
//
// One folder serves one organisation. Names, roles and environments come from the operator; from a
// certificate request only the public key is taken. Who is let in by a certificate is shared/mtls's duty.
package certs

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

const (
	caFile    = "ca.crt"
	rootFile  = "root.crt"
	rootKey   = "root.key"
	chainFile = "chain.crt"
	crossFile = "cross.crt"
	keyFile   = "ca.key"
	crlFile   = "crl.pem"
	indexFile = "issued.json"
	lockFile  = ".lock"

	caValidity   = 10 * 365 * 24 * time.Hour
	leafValidity = 365 * 24 * time.Hour
	crlValidity  = 400 * 24 * time.Hour // more than a leaf's: renewing leaves renews the CRL in time
	backdated    = 5 * time.Minute      // clocks of a cluster differ a little

	defaultName     = "Keepgate cluster CA"
	defaultRootName = "Keepgate cluster root CA"

	maxCommonName = 64 // RFC 5280 appendix A.1
)

// Paths names the files of a CA folder that nodes need.
type Paths struct{ CA, CRL string }

// PathsIn returns the files of a CA folder that nodes need.
func PathsIn(dir string) Paths {
	ca := filepath.Join(dir, caFile)
	if chain := filepath.Join(dir, chainFile); present(chain) {
		ca = chain
	}
	return Paths{CA: ca, CRL: filepath.Join(dir, crlFile)}
}

// Authority is an open CA folder. While it is open no other process changes the folder.
type Authority struct {
	dir   string
	lock  *os.File
	cert  *x509.Certificate
	key   crypto.Signer
	root  *x509.Certificate // nil where cert is one itself
	index index
}

// Options tunes a new CA. The zero value is right for most.
type Options struct {
	Valid        time.Duration // default ten years
	Intermediate bool          // a root, and below it the CA that issues
	RootName     string        // common names, for people
	Name         string

	after *Authority // vouches for it; nil: nobody
}

// Create makes a CA in a folder that has none.
func Create(dir, organisation string, options Options) (*Authority, error) {
	const op = "certs.Create"
	probe := identity.Identity{Role: identity.Admin, Organisation: organisation, Name: "probe"}
	if err := probe.Validate(); err != nil {
		return nil, fault.New(fault.Invalid, op, dir, err)
	}
	if options.Valid < 0 {
		return nil, fault.Newf(fault.Invalid, op, dir, "a CA cannot be valid for %v", options.Valid)
	}
	options.Valid = cmp.Or(options.Valid, caValidity)
	options.Name, options.RootName = cmp.Or(options.Name, defaultName), cmp.Or(options.RootName, defaultRootName)
	for _, name := range []string{options.Name, options.RootName} {
		if len(name) > maxCommonName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return nil, fault.Newf(fault.Invalid, op, dir, "the name %.100q of a CA: up to %d bytes that print are allowed", name, maxCommonName)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Invalid, op, dir, err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, dir, err)
	}
	a, err := create(dir, organisation, options)
	if err != nil {
		_ = unlock(lock)
		return nil, err
	}
	a.lock = lock
	return a, nil
}

func create(dir, organisation string, options Options) (*Authority, error) {
	const op = "certs.Create"
	for _, name := range []string{caFile, keyFile, crlFile, indexFile, rootFile, rootKey, chainFile, crossFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Lstat(filepath.Join(dir, caFile)); err == nil {
				return nil, fault.Newf(fault.Conflict, op, dir, "%s is there already: nothing was changed; for another CA name another folder", caFile)
			}
			return nil, fault.Newf(fault.Conflict, op, dir,
				"%s is there already: nothing was changed (without a %s beside it it is left from an interrupted init and may be removed)", name, caFile)
		}
	}
	now := time.Now()
	a := &Authority{dir: dir, index: index{Version: indexVersion, Organisation: organisation}}
	err := a.found(options, now)
	// ca.crt comes last: a folder without it is no CA yet.
	if err == nil {
		err = a.save(now)
	}
	if err == nil && options.after != nil {
		err = a.vouch(options.after)
	}
	if err == nil && a.root != nil {
		err = durable.WriteFile(filepath.Join(dir, chainFile), 0o644, append(encode("CERTIFICATE", a.cert.Raw), encode("CERTIFICATE", a.root.Raw)...))
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(dir, caFile), 0o644, encode("CERTIFICATE", a.cert.Raw))
	}
	if err != nil {
		return nil, fault.New(fault.Internal, op, dir, err)
	}
	return a, nil
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
	key, err := privatekey.Read(filepath.Join(dir, keyFile))
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
	if path := filepath.Join(dir, rootFile); present(path) {
		if a.root, err = readCertificate(path); err == nil {
			err = a.cert.CheckSignatureFrom(a.root)
		}
		if err != nil {
			return nil, fault.Newf(fault.Corrupt, op, dir, "%s did not certify %s: %w", rootFile, caFile, err)
		}
	}
	list, _, err := a.readCRL()
	if err != nil {
		return nil, fault.New(fault.Corrupt, op, dir, err)
	}
	merge(a.index.Certificates, list)
	return a, nil
}

// Close lets other processes change the folder.
func (a *Authority) Close() error { return unlock(a.lock) }

// Organisation is whose cluster the CA is for.
func (a *Authority) Organisation() string { return a.index.Organisation }

// Root returns the certificate above the CA's, nil where there is none.
func (a *Authority) Root() *x509.Certificate { return a.root }

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

func present(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
