package kvmlookup

import (
	"iter"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/kvm"
	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// Tables implements plugin.Keeper.
func (Kind) Tables() []string { return kvm.Tables() }

// Store implements plugin.Keeper.
func (Kind) Store(entities plugin.Entities, _ *plugin.Consumers, _ func(table, id, name, reason string)) any {
	tables := kvm.Tables()
	return kvm.New(only[*configv1.KeyValueMap](entities(tables[0])), only[*configv1.KeyValueEntry](entities(tables[1])))
}

// Lacks implements plugin.Lacker. A map may come later, so that its keys are missing until then.
func (i *instance) Lacks(store any) string {
	if maps, _ := store.(*kvm.Maps); maps.Has(i.maps) {
		return ""
	}
	return "there is no key-value map " + strconv.Quote(i.maps) + " here: all its keys are missing"
}

// Lose implements plugin.Cautious: what cannot be read is not as if it were not there.
func (Kind) Lose(store any, lost plugin.Lost) {
	if maps, ok := store.(*kvm.Maps); ok {
		maps.Lose(lost.Message, lost.Sure)
	}
}

func only[M proto.Message](all iter.Seq2[string, proto.Message]) iter.Seq[M] {
	return func(yield func(M) bool) {
		for _, message := range all {
			if one, ok := message.(M); ok && !yield(one) {
				return
			}
		}
	}
}
