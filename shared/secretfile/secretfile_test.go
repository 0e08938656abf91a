package secretfile_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
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
	for name, test := range map[string]struct {
		mode              fs.FileMode
		admitted, noticed bool
	}{
		"its owner's":                   {0o600, true, false},
		"its owner's, to read":          {0o400, true, false},
		"readable by a group":           {0o640, root, root},
		"readable by a group, locked":   {0o440, root, root},
		"writable by a group":           {0o660, false, false},
		"readable by all":               {0o644, false, false},
		"readable by all, locked":       {0o444, false, false},
		"to be run by a group":          {0o610, false, false},
		"to be written by others alone": {0o602, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			at, path := filepath.Join(folder, "at"), filepath.Join(folder, "secret")
			if err := errors.Join(os.WriteFile(at, []byte(text), 0o600), os.Chmod(at, test.mode), os.Symlink("at", path)); err != nil {
				t.Fatal(err)
			}
			data, notice, err := secretfile.Read(path, 100)
			if (err == nil) != test.admitted || string(data) != text && test.admitted || (notice != "") != test.noticed {
				t.Errorf("Read = %d bytes, %q, %v", len(data), notice, err)
			}
			if open, ok := errors.AsType[*secretfile.OpenError](err); err != nil && (!ok || open.Mend() != "chmod 600 "+path || open.Mode != test.mode || len(data) > 0) {
				t.Errorf("Read = %v, want the command that mends it", err)
			}
			all, err := secretfile.ReadAny(path, 100)
			if err != nil || string(all.Data) != text || (all.Open == nil) != test.admitted || all.Mode != test.mode || all.Notice != notice {
				t.Errorf("ReadAny = %d bytes, %q, %v, %v", len(all.Data), all.Notice, all.Open, err)
			}
		})
	}
}

// What root may say who reads it, another owner may not: that one's group is whatever it was born with.
func TestReadOfSomebodys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // else it is somebody's already
		if err := os.Chown(path, 4711, -1); err != nil {
			t.Fatal(err)
		}
	}
	for mode, admitted := range map[fs.FileMode]bool{0o600: true, 0o640: false, 0o440: false, 0o444: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, notice, err := secretfile.Read(path, 100); (err == nil) != admitted || notice != "" {
			t.Errorf("mode %04o: %q, %v", mode, notice, err)
		}
	}
}

// A Secret of Kubernetes is root's, lies in memory, and is reached by way of links. It is mounted to be read alone.
func TestReadOfAMount(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if root := os.Getenv("KEEPGATE_TEST_MOUNT"); root != "" {
		lookIntoAMount(t, root)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestReadOfAMount$", "-test.v")
	child.Env = append(os.Environ(), "KEEPGATE_TEST_MOUNT="+folder)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended || strings.Contains(string(out), noMount) {
		t.Logf("this system lets no test mount anything: %v\n%s", err, out)
		path := filepath.Join(folder, "default")
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, 0o644)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := secretfile.Read(path, 100); err == nil {
			t.Error("what all may read is read where nothing is mounted")
		}
		return
	}
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("in a mount: %v\n%s", err, out)
	}
}

const noMount = "no mount is possible"

func lookIntoAMount(t *testing.T, root string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, ""); err != nil {
		t.Fatal(noMount, err)
	}
	write := func(name string, mode fs.FileMode) {
		t.Helper()
		path := filepath.Join(root, "..2026", name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode), os.Symlink("..data/"+name, filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(root, "..2026"), 0o755), os.Symlink("..2026", filepath.Join(root, "..data"))); err != nil {
		t.Fatal(err)
	}
	write("default", 0o644)
	write("locked", 0o444)
	write("group", 0o440)
	write("writable", 0o646)
	write("program", 0o755)
	want := func(name string, admitted bool, notice string) {
		t.Helper()
		data, said, err := secretfile.Read(filepath.Join(root, name), 100)
		if (err == nil) != admitted || admitted && string(data) != text || !strings.Contains(said, notice) || notice == "" && said != "" {
			t.Errorf("%s: %d bytes, %q, %v", name, len(data), said, err)
		}
	}
	want("default", false, "") // it may still be written
	if err := syscall.Mount("", root, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(noMount, err)
	}
	want("default", true, "; mount it with defaultMode 0440 and an fsGroup")
	want("locked", true, "every user of this container (mode 0444)")
	want("group", true, "readable by group 0 (mode 0440)")
	want("writable", false, "")
	want("program", false, "")
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file, pipe := filepath.Join(folder, "secret"), filepath.Join(folder, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	if data, _, err := secretfile.Read(file, int64(len(text))); err != nil || string(data) != text {
		t.Errorf("a file of as many bytes as may be: %d bytes, %v", len(data), err)
	}
	if _, _, err := secretfile.Read(file, int64(len(text))-1); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a file that is too large: %v", err)
	}
	for name, path := range map[string]string{"a folder": folder, "a pipe": pipe} {
		if _, _, err := secretfile.Read(path, 100); err == nil || !strings.Contains(err.Error(), "regular") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := secretfile.Read(filepath.Join(folder, "none"), 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
