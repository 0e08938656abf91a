package secrets

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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
		o.Own.References = append(o.Own.References, parsed(t, text))
	}
	write(t, filepath.Join(folder, "vault.token"), server.Root)
	link(t, "vault.token", filepath.Join(folder, "agent"))
	write(t, filepath.Join(folder, "prefix", "cluster", "node.key"), canary)
	link(t, "prefix/cluster", filepath.Join(folder, "by-link"))
	o.Own.Files, o.Own.Folders = []string{filepath.Join(folder, "vault.token"), filepath.Join(folder, "none")}, []string{filepath.Join(folder, "prefix"), filepath.Join(folder, "no-folder")}
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
		"the token's file":             {text: "{vault://file/vault.token}"},
		"a link to the token":          {text: "{vault://file/agent}"},
		"a file that settings name":    {text: "{vault://file/none}"},
		"the node's own folder":        {text: "{vault://file/prefix/cluster/node.key/}"},
		"that folder by a link":        {text: "{vault://file/by-link/node.key}"},
		"Vault":                        {text: "{vault://hcv/team/keys/kvm}"},
		"another member in Vault":      {text: "{vault://hcv/team/keys/other}"},
		"a version":                    {text: "{vault://hcv/team/keys/kvm#1}"},
		"an entity without a token":    {vault: hcv(nil), text: "{vault://mine/team/keys/kvm}"},
		"as of version 1":              {vault: hcv(&configv1.VaultConfig{Mount: new("secret/data"), Kv: new("v1")}), text: "{vault://mine/team/keys/kvm}"},
		"as of a longer mount":         {vault: hcv(&configv1.VaultConfig{Mount: new("secret/data/team"), Kv: new("v1")}), text: "{vault://mine/keys/kvm}"},
		"a namespace":                  {vault: hcv(&configv1.VaultConfig{Namespace: new("x")}), text: "{vault://mine/team/keys/kvm}"},
		"a namespace in the mount":     {vault: hcv(&configv1.VaultConfig{Mount: new("ns/secret")}), text: "{vault://mine/team/keys/kvm}"},
		"the node's token itself":      {vault: hcv(&configv1.VaultConfig{Mount: new("auth/token"), Kv: new("v1")}), text: "{vault://mine/lookup-self/id}"},
		"the same below a namespace":   {vault: hcv(&configv1.VaultConfig{Mount: new("ns/Auth/token"), Kv: new("v1")}), text: "{vault://mine/lookup-self/id}"},
		"the same below a mount":       {vault: hcv(&configv1.VaultConfig{Mount: new("ns"), Kv: new("v1")}), text: "{vault://mine/auth/token/lookup-self/id}"},
		"another store":                {vault: hcv(&configv1.VaultConfig{Mount: new("kv"), Kv: new("v1")}), text: "{vault://mine/team/keys/kvm}", want: "of the other store"},
		"a token that may read it":     {vault: token(server.Root), text: "{vault://mine/team/keys/kvm}", want: canary},
		"another secret":               {text: "{vault://hcv/team/db/k}", want: "v"},
		"as a vault's token":           {vault: token("{vault://env/scoped-kvm}"), text: "{vault://mine/team/db/k}"},
		"a file as a vault's token":    {vault: token("{vault://file/linked/kvm}"), text: "{vault://mine/team/db/k}"},
		"the node's token as its own":  {vault: token("{vault://file/vault.token}"), text: "{vault://mine/team/keys/kvm}"},
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
			for _, v := range s.Status() {
				if test.want == "" && v.References > 0 && v.Fault == "" {
					t.Errorf("its operator is told nothing of %s", v.Vault)
				}
			}
		})
	}
}

// However folders are written, the node's own one is its own, but for a folder in it that is meant for references.
func TestTheFolderOfTheNode(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"prefix/cluster/node.key", "prefix/secrets/key", "elsewhere/key"} {
		write(t, filepath.Join(dir, name), "v")
	}
	for name, test := range map[string]struct {
		folder, own, secret string
		refused             bool
	}{
		"the prefix":                {folder: dir + "/prefix", own: dir + "/prefix", secret: "cluster/node.key", refused: true},
		"the prefix, relative":      {folder: "prefix", own: dir + "/prefix", secret: "cluster/node.key", refused: true},
		"relative, and above it":    {folder: ".", own: dir + "/prefix", secret: "prefix/cluster/node.key", refused: true},
		"an own folder is relative": {folder: dir, own: "./prefix/", secret: "prefix/cluster/node.key", refused: true},
		"a folder in the prefix":    {folder: dir + "/prefix/secrets", own: dir + "/prefix", secret: "key"},
		"the same, relative":        {folder: "prefix/secrets", own: dir + "/prefix", secret: "key"},
		"a name that begins alike":  {folder: dir, own: dir + "/else", secret: "elsewhere/key"},
	} {
		s := New(Options{Folder: test.folder, Own: Own{Folders: []string{test.own}}})
		b, _ := s.open(place{home, kindFile}, s.options.own(kindFile))
		found, err := b.Read(t.Context(), test.secret, 0, []string{""})
		if (err != nil) != test.refused || err == nil && found[""].Value.Len() != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file is replaced by renaming, as operators are told to: at no moment is it anybody else's.
func TestAFileOfSettingsThatIsReplaced(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	own := filepath.Join(folder, "mount", "..data", "kvm")
	name := func(round int) string { return filepath.Join(folder, "mount", "..v"+strconv.Itoa(round%2)) }
	for round := range 2 {
		write(t, filepath.Join(name(round), "kvm"), "canary")
	}
	link(t, "..v0", filepath.Join(folder, "mount", "..data"))
	link(t, "..data/kvm", filepath.Join(folder, "mount", "kvm"))
	write(t, filepath.Join(folder, "direct"), "canary")
	s := New(Options{Folder: folder, Own: Own{Files: []string{own, filepath.Join(folder, "direct")}}})
	b, _ := s.open(place{home, kindFile}, s.options.own(kindFile))
	read := func() {
		for secret, field := range map[string]string{"mount": "kvm", "mount/kvm": "", "direct": ""} {
			if found, err := b.Read(t.Context(), secret, 0, []string{field}); err == nil && found[field].Value.Len() > 0 {
				t.Errorf("%s was read while it was replaced", secret)
			}
		}
	}
	turn := func(round int) error {
		next := filepath.Join(folder, "mount", "..next")
		return errors.Join(os.Symlink("..v"+strconv.Itoa(round%2), next), os.Rename(next, filepath.Join(folder, "mount", "..data")),
			os.WriteFile(filepath.Join(folder, "next"), []byte("canary"), 0o600), os.Rename(filepath.Join(folder, "next"), filepath.Join(folder, "direct")))
	}
	for round := range 2 { // nobody turns twice within one look at what never lay there before
		if err := turn(round); err != nil {
			t.Fatal(err)
		}
		read()
	}
	stop := make(chan struct{})
	var replacing sync.WaitGroup
	replacing.Go(func() {
		for round := 1; ; round++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := turn(round); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 5000 {
		read()
	}
	close(stop)
	replacing.Wait()
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

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}
