// Package blob is the form in which a whole keyring leaves the process: encrypted to an operator's RSA key.
//
// A blob is base64 of a JSON object with the three members that Kong's blobs have, and a version:
//
//	{"v":1,"k":…,"d":…,"n":…}
//	k  a random 32-byte key, encrypted to the RSA key (OAEP with SHA-256, RFC 8017 §7.1, label "keepgate keyring export 1")
//	n  the 24 bytes of nonces of XAES-256-GCM (shared/aead)
//	d  {"keys":{"<id>":"<base64 of 32 bytes>",…},"active":"<id>"} sealed under that key, with the label as associated data
//
// The members are ASCII without > and ?, so the base64 around them has no + or /, which a form would change.
//
// Anyone can encrypt to a public key: that a blob opens says nothing about who made it. Who may import one is
// the Admin API's affair, and which of its keys fit the database is the keyring's. Blobs of Kong's own do not
// open: they carry no tag.
package blob

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	version   = 1
	label     = "keepgate keyring export 1"
	nonceSize = 24
	maxText   = 1 << 20
)

// envelope is a blob without its base64.
type envelope struct {
	Version int    `json:"v"`
	Key     []byte `json:"k"`
	Data    []byte `json:"d"`
	Nonce   []byte `json:"n"`
}

// contents is what an envelope holds. The material is cleared after use.
type contents struct {
	Keys   map[string][]byte `json:"keys"`
	Active string            `json:"active"`
}

// Seal encrypts keys, by id, and the id of the active one, "" for none.
func Seal(public *rsa.PublicKey, keys map[string]secret.Bytes, active string) (text string, err error) {
	plain, err := encode(keys, active)
	if err != nil {
		return "", err
	}
	defer clear(plain)
	single := make([]byte, aead.KeySize)
	rand.Read(single) // never fails: crypto/rand ends the process instead
	defer clear(single)
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, single, []byte(label))
	if err != nil {
		return "", fmt.Errorf("encrypting to the public key: %w", err)
	}
	key, err := aead.NewKey(aead.AES256GCM, secret.Take(single))
	if err != nil {
		return "", err
	}
	sealed := key.Seal(nil, plain, aead.Associated(label))
	document, err := json.Marshal(envelope{Version: version, Key: wrapped, Nonce: sealed[:nonceSize], Data: sealed[nonceSize:]})
	return base64.StdEncoding.EncodeToString(document), err
}

// encode writes the inner JSON by hand: encoding/json would keep copies of the material.
func encode(keys map[string]secret.Bytes, active string) ([]byte, error) {
	if active != "" && !aead.IsKeyID(active) {
		return nil, fmt.Errorf("%q is no key id", active)
	}
	plain := make([]byte, 0, 64+64*len(keys))
	plain = append(plain, `{"keys":{`...)
	separator := ""
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		if !aead.IsKeyID(id) {
			return nil, fmt.Errorf("%q is no key id", id)
		}
		plain = append(plain, separator+`"`+id+`":"`...)
		keys[id].Reveal(func(data []byte) { plain = base64.StdEncoding.AppendEncode(plain, data) })
		plain = append(plain, '"')
		separator = ","
	}
	return append(plain, `},"active":"`+active+`"}`...), nil
}

// Open decrypts a blob. It fails with fault.Invalid and says what is wrong with it. The caller wipes the keys.
func Open(private *rsa.PrivateKey, text string) (keys map[string]secret.Bytes, active string, err error) {
	keys, active, err = open(private, text)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "blob.Open", "data", err)
	}
	return keys, active, nil
}

func open(private *rsa.PrivateKey, text string) (map[string]secret.Bytes, string, error) {
	e, err := parse(text)
	if err != nil {
		return nil, "", err
	}
	single, err := rsa.DecryptOAEP(sha256.New(), nil, private, e.Key, []byte(label))
	if err != nil || len(single) != aead.KeySize {
		return nil, "", errors.New("keyring_private_key does not open it: it was exported for another public key, or changed")
	}
	defer clear(single)
	key, err := aead.NewKey(aead.AES256GCM, secret.Take(single))
	if err != nil {
		return nil, "", err
	}
	plain, err := key.Open(nil, append(e.Nonce[:nonceSize:nonceSize], e.Data...), aead.Associated(label))
	if err != nil {
		return nil, "", errors.New("it was changed since it was exported")
	}
	defer clear(plain)
	var c contents
	if err := json.Unmarshal(plain, &c); err != nil {
		return nil, "", errors.New("what it holds is malformed")
	}
	keys := make(map[string]secret.Bytes, len(c.Keys))
	for id, material := range c.Keys {
		keys[id] = secret.Take(material)
		if !aead.IsKeyID(id) || len(material) != aead.KeySize {
			err = fmt.Errorf("it holds %q with %d bytes; keys have an id of %d letters and digits and %d bytes", id, len(material), aead.KeyIDSize, aead.KeySize)
		}
	}
	if _, held := keys[c.Active]; c.Active != "" && !held {
		err = errors.New("it names an active key that it does not hold")
	}
	if err != nil {
		for _, material := range keys {
			material.Wipe()
		}
		return nil, "", err
	}
	return keys, c.Active, nil
}

// parse reads the outer form. White space is allowed where terminals and editors break lines.
func parse(text string) (e envelope, err error) {
	if len(text) > maxText {
		return e, fmt.Errorf("it has %d bytes; at most %d", len(text), maxText)
	}
	document, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return e, errors.New("it is not base64; send the member data of what POST /keyring/export answered, whole")
	}
	if err := json.Unmarshal(document, &e); err != nil {
		return e, errors.New("it is no exported keyring")
	}
	switch {
	case e.Version == 0 && len(e.Nonce) == 12:
		return e, errors.New("it was exported by Kong, whose form carries no proof of being whole; bring its keys over with POST /keyring/import/raw")
	case e.Version != version:
		return e, fmt.Errorf("it is of version %d; this program reads version %d", e.Version, version)
	case len(e.Nonce) != nonceSize:
		return e, errors.New("it is malformed")
	}
	return e, nil
}
