package apply

import (
	"google.golang.org/protobuf/encoding/protowire"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/localkeys"
)

const (
	tableMaps    = "key_value_maps"
	tableEntries = "key_value_entries"

	environmentField = 6 // keepgate.config.v1.KeyValueMap
	mapField         = 5 // keepgate.config.v1.KeyValueEntry
	idField          = 1 // keepgate.config.v1.Ref
)

// section picks the key that seals an entry of a set. A kind that this build does not know is sealed as a credential. Maps of an
// environment, and what is in them, rest under this environment's key, all other maps under the organisation's; which it
// is cannot change, as what a map belongs to cannot.
func (k *StoreKeeper) section(e configset.Entry, set configset.Set) localkeys.Section {
	entity, known := k.entities.Entity(e.Kind)
	if !known {
		return localkeys.Section{Class: localkeys.KMS}
	}
	switch entity.DataClass {
	case schemav1.DataClass_DATA_CLASS_CONTRACT:
		return localkeys.Section{Class: localkeys.Contract}
	case schemav1.DataClass_DATA_CLASS_KVM:
		if k.ofEnvironment(e, set) {
			return localkeys.Section{Class: localkeys.KVM, Scope: k.environment}
		}
		return localkeys.Section{Class: localkeys.KVM}
	}
	return localkeys.Section{Class: localkeys.KMS}
}

// ofEnvironment reports whether a map belongs to an environment, or an entry to such a map.
func (k *StoreKeeper) ofEnvironment(e configset.Entry, set configset.Set) bool {
	switch e.Kind {
	case tableEntries:
		reference, _ := field(e.Body, mapField)
		id, _ := field(reference, idField)
		of, found := set.Get(tableMaps, string(id))
		return found && k.ofEnvironment(of, set)
	case tableMaps:
		_, found := field(e.Body, environmentField)
		return found
	}
	return false
}

// field returns a field of an encoded message as it lies there: what is decoded for this would leave secrets in memory.
func field(body []byte, number protowire.Number) (value []byte, found bool) {
	for len(body) > 0 {
		at, kind, tag := protowire.ConsumeTag(body)
		if tag < 0 {
			return nil, false
		}
		n := protowire.ConsumeFieldValue(at, kind, body[tag:])
		if n < 0 {
			return nil, false
		}
		if at == number && kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(body[tag:])
			return value, true
		}
		body = body[tag+n:]
	}
	return nil, false
}
