package scopedkeys

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
)

// Setting is a key that a setting gives.
type Setting struct {
	Name  string
	Key   Key
	Value secret.Bytes // its text; empty: not given
}

// Sources are where keys come from. All may be missing.
type Sources struct {
	File, Folder string
	Settings     []Setting
	Strict       bool // refuse what may be typed
}

// Read is what sources hold at one moment.
type Read struct {
	sources Sources
	file    *File // nil: there is none
	given   []given
	notices []string
}

// Read reads all sources. The error is fault.Invalid and wraps *[Problems].
func (s Sources) Read() (*Read, error) {
	p := &Problems{}
	r := &Read{sources: s}
	for _, setting := range s.Settings {
		if setting.Value.Len() == 0 {
			continue
		}
		var value Value
		var err error
		setting.Value.Reveal(func(data []byte) { value, err = ParseValue(strings.TrimSpace(string(data))) })
		if err != nil {
			p.add(place{file: setting.Name}, "%v", err)
			continue
		}
		r.given = append(r.given, given{setting.Key, value, bySetting, place{file: setting.Name}})
	}
	if s.Folder != "" {
		list, notices := readFolder(p, s.Folder)
		r.given, r.notices = append(r.given, list...), append(r.notices, notices...)
	}
	if s.File != "" {
		r.readFile(p, s.File)
	}
	if err := p.err("scopedkeys.Read"); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Read) readFile(p *Problems, path string) {
	text, notice, err := secretfile.Read(path, maxBytes)
	if err != nil {
		p.add(place{file: path}, "%v", reason(err))
		return
	}
	defer clear(text)
	if notice != "" {
		r.notices = append(r.notices, notice)
	}
	r.file, err = Parse(path, text)
	if problems, ok := errors.AsType[*Problems](err); ok {
		p.List = append(p.List, problems.List...)
	}
}

// Hash tells sources that changed from those that did not, also where they cannot be read: settings do not change.
func (s Sources) Hash() string {
	digest := sha256.New()
	note := func(path string) {
		data, _, err := secretfile.Read(path, maxBytes)
		if err != nil {
			data = []byte(reason(err).Error())
		}
		fmt.Fprintf(digest, "%q %v %d\n", path, err != nil, len(data))
		digest.Write(data)
		clear(data)
	}
	if s.File != "" {
		note(s.File)
	}
	if s.Folder != "" {
		entries, err := os.ReadDir(s.Folder)
		fmt.Fprintln(digest, s.Folder, err != nil)
		for _, entry := range entries {
			if !strings.HasPrefix(entry.Name(), "..") {
				note(filepath.Join(s.Folder, entry.Name()))
			}
		}
	}
	return hex.EncodeToString(digest.Sum(nil))
}

// reason is an error without the path that is told anyway.
func reason(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	if open, ok := errors.AsType[*secretfile.OpenError](err); ok {
		return fmt.Errorf("it is open to others (mode %04o): %s", open.Mode, open.Mend())
	}
	return err
}
