package secrets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// What a node's own settings refer to is told to no configuration, however it is called there.
func TestSecretsOfSettingsAreNobodyElses(t *testing.T) {
	t.Parallel()
	const canary = "canary of a setting"
	server := vaulttest.Start(t)
	server.Put("team/keys", map[string]string{"kvm": canary, "other": canary})
	server.Put("team/db", map[string]string{"k": "v"})
	server.PutV1("team/keys", map[string]string{"kvm": "of the other store"})
	folder := t.TempDir()
	write(t, filepath.Join(folder, "mount", "..2026", "kvm"), canary)
	link(t, "..2026", filepath.Join(folder, "mount", "..data"))
	link(t, "..data/kvm", filepath.Join(folder, "mount", "kvm"))
	write(t, filepath.Join(folder, "keys.json"), `{"kvm":"`+canary+`"}`)
	link(t, "keys.json", filepath.Join(folder, "linked"))
	if err := os.Link(filepath.Join(folder, "keys.json"), filepath.Join(folder, "hard")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "free"), "v")
	variables := map[string]string{"GATE_SCOPED_KVM": canary, "GATE_FREE": "v"}
	o := at(t, server)
	o.Folder, o.EnvPrefix = folder, "GATE_"
	o.Environ = func(name string) (string, bool) { value, ok := variables[name]; return value, ok }
	for _, text := range []string{"{vault://env/scoped-kvm}", "{vault://file/mount/kvm}", "{vault://file/keys.json/kvm}", "{vault://hcv/team/keys/kvm}"} {
		o.Own = append(o.Own, parsed(t, text))
	}
	hcv := func(c *configv1.VaultConfig) *configv1.Vault {
		return &configv1.Vault{Name: new(kindHCV), Prefix: new("mine"), Config: c}
	}
	below := func(kind, prefix string) *configv1.Vault {
		return &configv1.Vault{Name: &kind, Prefix: new("mine"), Config: &configv1.VaultConfig{Prefix: &prefix}}
	}
	token := func(text string) *configv1.Vault { return hcv(&configv1.VaultConfig{Token: &text}) }
	tests := map[string]struct {
		vault *configv1.Vault
		text  string
		want  string // "" where it is refused
	}{
		"the variable":                 {text: "{vault://env/scoped-kvm}"},
		"the variable in another case": {text: "{vault://env/SCOPED_KVM}"},
		"a prefix and the rest of it":  {vault: below(kindEnv, "scoped-"), text: "{vault://mine/kvm}"},
		"another variable":             {text: "{vault://env/free}", want: "v"},
		"the file":                     {text: "{vault://file/mount/kvm}"},
		"the file by another way":      {text: "{vault://file/mount/..data/kvm}"},
		"the file by its folder":       {vault: below(kindFile, "mount/..2026"), text: "{vault://mine/kvm}"},
		"a file of members":            {text: "{vault://file/keys.json}"},
		"another member":               {text: "{vault://file/keys.json/other}"},
		"a link to it":                 {text: "{vault://file/linked}"},
		"another name of it":           {text: "{vault://file/hard}"},
		"another file":                 {text: "{vault://file/free}", want: "v"},
		"Vault":                        {text: "{vault://hcv/team/keys/kvm}"},
		"another member in Vault":      {text: "{vault://hcv/team/keys/other}"},
		"a version":                    {text: "{vault://hcv/team/keys/kvm#1}"},
		"an entity without a token":    {vault: hcv(nil), text: "{vault://mine/team/keys/kvm}"},
		"as of version 1":              {vault: hcv(&configv1.VaultConfig{Mount: new("secret/data"), Kv: new("v1")}), text: "{vault://mine/team/keys/kvm}"},
		"as of a longer mount":         {vault: hcv(&configv1.VaultConfig{Mount: new("secret/data/team"), Kv: new("v1")}), text: "{vault://mine/keys/kvm}"},
		"another store":                {vault: hcv(&configv1.VaultConfig{Mount: new("kv"), Kv: new("v1")}), text: "{vault://mine/team/keys/kvm}", want: "of the other store"},
		"a token that may read it":     {vault: token(server.Root), text: "{vault://mine/team/keys/kvm}", want: canary},
		"another secret":               {text: "{vault://hcv/team/db/k}", want: "v"},
		"as a vault's token":           {vault: token("{vault://env/scoped-kvm}"), text: "{vault://mine/team/db/k}"},
		"a file as a vault's token":    {vault: token("{vault://file/linked/kvm}"), text: "{vault://mine/team/db/k}"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vaults := none
			if test.vault != nil {
				vaults = one(home, test.vault)
			}
			s := within(t, o)
			got := asks(t, s, home, vaults, test.text)[0]
			if test.want != "" && got != test.want || test.want == "" && (!strings.HasPrefix(got, "!vault ") || strings.Contains(got, canary)) {
				t.Errorf("%s leads to %q, want %q", test.text, got, test.want)
			}
			if test.want != "" || strings.Contains(got, "login") {
				return
			}
			for _, v := range s.Status() {
				if v.References > 0 && !strings.Contains(v.Fault, "a setting of this node refers to it") {
					t.Errorf("its operator is told %q", v.Fault)
				}
			}
		})
	}
}

// An agent replaces the token in its file: the next login takes that.
func TestATokenThatIsReplacedInItsFile(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.Put("app", map[string]string{"k": "v"})
	server.Policy("app", `path "secret/data/app" { capabilities = ["read"] }`)
	o := at(t, server)
	o.HCV.TokenFile, o.HCV.Token, o.HCV.TTL = filepath.Join(t.TempDir(), "token"), secret.Bytes{}, time.Second
	write(t, o.HCV.TokenFile, server.Token(time.Hour, "default", "app")+"\n")
	o.HCV.Token = secret.Take([]byte("what the settings read at the start"))
	s := within(t, o)
	same(t, asks(t, s, home, none, "{vault://hcv/app/k}"), "v")
	server.Advance(2 * time.Hour)
	write(t, o.HCV.TokenFile, server.Token(time.Hour, "default", "app")+"\n")
	server.Put("app", map[string]string{"k": "v2"})
	changes(t, s)
	same(t, asks(t, s, home, none, "{vault://hcv/app/k}"), "v2")
}

func FuzzPathsOfSecrets(f *testing.F) {
	f.Add("", "secret", "team/keys")
	f.Add("ns/", "/secret/", "a//b")
	f.Fuzz(func(t *testing.T, namespace, mount, name string) {
		if one, other := pathOf(namespace, mount+"/data", false, name), pathOf(namespace, mount, true, name); one != other {
			t.Errorf("%q is the same as %q", one, other)
		}
	})
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}
