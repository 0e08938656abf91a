package vault

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// shortKey is what may be guessed: 32 random bytes in hexadecimal or base64 are longer.
const shortKey = 32

// version is what is known of one version of the secret.
type version struct {
	number  int
	created string
	id      string // "" when it is not known
	gone    string // "deleted", "destroyed"
	refused string // why it is not taken
	short   bool   // its key is short enough to be guessed
}

func (v version) good() bool { return v.id != "" && v.gone == "" && v.refused == "" }

// reading is one look at Vault.
type reading struct {
	current  int
	versions []version
	offers   []keyring.Offer
	offered  []int // by offer: which of versions
	token    vaultclient.Token
}

func (r *reading) wipe() {
	for _, offer := range r.offers {
		offer.Material.Wipe()
	}
}

// newest is the version that is to be the active key; nil when there is none at all.
func (r *reading) newest() *version {
	for i := range r.versions {
		if r.versions[i].number == r.current {
			return &r.versions[i]
		}
	}
	return nil
}

// read looks at all versions, and at what those hold that are not known yet: a version never changes what it holds. The
// newest one is read in any case, since it becomes active. The caller wipes what it gets.
func (k *Keeper) read(ctx context.Context, session *vaultclient.Session, known func(number int, created string) (version, bool)) (*reading, error) {
	meta, err := session.Metadata(ctx, k.options.Mount, k.options.Path)
	if err != nil {
		return nil, err
	}
	r := &reading{current: meta.Current}
	for _, about := range meta.Versions {
		v := version{number: about.Number, created: about.Created}
		old, isKnown := known(about.Number, about.Created)
		switch {
		case about.Destroyed:
			v.id, v.gone = old.id, "destroyed"
		case about.Deleted(time.Now()):
			v.id, v.gone = old.id, "deleted"
		case isKnown && old.gone == "" && about.Number != meta.Current:
			v = old
		default:
			if err := k.readVersion(ctx, session, r, &v); err != nil {
				r.wipe()
				return nil, err
			}
		}
		r.versions = append(r.versions, v)
	}
	return r, nil
}

func (k *Keeper) readVersion(ctx context.Context, session *vaultclient.Session, r *reading, v *version) error {
	found, err := session.Read(ctx, k.options.Mount, k.options.Path, v.number)
	if fault.KindOf(err) == fault.NotFound && err != nil { // deleted meanwhile
		v.gone = "deleted"
		return nil
	}
	if err != nil {
		return err
	}
	defer found.Wipe()
	material, err := keyOf(found, v)
	if err != nil {
		v.refused = err.Error()
		return nil
	}
	r.offers = append(r.offers, keyring.Offer{ID: v.id, Material: material, From: fmt.Sprintf("Vault version %d", v.number), Active: v.number == r.current})
	r.offered = append(r.offered, len(r.versions))
	return nil
}

// keyOf reads the fields of a version.
func keyOf(found vaultclient.Secret, v *version) (material secret.Bytes, err error) {
	id, hasID := found.Texts["id"]
	key, hasKey := found.Texts["key"]
	if !hasID || !hasKey || key.Len() == 0 {
		return material, errors.New(`it has not both of the fields "id" and "key" as texts`)
	}
	id.Reveal(func(data []byte) {
		if aead.IsKeyID(string(data)) {
			v.id = string(data)
		}
	})
	if v.id == "" {
		return material, fmt.Errorf(`its field "id" has not exactly %d letters and digits`, aead.KeyIDSize)
	}
	key.Reveal(func(data []byte) {
		sum := sha256.Sum256(data)
		material = secret.Take(slices.Clone(sum[:]))
		clear(sum[:])
	})
	v.short = key.Len() < shortKey
	return material, nil
}
