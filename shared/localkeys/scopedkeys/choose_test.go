package scopedkeys_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	material = "\x01random-enough\xff\x00"
	another  = "\x02random-enough\xff\x00"
)

func encoded(key string) string { return base64.StdEncoding.EncodeToString([]byte(key)) }

// lay writes files that nobody else may read.
func lay(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	one, other := encoded(material), encoded(another)
	kvm := localkeys.Section{Class: localkeys.KVM, Scope: "prod"}
	tests := map[string]struct {
		setting string // encryption_key_env_kvm
		folder  map[string]string
		file    string
		refused string
		from    string // of the environment's kvm key
	}{
		"nothing":                          {from: "derived"},
		"a setting":                        {setting: one + "\n", from: "encryption_key_env_kvm"},
		"a folder":                         {folder: map[string]string{"env.kvmEncryptionKey": one + "\n"}, from: "env.kvmEncryptionKey"},
		"folder before the file":           {folder: map[string]string{"env.kvmEncryptionKey": one}, file: "envs: [{name: prod, kvmEncryptionKey: " + one + "}]", from: "env.kvmEncryptionKey"},
		"setting before all":               {setting: one, folder: map[string]string{"env.kvmEncryptionKey": one}, file: "envs: [{name: prod, kvmEncryptionKey: " + one + "}]", from: "encryption_key_env_kvm"},
		"defaults give way":                {setting: one, file: "defaults: {env: {kvmEncryptionKey: " + other + "}}", from: "encryption_key_env_kvm"},
		"defaults":                         {file: "defaults: {env: {kvmEncryptionKey: " + other + "}}", from: "keys.yaml:1"},
		"the organisation's":               {file: "kvmEncryptionKey: " + one, from: "keys.yaml:1"},
		"another environment's":            {file: "envs: [{name: test, kvmEncryptionKey: " + one + "}]", from: "derived"},
		"setting and folder differ":        {setting: one, folder: map[string]string{"env.kvmEncryptionKey": other}, refused: "encryption_key_env_kvm gives another key for the same"},
		"setting and file differ":          {setting: one, file: "envs: [{name: prod, kvmEncryptionKey: " + other + "}]", refused: "keys.yaml:1: envs[0].kvmEncryptionKey: encryption_key_env_kvm gives another key"},
		"a file of no known name":          {folder: map[string]string{"env.kmsEncryptionKey": one}, refused: "env.kmsEncryptionKey: no key has this name; expected org.contractEncryptionKey"},
		"a folder of nothing":              {folder: map[string]string{}, refused: "no key lies there; expected any of org.contractEncryptionKey"},
		"a file of nothing":                {folder: map[string]string{"env.kvmEncryptionKey": "\n"}, refused: "env.kvmEncryptionKey: it is empty"},
		"what Kubernetes keeps for itself": {folder: map[string]string{"..data": "x", "env.kvmEncryptionKey": one}, from: "env.kvmEncryptionKey"},
		"both are wrong":                   {setting: "x", folder: map[string]string{"nonsense": ""}, refused: "nonsense: no key has this name"},
		"wrapped":                          {setting: "vault:v1:AAAA", from: "encryption_key_env_kvm"},
		"wrapped, and the same":            {setting: "vault:v1:AAAA", file: "envs: [{name: prod, kvmEncryptionKey: " + one + "}]", from: "encryption_key_env_kvm"},
		"wrapped, and another":             {setting: "vault:v1:AAAA", file: "envs: [{name: prod, kvmEncryptionKey: " + other + "}]", refused: "gives another key"},
		"wrapped by somebody else":         {setting: "vault:v1:BBBB", refused: "encryption_key_env_kvm: opening it:"},
		"it wraps something else":          {setting: "vault:v1:CCCC", refused: "what it wraps has 3 bytes"},
		"a wrapped kms key that differs":   {file: "kmsEncryptionKey: " + one + "\nenvs: [{name: prod, kmsEncryptionKey: 'vault:v1:DDDD'}]", refused: "keys.yaml:2: envs[0].kmsEncryptionKey: it differs from the organisation's"},
		"the service is away":              {setting: "kms:v2:AAAA", refused: "away"},
	}
	services := opener{"vault:v1:AAAA": material, "vault:v1:CCCC": "abc", "vault:v1:DDDD": another}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scopedkeys.Sources{Settings: []scopedkeys.Setting{{
				Name: "encryption_key_env_kvm", Key: scopedkeys.Key{Class: localkeys.KVM, Environment: true}, Value: secret.Take([]byte(test.setting)),
			}}}
			if test.folder != nil {
				s.Folder = t.TempDir()
				lay(t, s.Folder, test.folder)
			}
			if test.file != "" {
				dir := t.TempDir()
				lay(t, dir, map[string]string{"keys.yaml": test.file})
				s.File = filepath.Join(dir, "keys.yaml")
			}
			choice, err := choose(s, node, services)
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) || strings.Contains(err.Error(), one[:8]) {
					t.Errorf("error = %v\nwant %q", err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := choice.Explain(kvm); !strings.HasSuffix(got.From, test.from) {
				t.Errorf("from %s, want %s", got.From, test.from)
			}
		})
	}
}

// A service that is away may come back; a key that can never be right may not. Who asks goes by the kind.
func TestKindsOfRefusal(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]fault.Kind{"kms:v2:AAAA": fault.Unavailable, "vault:v1:AAAA": fault.Invalid, "x": fault.Invalid} {
		s := scopedkeys.Sources{Settings: []scopedkeys.Setting{{Name: "a", Key: scopedkeys.Keys()[0], Value: secret.Take([]byte(value))}}}
		if _, err := choose(s, node, opener{}); fault.KindOf(err) != want {
			t.Errorf("%s: %v, want %v", value, err, want)
		}
	}
}

func TestOthersMayNotReadKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lay(t, dir, map[string]string{"org.kmsEncryptionKey": encoded(material)})
	if err := os.Chmod(filepath.Join(dir, "org.kmsEncryptionKey"), 0o604); err != nil {
		t.Fatal(err)
	}
	for _, s := range []scopedkeys.Sources{{Folder: dir}, {File: filepath.Join(dir, "org.kmsEncryptionKey")}} {
		if _, err := s.Read(); err == nil || !strings.Contains(err.Error(), "open to others (mode 0604)") {
			t.Errorf("Read = %v", err)
		}
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	dir, folder := t.TempDir(), t.TempDir()
	s := scopedkeys.Sources{File: filepath.Join(dir, "keys.yaml"), Folder: folder}
	seen := map[string]string{}
	news := func(what string) {
		t.Helper()
		hash := s.Hash()
		if before, there := seen[hash]; there {
			t.Errorf("%s looks like %s", what, before)
		}
		if again := s.Hash(); again != hash {
			t.Errorf("%s: two hashes", what)
		}
		seen[hash] = what
	}
	news("nothing")
	lay(t, dir, map[string]string{"keys.yaml": "a"})
	news("a file")
	lay(t, dir, map[string]string{"keys.yaml": "b"})
	news("another file")
	lay(t, folder, map[string]string{"env.kvmEncryptionKey": "b"})
	news("a key in the folder")
	lay(t, folder, map[string]string{"env.kvmEncryptionKey": "c"})
	news("another key in the folder")
	if err := os.Remove(filepath.Join(dir, "keys.yaml")); err != nil {
		t.Fatal(err)
	}
	news("no file")
}
