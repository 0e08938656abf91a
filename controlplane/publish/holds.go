package publish

import (
	"cmp"
	"slices"

	"github.com/keepgate/keepgate/controlplane/publish/selection"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
)

// Holding is an entity that an environment holds, and why.
type Holding struct {
	Kind      string // table
	ID        string
	Workspace string // id; "" for entities of all workspaces
	Name      string // of some kinds
	Why       string
}

// Holds lists what an environment holds of a table, or of all for "", by kind and id. It is fault.NotFound when there is
// no such environment, and fault.Unavailable before the database was read.
func (p *Publisher) Holds(environment, kind string) ([]Holding, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if _, _, err := p.find("publish.Holds", environment); err != nil {
		return nil, err
	}
	s, at := p.state, slices.IndexFunc(p.state.wire.Environments, func(e *wire.Environment) bool { return e.Selects.Name == environment })
	var list []Holding
	for _, row := range s.selection.Rows(at, kind) {
		list = append(list, Holding{row.Table, row.ID, row.Workspace, row.Name, s.selection.Why(at, selection.Ref{Table: row.Table, ID: row.ID})})
	}
	slices.SortFunc(list, func(a, b Holding) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}
