package local_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

func material() secret.Bytes { return secret.Take(bytes.Repeat([]byte{7}, 32)) }

func TestPrepareMakesAFileOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyring.key")
	keeper := local.New(path)
	notice, err := keeper.Prepare()
	if err != nil || !strings.Contains(notice, path) {
		t.Fatalf("Prepare = %q, %v", notice, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v, want 0600", info.Mode(), err)
	}
	before, _ := os.ReadFile(path)
	if notice, err := keeper.Prepare(); err != nil || notice != "key file present, database new: "+path+"; is this the right database?" {
		t.Errorf("second Prepare = %q, %v", notice, err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the second Prepare changed the file")
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("%d files in the folder, want one", len(files))
	}
}

func TestFileIsRefused(t *testing.T) {
	t.Parallel()
	good := "keepgate key file 1\n" + strings.Repeat("A", 43) + "=\n"
	tests := map[string]struct {
		text string
		mode os.FileMode
		kind fault.Kind
	}{
		"good":                {good, 0o600, 99},
		"good, editor's ends": {strings.ReplaceAll(good, "\n", "\r\n"), 0o400, 99},
		"readable by others":  {good, 0o604, fault.Invalid},
		"empty":               {"", 0o600, fault.Invalid},
		"no header":           {strings.Repeat("A", 43) + "=\n", 0o600, fault.Invalid},
		"another version":     {strings.Replace(good, "1", "2", 1), 0o600, fault.Invalid},
		"short key":           {"keepgate key file 1\nAAAA\n", 0o600, fault.Invalid},
		"long key":            {"keepgate key file 1\n" + strings.Repeat("A", 48) + "\n", 0o600, fault.Invalid},
		"two keys":            {good + strings.Repeat("A", 43) + "=\n", 0o600, fault.Invalid},
		"no base64":           {"keepgate key file 1\n" + strings.Repeat("!", 44) + "\n", 0o600, fault.Invalid},
		"stray bits":          {"keepgate key file 1\n" + strings.Repeat("A", 42) + "B=\n", 0o600, fault.Invalid},
		"huge":                {good + strings.Repeat("\n", 5000), 0o600, fault.Invalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "keyring.key")
			if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := local.New(path).Keep(record.Key{ID: "AAAAAAAA"}, material())
			if test.kind == 99 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || fault.KindOf(err) != test.kind {
				t.Errorf("Keep = %v, want %v", err, test.kind)
			}
			if err != nil && strings.Contains(err.Error(), strings.Repeat("A", 40)) {
				t.Error("the error quotes the key")
			}
		})
	}
}

func TestMissingFileIsNeverReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyring.key")
	keeper := local.New(path)
	if _, err := keeper.Prepare(); err != nil {
		t.Fatal(err)
	}
	row, err := keeper.Keep(record.Key{ID: "AAAAAAAA"}, material())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := keeper.Restore(row); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("Restore = %v, want unavailable with advice", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a new key file appeared")
	}
	if _, err := keeper.Prepare(); err != nil { // the file of another database
		t.Fatal(err)
	}
	if _, err := keeper.Restore(row); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "another database") {
		t.Errorf("Restore with another file = %v", err)
	}
}

func TestRestoreRefusesAChangedRow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyring.key")
	keeper := local.New(path)
	if _, err := keeper.Prepare(); err != nil {
		t.Fatal(err)
	}
	row, err := keeper.Keep(record.Key{ID: "AAAAAAAA"}, material())
	if err != nil {
		t.Fatal(err)
	}
	if restored, err := keeper.Restore(row); err != nil || !restored.Equal(material()) {
		t.Fatalf("Restore = %v", err)
	}
	for i := range row.Wrapped {
		changed := row
		changed.Wrapped = bytes.Clone(row.Wrapped)
		changed.Wrapped[i] ^= 1
		if _, err := keeper.Restore(changed); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("byte %d flipped: Restore = %v, want corrupt", i, err)
		}
	}
	other := row
	other.ID = "BBBBBBBB"
	if _, err := keeper.Restore(other); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("another row's material: Restore = %v, want corrupt", err)
	}
	if _, err := keeper.Restore(record.Key{ID: "AAAAAAAA"}); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("an empty row: Restore = %v, want corrupt", err)
	}
}

// The stored form must stay readable: this row was wrapped by the file beside it.
func TestGolden(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/wrapped.golden")
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keyring.key") // git does not keep the mode
	if err := os.WriteFile(path, []byte("keepgate key file 1\n"+strings.Repeat("A", 43)+"=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	restored, err := local.New(path).Restore(record.Key{ID: "Aa0Zz9Bb", Wrapped: wrapped})
	if err != nil || !restored.Equal(material()) {
		t.Fatalf("Restore = %v", err)
	}
}
