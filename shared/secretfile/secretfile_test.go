package secretfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keepgate/keepgate/shared/secretfile"
)

const text = "canary of a secret"

func TestRead(t *testing.T) {
	t.Parallel()
	root := os.Getuid() == 0
	tests := map[string]struct {
		mode           fs.FileMode
		strict, shared bool
	}{
		"its owner's":                   {0o600, true, true},
		"its owner's, to read":          {0o400, true, true},
		"readable by a group":           {0o640, false, root},
		"readable by a group, locked":   {0o440, false, root},
		"writable by a group":           {0o660, false, false},
		"readable by all":               {0o644, false, false},
		"to be run by a group":          {0o610, false, false},
		"to be written by others alone": {0o602, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "secret")
			if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, test.mode)); err != nil {
				t.Fatal(err)
			}
			data, err := secretfile.Read(path, 100)
			if (err == nil) != test.strict || test.strict && string(data) != text {
				t.Errorf("Read = %d bytes, %v", len(data), err)
			}
			if err != nil && (!strings.Contains(err.Error(), "chmod 600 "+path) || strings.Contains(err.Error(), text)) {
				t.Errorf("Read = %v, want the command that mends it", err)
			}
			data, notice, err := secretfile.ReadShared(path, 100)
			if (err == nil) != test.shared || test.shared && string(data) != text {
				t.Errorf("ReadShared = %d bytes, %v", len(data), err)
			}
			if noticed := notice != ""; noticed != (test.shared && !test.strict) {
				t.Errorf("the notice is %q", notice)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file, pipe := filepath.Join(folder, "secret"), filepath.Join(folder, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	if data, err := secretfile.Read(file, int64(len(text))); err != nil || string(data) != text {
		t.Errorf("a file of as many bytes as may be: %d bytes, %v", len(data), err)
	}
	if _, err := secretfile.Read(file, int64(len(text))-1); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a file that is too large: %v", err)
	}
	for name, path := range map[string]string{"a folder": folder, "a pipe": pipe} {
		if _, err := secretfile.Read(path, 100); err == nil || !strings.Contains(err.Error(), "regular") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := secretfile.Read(filepath.Join(folder, "none"), 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
