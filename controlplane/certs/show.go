package certs

import (
	"crypto/x509"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Folder is a CA folder as it stands, read without its private key.
type Folder struct {
	CA           *x509.Certificate
	Root         *x509.Certificate // above CA; nil where there is none
	Cross        *x509.Certificate // the CA before, on this one; nil where it follows none
	Organisation string
	Certificates []Entry // in the order of issue
	CRL          *x509.RevocationList
	CRLProblem   string // why there is no CRL
}

// Read reads a CA folder. It neither locks nor changes it.
func Read(dir string) (Folder, error) {
	const op = "certs.Read"
	cert, err := readCertificate(filepath.Join(dir, caFile))
	if err != nil {
		return Folder{}, fault.New(fault.NotFound, op, dir, err)
	}
	listed, err := readIndex(dir)
	if err != nil {
		return Folder{}, fault.New(fault.Corrupt, op, dir, err)
	}
	folder := Folder{CA: cert, Organisation: listed.Organisation, Certificates: listed.Certificates}
	if root, err := readCertificate(filepath.Join(dir, rootFile)); err == nil {
		folder.Root = root
	}
	if folder.Cross, err = crossOf(dir); err != nil {
		return Folder{}, err
	}
	switch list, _, err := (&Authority{dir: dir, cert: cert, root: folder.Root}).readCRL(); {
	case err != nil:
		folder.CRLProblem = err.Error()
	case list == nil:
		folder.CRLProblem = filepath.Join(dir, crlFile) + " is missing: nodes that need it do not start"
	default:
		folder.CRL = list
		merge(folder.Certificates, list)
	}
	return folder, nil
}

// merge lets the CRL, if there is one, have the last word on what is revoked.
func merge(entries []Entry, list *x509.RevocationList) {
	if list == nil {
		return
	}
	revoked := make(map[string]time.Time)
	for _, entry := range list.RevokedCertificateEntries {
		revoked[identity.SerialText(entry.SerialNumber)] = entry.RevocationTime
	}
	for i := range entries {
		if at, ok := revoked[entries[i].Serial]; ok && entries[i].RevokedAt == 0 {
			entries[i].RevokedAt = at.Unix()
		}
	}
}

func listed(identities map[identity.Identity]bool) string {
	texts := make([]string, 0, len(identities))
	for id := range maps.Keys(identities) {
		texts = append(texts, id.String())
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}
