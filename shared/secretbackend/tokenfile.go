package secretbackend

import (
	"bytes"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// maxTokenFile bounds a file that holds a token.
const maxTokenFile = 64 << 10

// TokenFile reads a token that whoever keeps it may have replaced, as an agent of Vault's does. The token is the caller's. The error is a
// [vaultclient.Failure] of the login.
func TokenFile(path string) (secret.Bytes, error) {
	data, _, err := secretfile.Read(path, maxTokenFile) // the settings tell of its notice
	if err != nil {
		return secret.Bytes{}, fault.New(fault.Unavailable, "secretbackend.TokenFile", "", &vaultclient.Failure{
			Step: vaultclient.StepLogin, Text: "the token's file cannot be read: " + err.Error(), Err: err,
		})
	}
	defer clear(data)
	return secret.Take(bytes.Clone(bytes.TrimSpace(data))), nil
}
