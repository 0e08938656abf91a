package kms

import (
	"fmt"
	"time"
)

// Health is how a provider is, for people.
type Health struct {
	Name       string    `json:"name"`
	Endpoint   string    `json:"endpoint"`
	APIVersion string    `json:"api_version"`
	Healthy    bool      `json:"healthy"`
	Text       string    `json:"text,omitempty"`        // why not; or what should be known all the same
	Since      time.Time `json:"since"`                 // when that began
	LastGood   time.Time `json:"last_good,omitzero"`    // Status
	KeyIDHash  string    `json:"key_id_hash,omitempty"` // of the last good Status
	ActiveKey  string    `json:"active_key,omitempty"`  // id
	ActiveHash string    `json:"active_key_id_hash,omitempty"`
	ActiveFrom time.Time `json:"active_since,omitzero"`   // since when the active key is
	WaitingFor string    `json:"waiting_for,omitempty"`   // why the active key is not yet one of the present key_id
	Sealing    bool      `json:"sealing"`                 // whether new values are encrypted
	Unopened   []string  `json:"unopened_keys,omitempty"` // ids of keys that were not unwrapped yet
}

// Health says how the plugin is, without asking it.
func (k *Keeper) Health() Health {
	o := k.seen.Load()
	k.mu.Lock()
	defer k.mu.Unlock()
	h := Health{
		Name: k.name, Endpoint: k.options.Endpoint, APIVersion: k.api, Healthy: o.well() && !o.stuck.own, Since: o.since,
		LastGood: o.good, KeyIDHash: hashOf(o.keyID), ActiveKey: k.active.ID, WaitingFor: o.stuck.text, Sealing: k.Sealing() == nil,
	}
	if w, err := k.open(k.active); err == nil {
		h.ActiveHash = hashOf(w.KeyID)
	}
	if k.active.ActivatedAt > 0 {
		h.ActiveFrom = time.Unix(k.active.ActivatedAt, 0)
	}
	for id := range k.failed {
		h.Unopened = append(h.Unopened, id)
	}
	if k.active.ID != "" && k.active.ActivatedAt == 0 {
		h.Sealing = false // the others have not opened it yet
	}
	h.Text = k.text(o)
	if f := k.failed[k.active.ID]; f != nil {
		h.Healthy, h.Sealing, h.Text = false, false, "the active key "+k.active.ID+" is not unwrapped: "+cause(f.err)
	}
	if !o.well() || o.stuck.text == "" {
		return h
	}
	h.Since = o.stuck.since
	return h
}

// text says what is to be known of the plugin. k.mu is held.
func (k *Keeper) text(o *observed) string {
	switch turns := len(k.recent(time.Now())); {
	case o.err != nil:
		return cause(o.err)
	case o.good.IsZero():
		return "it has not been asked yet"
	case o.wrap != nil:
		return cause(o.wrap)
	case o.stuck.own:
		return o.stuck.text
	case turns >= turnsTooOft:
		return fmt.Sprintf("its key_id has changed %d times within %v: a plugin must not go back and forth", turns, turnsKept)
	}
	return o.stuck.text
}
