package keks

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	documentVersion = 1
	maxGenerations  = 4096 // a document of so many is well below what the column takes
	maxName         = 63

	labelKeyID = "keepgate kek key_id v1"
	labelWrap  = "keepgate kek wrapping key v1"
)

// State is where a generation stands. It only ever moves on.
type State string

const (
	Active  State = "active"  // wraps
	Former  State = "former"  // was replaced; unwraps
	Retired State = "retired" // its material is destroyed
)

func (s State) rank() int { return slices.Index([]State{Active, Former, Retired}, s) }

// document is what rests sealed in a row, as JSON; frozen by testdata/document.golden.
type document struct {
	Version     int           `json:"version"`
	Name        string        `json:"name"` // of the row, whose own stands in clear
	RotateEvery int64         `json:"rotate_every,omitempty"`
	Generations []*generation `json:"generations"` // by number, then age, then key_id
}

// generation is one key.
type generation struct {
	Number     uint64   `json:"generation"`
	KeyID      string   `json:"key_id"`
	State      State    `json:"state"`
	CreatedAt  int64    `json:"created_at"`
	ReplacedAt int64    `json:"replaced_at,omitempty"`
	RetiredAt  int64    `json:"retired_at,omitempty"`
	Material   material `json:"material,omitzero"`

	key *aead.Key // of the material; nil when it is retired
}

// material is a secret that is written, for the keyring to seal, as base64.
type material struct{ secret.Bytes }

// IsZero reports whether there is none.
func (m material) IsZero() bool { return m.Len() == 0 }

// MarshalText implements encoding.TextMarshaler.
func (m material) MarshalText() (text []byte, err error) {
	m.Reveal(func(data []byte) { text = base64.StdEncoding.AppendEncode(nil, data) })
	return text, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *material) UnmarshalText(text []byte) error {
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(data, text)
	if err != nil {
		clear(data)
		return errors.New("material is no base64")
	}
	m.Bytes = secret.Take(data[:n])
	return nil
}

// newGeneration makes a key.
func newGeneration(name string, number uint64, now time.Time) (*generation, error) {
	data := make([]byte, aead.KeySize)
	rand.Read(data) // never fails: crypto/rand ends the process instead
	g := &generation{Number: number, State: Active, CreatedAt: now.Unix(), Material: material{secret.Take(data)}}
	g.KeyID = g.keyID(name)
	return g, g.derive()
}

// keyID is what the key is called, by its number and a MAC under its material.
func (g *generation) keyID(name string) string {
	var sum []byte
	g.Material.Reveal(func(data []byte) {
		mac := hmac.New(sha256.New, data)
		mac.Write(aead.Associated(labelKeyID, name, strconv.FormatUint(g.Number, 10)))
		sum = mac.Sum(nil)
	})
	return fmt.Sprintf("%s.%d.%s", name, g.Number, hex.EncodeToString(sum[:8]))
}

// derive makes the key that wraps.
func (g *generation) derive() (err error) {
	g.Material.Reveal(func(data []byte) {
		var wrapping []byte
		if wrapping, err = hkdf.Key(sha256.New, data, nil, labelWrap, aead.KeySize); err != nil {
			return
		}
		key := secret.Take(wrapping)
		defer key.Wipe()
		g.key, err = aead.NewKey(aead.AES256GCM, key)
	})
	return err
}

// retire destroys the material.
func (g *generation) retire(at int64) {
	g.State, g.RetiredAt, g.Material, g.key = Retired, at, material{}, nil
}

// active is the key that wraps, nil of a KEK that has ended.
func (d *document) active() *generation {
	for _, g := range d.Generations {
		if g.State == Active {
			return g
		}
	}
	return nil
}

func (d *document) find(keyID string) *generation {
	for _, g := range d.Generations {
		if g.KeyID == keyID {
			return g
		}
	}
	return nil
}

// add makes the next generation and has it replace the active one.
func (d *document) add(now time.Time) (*generation, error) {
	number := uint64(1)
	if n := len(d.Generations); n > 0 {
		number = d.Generations[n-1].Number + 1
	}
	if len(d.Generations) >= maxGenerations {
		return nil, fmt.Errorf("it had %d keys, which is the most; make another KEK and move the cluster to it", maxGenerations)
	}
	next, err := newGeneration(d.Name, number, now)
	if err != nil {
		return nil, err
	}
	if was := d.active(); was != nil {
		was.State, was.ReplacedAt = Former, now.Unix()
	}
	d.Generations = append(d.Generations, next)
	return next, nil
}

// encode writes the document.
func (d *document) encode() (string, error) {
	text, err := json.Marshal(d)
	return string(text), err
}

// decode reads the document of the row of a name, and refuses what add, retire and merge do not make.
func decode(name, text string) (*document, error) {
	d := &document{}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(d); err != nil {
		return nil, errors.New("it is no document of a KEK") // the cause may quote what it holds
	}
	if _, err := decoder.Token(); err == nil || decoder.InputOffset() != int64(len(bytes.TrimSpace([]byte(text)))) {
		return nil, errors.New("something follows the document")
	}
	switch {
	case d.Version != documentVersion:
		return nil, fmt.Errorf("its version is %d, and this program knows %d", d.Version, documentVersion)
	case d.Name != name:
		return nil, errors.New("the row bears another name than was sealed in it")
	case d.RotateEvery < 0, len(d.Generations) == 0, len(d.Generations) > maxGenerations:
		return nil, errors.New("it has no keys, or too many, or a negative period")
	}
	return d, d.check()
}

// Sealed refuses a document that holds keys, where a row would rest in clear or does: what writes the database must
// neither learn nor choose them. One of tombstones alone may.
func Sealed(text string) error {
	var d document
	if json.Unmarshal([]byte(text), &d) == nil && !slices.ContainsFunc(d.Generations, func(g *generation) bool { return g != nil && !g.Material.IsZero() }) {
		return nil
	}
	return errors.New("the keys of a KEK never rest in clear: give keks a provider that encrypts (keyring_decrypt_all = off, or another than identity " +
		"first in encryption_provider_config), or end the KEK (keepgate-cp kek end) when nothing is under it any more")
}

// check looks at every generation.
func (d *document) check() error {
	actives := 0
	for i, g := range d.Generations {
		switch {
		case g == nil:
			return errors.New("a key is missing")
		case g.State.rank() < 0:
			return fmt.Errorf("key %d has no state that is known", i)
		case (g.State == Retired) != g.Material.IsZero():
			return fmt.Errorf("key %d is retired with its material, or lacks it", i)
		case i > 0 && d.Generations[i-1].compare(g) >= 0:
			return errors.New("its keys are not in order")
		}
		if !strings.HasPrefix(g.KeyID, d.Name+"."+strconv.FormatUint(g.Number, 10)+".") {
			return fmt.Errorf("key %d has another KEK's key_id", i)
		}
		if g.State == Active {
			actives++
		}
		if g.State == Retired {
			continue
		}
		if g.Material.Len() != aead.KeySize || g.KeyID != g.keyID(d.Name) {
			return fmt.Errorf("key %d is not the one that its key_id names", i)
		}
		if err := g.derive(); err != nil {
			return err
		}
	}
	if actives > 1 {
		return errors.New("two of its keys are active")
	}
	return nil
}

// compare orders generations; those of one number were made beside each other, by databases that knew nothing of
// each other.
func (g *generation) compare(other *generation) int {
	switch {
	case g.Number != other.Number:
		return sign(g.Number < other.Number)
	case g.CreatedAt != other.CreatedAt:
		return sign(g.CreatedAt < other.CreatedAt)
	}
	return strings.Compare(g.KeyID, other.KeyID)
}

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

// checkName accepts what a certificate's name can begin with before a dot (shared/mtls), and no UUID, which would be
// taken for the id of a row.
func checkName(name string) error {
	alphanumeric := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	valid := len(name) > 0 && len(name) <= maxName && alphanumeric(name[0])
	for i := 1; i < len(name); i++ {
		valid = valid && (alphanumeric(name[i]) || strings.IndexByte("-_~", name[i]) >= 0)
	}
	switch {
	case !valid:
		return fmt.Errorf("the name of a KEK is 1 to %d letters, digits and -_~, the first a letter or digit, without dots", maxName)
	case len(name) == 36 && strings.Count(name, "-") == 4:
		return errors.New("the name of a KEK cannot look like a UUID")
	}
	return nil
}
