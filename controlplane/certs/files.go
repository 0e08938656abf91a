package certs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/keepgate/keepgate/shared/fault"
)

const maxFile = 64 << 20

// lockFolder keeps two commands from giving the CRL the same number. The lock ends with the process.
func lockFolder(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("another command is changing this CA: try again when it has ended")
		}
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return file, nil
}

// unlock gives the folder to other commands. It does not leave that to the closing of the file: a child that
// is being started at this moment has the descriptor too, and would hold the lock until it runs its program.
func unlock(lock *os.File) error {
	return errors.Join(syscall.Flock(int(lock.Fd()), syscall.LOCK_UN), lock.Close())
}

// readBlocks reads a file of PEM blocks, at least one.
func readBlocks(path string) (blocks []*pem.Block, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // opened for reading
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("%s: nothing in PEM form in it", path)
	}
	return blocks, nil
}

// readBlock reads a file of exactly one PEM block.
func readBlock(path string) (*pem.Block, error) {
	blocks, err := readBlocks(path)
	if err != nil {
		return nil, err
	}
	if len(blocks) > 1 {
		return nil, fmt.Errorf("%s: more than one PEM block", path)
	}
	return blocks[0], nil
}

// ReadFile reads the certificates, certificate requests and CRLs of a file: each an *x509.Certificate,
// *x509.CertificateRequest or *x509.RevocationList.
func ReadFile(path string) (found []any, err error) {
	const op = "certs.ReadFile"
	blocks, err := readBlocks(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, path, err)
	}
	for _, block := range blocks {
		one, err := readOne(block)
		if err != nil {
			return nil, fault.New(fault.Invalid, op, path, err)
		}
		found = append(found, one)
	}
	return found, nil
}

func readOne(block *pem.Block) (found any, err error) {
	switch {
	case block.Type == "CERTIFICATE":
		found, err = x509.ParseCertificate(block.Bytes)
	case strings.HasSuffix(block.Type, "CERTIFICATE REQUEST"):
		found, err = ParseRequest(pem.EncodeToMemory(block))
	case block.Type == "X509 CRL":
		found, err = x509.ParseRevocationList(block.Bytes)
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		err = errors.New("a private key, of which nothing is shown")
	default:
		err = fmt.Errorf("a %q is not shown", block.Type)
	}
	return found, err
}

// ReadCertificate reads a file of one certificate, and perhaps of those above it.
func ReadCertificate(path string) (*x509.Certificate, error) {
	blocks, err := readBlocks(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "certs.ReadCertificate", path, err)
	}
	cert, err := parseCertificate(path, blocks[0])
	if err != nil {
		return nil, fault.New(fault.Invalid, "certs.ReadCertificate", path, err)
	}
	return cert, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	block, err := readBlock(path)
	if err != nil {
		return nil, err
	}
	return parseCertificate(path, block)
}

func parseCertificate(path string, block *pem.Block) (*x509.Certificate, error) {
	if block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: holds a %q, not a certificate", path, block.Type)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cert, nil
}
