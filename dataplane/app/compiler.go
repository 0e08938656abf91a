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
	next, faulty := c.compiler.Compile(func(yield func(kind, id string, body []byte) bool) {
		for e := range set.All() {
			if !yield(e.Kind, e.ID, e.Body) {
				return
			}
		}
	})
	for _, q := range faulty {
		quarantined = append(quarantined, &syncv1.Quarantined{Kind: q.Kind, Id: q.ID, Name: q.Name, Reason: q.Reason})
	}
	return func() { c.tables.Swap(next) }, quarantined
}
