package enrol

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const wipedVersion = 1

// Wiped says that this node was shut out, and which certificates that is about: whoever gets another one is not.
type Wiped struct {
	Version   int      `json:"version"`
	Identity  string   `json:"identity"`
	Serials   []string `json:"serials"`    // of every certificate that the node had then, hex
	RevokedAt int64    `json:"revoked_at"` // Unix seconds
	Reason    string   `json:"reason"`
	By        string   `json:"by"`       // the control plane that signed the order
	WipedAt   int64    `json:"wiped_at"` // Unix seconds
}

// Wiped returns the order that ended this node's membership, nil where none did. What cannot be read counts as an
// order: it was written for one.
func (f *Folder) Wiped() (*Wiped, error) {
	data, err := readBounded(filepath.Join(f.dir, wipedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "enrol.Wiped", f.dir, err)
	}
	w := &Wiped{}
	if err := json.Unmarshal(data, w); err != nil || w.Version != wipedVersion {
		return &Wiped{Version: wipedVersion, Reason: "the order that is noted in " + wipedName + " cannot be read"}, nil
	}
	return w, nil
}

// Concerns reports whether the order is about the certificate with a serial. An order that cannot be read is about all.
func (w *Wiped) Concerns(serial string) bool {
	return len(w.Serials) == 0 || slices.Contains(w.Serials, serial)
}

// noteWiped makes an order durable, before anything is erased: what a crash leaves half done is then done at the next
// start.
func (f *Folder) noteWiped(w Wiped) error {
	w.Version = wipedVersion
	data, err := json.MarshalIndent(w, "", "  ")
	if err != nil {
		return err
	}
	return f.locked(func() error { return f.write(filepath.Join(f.dir, wipedName), 0o644, append(data, '\n')) })
}

// Discard destroys every key and certificate of the folder, and leaves the order that asked for it.
func (f *Folder) Discard() error {
	return f.locked(f.discard)
}

func (f *Folder) discard() error {
	var failures []error
	if link := filepath.Join(f.dir, currentName); there(link) {
		failures = append(failures, f.on.Remove(link), f.on.SyncDir(f.dir))
	}
	failures = append(failures, f.destroy(func(string) bool { return true }))
	if err := errors.Join(failures...); err != nil {
		return fault.New(fault.Unavailable, "enrol.Discard", f.dir, err)
	}
	return nil
}

// Forgive removes an order that is about certificates which this node has no more.
func (f *Folder) Forgive() error {
	return f.locked(f.forgive)
}

func (f *Folder) forgive() error {
	err := f.on.Remove(filepath.Join(f.dir, wipedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, f.on.SyncDir(f.dir))
}

// Standing is what a folder says at a start.
type Standing struct {
	Wiped  *Wiped // not nil: this node was shut out, and nothing of what it holds may be used
	Joined bool   // there is a certificate in the folder
}

// Look says where this node stands. serial is that of a certificate which the operator keeps elsewhere, "" where the
// folder's is used. An order about certificates that were replaced since is forgotten.
func (f *Folder) Look(serial string) (Standing, error) {
	s := Standing{Joined: f.Joined()}
	w, err := f.Wiped()
	if err != nil || w == nil {
		return s, err
	}
	if serial == "" && s.Joined {
		if serial, err = f.serial(); err != nil {
			s.Wiped = w // a wipe that was cut short may have taken the certificate first
			return s, nil
		}
	}
	if serial != "" && !w.Concerns(serial) {
		return s, f.Forgive()
	}
	s.Wiped = w
	return s, nil
}

// serial returns that of the certificate in use.
func (f *Folder) serial() (string, error) {
	number, err := f.current()
	if err != nil {
		return "", err
	}
	leaf, err := leafIn(f.path(number, certName))
	if err != nil {
		return "", err
	}
	return identity.SerialText(leaf.SerialNumber), nil
}

// MakeRoom makes the folder, and tries whether a generation could be kept in it.
func (f *Folder) MakeRoom() error {
	return f.locked(func() error {
		dir := filepath.Join(f.dir, partPrefix+rand.Text())
		if err := f.on.Mkdir(dir, 0o700); err != nil {
			return fault.New(fault.Unavailable, "enrol.MakeRoom", f.dir, err)
		}
		return f.destroyFolder(dir)
	})
}
