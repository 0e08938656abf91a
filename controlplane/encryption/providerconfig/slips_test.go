package providerconfig_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
)

// What is no YAML is told by the line on which it ceases to be, not by that of the list around it.
func TestLineOfASlip(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ rest, want string }{
		"a member further left":         {"- resources: [licenses]\n  providers:\n  - aesgcm:\n      keys:\n        - name: key1\n         secret: " + key16 + "\n", "f:9: "},
		"a list further left":           {"- resources: [licenses]\n  providers:\n  - aesgcm:\n        keys:\n       - name: key1\n          secret: " + key16 + "\n", "f:8: "},
		"providers under the dash":      {"  - resources: [licenses]\n   providers:\n    - keyring: {}\n", "f:5: "},
		"a brace that is missing":       {"- resources: [licenses]\n  providers:\n  - aesgcm: {keys: [{name: key1, secret: " + key16 + "}]\n  - identity: {}\n", "f:6: "},
		"a quote that does not end":     {"- resources: [licenses]\n  providers:\n  - aesgcm: {keys: [{name: key1, secret: \"" + key16 + "}]}\n  - identity: {}\n", "f:6: "},
		"a tab":                         {"- resources: [licenses]\n  providers:\n\t- keyring: {}\n", "f:6: "},
		"a member further left, at end": {"- resources: [licenses]\n  providers:\n  - keyring: {}\n x: 1", "f:7: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := problems(t, head+test.rest, ours())
			if len(got) != 1 || !strings.HasPrefix(got[0], test.want+"it is neither YAML nor JSON") {
				t.Errorf("problems = %q, want one that begins %q", got, test.want)
			}
			if strings.Contains(strings.Join(got, ""), key16[:8]) {
				t.Errorf("a secret is shown: %s", got)
			}
		})
	}
	json := "{\"apiVersion\": \"x\",\n\"resources\": [\n{\"resources\": [\"*.*\"],\n\"providers\": [{\"identity\": {}}\n}]}\n"
	if got := problems(t, json, ours()); len(got) != 1 || !strings.HasPrefix(got[0], "f:4: it is neither YAML nor JSON: did not find expected ',' or ']'") {
		t.Errorf("problems of JSON = %q, want line 4, which lacks a bracket", got)
	}
}

// A key that stands where a table is expected is not shown.
func TestAKeyInPlaceOfATable(t *testing.T) {
	t.Parallel()
	const key = "c2VjcmV0LXRoYXQtc2xpcHBlZC1oZXJlLTEyMzQ1Njc4"
	got := strings.Join(problems(t, head+"- resources: ["+key+", "+key16+"]\n  providers: [keyring: {}]\n", ours()), "\n")
	if !strings.Contains(got, "f:4: resources[0].resources[0]: it is no name of a table; "+list) || strings.Contains(got, key) || strings.Contains(got, key16) {
		t.Errorf("problems = %s", got)
	}
}

func TestAPipeIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := providerconfig.Read(path)
		read <- err
	}()
	select {
	case err := <-read:
		if err == nil || !strings.Contains(err.Error(), "is not a regular file") {
			t.Errorf("Read of a pipe = %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Read waits for a writer of a pipe")
	}
}
