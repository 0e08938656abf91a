package record_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/record"
)

func TestMarkOf(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 64)
	tests := map[string]struct{ text, mark, key, prefix string }{
		"the keyring's":             {"$ke$1$-Kj3aQ0Zx-00-00", "Kj3aQ0Zx", "Kj3aQ0Zx", "$ke$1$-"},
		"cut":                       {"$ke$1$-Kj3aQ0Zx", "$ke$", "", "$ke$"},
		"another version":           {"$ke$2$-Kj3aQ0Zx-00", "$ke$", "", "$ke$"},
		"the family alone":          {"$ke$", "$ke$", "", "$ke$"},
		"kms v2":                    {"k8s:enc:kms:v2:vault-1:Kj3aQ0ZxAAAA", "k8s:enc:kms:v2:vault-1:Kj3aQ0Zx", "Kj3aQ0Zx", "k8s:enc:kms:v2:vault-1:"},
		"kms v2, cut":               {"k8s:enc:kms:v2:vault:Kj3aQ0Z", "k8s:enc:", "", "k8s:enc:"},
		"kms v2, no name":           {"k8s:enc:kms:v2::Kj3aQ0ZxAA", "k8s:enc:", "", "k8s:enc:"},
		"kms v2, the name alone":    {"k8s:enc:kms:v2:vault", "k8s:enc:", "", "k8s:enc:"},
		"kms v1":                    {"k8s:enc:kms:v1:old:AAAA", "k8s:enc:kms:v1:old", "", "k8s:enc:kms:v1:old:"},
		"aesgcm":                    {"k8s:enc:aesgcm:v1:key1:AAAA", "k8s:enc:aesgcm:v1:key1", "", "k8s:enc:aesgcm:v1:key1:"},
		"aescbc":                    {"k8s:enc:aescbc:v1:key1:AAAA", "k8s:enc:aescbc:v1:key1", "", "k8s:enc:aescbc:v1:key1:"},
		"secretbox":                 {"k8s:enc:secretbox:v1:key1:AAAA", "k8s:enc:secretbox:v1:key1", "", "k8s:enc:secretbox:v1:key1:"},
		"the longest name":          {"k8s:enc:aesgcm:v1:" + long + ":A", "k8s:enc:aesgcm:v1:" + long, "", "k8s:enc:aesgcm:v1:" + long + ":"},
		"a name too long":           {"k8s:enc:aesgcm:v1:" + long + "n:A", "k8s:enc:", "", "k8s:enc:"},
		"another of Kubernetes":     {"k8s:enc:foo:v1:key1:AAAA", "k8s:enc:", "", "k8s:enc:"},
		"plaintext":                 {"hunter2", "", "", ""},
		"nothing":                   {"", "", "", ""},
		"a plaintext that is close": {"k8s:en", "", "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mark := record.MarkOf(test.text)
			if mark != test.mark || record.KeyOf(mark) != test.key || record.PrefixOf(mark) != test.prefix {
				t.Errorf("mark %q, key %q, prefix %q", mark, record.KeyOf(mark), record.PrefixOf(mark))
			}
			if record.IsSealed(test.text) != (mark != "") {
				t.Errorf("IsSealed = %t, mark %q", record.IsSealed(test.text), mark)
			}
		})
	}
}

// Whatever a database holds has a mark that is its beginning, or the bare id behind it.
func FuzzMarkOf(f *testing.F) {
	for _, text := range []string{"", "x", "$ke$1$-Kj3aQ0Zx-00-00", "k8s:enc:kms:v2:v:Kj3aQ0ZxAAAA", "k8s:enc:aesgcm:v1:k:AA", "k8s:enc:kms:v2::", "k8s:enc:"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		mark := record.MarkOf(text)
		if !strings.HasPrefix(text, mark) && !strings.HasPrefix(text, record.KeyringPrefix+mark+"-") {
			t.Errorf("mark %q of %q", mark, text)
		}
		if prefix := record.PrefixOf(mark); !strings.HasPrefix(text, prefix) {
			t.Errorf("prefix %q of %q", prefix, text)
		}
	})
}
