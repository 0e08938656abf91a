// Package kek follows the key-encryption key (KEK) that the plugin's certificate stands for: which of its keys is current,
// which unwrap, and whether the control plane can be promised to serve.
//
// It asks for the keys every few seconds, so a rotation is known within ten, and tries each key that is still in use by
// wrapping and unwrapping a random secret, at most once a minute (a canary). Status is asked of memory alone and costs
// nothing.
//
// The current key never goes back. A key counts as newer when its generation is higher, or when it is one that was never
// seen and was made later than the one in use: that is what a restored database gives after its first rotation. An answer
// that names an older key comes from a node that is behind, or from a restored database; the plugin stays with the key that
// it has, says so, and when that key does not work any more it stops promising.
package kek

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
)

// Key is one generation of the KEK.
type Key struct {
	ID         string // public, stable, never used again
	Generation uint64
	CreatedAt  time.Time
}

// View is what the control plane said of the KEK. It is not changed once made.
type View struct {
	Name        string
	Keys        []Key // all that unwrap; the last one is current
	RotateEvery time.Duration
}

// Current is the key that wraps.
func (v *View) Current() Key { return v.Keys[len(v.Keys)-1] }

// Knows reports whether a key unwraps.
func (v *View) Knows(id string) bool {
	return slices.ContainsFunc(v.Keys, func(k Key) bool { return k.ID == id })
}

const (
	maxKeyID = 1024 // as an API server bounds it
	maxKeys  = 100_000
)

// parse refuses what could not be told to an API server, and keys of another KEK than the certificate's.
func parse(answer *wrapv1.DescribeResponse, name string) (*View, error) {
	if answer.Name != name {
		return nil, fmt.Errorf("the control plane answers for another KEK (%.100q) than this plugin's certificate is for (%s)", answer.Name, name)
	}
	if len(answer.Keys) == 0 {
		return nil, errors.New("the KEK has no key")
	}
	if len(answer.Keys) > maxKeys {
		return nil, fmt.Errorf("the KEK has %d keys, more than %d", len(answer.Keys), maxKeys)
	}
	v := &View{Name: answer.Name, RotateEvery: time.Duration(max(0, answer.RotateEvery)) * time.Second}
	seen := make(map[string]bool, len(answer.Keys))
	for _, k := range answer.Keys {
		if k.KeyId == "" || len(k.KeyId) > maxKeyID || !utf8.ValidString(k.KeyId) {
			return nil, fmt.Errorf("a key_id of generation %d has %d bytes, or is not UTF-8", k.Generation, len(k.KeyId))
		}
		if seen[k.KeyId] {
			return nil, fmt.Errorf("two keys are named %s", k.KeyId)
		}
		seen[k.KeyId] = true
		v.Keys = append(v.Keys, Key{ID: k.KeyId, Generation: k.Generation, CreatedAt: time.Unix(k.CreatedAt, 0)})
	}
	return v, nil
}

// isNewer reports whether one key may follow another as the current one; seen are all keys that were ever listed.
func isNewer(next, held Key, seen map[string]bool) bool {
	return next.Generation > held.Generation || next.CreatedAt.After(held.CreatedAt) && !seen[next.ID]
}
