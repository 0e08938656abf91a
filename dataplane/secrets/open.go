package secrets

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretbackend"
	"github.com/keepgate/keepgate/shared/secretref"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// open makes the backend of a spec.
func (s *Secrets) open(at place, v spec) (secretbackend.Backend, string) {
	if v.fault != "" {
		return nil, v.fault
	}
	switch v.kind {
	case kindEnv:
		return s.guarded(v, secretbackend.Variables(v.prefix, s.options.Environ)), ""
	case kindFile:
		var below []string
		for part := range strings.SplitSeq(strings.Trim(v.prefix, "/"), "/") {
			if part != "" {
				below = append(below, part)
			}
		}
		return s.guarded(v, secretbackend.Files(s.options.Folder, below, s.own.look)), ""
	}
	options := vaultclient.Options{
		Address: v.protocol + "://" + net.JoinHostPort(v.host, v.port), Namespace: v.namespace, Roots: s.options.Roots, Attempts: 1,
		Follows: s.options.listed,
	}
	if !v.trusted {
		options.Reach = far
	}
	client, err := vaultclient.New(options)
	if err == nil {
		err = vaultclient.CheckPath(v.mount)
	}
	if err != nil {
		return nil, "its address or mount cannot be used: " + secretbackend.FailureOf(err)
	}
	login := func(ctx context.Context) (*vaultclient.Session, error) {
		if v.kubernetes {
			return client.Kubernetes(ctx, v.authPath, v.role, s.options.HCV.KubeTokenFile)
		}
		token, err := s.token(ctx, at.workspace, v.access)
		if err != nil {
			return nil, err
		}
		defer token.Wipe()
		return client.WithToken(token)
	}
	return s.guarded(v, secretbackend.Vault(client, v.mount, v.v2, login)), ""
}

// token is what a vault logs in with: it is the caller's to wipe. What it refers to is read now.
func (s *Secrets) token(ctx context.Context, workspace string, a access) (secret.Bytes, error) {
	fail := func(text string, err error) error {
		return &vaultclient.Failure{Step: vaultclient.StepLogin, Text: text, Err: err}
	}
	switch {
	case a.nodes && s.options.HCV.TokenFile != "":
		return secretbackend.TokenFile(s.options.HCV.TokenFile)
	case a.nodes:
		return s.options.HCV.Token.Clone(), nil
	case !secretref.Meant(a.token):
		return secret.Take([]byte(a.token)), nil
	}
	r, err := secretref.Parse(a.token)
	if err != nil {
		return secret.Bytes{}, fail("the vault's token: "+err.Error(), err)
	}
	s.mu.Lock()
	v := s.vaults[place{workspace, r.Place}]
	s.mu.Unlock()
	if v == nil || v.backend == nil || v.spec.kind == kindHCV {
		return secret.Bytes{}, fail("the vault's token is a reference that leads to no vault of variables or files", nil)
	}
	found, err := v.backend.Read(ctx, r.Secret, r.Version, []string{r.Field})
	if err != nil {
		return secret.Bytes{}, fail("the vault's token: "+secretbackend.Coarse(err), err)
	}
	if f := found[r.Field]; f.Fault != "" {
		return secret.Bytes{}, fail("the vault's token: "+f.Fault, errors.New(f.Fault))
	}
	return found[r.Field].Value, nil
}
