package providerconfig_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

var (
	key16 = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 16))
	key32 = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, 32))
)

// ours is a node with a ring and a few tables.
func ours() providerconfig.Options {
	return providerconfig.Options{
		Tables: []string{"certificates", "keyauth_credentials", "licenses"}, Clear: []string{"routes", "services"}, Keyring: true,
		Endpoint: kmsclient.CheckEndpoint,
	}
}

// head begins each file, so that resources stand on line 4.
const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"

func problems(t *testing.T, text string, options providerconfig.Options) []string {
	t.Helper()
	_, err := providerconfig.Parse("f", []byte(text), options)
	if err == nil {
		return nil
	}
	all, ok := errors.AsType[*providerconfig.Problems](err)
	if !ok || fault.KindOf(err) != fault.Invalid {
		t.Fatalf("Parse = %v, want fault.Invalid with Problems", err)
	}
	return strings.Split(all.Error(), "\n")
}

const list = "ours are: certificates, keyauth_credentials, licenses, and *.* for all of them"

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	entry := func(resources, providers string) string {
		return head + "- resources: " + resources + "\n  providers:\n" + providers
	}
	const ring = "  - keyring: {}\n"
	tests := map[string]struct {
		text    string
		options func(*providerconfig.Options)
		want    []string // "..." at the end: whatever follows
		among   bool     // of others
	}{
		"nothing":      {text: "", want: []string{"f:1: it is empty; expected kind: EncryptionConfiguration"}},
		"a comment":    {text: "# soon\n", want: []string{"f:1: it is empty; expected kind: EncryptionConfiguration"}},
		"null":         {text: "null", want: []string{"f:1: it is empty; expected kind: EncryptionConfiguration"}},
		"a list":       {text: "- a\n", want: []string{"f:1: expected a map of apiVersion, kind, resources"}},
		"no YAML":      {text: "a: [\n", want: []string{"f:1: it is neither YAML nor JSON: ..."}},
		"no anchor":    {text: "a: *QUJDREVG\n", want: []string{"f:1: it is neither YAML nor JSON..."}},
		"two of them":  {text: entry("[licenses]", ring) + "---\n{}\n", want: []string{"f:7: expected one document, found another after it"}},
		"all is wrong": {text: "{}", want: []string{"f:1: apiVersion: expected apiserver.config.k8s.io/v1", "f:1: kind: expected EncryptionConfiguration", "f:1: resources: at least one entry of resources and providers is required"}},
		"v1beta":       {text: strings.Replace(entry("[licenses]", ring), "io/v1", "io/v1beta1", 1), want: []string{"f:1: apiVersion: expected apiserver.config.k8s.io/v1"}},
		"a kind of old": {
			text: strings.Replace(entry("[licenses]", ring), "kind: EncryptionConfiguration", "kind: EncryptionConfig", 1),
			want: []string{"f:2: kind: expected EncryptionConfiguration"},
		},
		"unknown fields": {
			text: entry("[licenses]", ring) + "  provider: []\nresource: []\n",
			want: []string{`f:7: resources[0]: unknown field "provider"; expected resources, providers`, `f:8: unknown field "resource"; expected apiVersion, kind, resources`},
		},
		"a field twice": {text: entry("[licenses]", ring) + "kind: EncryptionConfiguration\n", want: []string{"f:7: kind: it is there twice"}},
		"nothing in it": {
			text: head + "- resources: []\n  providers: []\n",
			want: []string{"f:4: resources[0].resources: at least one resource is required", "f:5: resources[0].providers: at least one provider is required"},
		},
		"no lists":     {text: head + "- {}\n- x\n", want: []string{"f:4: resources[0].resources: at least one resource is required", "f:4: resources[0].providers: at least one provider is required", "f:5: resources[1]: expected a map of resources, providers"}},
		"not a list":   {text: entry("licenses", ring), want: []string{"f:4: resources[0].resources: expected a list of resources"}},
		"not a string": {text: entry("[1, ~]", ring), want: []string{"f:4: resources[0].resources[0]: expected a string", "f:4: resources[0].resources[1]: expected a string"}},
		"foreign resources": {
			text: entry(`[secrets, pandas.awesome.bears.example, "*.", "*.apps", "*", Licenses, routes, "a\nb"]`, ring),
			want: []string{
				`f:4: resources[0].resources[0]: "secrets" is no table of ours; ` + list,
				`f:4: resources[0].resources[1]: "pandas.awesome.bears.example" is no table of ours; ` + list,
				`f:4: resources[0].resources[2]: "*." names a group of Kubernetes, which there is none of here; ` + list,
				`f:4: resources[0].resources[3]: "*.apps" names a group of Kubernetes, which there is none of here; ` + list,
				`f:4: resources[0].resources[4]: a bare * means nothing: write "*.*"; ` + list,
				`f:4: resources[0].resources[5]: "Licenses" must not have capital letters: write licenses`,
				`f:4: resources[0].resources[6]: routes has no encrypted field; ` + list,
				`f:4: resources[0].resources[7]: it is no name of a table; ` + list,
			},
		},
		"a resource twice": {text: entry("[licenses, licenses]", ring), want: []string{"f:4: resources[0].resources[1]: licenses is in this list twice"}},
		"overlap":          {text: entry(`[licenses, "*.*"]`, ring), want: []string{"f:4: resources[0].resources: overlap: *.* means the others too; give those an entry of their own before it"}},
		"masked": {
			text: entry(`["*.*"]`, ring) + "- resources: [licenses]\n  providers: [keyring: {}]\n- resources: ['*.*']\n  providers: [keyring: {}]\n",
			want: []string{`f:7: resources[1].resources: resource "licenses" is masked by earlier rule "*.*": put this entry before that`, `f:9: resources[2].resources: resource "*.*" is masked by earlier rule "*.*": put this entry before that`},
		},
		"two in one": {text: entry("[licenses]", "  - keyring: {}\n    identity: {}\n"), want: []string{"f:6: resources[0].providers[0]: more than one provider in one element: write each with its own dash"}},
		"none in it": {text: entry("[licenses]", "  - {}\n"), want: []string{"f:6: resources[0].providers[0]: it is no provider; expected one of keyring, kms, aesgcm, aescbc, secretbox, identity"}},
		"unknown provider": {
			text: entry("[licenses]", "  - rot13: {}\n"),
			want: []string{`f:6: resources[0].providers[0]: unknown field "rot13"; expected keyring, kms, aesgcm, aescbc, secretbox, identity`, "f:6: resources[0].providers[0]: it is no provider; expected one of keyring, kms, aesgcm, aescbc, secretbox, identity"},
		},
		"no braces":       {text: entry("[licenses]", "  - identity:\n"), want: []string{"f:6: resources[0].providers[0].identity: expected a map: {}"}},
		"something in it": {text: entry("[licenses]", "  - identity: {x: 1}\n"), want: []string{`f:6: resources[0].providers[0].identity: unknown field "x"; expected nothing: {}`}},
		"no ring":         {text: entry("[licenses]", ring), options: func(o *providerconfig.Options) { o.Keyring = false }, want: []string{"f:6: resources[0].providers[0].keyring: there is no keyring: set keyring_enabled = on"}},
		"a provider twice": {
			text: entry("[licenses]", "  - keyring: {}\n  - identity: {}\n  - keyring: {}\n"),
			want: []string{"f:8: resources[0].providers[2]: the list has it already, at line 6"},
		},
		"kms: nothing": {
			text: entry("[licenses]", "  - kms: {}\n"),
			want: []string{
				"f:6: resources[0].providers[0].kms.name: it is a mandatory field",
				"f:6: resources[0].providers[0].kms.endpoint: it is a mandatory field: unix:///path of the plugin's socket",
				"f:6: resources[0].providers[0].kms.apiVersion: v1, which an empty apiVersion means too, is deprecated and off: write apiVersion: v2, or set feature_gates = KMSv1=true for a plugin that speaks nothing else",
			},
		},
		"kms: everything": {
			text: entry("[licenses]", "  - kms:\n      apiVersion: v3\n      name: a:b\n      endpoint: tcp://x\n      timeout: 3\n      cachesize: 1\n      x: 1\n"),
			want: []string{
				"f:7: resources[0].providers[0].kms.apiVersion: unsupported apiVersion, only v1 and v2 are supported",
				"f:8: resources[0].providers[0].kms.name: invalid name: 1 to 64 of the signs A-Z a-z 0-9 . _ -, since it stands in stored values between colons",
				"f:9: resources[0].providers[0].kms.endpoint: ...",
				"f:10: resources[0].providers[0].kms.timeout: expected a string",
				`f:12: resources[0].providers[0].kms: unknown field "x"; expected apiVersion, name, endpoint, timeout, cachesize`,
			},
		},
		"kms: cachesize of v2": {text: entry("[licenses]", "  - kms: {apiVersion: v2, name: a, endpoint: 'unix:///s', cachesize: 5}\n"), want: []string{"f:6: resources[0].providers[0].kms.cachesize: cachesize is not supported in v2"}},
		"kms: cachesize 0": {
			text:    entry("[licenses]", "  - kms: {name: a, endpoint: 'unix:///s', cachesize: 0}\n"),
			options: func(o *providerconfig.Options) { o.Gates.KMSv1 = true },
			want:    []string{"f:6: resources[0].providers[0].kms.cachesize: expected a whole number above 0, or below to keep none"},
		},
		"kms: no time":     {text: entry("[licenses]", "  - kms: {apiVersion: v2, name: a, endpoint: 'unix:///s', timeout: 0s}\n"), want: []string{"f:6: resources[0].providers[0].kms.timeout: expected a time above 0 and with its unit, as 3s or 500ms"}},
		"kms: no timeout":  {text: entry("[licenses]", "  - kms: {apiVersion: v2, name: a, endpoint: 'unix:///s', timeout: soon}\n"), want: []string{"f:6: resources[0].providers[0].kms.timeout: expected a time above 0 and with its unit, as 3s or 500ms"}},
		"kms: name of two": {text: entry("[licenses]", "  - kms: {apiVersion: v2, name: a, endpoint: 'unix:///s'}\n  - kms: {apiVersion: v2, name: a, endpoint: 'unix:///t'}\n"), want: []string{"f:7: resources[0].providers[1]: the list has it already, at line 6", "f:7: resources[0].providers[1].kms.name: duplicate KMS provider name a, which is something else at line 6: a name stands for one plugin"}},
		"aesgcm: no keys":  {text: entry("[licenses]", "  - aesgcm: {}\n  - aesgcm: {keys: []}\n"), want: []string{"f:6: resources[0].providers[0].aesgcm.keys: at least one key is required", "f:7: resources[0].providers[1].aesgcm.keys: at least one key is required"}},
		"aesgcm: sizes": {
			text: entry("[licenses]", "  - aesgcm: {keys: [{name: a, secret: QUJD}, {name: b, secret: 'no base64 at all'}, {name: c}, {name: 'd/', secret: 12}, {secret: "+key16+"}]}\n"),
			want: []string{
				"f:6: resources[0].providers[0].aesgcm.keys[0].secret: REDACTED is not of the expected length, got 3 bytes, expected one of [16 24 32]; make one with: head -c 32 /dev/urandom | base64",
				"f:6: resources[0].providers[0].aesgcm.keys[1].secret: REDACTED is no standard base64",
				"f:6: resources[0].providers[0].aesgcm.keys[2].secret: it is a mandatory field: the key in base64",
				"f:6: resources[0].providers[0].aesgcm.keys[3].name: invalid name: 1 to 64 of the signs A-Z a-z 0-9 . _ -, since it stands in stored values between colons",
				"f:6: resources[0].providers[0].aesgcm.keys[3].secret: expected a string",
				"f:6: resources[0].providers[0].aesgcm.keys[4].name: it is a mandatory field",
			},
		},
		"secretbox: size":   {text: entry("[licenses]", "  - keyring: {}\n  - secretbox: {keys: [{name: a, secret: "+key16+"}]}\n"), want: []string{"f:7: resources[0].providers[1].secretbox.keys[0].secret: REDACTED is not of the expected length, got 16 bytes, expected one of [32]; make one with: head -c 32 /dev/urandom | base64"}},
		"a key twice":       {text: entry("[licenses]", "  - aesgcm: {keys: [{name: a, secret: "+key16+"}, {name: a, secret: "+key16+"}]}\n"), want: []string{"f:6: resources[0].providers[0].aesgcm.keys[1].name: key a is there twice"}},
		"a key of two":      {text: entry("[licenses]", "  - aesgcm: {keys: [{name: a, secret: "+key16+"}]}\n") + "- resources: [certificates]\n  providers: [aesgcm: {keys: [{name: a, secret: " + key32 + "}]}]\n", want: []string{"f:8: resources[1].providers[0].aesgcm.keys[0].name: key a has another secret at line 6: a name stands for one key"}},
		"a slipped secret":  {text: entry("[licenses]", "  - aesgcm: {keys: [{name: a, "+key16+": secret}]}\n"), want: []string{"f:6: resources[0].providers[0].aesgcm.keys[0]: unknown field (REDACTED); expected name, secret", "f:6: resources[0].providers[0].aesgcm.keys[0].secret: it is a mandatory field: the key in base64"}},
		"an unbound writer": {text: entry("[licenses]", "  - aescbc: {keys: [{name: a, secret: "+key16+"}]}\n"), want: []string{"f:6: resources[0].providers[0].aescbc: it would write, and what it writes opens in any other row too: put aesgcm, kms or keyring before it, which leaves it reading, or set allow_unbound_providers = on"}},
		"an alias too often": {
			text: "resources:\n- &e {resources: &a [" + strings.Repeat("x,", 200) + "], providers: *a}\n" + strings.Repeat("- *e\n", 200), want: []string{"it says too much"}, among: true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := ours()
			if test.options != nil {
				test.options(&options)
			}
			got := problems(t, test.text, options)
			if test.among {
				if !strings.Contains(strings.Join(got, "\n"), test.want[0]) {
					t.Errorf("problems = %s", got)
				}
				return
			}
			for i := range min(len(got), len(test.want)) {
				if start, cut := strings.CutSuffix(test.want[i], "..."); cut && strings.HasPrefix(got[i], start) {
					got[i] = test.want[i] // the rest is another package's
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			for _, secret := range []string{key16, key32} {
				if strings.Contains(strings.Join(got, "\n"), secret) {
					t.Errorf("a secret is shown: %s", got)
				}
			}
		})
	}
}

func TestTheSeedsExamples(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"seed-kms-v1.yaml", "seed-kms-v2.yaml", "seed-local-to-kms.yaml"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(problems(t, string(text), ours()), "\n")
			for _, name := range []string{"secrets", "configmaps", "pandas.awesome.bears.example"} {
				if strings.Contains(string(text), name) && !strings.Contains(got, `"`+name+`" is no table of ours; `+list) {
					t.Errorf("problems = %s, want %s refused with the list", got, name)
				}
			}
			if strings.Contains(got, "シークレット") {
				t.Errorf("problems = %s: a secret is shown", got)
			}
			// With our resources, and the gate where it needs one, the same file is right.
			options := ours()
			options.Gates.KMSv1 = file == "seed-kms-v1.yaml"
			mended := strings.NewReplacer("- secrets", "- licenses", "- configmaps", "- certificates", "- pandas.awesome.bears.example", "- keyauth_credentials",
				"<BASE64エンコード済みシークレット>", key32).Replace(string(text))
			config, err := providerconfig.Parse(file, []byte(mended), options)
			if err != nil {
				t.Fatal(err)
			}
			if chain, line, found := config.Chain("licenses"); !found || line != 4 || len(chain) != 2 || chain[0].Plugin == nil {
				t.Errorf("Chain = %+v, %d, %v", chain, line, found)
			}
			if warned := len(config.Warnings) > 0; warned != options.Gates.KMSv1 {
				t.Errorf("Warnings = %q", config.Warnings)
			}
		})
	}
}
