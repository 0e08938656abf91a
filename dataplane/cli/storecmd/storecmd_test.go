package storecmd_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/cli/storecmd"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd, err := storecmd.Command()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors = true
	cmd.SetArgs(append([]string{"status"}, args...))
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestStatus(t *testing.T) {
	t.Parallel()
	key, err := localkeys.NewScoped(secret.Take([]byte("0123456789abcdef")))
	if err != nil {
		t.Fatal(err)
	}
	own, err := localkeys.New(secret.Take(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	keys := own.With(map[localkeys.Section]*localkeys.Scoped{{Class: localkeys.KMS}: key})
	state := localstore.State{Version: 1, Entries: func(yield func(localstore.Entry) bool) {
		_ = yield(localstore.Entry{Kind: "consumers", ID: "a", Class: localkeys.KMS}) &&
			yield(localstore.Entry{Kind: "consumers", ID: "b", Class: localkeys.KMS}) &&
			yield(localstore.Entry{Kind: "services", ID: "c", Class: localkeys.Contract})
	}}
	prefixes := map[localstore.Mode]string{}
	for _, mode := range []localstore.Mode{localstore.AES256GCM, localstore.Off} {
		prefix := t.TempDir()
		prefixes[mode] = prefix
		store, _, err := localstore.Open(filepath.Join(prefix, "store"), localstore.Options{Mode: mode, Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close() // it is used while it is looked at
		change := localstore.Change{Version: 2, Puts: []localstore.Entry{{Kind: "key_value_maps", ID: "d", Class: localkeys.KVM, Scope: "prod"}}}
		aside := filepath.Join(prefix, "store", "snapshot-00000000000000ff.aside-20260101T000000.000000000Z")
		if err := errors.Join(store.Replace(state), store.Append(change), os.WriteFile(aside, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		want := []string{"snapshot-0000000000000001 kms - scoped " + key.ID() + " 2 -", "journal-0000000000000001 kvm prod derived", "in clear: 0 values, 0 changes", "set aside, never read again: snapshot-"}
		if mode == localstore.Off {
			want = []string{"snapshot-0000000000000001 kms - clear - 2 -", "journal-0000000000000001 kvm prod clear - - 1", "in clear: 3 values, 1 changes"}
		}
		out, err := run(t, "--prefix", prefix)
		spaced := strings.Join(strings.Fields(out), " ")
		for _, line := range want {
			if err != nil || !strings.Contains(spaced, line) {
				t.Errorf("%v: %v, told\n%s\nwant %q", mode, err, out, line)
			}
		}
		if out, err := run(t, "--prefix", prefix, "--json", "--check"); (err != nil) != (mode == localstore.Off) || !strings.Contains(out, `"key_id":"`) {
			t.Errorf("%v: %v, %s", mode, err, out)
		}
	}
	inClear, err := os.ReadFile(filepath.Join(prefixes[localstore.Off], "store", "snapshot-0000000000000001"))
	left := filepath.Join(prefixes[localstore.AES256GCM], "store", "snapshot-00000000000000ee.aside-20260101T000000.000000000Z")
	if err := errors.Join(err, os.WriteFile(left, inClear, 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "--prefix", prefixes[localstore.AES256GCM], "--check"); err == nil || !strings.Contains(out, "of these in clear: "+filepath.Base(left)) {
		t.Errorf("set aside in clear: %v\n%s", err, out)
	}
	if _, err := run(t, "--prefix", t.TempDir()); err == nil || !strings.Contains(err.Error(), "there is no local store") {
		t.Errorf("without a store: %v", err)
	}
}
