package proxycache

import (
	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// marks are the purges of one workspace. Requests do not look at them: they are done before the table that they come with serves.
type marks struct{ list []cachestore.Mark }

// Tables implements plugin.Keeper.
func (Kind) Tables() []string { return []string{"cache_purges"} }

// Store implements plugin.Keeper.
func (Kind) Store(entities plugin.Entities, _ *plugin.Consumers, _ func(table, id, name, reason string)) any {
	m := &marks{}
	for id, one := range entities("cache_purges") {
		if purge, ok := one.(*configv1.CachePurge); ok {
			m.list = append(m.list, cachestore.Mark{ID: id, Plugin: purge.GetPlugin().GetId(), Key: purge.GetCacheKey()})
		}
	}
	return m
}

// Lose implements plugin.Cautious: nobody knows how far it goes, so it goes as far as it can.
func (Kind) Lose(store any, lost plugin.Lost) {
	m := store.(*marks)
	m.list = append(m.list, cachestore.Mark{ID: lost.ID})
}

// Place implements plugin.Placed.
func (k Kind) Place(store any, workspace string) {
	m := store.(*marks)
	list := make([]cachestore.Mark, 0, len(m.list))
	for _, one := range m.list {
		one.Workspace = workspace
		list = append(list, one)
	}
	k.shared.cache.Hold(workspace, list)
}

var (
	_ plugin.Cautious = Kind{}
	_ plugin.Placed   = Kind{}
	_ plugin.Runner   = Kind{}
	_ plugin.Bodier   = (*instance)(nil)
)
