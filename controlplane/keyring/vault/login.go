package vault

import (
	"context"
	"errors"
	"io/fs"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
	"github.com/keepgate/keepgate/shared/secretref"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

const (
	tokenFileSetting = "keyring_vault_token_file"
	maxTokenFile     = 64 << 10 // what settings read of a file with a secret
)

var errNoToken error = fault.New(fault.Unavailable, "vault.login", "keyring_vault_token",
	errors.New("no keyring_vault_token is set: give one for the moment (keepgate-cp keyring vault-sync --token-file FILE), or set it"))

// login makes a session by the settings, or with a token that was given for this one time.
func (k *Keeper) login(ctx context.Context, given secret.Bytes) (*vaultclient.Session, error) {
	switch {
	case given.Len() > 0:
		return k.client.WithToken(given)
	case k.options.Auth == AuthKubernetes:
		return k.client.Kubernetes(ctx, "kubernetes", k.options.KubeRole, k.options.KubeTokenFile)
	case k.options.TokenFile != "":
		return k.loginByFile()
	case k.options.TokenSource != nil:
		token, _ := k.options.TokenSource(ctx) // where no newer one is to be had, what the server says of this one tells
		return k.client.WithToken(token)
	case k.options.Token.Len() == 0:
		return nil, errNoToken
	}
	return k.client.WithToken(k.options.Token)
}

// tokenless: there is nothing to log in with unless somebody gives a token.
func (k *Keeper) tokenless() bool {
	return k.options.Auth == AuthToken && k.options.TokenFile == "" && k.options.Token.Len() == 0
}

// loginByFile reads the token now, since an agent may have put another into the file.
func (k *Keeper) loginByFile() (*vaultclient.Session, error) {
	data, _, err := secretfile.Read(k.options.TokenFile, maxTokenFile) // the settings tell of its notice
	if err != nil {
		return nil, k.fileFailure(err)
	}
	if secretref.Within(data) {
		clear(data)
		return nil, k.fileFailure(errors.New(k.options.TokenFile + " holds a reference, which nobody would follow: write the token itself into it"))
	}
	token := secret.Take(data)
	defer token.Wipe()
	session, err := k.client.WithToken(token)
	if err != nil { // not as of a token that a caller gave
		return nil, k.fileFailure(errors.New(k.options.TokenFile + " holds " + textOf(err)))
	}
	return session, nil
}

// fileFailure is a login that failed before Vault was asked.
func (k *Keeper) fileFailure(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = errors.New(k.options.TokenFile + " cannot be read: " + path.Err.Error())
	}
	return fault.New(fault.Unavailable, "vault.login", tokenFileSetting, &vaultclient.Failure{Step: vaultclient.StepLogin, Text: tokenFileSetting + ": " + err.Error(), Err: err})
}
