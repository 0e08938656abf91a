package vaults

import (
	"context"
	"crypto/x509"
	"os"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretbackend"
	"github.com/keepgate/keepgate/shared/secretref"
	"github.com/keepgate/keepgate/shared/settings"
)

// patience bounds all that a start waits for vaults.
const patience = 15 * time.Second

// Roots reads the authorities that a vault's certificate is verified against; nil means the system's.
type Roots func() (*x509.CertPool, error)

// Fetch gives all settings that are references their values, or none of them: then its error is of kind fault.Invalid.
// Members of one secret are read at once.
func (s Settings) Fetch(ctx context.Context, loaded *settings.Loaded, roots Roots) error {
	if err := s.Check(); err != nil || len(loaded.References()) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f := newFetching(s, roots)
	defer f.close()
	faults := &settings.Faults{}
	values := make([]secret.Bytes, len(loaded.References()))
	for i, r := range loaded.References() {
		value, problem := f.value(ctx, r, loaded.References())
		if problem.said != "" {
			faults.List = append(faults.List, settings.Fault{Key: r.Key, Origin: r.Origin, Problem: r.Key + ": " + problem.said, Remedy: problem.remedy})
		}
		values[i] = value
	}
	if len(faults.List) > 0 {
		for _, value := range values {
			value.Wipe()
		}
		return faults
	}
	for i, r := range loaded.References() {
		r.Give(values[i], s.next(r, values[i], roots))
	}
	return nil
}

// fetching is one look at vaults, each of which is opened once.
type fetching struct {
	settings Settings
	roots    Roots
	later    string // what is left to do about a vault that does not answer
	look     func(string) (string, bool)
	backends map[string]secretbackend.Backend
	wrong    map[string]problem // of vaults that cannot be asked
	read     map[document]answer
}

// document is a secret that is read once for all its members.
type document struct {
	vault, secret string
	version       int
}

type answer struct {
	fields map[string]secretbackend.Field
	err    error
}

func newFetching(s Settings, roots Roots) *fetching {
	return &fetching{s, roots, "start again once it answers", os.LookupEnv, map[string]secretbackend.Backend{}, map[string]problem{}, map[document]answer{}}
}

// close wipes what was read and is nobody's.
func (f *fetching) close() {
	for _, one := range f.read {
		for _, field := range one.fields {
			field.Value.Wipe()
		}
	}
	for _, backend := range f.backends {
		backend.Close()
	}
}

// value looks one reference up; all are those that are looked up beside it. The value is the caller's.
func (f *fetching) value(ctx context.Context, r settings.Reference, all []settings.Reference) (secret.Bytes, problem) {
	backend, wrong := f.backend(r.To.Place)
	if wrong.said != "" {
		return secret.Bytes{}, wrong
	}
	at := documentOf(r.To)
	found, known := f.read[at]
	if !known {
		var members []string
		for _, other := range all {
			if documentOf(other.To) == at && !slices.Contains(members, other.To.Field) {
				members = append(members, other.To.Field)
			}
		}
		found.fields, found.err = backend.Read(ctx, at.secret, at.version, members)
		f.read[at] = found
	}
	if found.err != nil {
		return secret.Bytes{}, problem{"its vault " + at.vault + ": " + secretbackend.Detailed(found.err), f.remedy(at.vault, found.err)}
	}
	field := found.fields[r.To.Field]
	why := field.Fault
	if why == "" {
		why = r.Wrong(field.Value)
	}
	if why != "" {
		return secret.Bytes{}, problem{"what it refers to in vault " + at.vault + " cannot be used: " + why, "put the value there that belongs there, or mend the reference"}
	}
	return field.Value.Clone(), problem{}
}

func documentOf(to secretref.Reference) document { return document{to.Place, to.Secret, to.Version} }
