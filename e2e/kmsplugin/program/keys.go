package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/secret"
)

// plugin is the keys, the faults and the counts that both versions share.
type plugin struct {
	file string

	mu          sync.Mutex
	saved       saved                  // guarded by mu
	changed     chan struct{}          // guarded by mu; closed when the faults change
	calls       map[control.Method]int // guarded by mu
	authorities []string               // guarded by mu
	wrapped     [][]byte               // guarded by mu; plaintexts, for the fault "other"
	flapped     int                    // guarded by mu
}

// saved is what outlives a restart.
type saved struct {
	Keys   []key // oldest first
	Active string
	Faults control.Faults
}

type key struct {
	ID       string
	Material []byte
}

func (k key) aead() (*aead.Key, error) {
	return aead.NewKey(aead.AES256GCM, secret.Take(slices.Clone(k.Material)))
}

// open reads the file, or makes it with a first key.
func open(file, firstID string) (*plugin, error) {
	p := &plugin{file: file, calls: map[control.Method]int{}, changed: make(chan struct{})}
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return p, p.rotate(firstID)
	case err != nil:
		return nil, err
	}
	return p, json.Unmarshal(text, &p.saved)
}

// change changes what is saved, and saves it.
func (p *plugin) change(how func(*saved) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.saved
	next.Keys = slices.Clone(next.Keys)
	if err := how(&next); err != nil {
		return err
	}
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.file+".new", text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(p.file+".new", p.file); err != nil {
		return err
	}
	p.saved = next
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

func (p *plugin) rotate(id string) error {
	if id == "" {
		id = "key-" + rand.Text()
	}
	material := make([]byte, aead.KeySize)
	rand.Read(material)
	return p.change(func(s *saved) error {
		s.Keys = slices.DeleteFunc(s.Keys, func(k key) bool { return k.ID == id })
		s.Keys, s.Active = append(s.Keys, key{id, material}), id
		return nil
	})
}

func (p *plugin) returnTo(id string) error {
	return p.change(func(s *saved) error {
		if _, err := s.find(id); err != nil {
			return err
		}
		s.Active = id
		return nil
	})
}

func (p *plugin) forget(id string) error {
	return p.change(func(s *saved) error {
		_, err := s.find(id)
		s.Keys = slices.DeleteFunc(s.Keys, func(k key) bool { return k.ID == id })
		return err
	})
}

func (s *saved) find(id string) (key, error) {
	if i := slices.IndexFunc(s.Keys, func(k key) bool { return k.ID == id }); i >= 0 {
		return s.Keys[i], nil
	}
	return key{}, fmt.Errorf("no key %q", id)
}

// flapping is the key that a plugin names which cannot make up its mind; p.mu is held.
func (p *plugin) flapping() string {
	n := len(p.saved.Keys)
	return p.saved.Keys[(n-1-p.flapped%min(2, n)+n)%n].ID
}
