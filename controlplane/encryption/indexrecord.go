package encryption

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// One named value of the database holds all copies of the index key, by their marks, so that they change together:
//
//	{"sealed":{"<mark>":"<text>"},"migrating":true}    or, where nothing seals,    {"clear":"<base64>"}

const (
	metaIndex     = "index_key"
	indexSize     = 32
	indexAttempts = 8
)

var indexPlace = aead.Place{Table: "@meta", Row: metaIndex, Field: "key"} // no table has such a name

// indexRecord is the stored form, frozen by testdata/index.golden.
type indexRecord struct {
	Clear     string            `json:"clear,omitempty"`
	Sealed    map[string]string `json:"sealed,omitempty"`
	Migrating bool              `json:"migrating,omitempty"` // plaintext may be left that is to be sealed
}

// changeIndex reads the record, lets change decide and writes what differs, again when another node was
// faster.
func (c *Cipher) changeIndex(ctx context.Context, change func(indexRecord, bool) (indexRecord, *index, error)) error {
	c.indexing.Lock()
	defer c.indexing.Unlock()
	for range indexAttempts {
		text, found, err := c.store.Meta(ctx, metaIndex)
		if err != nil {
			return fmt.Errorf("reading the index key: %w", err)
		}
		var record indexRecord
		if found {
			if record, err = parseIndex(text); err != nil {
				return err
			}
		}
		next, index, err := change(record, found)
		if err != nil {
			return err
		}
		err = c.writeIndex(ctx, text, found, next)
		if fault.KindOf(err) == fault.Conflict {
			continue
		}
		if err != nil {
			return fmt.Errorf("writing the index key: %w", err)
		}
		c.index.Store(index)
		c.plaintext.Store(next.Migrating)
		return nil
	}
	return fault.New(fault.Conflict, "encryption.New", metaIndex, errors.New("other nodes keep changing it"))
}

func (c *Cipher) writeIndex(ctx context.Context, old string, found bool, next indexRecord) error {
	if next.Clear == "" && len(next.Sealed) == 0 {
		return nil
	}
	text, err := json.Marshal(next)
	if err != nil || (found && string(text) == old) {
		return err
	}
	if !found {
		return c.store.SwapMeta(ctx, metaIndex, nil, string(text))
	}
	return c.store.SwapMeta(ctx, metaIndex, &old, string(text))
}

func clearRecord(key secret.Bytes) (record indexRecord) {
	key.Reveal(func(data []byte) { record.Clear = base64.StdEncoding.EncodeToString(data) })
	return record
}

func parseIndex(text string) (record indexRecord, err error) {
	if json.Unmarshal([]byte(text), &record) != nil || (record.Clear == "") == (len(record.Sealed) == 0) {
		err = fault.Newf(fault.Corrupt, "encryption.New", metaIndex, "the stored index key is malformed")
	}
	return record, err
}

func randomKey() secret.Bytes {
	data := make([]byte, indexSize)
	rand.Read(data) // never fails: crypto/rand ends the process instead
	return secret.Take(data)
}

func decodeKey(text string) (secret.Bytes, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(data) != indexSize {
		return secret.Bytes{}, fault.Newf(fault.Corrupt, "encryption.New", metaIndex, "the stored index key is malformed")
	}
	return secret.Take(data), nil
}
