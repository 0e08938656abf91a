package values

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/serverchain"
)

// system is the word for the authorities of the machine.
const system = "system"

// Roots reads the authorities that a setting lists: files, PEM or base64 of PEM, and the word system. nil means the system's alone. Its
// faults name the setting, never a text.
func Roots(key string, list []string) (*x509.CertPool, error) {
	if !slices.ContainsFunc(list, func(one string) bool { return one != system }) {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if slices.Contains(list, system) {
		var err error
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("reading the system's authorities: %w", err)
		}
	}
	for _, one := range list {
		if one == system {
			continue
		}
		text, where := serverchain.InlinePEM(one), "a text of it"
		if text == nil {
			var err error
			if text, err = readRoots(one); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			where = one
		}
		if bytes.Contains(text, []byte("PRIVATE KEY-----")) {
			return nil, fault.Newf(fault.Invalid, "settings.Roots", key, "%s holds a private key: take it away from where it stands", where)
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fault.Newf(fault.Invalid, "settings.Roots", key, "%s holds no PEM certificate", where)
		}
	}
	return pool, nil
}

// readRoots reads a file of authorities. What was meant as text, and is cut short or mistyped, is no path to be told.
func readRoots(path string) ([]byte, error) {
	const begin, beginBase64 = "-----", "LS0tLS1CRUdJT"
	if strings.HasPrefix(path, begin) || strings.HasPrefix(path, beginBase64) {
		return nil, errors.New("a text of it is neither PEM nor base64 of PEM")
	}
	return os.ReadFile(path)
}
