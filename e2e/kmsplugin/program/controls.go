package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
)

// controls serves what control.Client asks.
func (p *plugin) controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", p.answer)
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) {
		var faults control.Faults
		p.obey(w, r, &faults, func() error {
			return p.change(func(s *saved) error { s.Faults = faults; return nil })
		})
	})
	for name, act := range map[string]func(string) error{"rotate": p.rotate, "return": p.returnTo, "forget": p.forget} {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			var id string
			p.obey(w, r, &id, func() error { return act(id) })
		})
	}
	return mux
}

func (p *plugin) obey(w http.ResponseWriter, r *http.Request, receive any, act func() error) {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(receive)
	if err == nil {
		err = act()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.answer(w, r)
}

func (p *plugin) answer(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	s := control.State{Active: p.saved.Active, Faults: p.saved.Faults, Calls: maps.Clone(p.calls), Authorities: slices.Clone(p.authorities)}
	for _, k := range p.saved.Keys {
		s.Keys = append(s.Keys, k.ID)
	}
	p.mu.Unlock()
	_ = json.NewEncoder(w).Encode(s)
}
