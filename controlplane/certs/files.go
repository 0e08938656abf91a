package certs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
)

const maxFile = 64 << 20

// replace writes a file so that it survives power loss.
func replace(path string, mode fs.FileMode, data []byte) error {
	return durable.Replace(path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

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

// readBlock reads a file of exactly one PEM block.
func readBlock(path string) (*pem.Block, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // opened for reading
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: nothing in PEM form in it", path)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, fmt.Errorf("%s: more than one PEM block", path)
	}
	return block, nil
}

// ReadFile reads the one certificate, certificate request or CRL of a file:
// an *x509.Certificate, *x509.CertificateRequest or *x509.RevocationList.
func ReadFile(path string) (any, error) {
	const op = "certs.ReadFile"
	block, err := readBlock(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, path, err)
	}
	var found any
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
	if err != nil {
		return nil, fault.New(fault.Invalid, op, path, err)
	}
	return found, nil
}

// ReadCertificate reads a file of one certificate.
func ReadCertificate(path string) (*x509.Certificate, error) {
	cert, err := readCertificate(path)
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
	if block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: holds a %q, not a certificate", path, block.Type)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cert, nil
}
