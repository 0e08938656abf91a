// Package kvm holds the key-value maps of one workspace as a node has them, and finds values in them.
//
// Of several maps with one name the narrowest that fits a place counts, and it alone: plugin, route, service, environment,
// organisation. What it does not hold is not there, whatever a wider one holds, so that taking an entry out of it
// never shows another's.
//
// Where a map or an entry cannot be read, what it might have been is Unreadable and not Missing: whoever goes on without a
// value has to be told that nobody knows whether there is one.
//
// [Maps] are read only once they are made and told of what is lost, and safe for concurrent use then.
package kvm

import (
	"iter"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// Place is where something is looked up from: ids, "" for what is not known or not there.
type Place struct{ Plugin, Route, Service string }

// State says what a look-up came to.
type State uint8

const (
	Missing    State = iota // there is no such map, or it has no such key
	Found                   // the value is the one that was written
	Unreadable              // there may be one, which this node cannot read
)

// Maps are the key-value maps of one workspace.
type Maps struct {
	named  map[string]*scopes
	byID   map[string]*values
	anyMap bool // some map cannot be read, and nobody knows what it is called
	anyKey bool // some entry cannot be read, and nobody knows of which map it is
}

// scopes are the maps of one name.
type scopes struct {
	plugins, routes, services map[string]*values // by id
	environment, organisation *values
	lost                      bool // another map of the name cannot be read, and nobody knows whose it is
}

// values are what one map holds.
type values struct {
	byKey map[string]string
	lost  map[string]bool // keys whose entries cannot be read
	any   bool            // some entry cannot be read, and nobody knows its key
}

// New makes the maps of a workspace. Entries of maps that are not among them count for nothing.
func New(maps iter.Seq[*configv1.KeyValueMap], entries iter.Seq[*configv1.KeyValueEntry]) *Maps {
	m := &Maps{named: map[string]*scopes{}, byID: map[string]*values{}}
	for one := range maps {
		m.add(one)
	}
	for one := range entries {
		if of := m.byID[one.GetMap().GetId()]; of != nil {
			of.byKey[one.GetKey()] = one.GetValue()
		}
	}
	return m
}

func (m *Maps) add(one *configv1.KeyValueMap) {
	s := m.named[one.GetName()]
	if s == nil {
		s = &scopes{plugins: map[string]*values{}, routes: map[string]*values{}, services: map[string]*values{}}
		m.named[one.GetName()] = s
	}
	made := &values{byKey: map[string]string{}}
	m.byID[one.GetId()] = made
	switch {
	case one.GetPlugin() != nil:
		s.plugins[one.GetPlugin().GetId()] = made
	case one.GetRoute() != nil:
		s.routes[one.GetRoute().GetId()] = made
	case one.GetService() != nil:
		s.services[one.GetService().GetId()] = made
	case one.GetEnvironment() != nil: // a node has those of its own environment alone
		s.environment = made
	default:
		s.organisation = made
	}
}

// Find returns the value of a key in the map of that name that is the narrowest for a place.
func (m *Maps) Find(name, key string, at Place) (value string, found bool) {
	value, state := m.Look(name, key, at)
	return value, state == Found
}

// Look is Find, and tells what is not there from what cannot be read. Nil Maps hold nothing.
func (m *Maps) Look(name, key string, at Place) (value string, state State) {
	if m == nil {
		return "", Missing
	}
	if m.anyMap {
		return "", Unreadable // it may be a narrower one than any that is there
	}
	s := m.named[name]
	if s == nil {
		return "", Missing
	}
	if s.lost {
		return "", Unreadable
	}
	return m.in(s.narrowest(at), key)
}

// Has reports whether there is a map of the name, of whatever scope.
func (m *Maps) Has(name string) bool { return m != nil && (m.named[name] != nil || m.anyMap) }

func (m *Maps) in(v *values, key string) (string, State) {
	if v == nil {
		return "", Missing
	}
	if value, found := v.byKey[key]; found && !v.lost[key] {
		return value, Found
	}
	if v.any || m.anyKey || v.lost[key] {
		return "", Unreadable
	}
	return "", Missing
}

func (s *scopes) narrowest(at Place) *values {
	if v := s.plugins[at.Plugin]; v != nil && at.Plugin != "" {
		return v
	}
	if v := s.routes[at.Route]; v != nil && at.Route != "" {
		return v
	}
	if v := s.services[at.Service]; v != nil && at.Service != "" {
		return v
	}
	if s.environment != nil {
		return s.environment
	}
	return s.organisation
}
