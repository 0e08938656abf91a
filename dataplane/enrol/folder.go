// Package enrol keeps a data plane's membership of its cluster: it joins, renews its certificate by itself, takes whom
// to believe, and ends when it is shut out.
//
// What it keeps lies in one folder. A generation is whole, and never changed:
//
//	current                 a symbolic link to the generation in use, replaced in one step
//	0001/node.key           private key, mode 0600, made here; it leaves this node never
//	0001/node.crt           the certificate, what stands between it and the authority behind it
//	0001/ca.crt             every authority that is believed
//	0001/crl.pem            their lists of revoked certificates, one of each; or not there
//	0001/enrolment.json     what the control plane said beside (testdata/enrolment.golden)
//	wiped.json              this node was shut out (testdata/wiped.golden)
//	lock                    held while something is changed
//
// A renewal or another trust is a generation more. The one before stays until the local store needs its key no longer,
// so that after kill -9 at any step there is an identity, and a key for the store.
//
// Who may join, and which certificate still counts, is the control plane's to say (controlplane/enrol). How connections
// are verified is shared/mtls's duty.
package enrol

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
)

const (
	currentName = "current"
	keyName     = "node.key"
	certName    = "node.crt"
	caName      = "ca.crt"
	crlName     = "crl.pem"
	recordName  = "enrolment.json"
	wipedName   = "wiped.json"
	lockName    = "lock"
	partPrefix  = ".part-" // of a folder that is not a generation yet, or not any more
)

// FS is what this package does to a disk; only tests have another one than [Disk].
type FS interface {
	durable.FS
	Mkdir(path string, mode fs.FileMode) error
	Symlink(target, path string) error
}

// Disk is the real file system.
type Disk struct{ durable.Disk }

// Mkdir implements FS.
func (Disk) Mkdir(path string, mode fs.FileMode) error { return os.Mkdir(path, mode) }

// Symlink implements FS.
func (Disk) Symlink(target, path string) error { return os.Symlink(target, path) }

// Folder is where a node keeps what it joined with. Several processes may hold one: a join beside a running node.
type Folder struct {
	dir string
	on  FS
}

// At names a folder; nothing has to be there.
func At(dir string) *Folder { return AtOn(Disk{}, dir) }

// AtOn is At on another file system than the real one.
func AtOn(on FS, dir string) *Folder { return &Folder{dir: dir, on: on} }

// Dir returns where the folder is.
func (f *Folder) Dir() string { return f.dir }

// CertFile is where the certificate in use lies, for those who tell people.
func (f *Folder) CertFile() string { return filepath.Join(f.dir, currentName, certName) }

// Open reads this node's identity and whom it believes, and follows the folder from then on (mtls.Source.Run).
func (f *Folder) Open(log *slog.Logger) (*mtls.Source, error) {
	return open(filepath.Join(f.dir, currentName), log)
}

// open takes a peer of an authority that a believed one has signed: while one authority replaces another, control
// planes show that, and a node that was away does not know the new one yet.
func open(dir string, log *slog.Logger) (*mtls.Source, error) {
	return mtls.OpenWith(filesIn(dir), mtls.Options{CrossSigned: true, Log: log})
}

func filesIn(dir string) mtls.Files {
	return mtls.Files{
		Cert: filepath.Join(dir, certName), Key: filepath.Join(dir, keyName),
		CA: filepath.Join(dir, caName), CRL: filepath.Join(dir, crlName), CRLIfThere: true,
	}
}

// Joined reports whether there is a generation in use.
func (f *Folder) Joined() bool {
	number, err := f.current()
	return err == nil && number > 0
}

// current returns the number of the generation in use, 0 for none.
func (f *Folder) current() (int, error) {
	target, err := os.Readlink(filepath.Join(f.dir, currentName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	number, ok := numberOf(target)
	if !ok {
		return 0, fmt.Errorf("%s leads to %q, which is no generation", filepath.Join(f.dir, currentName), target)
	}
	return number, nil
}

func nameOf(number int) string { return fmt.Sprintf("%04d", number) }

func numberOf(name string) (int, bool) {
	number, err := strconv.Atoi(name)
	return number, err == nil && number > 0 && nameOf(number) == name
}

// generations lists what is there, oldest first.
func (f *Folder) generations() ([]int, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var numbers []int
	for _, entry := range entries {
		if number, ok := numberOf(entry.Name()); ok && entry.IsDir() {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// OtherKeys returns the key files of generations that are not in use, newest first: the local store may still be
// sealed by one of them.
func (f *Folder) OtherKeys() ([]string, error) {
	numbers, err := f.generations()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "enrol.OtherKeys", f.dir, err)
	}
	current, err := f.current()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "enrol.OtherKeys", f.dir, err)
	}
	var keys []string
	for _, number := range slices.Backward(numbers) {
		if path := f.path(number, keyName); number != current && there(path) {
			keys = append(keys, path)
		}
	}
	return keys, nil
}

func (f *Folder) path(number int, name string) string {
	return filepath.Join(f.dir, nameOf(number), name)
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// use puts a generation in the place of the one that was in use, unless somebody else was faster.
func (f *Folder) use(number, before int) error {
	now, err := f.current()
	if err != nil {
		return err
	}
	if now != before {
		return fault.Newf(fault.Conflict, "enrol.use", f.dir, "generation %d came into use meanwhile", now)
	}
	link := filepath.Join(f.dir, currentName+durable.TemporarySuffix)
	if err := f.on.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.on.Symlink(nameOf(number), link); err != nil {
		return err
	}
	if err := f.on.Rename(link, filepath.Join(f.dir, currentName)); err != nil {
		return err
	}
	return f.on.SyncDir(f.dir)
}

// Prune destroys every generation that is not in use, and what was left unfinished. The caller knows that the local
// store needs none of their keys.
func (f *Folder) Prune() error {
	return f.locked(func() error {
		current, err := f.current()
		if err != nil {
			return err
		}
		return f.destroy(func(name string) bool {
			number, ok := numberOf(name)
			return ok && number != current || strings.HasPrefix(name, partPrefix)
		})
	})
}

// locked does something while nobody else changes the folder, which is made where it is missing.
func (f *Folder) locked(change func() error) error {
	if _, err := os.Stat(f.dir); errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(f.dir, 0o700); err == nil {
			err = f.on.SyncDir(filepath.Dir(f.dir))
		}
		if err != nil {
			return fault.New(fault.Unavailable, "enrol.lock", f.dir, err)
		}
	}
	lock, err := os.OpenFile(filepath.Join(f.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fault.New(fault.Unavailable, "enrol.lock", f.dir, err)
	}
	defer lock.Close()
	for {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fault.New(fault.Unavailable, "enrol.lock", f.dir, err)
	}
	defer func() { _ = unix.Flock(int(lock.Fd()), unix.LOCK_UN) }() // a child may have the descriptor too
	return change()
}
