package providerconfig_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/shared/fault"
)

// told writes a chain as one word a provider.
func told(chain []providerconfig.Provider) string {
	var words []string
	for _, p := range chain {
		word := string(p.Kind)
		if p.Plugin != nil {
			word += ":" + p.Plugin.Version + ":" + p.Plugin.Name
		}
		for _, key := range p.Keys {
			word += ":" + key.Name
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

const whole = head + `- resources: [licenses]
  providers:
  - identity: {}
  - aesgcm: {keys: [{name: a, secret: %[1]s}, {name: b, secret: %[1]s}]}
- resources: [licenses, certificates]
  providers:
  - aesgcm: {keys: [{name: b, secret: %[1]s}, {name: c, secret: %[1]s}]}
  - identity: {}
  - kms: {apiVersion: v2, name: k, endpoint: "unix:///@k", timeout: 500ms}
- resources: ["*.*"]
  providers:
  - kms: {apiVersion: v2, name: k, endpoint: "unix:///@k", timeout: 500ms}
  - keyring: {}
`

func TestChain(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(whole, key16)
	config, err := providerconfig.Parse("f", []byte(text), ours())
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		table, want string
		line        int
	}{
		"lists of several entries follow one another": {"licenses", "identity aesgcm:a:b aesgcm:c kms:v2:k", 4},
		"a name counts before all":                    {"certificates", "aesgcm:b:c identity kms:v2:k", 8},
		"all else":                                    {"keyauth_credentials", "kms:v2:k keyring", 13},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain, line, found := config.Chain(test.table)
			if got := told(chain); got != test.want || line != test.line || !found {
				t.Errorf("Chain = %s at %d, want %s at %d", got, line, test.want, test.line)
			}
		})
	}
	if len(config.Plugins()) != 2 || config.Grace() != 2*time.Second {
		t.Errorf("%d plugins, grace %v; want 2, 2s", len(config.Plugins()), config.Grace())
	}
	first, err := providerconfig.Parse("f", []byte(head+"- resources: [licenses]\n  providers: [keyring: {}]\n"), ours())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, found := first.Chain("certificates"); found {
		t.Error("a table that the file does not name has a chain")
	}
}

// A file in JSON, indented with tabs, and one with an alias say the same as the one in YAML.
func TestForms(t *testing.T) {
	t.Parallel()
	forms := map[string]string{
		"JSON":      "{\n\t\"apiVersion\": \"apiserver.config.k8s.io/v1\",\n\t\"kind\": \"EncryptionConfiguration\",\n\t\"resources\": [{\"resources\": [\"licenses\"], \"providers\": [{\"keyring\": {}}]}]\n}\n",
		"an alias":  head + "- resources: [certificates]\n  providers: &p [keyring: {}]\n- resources: [licenses]\n  providers: *p\n",
		"its marks": "\xef\xbb\xbf" + head + "- {resources: [licenses], providers: [keyring: {}]}\n",
	}
	for name, text := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := providerconfig.Parse("f", []byte(text), ours())
			if err != nil {
				t.Fatal(err)
			}
			if chain, _, _ := config.Chain("licenses"); told(chain) != "keyring" {
				t.Errorf("Chain = %s, want keyring", told(chain))
			}
		})
	}
}

func TestFileModes(t *testing.T) {
	t.Parallel()
	static := head + "- resources: [licenses]\n  providers: [aesgcm: {keys: [{name: a, secret: " + key16 + "}]}]\n"
	tests := map[string]struct {
		text  string
		mode  os.FileMode
		wants string // in the error; "" none
	}{
		"a key for its owner": {static, 0o400, ""},
		"a key for all":       {static, 0o644, "is open to others (mode 0644): chmod 600 "},
		"no key":              {head + "- {resources: [licenses], providers: [keyring: {}]}\n", 0o644, ""},
		"a bad file with a key": {
			strings.Replace(static, "licenses", "secrets", 1), 0o604, "(mode 0604)",
		},
		"too large": {static + strings.Repeat("#", 1<<20), 0o600, "is larger than"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f.yaml")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, test.mode); err != nil {
				t.Fatal(err)
			}
			text, err := providerconfig.Read(path)
			if err == nil {
				_, err = text.Parse(ours())
			}
			switch {
			case test.wants == "" && err != nil, test.wants != "" && err == nil:
				t.Errorf("err = %v, want %q", err, test.wants)
			case test.wants != "" && (!strings.Contains(err.Error(), test.wants) || fault.KindOf(err) != fault.Invalid):
				t.Errorf("err = %v, want %q", err, test.wants)
			}
		})
	}
	if _, err := providerconfig.Read(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

func TestGates(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text, wants string
		on          bool
	}{
		"none":      {"", "", false},
		"on":        {" KMSv1=true ,", "", true},
		"off":       {"KMSv1=False", "", false},
		"unknown":   {"KMSv1=true,AllAlpha=true", `there is no gate "AllAlpha"; known is KMSv1`, false},
		"twice":     {"KMSv1=true,KMSv1=false", "gate KMSv1 is there twice", false},
		"no value":  {"KMSv1", "write KMSv1=true or KMSv1=false", false},
		"bad value": {"KMSv1=on", "write KMSv1=true or KMSv1=false", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gates, err := providerconfig.ParseGates(test.text)
			if test.wants == "" && (err != nil || gates.KMSv1 != test.on) || test.wants != "" && (err == nil || !strings.Contains(err.Error(), test.wants)) {
				t.Errorf("ParseGates = %+v, %v; want %v %q", gates, err, test.on, test.wants)
			}
		})
	}
}

// Hash is what sha256sum says of the file.
func TestHash(t *testing.T) {
	t.Parallel()
	const want = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, appendix B.1
	if diff := cmp.Diff(want, providerconfig.Hash([]byte("abc"))); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(fmt.Sprintf(whole, key16))
	f.Add("a: &a [*a]\n")
	f.Add("resources: &a [{resources: *a, providers: *a}]\n")
	for _, file := range []string{"seed-kms-v1.yaml", "seed-kms-v2.yaml", "seed-local-to-kms.yaml"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
		f.Add(strings.NewReplacer("secrets", "licenses", "configmaps", "certificates", "<BASE64エンコード済みシークレット>", key32).Replace(string(text)))
	}
	options := ours()
	options.Gates.KMSv1 = true
	f.Fuzz(func(t *testing.T, text string) {
		config, err := providerconfig.Parse("f", []byte(text), options)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		// What is read has a writer for each name, and every name is ours.
		for _, entry := range config.Entries {
			for _, name := range entry.Resources {
				if name == "*.*" {
					name = "keyauth_credentials"
				}
				chain, _, found := config.Chain(name)
				if !found || len(chain) == 0 {
					t.Fatalf("no chain for %s", name)
				}
				if first := chain[0].Kind; first == providerconfig.AESCBC || first == providerconfig.Secretbox {
					t.Fatalf("%s writes", first)
				}
			}
		}
	})
}
