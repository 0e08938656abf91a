package facts

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/controlplane/publish/selection"
	"github.com/keepgate/keepgate/shared/secretref"
)

// lookupPlugin looks values up in the map that its configuration names.
const lookupPlugin = "kvm-lookup"

// refersTo notes the maps and vaults that the values of a message refer to, wherever in it. What begins as a reference and is
// none leads nowhere.
func refersTo(m protoreflect.Message, facts *selection.Row) {
	eachText(m, func(text string) {
		for part := range secretref.Cut(text) {
			switch part.Reference.Scheme {
			case secretref.KVM:
				facts.Maps = append(facts.Maps, part.Reference.Place)
			case secretref.Vault:
				facts.Vaults = append(facts.Vaults, part.Reference.Place)
			}
		}
	})
}

// settleReferences has each named once, in order: what a row counts as follows from what it says alone.
func settleReferences(facts *selection.Row) {
	slices.Sort(facts.Maps)
	slices.Sort(facts.Vaults)
	facts.Maps, facts.Vaults = slices.Compact(facts.Maps), slices.Compact(facts.Vaults)
}

// eachText visits every text of a message, keys of maps aside.
func eachText(m protoreflect.Message, visit func(string)) {
	value := func(d protoreflect.FieldDescriptor, v protoreflect.Value) {
		switch {
		case d.Message() != nil:
			eachText(v.Message(), visit)
		case d.Kind() == protoreflect.StringKind:
			visit(v.String())
		}
	}
	for d, v := range m.Range {
		switch {
		case d.IsList():
			for i := range v.List().Len() {
				value(d, v.List().Get(i))
			}
		case d.IsMap():
			for _, one := range v.Map().Range {
				value(d.MapValue(), one)
			}
		default:
			value(d, v)
		}
	}
}

// Refers says whether rows of a table may refer to maps or vaults: as long as one does not open, nobody knows to which.
func Refers(table string) bool {
	return table == "plugins" || table == "certificates" || table == "vaults"
}
