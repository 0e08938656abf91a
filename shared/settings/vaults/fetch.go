package vaults

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretbackend"
	"github.com/keepgate/keepgate/shared/secretref"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// patience bounds all that a start waits for vaults.
const patience = 15 * time.Second

// The vaults that settings can refer to.
const (
	kindEnv  = "env"
	kindFile = "file"
	kindHCV  = "hcv"
)

// Roots reads the authorities that a vault's certificate is verified against; nil means the system's.
type Roots func() (*x509.CertPool, error)

// Fetch gives all settings that are references their values, or none of them: then its error is a [*settings.Faults].
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

// problem is why there is no value, and what to do about it.
type problem struct{ said, remedy string }

// fetching is one look at vaults, each of which is opened once.
type fetching struct {
	settings Settings
	roots    Roots
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
	return &fetching{s, roots, os.LookupEnv, map[string]secretbackend.Backend{}, map[string]problem{}, map[document]answer{}}
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
			if documentOf(other.To) == at {
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

func (f *fetching) backend(vault string) (secretbackend.Backend, problem) {
	if backend, open := f.backends[vault]; open {
		return backend, problem{}
	}
	wrong, known := f.wrong[vault]
	if known {
		return nil, wrong
	}
	backend, wrong := f.open(vault)
	if wrong.said != "" {
		f.wrong[vault] = wrong
		return nil, wrong
	}
	f.backends[vault] = backend
	return backend, problem{}
}

func (f *fetching) open(vault string) (secretbackend.Backend, problem) {
	s := f.settings
	switch vault {
	case kindEnv:
		if s.EnvPrefix == "" {
			return nil, problem{"vault_env_prefix is empty, so that no variable can be referred to", "set it to what the names of such variables begin with, as GATE_"}
		}
		return secretbackend.Variables(s.EnvPrefix, f.look), problem{}
	case kindFile:
		if s.Folder == "" {
			return nil, problem{"vault_file_folder is empty, so that no file can be referred to", "set it to the folder of such files"}
		}
		return secretbackend.Files(s.Folder, nil), problem{}
	case kindHCV:
		return f.server()
	}
	return nil, problem{"it refers to a vault that this node does not have", "settings know env, file and hcv; vaults of the configuration are for its entities"}
}

func (f *fetching) server() (secretbackend.Backend, problem) {
	s := f.settings
	switch {
	case s.Host == "":
		return nil, problem{"vault_hcv_host is empty", "set it to where HashiCorp Vault or OpenBao is"}
	case s.AuthMethod != Kubernetes && s.Token.Len() == 0:
		return nil, problem{"vault_hcv_token is not set", "set vault_hcv_token_file, or vault_hcv_auth_method = kubernetes"}
	}
	roots, err := f.roots()
	if err != nil {
		return nil, problem{fault.Text(err), "mend ssl_trusted_certificate"}
	}
	if err := vaultclient.CheckPath(s.Mount); err != nil {
		return nil, problem{"vault_hcv_mount: " + secretbackend.FailureOf(err), "name the mount of the key-value store"}
	}
	client, err := s.Client(roots)
	if err != nil {
		return nil, problem{"its vault hcv: " + secretbackend.FailureOf(err), "mend vault_hcv_host and vault_hcv_namespace"}
	}
	login := func(ctx context.Context) (*vaultclient.Session, error) { return s.Login(ctx, client) }
	return secretbackend.Vault(client, s.Mount, s.KV == "v2", login), problem{}
}

// remedy is what to do about the error of a vault.
func (f *fetching) remedy(vault string, err error) string {
	if vault != kindHCV {
		return "mend the reference, or put the secret there"
	}
	switch vaultclient.StepOf(err) {
	case vaultclient.StepLogin:
		return "mend vault_hcv_token or vault_hcv_auth_method"
	case vaultclient.StepDNS, vaultclient.StepTCP, vaultclient.StepAddress:
		return "mend vault_hcv_host and vault_hcv_port, or start again once it answers there"
	case vaultclient.StepTLS:
		return "name its authority in ssl_trusted_certificate, and the name of its certificate in vault_hcv_host"
	case vaultclient.StepServer:
		return "start again once it answers"
	}
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return "mend the reference, vault_hcv_mount or vault_hcv_kv, or put the secret there"
	case fault.KindOf(err) == fault.Denied:
		return "let the policy of its token read the secret"
	case errors.Is(err, context.DeadlineExceeded):
		return "start again once it answers"
	}
	return "mend the reference, vault_hcv_mount or vault_hcv_kv"
}
