package app

import (
	"log/slog"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// quarantineLines bounds how many entities one configuration may name in the log; the control plane is told of more.
const quarantineLines = 20

// tableCompiler makes tables of configurations and puts them where requests find them.
type tableCompiler struct {
	compiler *compile.Compiler
	tables   *table.Holder
	pools    *upstream.Pools
	withheld func() *withholding // what must not be used now; nil never
	log      *slog.Logger

	told map[compile.Quarantined]bool // what the log has said of the configuration that serves
}

func (c *tableCompiler) Compile(set configset.Set) (install func(), quarantined []*syncv1.Quarantined) {
	var withheld *withholding
	if c.withheld != nil {
		withheld = c.withheld()
	}
	next, faulty := c.compiler.Compile(func(yield func(compile.Entity) bool) {
		for e := range set.All() {
			one := compile.Entity{Kind: e.Kind, ID: e.ID, Body: e.Body, Locked: e.Kept}
			if e.Kept && e.Last != nil {
				one.Body, one.Locked = lastForm(e), false
			}
			if withheld != nil {
				one = withheld.of(one)
			}
			if !yield(one) {
				return
			}
		}
	})
	for _, q := range faulty {
		quarantined = append(quarantined, &syncv1.Quarantined{Kind: q.Kind, Id: q.ID, Name: q.Name, Reason: q.Reason})
	}
	return func() {
		c.tables.Swap(next)
		c.pools.Follow(next.Leads)
		c.tell(faulty)
	}, quarantined
}

// tell logs what the configuration before did not have to be told of: a route that answers 503 finds its reason here.
func (c *tableCompiler) tell(faulty []compile.Quarantined) {
	told := make(map[compile.Quarantined]bool, len(faulty))
	lines := 0
	for _, q := range faulty {
		told[q] = true
		if c.told[q] {
			continue
		}
		if lines++; lines <= quarantineLines {
			c.log.Error("quarantined: what depends on it fails closed", "kind", q.Kind, "id", q.ID, "name", q.Name, "reason", q.Reason)
		}
	}
	if lines > quarantineLines {
		c.log.Error("quarantined: more, which are not named here", "number", lines-quarantineLines)
	}
	c.told = told
}

// lastForm is what a kept entry is served as: the form that this node has. Of a plugin, what could be read of the row
// now says whether and where it runs; its last configuration says how.
func lastForm(e configset.Entry) []byte {
	if e.Kind != "plugins" || len(e.Body) == 0 {
		return e.Last
	}
	var readable, last configv1.Plugin
	if proto.Unmarshal(e.Body, &readable) != nil || proto.Unmarshal(e.Last, &last) != nil || readable.GetName() != last.GetName() {
		return e.Last
	}
	readable.Config = last.Config
	merged, err := proto.MarshalOptions{Deterministic: true}.Marshal(&readable)
	if err != nil {
		return e.Last
	}
	return merged
}
