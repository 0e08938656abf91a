package vault

import (
	"errors"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// mend is the one thing that mends an error of the client.
func (k *Keeper) mend(err error) string {
	switch vaultclient.StepOf(err) {
	case vaultclient.StepAddress:
		return "set keyring_vault_host to the active node, or to what balances them, as https://host:port"
	case vaultclient.StepDNS:
		return "mend the host name in keyring_vault_host, or let this machine resolve it"
	case vaultclient.StepTCP:
		return "start Vault, or open the way from this machine to it"
	case vaultclient.StepTLS:
		return "set keyring_vault_ssl_trusted_certificate to a PEM file of the authority that issued Vault's certificate"
	case vaultclient.StepServer:
		if strings.Contains(textOf(err), "sealed") {
			return "run vault operator unseal"
		}
		return "look at vault status"
	case vaultclient.StepLogin:
		if k.options.Auth == AuthKubernetes {
			return "let the role " + k.options.KubeRole + " of auth/kubernetes admit this service account (keyring_vault_kube_role, keyring_vault_kube_api_token_file)"
		}
		if fault.SubjectOf(err) == tokenFileSetting {
			return "let " + k.options.TokenFile + " hold a token that lives, readable by this process and by no other user (chmod 600); it is read again for the next login"
		}
		return "set keyring_vault_token to a token that lives"
	}
	switch fault.KindOf(err) {
	case fault.NotFound:
		return "write the first version (" + k.put() + "), or mend keyring_vault_mount and keyring_vault_path"
	case fault.Denied:
		return "give it a token that lives and a policy with " + k.policy()
	}
	return "see that keyring_vault_mount is a key-value store, version 2"
}

// policy is all that a token needs.
func (k *Keeper) policy() string {
	return `path "` + k.options.Mount + `/data/` + k.options.Path + `" { capabilities = ["read"] } and path "` +
		k.options.Mount + `/metadata/` + k.options.Path + `" { capabilities = ["read", "list"] }`
}

// causeOf is the client's error below what [Keeper.wrap] made.
func causeOf(err error) error {
	if c, ok := errors.AsType[*cannotRead](err); ok {
		return c.cause
	}
	return err
}
