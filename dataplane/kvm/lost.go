package kvm

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// Tables are the kinds of entities that Maps are made of.
func Tables() []string { return []string{"key_value_maps", "key_value_entries"} }

// Lose tells of a map or an entry that cannot be read, before the Maps are used. m holds those of its fields that can be, and
// sure says whether it holds all that these fields ever held.
func (m *Maps) Lose(lost proto.Message, sure func(fields ...protoreflect.Name) bool) {
	switch one := lost.(type) {
	case *configv1.KeyValueMap:
		m.loseMap(one, sure)
	case *configv1.KeyValueEntry:
		m.loseEntry(one, sure)
	}
}

// loseMap: with a scope that is not known it may be the narrowest for any place.
func (m *Maps) loseMap(one *configv1.KeyValueMap, sure func(...protoreflect.Name) bool) {
	if !sure("name") || one.GetName() == "" {
		m.anyMap = true
		return
	}
	s := m.named[one.GetName()]
	if s == nil {
		s = &scopes{}
		m.named[one.GetName()] = s
	}
	s.lost = true
}

func (m *Maps) loseEntry(one *configv1.KeyValueEntry, sure func(...protoreflect.Name) bool) {
	if !sure("map") || one.GetMap().GetId() == "" {
		m.anyKey = true
		return
	}
	of := m.byID[one.GetMap().GetId()]
	if of == nil {
		return // its map is lost too, or is not here
	}
	if !sure("key") || one.GetKey() == "" {
		of.any = true
		return
	}
	if of.lost == nil {
		of.lost = map[string]bool{}
	}
	of.lost[one.GetKey()] = true
}
