package app

import (
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/table"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// tableCompiler makes tables of configurations and puts them where requests find them.
type tableCompiler struct {
	compiler *compile.Compiler
	tables   *table.Holder
}

func (c *tableCompiler) Compile(set configset.Set) (install func(), quarantined []*syncv1.Quarantined) {
	next, faulty := c.compiler.Compile(func(yield func(compile.Entity) bool) {
		for e := range set.All() {
			one := compile.Entity{Kind: e.Kind, ID: e.ID, Body: e.Body, Locked: e.Kept}
			if e.Kept && e.Last != nil {
				one.Body, one.Locked = e.Last, false
			}
			if !yield(one) {
				return
			}
		}
	})
	for _, q := range faulty {
		quarantined = append(quarantined, &syncv1.Quarantined{Kind: q.Kind, Id: q.ID, Name: q.Name, Reason: q.Reason})
	}
	return func() { c.tables.Swap(next) }, quarantined
}
