package localstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	keysName  = "keys"
	keysMagic = "KGKEYS1\n"
	keysLabel = "keepgate/localstore/keys/1"
	maxKeys   = 1 << 10
)

// Remembered is a scoped key that something on this disk may be sealed by.
type Remembered struct {
	ID       string       // as localkeys.Scoped has it
	Material secret.Bytes // the key; none where it was given wrapped
	Wrapped  string       // as it was given
}

// Holder decides which keys a store is opened with.
type Holder interface {
	// Own are the keys that come of the node's own: they seal what is remembered.
	Own() Keys
	// Ring makes the keys for all else, of what was remembered too. What it returns beside them is remembered before
	// anything is sealed under them.
	Ring(remembered []Remembered) (keys Keys, remember []Remembered, err error)
}

// hold asks the holder for keys, if there is one. Mode off seals nothing, and needs keys for what was sealed before alone.
func (s *Store) hold() error {
	if s.options.Holder == nil {
		return nil
	}
	found, err := s.readKeys(keysName)
	again, aside := s.readAside()
	found = append(found, again...)
	keys, remember, ringErr := s.options.Holder.Ring(found)
	if ringErr != nil {
		return ringErr
	}
	s.options.Keys = keys
	if err != nil {
		s.options.Log.Error("the scoped keys that were remembered cannot be read now: what former keys alone open has to come from the control plane again", "file", keysName, "error", err)
	}
	if s.options.Mode == Off {
		return nil // what is remembered stays as it lies there
	}
	if err != nil {
		s.setAside(keysName)
	}
	if err := s.remember(remember); err != nil {
		return err
	}
	for _, name := range aside { // they are remembered with the others now
		s.destroy(name, wholeFile)
	}
	return nil
}

// readAside reads what was remembered and set aside, where this node has the key to it again.
func (s *Store) readAside() (found []Remembered, names []string) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, nil // what is wrong with the folder is told by whoever needs it
	}
	for _, file := range files {
		if !strings.HasPrefix(file.Name(), keysName+asideInfix) {
			continue
		}
		if list, err := s.readKeys(file.Name()); err == nil {
			found, names = append(found, list...), append(names, file.Name())
		}
	}
	return found, names
}

// Remember keeps scoped keys beside the store until the next call, so that what they have sealed opens after a restart
// with others. When it returns nil that is durable.
func (s *Store) Remember(list []Remembered) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil || s.erased {
		return fault.Newf(fault.Unavailable, "localstore.Remember", s.dir, "the store is closed or was erased")
	}
	if err := s.keepFolder(); err != nil {
		return err
	}
	return s.remember(list)
}

func (s *Store) remember(list []Remembered) error {
	path := s.path(keysName)
	if len(list) == 0 {
		if !exists(path) {
			return nil
		}
		s.destroy(keysName, wholeFile)
		if err := s.options.FS.SyncDir(s.dir); err != nil {
			return fault.New(fault.Unavailable, "localstore.Remember", path, err)
		}
		return nil
	}
	content, err := s.sealKeys(list)
	if err != nil {
		return err
	}
	return durable.ReplaceOn(s.options.FS, path, fileMode, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// isKeys reports whether a name is that of remembered keys, also set aside or not finished.
func isKeys(name string) bool { return name == keysName || strings.HasPrefix(name, keysName+".") }

// keysSection seals remembered keys.
func keysSection() localkeys.Section { return localkeys.Section{Class: localkeys.Remembered} }

func (s *Store) sealKeys(list []Remembered) ([]byte, error) {
	if len(list) > maxKeys {
		return nil, fault.Newf(fault.Invalid, "localstore.Remember", s.dir, "%d keys, at most %d", len(list), maxKeys)
	}
	file := newFileID()
	key, wrapped, err := s.options.Holder.Own().NewDataKey(s.options.Mode.suite(), keysSection(), string(file[:]))
	if err != nil {
		return nil, err
	}
	body := append([]byte{s.options.Mode.code()}, file[:]...)
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(wrapped))), wrapped...)
	content, sum := appendHeader(keysMagic, body)
	var plain []byte
	for _, k := range list {
		plain = appendBytes(appendBytes(plain, k.ID), k.Wrapped)
		k.Material.Reveal(func(data []byte) { plain = appendBytes(plain, data) })
	}
	defer clear(plain)
	return key.Seal(content, plain, s.boundKeys(sum)), nil
}

func (s *Store) boundKeys(sum headerSum) []byte {
	return aead.Associated(keysLabel, s.options.Node, string(sum[:]))
}

// readKeys is the inverse of sealKeys; nothing where there is no file.
func (s *Store) readKeys(name string) ([]Remembered, error) {
	data, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return openKeys(data, s.options.Holder.Own(), s.boundKeys)
}

func openKeys(data []byte, own Keys, bound func(headerSum) []byte) ([]Remembered, error) {
	body, sum, size, err := readHeader(bytes.NewReader(data), keysMagic)
	if err != nil {
		return nil, err
	}
	c := cursor{rest: body}
	mode, file := c.mode(), fileID{}
	c.copy(file[:])
	wrapped := c.take(c.uint16())
	if err := c.end(); err != nil {
		return nil, err
	}
	if mode == Off {
		return nil, errHeader
	}
	key, _, err := own.OpenDataKey(mode.suite(), keysSection(), string(file[:]), wrapped)
	if err != nil {
		return nil, err
	}
	plain, err := key.Open(nil, data[size:], bound(sum))
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return decodeKeys(plain)
}

func decodeKeys(plain []byte) (list []Remembered, err error) {
	for rest := plain; len(rest) > 0; {
		var parts [3][]byte
		for i := range parts {
			size, n := binary.Uvarint(rest)
			if n <= 0 || size > uint64(len(rest)-n) {
				return nil, fmt.Errorf("remembered key %d: %w", len(list), errEntry)
			}
			parts[i], rest = rest[n:n+int(size)], rest[n+int(size):]
		}
		list = append(list, Remembered{string(parts[0]), secret.Take(bytes.Clone(parts[2])), string(parts[1])})
	}
	return list, nil
}
