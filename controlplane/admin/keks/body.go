package keks

import (
	"net/http"
	"strconv"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/shared/fault"
)

// kek is a KEK as the API shows it. Times are Unix seconds, ages seconds.
type kek struct {
	Name        string   `json:"name,omitempty"`
	KeyID       string   `json:"key_id,omitempty"`
	RotateEvery int64    `json:"rotate_every"`
	RotatesAt   *int64   `json:"rotates_at"`
	Keys        []key    `json:"keys"`
	Warnings    []string `json:"warnings"`
	Problem     string   `json:"problem,omitempty"`
}

type key struct {
	KeyID      string     `json:"key_id"`
	Generation uint64     `json:"generation"`
	State      keks.State `json:"state"`
	CreatedAt  *int64     `json:"created_at"`
	ReplacedAt *int64     `json:"replaced_at"`
	RetiredAt  *int64     `json:"retired_at"`
	Age        int64      `json:"age"`
}

func shown(s keks.Status) kek {
	k := kek{
		Name: s.Name, KeyID: s.KeyID, RotateEvery: int64(s.RotateEvery / time.Second), RotatesAt: unix(s.RotatesAt), Keys: []key{},
		Warnings: append([]string{}, s.Warnings...), Problem: fault.Text(s.Err),
	}
	for _, g := range s.Keys {
		k.Keys = append(k.Keys, key{g.KeyID, g.Number, g.State, unix(g.CreatedAt), unix(g.ReplacedAt), unix(g.RetiredAt), int64(g.Age / time.Second)})
	}
	return k
}

// unix is a time in seconds, null when there is none.
func unix(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.Unix())
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

const maxBody = 64 << 10

// period reads rotate_every, in seconds.
func period(given rest.Words) (every time.Duration, said bool, err error) {
	text, said := given["rotate_every"]
	if text == "" {
		return 0, said, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, true, rest.Refuse(http.StatusBadRequest, "rotate_every: expected whole seconds, or 0 for never")
	}
	return time.Duration(seconds) * time.Second, true, nil
}

// unused takes the operator's word for that nothing is under a key any more: this control plane cannot see it.
func unused(given rest.Words, keyID string) error {
	said, err := given.Flag("unused")
	if err == nil && !said {
		err = rest.Refuse(http.StatusBadRequest, "what is under %s in etcd, in its backups and in API servers' memory is lost when its material is destroyed, and this control plane "+
			"cannot see whether anything is: on every API server, apiserver_envelope_encryption_key_id_hash_total must not grow for the key's hash (sha256 of the key_id) after all objects "+
			"were rewritten, and no stored object may name the key_id. Say unused=true when that is so", keyID)
	}
	return err
}
