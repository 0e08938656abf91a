package keyscmd_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/cli/keyscmd"
	"github.com/keepgate/keepgate/dataplane/edgekeys"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd, err := keyscmd.Command()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors = true
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

var node = scopedkeys.Who{Organisation: "acme", Environment: "prod"}

// chosen reads what was printed as a node does.
func chosen(t *testing.T, text string, opener scopedkeys.Opener) *scopedkeys.Choice {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := scopedkeys.Sources{File: file, Strict: true}.Read()
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	choice, err := read.Choose(context.Background(), node, opener)
	if err != nil {
		t.Fatal(err)
	}
	return choice
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		keys int
		size int
	}{
		"all":                         {nil, 5, 32},
		"for one":                     {[]string{"--org", "acme", "--env", "prod"}, 5, 32},
		"for one environment":         {[]string{"--env", "prod", "--bits", "192"}, 5, 24},
		"for one organisation":        {[]string{"--org", "acme", "--bits", "128"}, 5, 16},
		"some":                        {[]string{"--only", "kms,env.kvm"}, 2, 32},
		"some, of another name":       {[]string{"--only", "cache", "--org", "acme", "--env", "prod"}, 1, 32},
		"another environment's":       {[]string{"--only", "cache", "--env", "test"}, 0, 32},
		"of the organisation's alone": {[]string{"--only", "contract", "--org", "acme"}, 1, 32},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := run(t, append([]string{"generate"}, test.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			choice := chosen(t, text, nil)
			if len(choice.Chosen) != test.keys || len(choice.Warnings) != 0 {
				t.Fatalf("%d keys, %v of\n%s", len(choice.Chosen), choice.Warnings, text)
			}
			ids := map[string]bool{}
			for _, c := range choice.Chosen {
				ids[c.Key.ID()] = true
				if c.Key.Material().Len() != test.size {
					t.Errorf("a key of %d bytes", c.Key.Material().Len())
				}
			}
			if len(ids) != test.keys {
				t.Error("one key twice")
			}
		})
	}
	for _, args := range [][]string{{"--bits", "64"}, {"--only", "all"}, {"--wrap", "gpg"}, {"--wrap", "kms"}, {"--wrap", "vault"}} {
		if text, err := run(t, append([]string{"generate"}, args...)...); err == nil || strings.Contains(text, "EncryptionKey") {
			t.Errorf("%v: %v, %s", args, err, text)
		}
	}
}

func TestGenerateWrappedByVault(t *testing.T) {
	t.Parallel()
	vault := vaulttest.Start(t)
	vault.MountTransit("transit", "edge")
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(vault.Root), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(strings.TrimPrefix(vault.URL, "https://"), ":")
	args := []string{
		"--vault-hcv-host", host, "--vault-hcv-port", port, "--vault-hcv-token-file", token, "--ssl-trusted-certificate", vault.CAFile, "--encryption-keys-vault-key", "edge",
	}
	text, err := run(t, append([]string{"generate", "--wrap", "vault", "--only", "kms"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "vault:v1:") {
		t.Fatal(text)
	}
	opened := 0
	choice := chosen(t, text, opens(func(wrapped string) (secret.Bytes, error) {
		opened++
		return secret.Take(bytes.Repeat([]byte{7}, 32)), nil
	}))
	if len(choice.Chosen) != 1 || opened != 1 {
		t.Errorf("%d keys, %d opened", len(choice.Chosen), opened)
	}
}

type opens func(string) (secret.Bytes, error)

func (o opens) OpenKey(_ context.Context, wrapped string) (secret.Bytes, error) { return o(wrapped) }

func TestExplain(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "ca")
	source, files, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.DataPlane, Organisation: "acme", Environment: "prod", Name: "one"}})
	prefix := t.TempDir()
	generated, err := run(t, "generate", "--only", "kms,kvm", "--org", "acme")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(prefix, "keys.yaml")
	if err := os.WriteFile(file, []byte(generated), 0o600); err != nil {
		t.Fatal(err)
	}
	choice := chosen(t, generated, nil)
	current, err := source.DeriveKey(edgekeys.Label, 32)
	if err != nil {
		t.Fatal(err)
	}
	own, err := localkeys.New(current)
	if err != nil {
		t.Fatal(err)
	}
	store, _, err := localstore.Open(filepath.Join(prefix, "store"), localstore.Options{
		Mode: localstore.AES256GCM, Node: "acme/prod", Keys: own.With(choice.Keys()),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() // it is used while it is looked at
	err = errors.Join(store.Replace(localstore.State{Version: 1}), store.Append(localstore.Change{Version: 2, Puts: []localstore.Entry{
		{Kind: "key_value_maps", ID: "m1", Class: localkeys.KVM, Scope: "prod", Bytes: []byte("x")},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	arguments := []string{
		"--prefix", prefix, "--cluster-cert", files.Cert, "--cluster-cert-key", files.Key, "--cluster-ca-cert", files.CA, "--encryption-keys", file,
	}
	usage, err := store.Usage()
	if err != nil || len(usage.Uses) == 0 {
		t.Fatalf("%+v, %v", usage, err)
	}
	told := func(class localkeys.Class, suite aead.Suite) string {
		id, err := own.KeyID(suite, localkeys.Section{Class: class})
		if err != nil {
			t.Fatal(err)
		}
		return "given by  derived\nkey id    " + id + "\n"
	}
	tests := map[string]struct{ want, refused string }{
		"":                            {want: "data      cache, environment prod's\nkey of    this node\n" + told(localkeys.Cache, aead.AES256GCM)},
		"contract":                    {want: told(localkeys.Contract, aead.AES256GCM)},
		"contract, chacha20-poly1305": {want: told(localkeys.Contract, aead.ChaCha20Poly1305)},
		"contract, off":               {want: "given by  derived\nkey id    -\n"},
		"cache, off":                  {want: told(localkeys.Cache, aead.AES256GCM)},
		"kms":                         {want: "data      kms, the organisation's\nkey of    organisation acme\ngiven by  " + file + ":3\nkey id    "},
		"basicauth_credentials":       {want: "data      kms, the organisation's"},
		"services":                    {want: "data      contract, the organisation's\nkey of    this node"},
		"key_value_entries":           {want: "data      kvm, environment prod's\nkey of    organisation acme"},
		"key_value_maps/m1":           {want: "data      kvm, environment prod's\nkey of    organisation acme"},
		"key_value_maps/m2":           {refused: "does not hold key_value_maps/m2"},
		"nonsense":                    {refused: "is no class (contract, kms, kvm, cache) and no table"},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			args := append([]string{"explain"}, arguments...)
			what, mode, other := strings.Cut(what, ", ")
			if other {
				args = append(args, "--declarative-config-encryption-mode", mode)
			}
			if what != "" {
				args = append(args, what)
			}
			out, err := run(t, args...)
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("error = %v, want %q", err, test.refused)
				}
				return
			}
			if err != nil || !strings.Contains(out, test.want) {
				t.Errorf("%v, told\n%s\nwant\n%s", err, out, test.want)
			}
			for _, use := range usage.Uses { // what lies on the disk is found by what is told
				if what == "" && !strings.Contains(out, "key id    "+use.KeyID+"\n") {
					t.Errorf("nothing is told of %s, which seals %v", use.KeyID, use.Section)
				}
			}
			for _, line := range strings.Split(generated, "\n") {
				if _, value, found := strings.Cut(line, ": \""); found && len(value) > 20 && strings.Contains(out, value[:10]) {
					t.Error("it shows a key")
				}
			}
		})
	}
}
