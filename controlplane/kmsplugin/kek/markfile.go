package kek

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
)

// MarkFile is a [Mark] in a file of one line of JSON, frozen by testdata/mark.golden. It holds no secret. Losing it costs
// that the first answer after a restart is believed, whatever it is.
type MarkFile struct {
	Path string
	Log  *slog.Logger
}

type noted struct {
	Version    int    `json:"version"`
	KEK        string `json:"kek"`
	KeyID      string `json:"key_id"`
	Generation uint64 `json:"generation"`
	CreatedAt  int64  `json:"created_at"` // Unix seconds
}

const (
	markVersion = 1
	maxMark     = 8 << 10
)

// Load reads the file. What is not of this KEK, or does not read, counts as nothing, and the latter is logged.
func (m MarkFile) Load(name string) (Key, bool) {
	key, err := m.load(name)
	if err == nil {
		return key, true
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errOther) {
		m.Log.Warn("which key was current before the restart is not known", "file", m.Path, "error", err)
	}
	return Key{}, false
}

var errOther = errors.New("it is of another KEK")

func (m MarkFile) load(name string) (Key, error) {
	file, err := os.Open(m.Path)
	if err != nil {
		return Key{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxMark+1))
	if err != nil {
		return Key{}, err
	}
	return parseMark(data, name)
}

func parseMark(data []byte, name string) (Key, error) {
	if len(data) > maxMark {
		return Key{}, errors.New("it is too long")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var n noted
	if err := decoder.Decode(&n); err != nil {
		return Key{}, err
	}
	switch {
	case n.Version != markVersion:
		return Key{}, errors.New("it is of another version")
	case n.KEK != name:
		return Key{}, errOther
	case n.KeyID == "" || len(n.KeyID) > maxKeyID:
		return Key{}, errors.New("it names no key")
	}
	return Key{ID: n.KeyID, Generation: n.Generation, CreatedAt: time.Unix(n.CreatedAt, 0)}, nil
}

// Save writes the file whole or not at all.
func (m MarkFile) Save(name string, key Key) error {
	data, err := json.Marshal(noted{markVersion, name, key.ID, key.Generation, key.CreatedAt.Unix()})
	if err == nil {
		err = durable.WriteFile(m.Path, 0o600, append(data, '\n'))
	}
	if err != nil {
		return fault.New(fault.Unavailable, "kek.Save", m.Path, err)
	}
	return nil
}
