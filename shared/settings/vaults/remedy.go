package vaults

import (
	"context"
	"errors"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// problem is why there is no value, and what to do about it.
type problem struct{ said, remedy string }

// remedy is what to do about the error of a vault.
func (f *fetching) remedy(vault string, err error) string {
	kind := fault.KindOf(err)
	switch {
	case vault == kindHCV:
		return f.remedyOfServer(err, kind)
	case vault == kindFile && (kind == fault.Denied || kind == fault.Unavailable):
		return "mend vault_file_folder, or let this user read what lies there"
	}
	return "mend the reference, or put the secret there"
}

func (f *fetching) remedyOfServer(err error, kind fault.Kind) string {
	const form = "mend the reference, vault_hcv_mount or vault_hcv_kv"
	step := vaultclient.StepOf(err)
	switch {
	case step == vaultclient.StepLogin && f.settings.AuthMethod == Kubernetes:
		return "mend vault_hcv_kube_role, vault_hcv_kube_auth_path or vault_hcv_kube_api_token_file, or the role there"
	case step == vaultclient.StepLogin:
		return "mend vault_hcv_token or vault_hcv_auth_method"
	case step == vaultclient.StepAddress && kind == fault.Denied: // a standby points there
		return "name the active node in vault_hcv_host, or let vault_hosts name the host that it points to"
	case step == vaultclient.StepDNS, step == vaultclient.StepTCP:
		return "mend vault_hcv_host and vault_hcv_port, or " + f.later + " there"
	case step == vaultclient.StepTLS:
		return "name its authority in ssl_trusted_certificate, and the name of its certificate in vault_hcv_host"
	case kind == fault.Corrupt:
		return "mend vault_hcv_host, vault_hcv_mount or vault_hcv_kv"
	case step == vaultclient.StepServer, errors.Is(err, context.DeadlineExceeded):
		return f.later
	case kind == fault.NotFound:
		return form + ", or put the secret there"
	case kind == fault.Denied:
		return "mend vault_hcv_kv or vault_hcv_mount, if the secret lies elsewhere there, or let the policy of its token read it"
	}
	return form
}
