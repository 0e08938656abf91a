package vault_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/vault"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	good := vault.Options{Server: vaultclient.Options{Address: "https://vault:8200"}, Mount: "secret", Path: "ring", Auth: vault.AuthToken}
	for setting, edit := range map[string]func(o *vault.Options){
		"": func(*vault.Options) {}, "keyring_vault_host": func(o *vault.Options) { o.Server.Address = "http://vault:8200" },
		"keyring_vault_mount": func(o *vault.Options) { o.Mount = "" }, "keyring_vault_path": func(o *vault.Options) { o.Path = "a/../b" },
	} {
		options := good
		edit(&options)
		if _, err := vault.New(options); (err == nil) != (setting == "") || (err != nil && (fault.KindOf(err) != fault.Invalid || fault.SubjectOf(err) != setting)) {
			t.Errorf("%q: New = %v", setting, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	for _, act := range []keyring.Act{keyring.ActFirst, keyring.ActGenerate, keyring.ActImport, keyring.ActExport, keyring.ActActivate, keyring.ActDeactivate, keyring.ActRemove, keyring.ActRecover} {
		if err := r.keeper.Refuses(act); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "keyring_strategy = vault keeps the keys in Vault, at secret/ring: ") || strings.HasSuffix(err.Error(), ": ") {
			t.Errorf("%s = %v", act, err)
		}
	}
}

func TestExamine(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		breaks     func(r *room)
		step, mend string // "": all is well
	}{
		"nothing":           {func(*room) {}, "", ""},
		"another host":      {func(r *room) { r.options.Server.Address = "https://nowhere.invalid:8200" }, "DNS", "keyring_vault_host"},
		"dead":              {func(r *room) { r.server.Down() }, "TCP", "start Vault"},
		"another authority": {func(r *room) { r.options.Server.CAFile = "" }, "TLS", "keyring_vault_ssl_trusted_certificate"},
		"sealed":            {func(r *room) { r.server.Seal(true) }, "server", "vault operator unseal"},
		"a standby":         {func(r *room) { r.server.Performance(true) }, "server", "vault status"},
		"a standby in clear": {
			func(r *room) { r.server.Standby("http://127.0.0.1:1") }, "server", "keyring_vault_host",
		},
		"no token":           {func(r *room) { r.options.Token = secret.Bytes{} }, "authentication", "keyring_vault_token_file"},
		"no token file":      {func(r *room) { r.options.TokenFile = "/nowhere/token" }, "authentication", "let /nowhere/token hold a token that lives"},
		"a wrong token":      {func(r *room) { r.options.Token = secret.Take([]byte("hvs.canary")) }, "authentication", "a token that lives"},
		"a token with signs": {func(r *room) { r.options.Token = secret.Take([]byte("a b")) }, "authentication", "keyring_vault_token"},
		"no role":            {func(r *room) { r.options.Auth, r.options.KubeTokenFile = vault.AuthKubernetes, "/nowhere" }, "authentication", "keyring_vault_kube_role"},
		"another policy": {
			func(r *room) { r.options.Token = secret.Take([]byte(r.server.Token(0, "default"))) }, "read", "capabilities",
		},
		"another path":   {func(r *room) { r.options.Path = "other"; r.options.Token = secret.Take([]byte(r.server.Root)) }, "read", "keyring_vault_path"},
		"another mount":  {func(r *room) { r.options.Mount = "kv"; r.options.Token = secret.Take([]byte(r.server.Root)) }, "read", "keyring_vault_mount"},
		"no key":         {func(r *room) { r.server.Put("ring", map[string]string{"id": one}) }, "keys", "vault kv put"},
		"newest deleted": {func(r *room) { r.server.Delete("ring", 1) }, "keys", "undelete"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, func(r *room) {
				r.server.Key("ring", one, long("1"))
				test.breaks(r)
			})
			found := r.keeper.Examine(t.Context())
			if len(found) != 7 {
				t.Errorf("%d findings, want 7", len(found))
			}
			bad := ""
			for _, f := range found {
				switch {
				case f.Verdict == finding.OK && strings.HasPrefix(name, "no token"):
					t.Errorf("%s is fine, and nobody was asked", f.Step)
				case f.Verdict == finding.OK && bad != "":
					t.Errorf("%s is fine after %s was not", f.Step, bad)
				case f.Verdict == finding.Wrong || f.Verdict == finding.Warning:
					if bad = f.Step; f.Step != test.step || !strings.Contains(f.Mend, test.mend) {
						t.Errorf("%s %s: %s → %s; want %s, %q", f.Verdict, f.Step, f.Fact, f.Mend, test.step, test.mend)
					}
				}
			}
			if bad == "" && test.step != "" {
				t.Errorf("nothing is wrong: %+v", found)
			}
			if strings.Contains(fmt.Sprint(found), "canary") {
				t.Errorf("a finding shows a secret: %+v", found)
			}
		})
	}
}
