package authority

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/secret"
)

// The document, version 1, is JSON; frozen by testdata/document.golden. Bytes are base64, times Unix seconds.
const (
	documentVersion = 1
	maxDocument     = 1 << 20 // as the entity says
	maxRoots        = 32
	maxEdges        = 64
	maxListBytes    = 256 << 10 // of a longer list of revoked certificates, nodes keep their own files
)

// State is how far an authority has come.
type State string

// States of authorities that are believed, and of those that are not any more.
const (
	Trusted State = "trusted" // believed, and certifies nothing new
	Signing State = "signing" // has certified the edge authority that signs
	Retired State = "retired" // not believed, whatever files say
)

// States of edge authorities.
const (
	Pending State = "pending" // asked for, and not certified yet
	Former  State = "former"  // signs no more; what it signed is believed until it ends
)

type document struct {
	Version  int    `json:"version"`
	Sequence uint64 `json:"sequence"` // grows with every change; not less than the time of it, so that it also passes one that a restored copy forgot
	Told     uint64 `json:"told"`     // the sequence at which what data planes are told changed last
	Roots    []root `json:"roots"`
	Edges    []edge `json:"edges"`
}

// root is a CA that is believed, a root itself or what stands below one.
type root struct {
	Certificate []byte `json:"certificate"`    // DER
	List        []byte `json:"list,omitempty"` // the newest list of what it has revoked, DER
	State       State  `json:"state"`
	AddedAt     int64  `json:"added_at"`
	Since       uint64 `json:"since,omitempty"` // sequence of the document that had it first; 0: of the first, whom all nodes' files name
	RetiredAt   int64  `json:"retired_at,omitempty"`

	cert *x509.Certificate
	list *x509.RevocationList // nil: none
	id   string               // fingerprint
}

type edge struct {
	Name      string   `json:"name"`
	State     State    `json:"state"`
	Root      string   `json:"root,omitempty"`  // fingerprint of whoever signed it
	Chain     [][]byte `json:"chain,omitempty"` // DER, its own first
	Key       material `json:"key,omitzero"`    // PKCS#8; none of a former one
	CreatedAt int64    `json:"created_at"`
	SignedAt  int64    `json:"signed_at,omitempty"` // when it began to sign

	cert *x509.Certificate // nil of a pending one
}

// material is a key that is written into the document and nowhere else.
type material struct{ secret.Bytes }

func (m material) IsZero() bool { return m.Len() == 0 }

func (m material) MarshalJSON() (text []byte, err error) {
	m.Reveal(func(data []byte) { text, err = json.Marshal(data) })
	return text, err
}

func (m *material) UnmarshalJSON(text []byte) error {
	var data []byte
	if err := json.Unmarshal(text, &data); err != nil {
		return errors.New("a key that is not base64") // without the text
	}
	m.Bytes = secret.Take(data)
	return nil
}

// Fingerprint names an authority by its public key, so that it stays the same when the authority is certified anew.
func Fingerprint(cert *x509.Certificate) string {
	id, err := certs.KeySHA256(cert.PublicKey)
	if err != nil { // a kind of key that Go cannot write, and so could not have read
		return ""
	}
	return id
}

// parseDocument reads what encode writes and nothing else.
func parseDocument(text string) (d document, err error) {
	if len(text) > maxDocument {
		return d, errors.New("the document is too long")
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&d) != nil { // whose own text could quote what stands there
		return document{}, errors.New("it is not of the form of a document")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return document{}, errors.New("something follows the document")
	}
	if err := d.complete(); err != nil {
		return document{}, err
	}
	return d, nil
}

// complete parses what the document holds, and refuses one that contradicts itself.
func (d *document) complete() error {
	if d.Version != documentVersion {
		return fmt.Errorf("version %d, this program reads version %d", d.Version, documentVersion)
	}
	if d.Sequence == 0 || d.Told == 0 || d.Told > d.Sequence || len(d.Roots) == 0 || len(d.Roots) > maxRoots || len(d.Edges) > maxEdges {
		return fmt.Errorf("sequence %d with %d authorities and %d edge authorities", d.Sequence, len(d.Roots), len(d.Edges))
	}
	believed, known := 0, map[string]bool{}
	for i := range d.Roots {
		r := &d.Roots[i]
		if err := r.complete(); err != nil {
			return fmt.Errorf("authority %d: %w", i+1, err)
		}
		if known[r.id] {
			return fmt.Errorf("authority %d stands there twice", i+1)
		}
		known[r.id] = true
		if r.State != Retired {
			believed++
		}
	}
	if believed == 0 {
		return errors.New("no authority is believed")
	}
	signing, pending, names := 0, 0, map[string]bool{}
	for i := range d.Edges {
		e := &d.Edges[i]
		if err := e.complete(); err != nil {
			return fmt.Errorf("edge authority %d: %w", i+1, err)
		}
		if names[e.Name] {
			return fmt.Errorf("edge authority %d stands there twice", i+1)
		}
		names[e.Name] = true
		switch e.State {
		case Signing:
			signing++
		case Pending:
			pending++
		}
	}
	if signing > 1 || pending > 1 {
		return fmt.Errorf("%d edge authorities sign, and %d are asked for", signing, pending)
	}
	return nil
}

func (r *root) complete() (err error) {
	if r.cert, err = x509.ParseCertificate(r.Certificate); err != nil {
		return err
	}
	if r.id = Fingerprint(r.cert); r.id == "" || !r.cert.IsCA || !r.cert.BasicConstraintsValid {
		return errors.New("it is no authority's certificate")
	}
	if !slices.Contains([]State{Trusted, Signing, Retired}, r.State) {
		return fmt.Errorf("state %.20q", r.State)
	}
	if len(r.List) == 0 {
		return nil
	}
	if r.list, err = x509.ParseRevocationList(r.List); err != nil {
		return err
	}
	if r.list.Number == nil {
		return errors.New("its list has no number")
	}
	return r.list.CheckSignatureFrom(r.cert)
}

func (e *edge) complete() (err error) {
	if e.Name == "" {
		return errors.New("it has no name")
	}
	switch {
	case e.State == Pending && (len(e.Chain) > 0 || e.Key.IsZero()):
		return errors.New("it is asked for, and has a certificate already or no key")
	case e.State == Pending:
		return nil
	case e.State == Signing && e.Key.IsZero(), e.State == Former && !e.Key.IsZero():
		return errors.New("its key does not fit its state")
	case e.State != Signing && e.State != Former:
		return fmt.Errorf("state %.20q", e.State)
	case len(e.Chain) == 0:
		return errors.New("it has no certificate")
	}
	if e.cert, err = x509.ParseCertificate(e.Chain[0]); err != nil {
		return err
	}
	return certs.CheckEdge(e.cert)
}

func (d document) encode() (string, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("encoding the document: %w", err)
	}
	if len(text) > maxDocument {
		return "", errors.New("the document would be too long; retire authorities that are not needed")
	}
	return string(text), nil
}

// copied is a document that may be changed without a change of this one. Keys and certificates are shared.
func (d document) copied() document {
	d.Roots, d.Edges = slices.Clone(d.Roots), slices.Clone(d.Edges)
	return d
}

// next is the sequence of a document that is made now.
func (d document) next(now time.Time) uint64 {
	return max(d.Sequence+1, uint64(max(now.Unix(), 0)))
}

func (d *document) root(id string) *root {
	for i := range d.Roots {
		if d.Roots[i].id == id {
			return &d.Roots[i]
		}
	}
	return nil
}

func (d *document) edge(state State) *edge {
	for i := range d.Edges {
		if d.Edges[i].State == state {
			return &d.Edges[i]
		}
	}
	return nil
}

// family is an authority with those that have certified it and those that it has certified: a root and the CA that issues below it are
// believed and retired together.
func (d *document) family(id string) (ids []string) {
	ids = []string{id}
	for i := 0; i < len(ids); i++ {
		of := d.root(ids[i])
		for _, other := range d.Roots {
			if slices.Contains(ids, other.id) {
				continue
			}
			if other.cert.CheckSignatureFrom(of.cert) == nil || of.cert.CheckSignatureFrom(other.cert) == nil {
				ids = append(ids, other.id)
			}
		}
	}
	return ids
}
