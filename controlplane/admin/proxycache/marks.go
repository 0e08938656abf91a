package proxycache

import (
	"context"

	"github.com/keepgate/keepgate/controlplane/catalog"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// Marks are bounded: where there would be more, a wider one takes their place, since what was purged must not come back at a data plane
// that was away.
const (
	maxKeys  = 64   // of single responses of one plugin, and of no plugin
	maxMarks = 1024 // of one workspace
)

// mark is what is purged; "" is all.
type mark struct{ id, plugin, key string }

// covers says whether whoever has done m needs the other one no more.
func (m mark) covers(other mark) bool {
	return (m.plugin == "" || m.plugin == other.plugin) && (m.key == "" || m.key == other.key)
}

// add writes a mark and then removes those that it makes needless. Only marks that were there before it was written go: of another
// that comes now nobody knows whether a data plane would see it after this one.
func (a *API) add(ctx context.Context, workspace string, m mark) error {
	before, err := a.list(ctx, workspace)
	if err != nil {
		return err
	}
	m = widened(m, before)
	doc := schema.Document{}
	if m.plugin != "" {
		doc["plugin"] = map[string]any{"id": m.plugin}
	}
	if m.key != "" {
		doc["cache_key"] = m.key
	}
	if _, err := a.catalog.Insert(ctx, catalog.Address{Table: table, Workspace: workspace}, doc); err != nil {
		return err
	}
	for _, old := range before {
		if !m.covers(old) {
			continue
		}
		if err := a.catalog.Delete(ctx, catalog.Address{Table: table, Workspace: workspace, Key: old.id}); err != nil {
			break // the purge is written, and the next one takes what is left with it
		}
	}
	return nil
}

// widened is the mark that stands for m and for what there would be too many of.
func widened(m mark, before []mark) mark {
	keys, all := 0, 0
	for _, other := range before {
		if m.covers(other) {
			continue
		}
		all++
		if other.plugin == m.plugin && other.key != "" {
			keys++
		}
	}
	if m.key != "" && keys >= maxKeys {
		m.key = ""
	}
	if all >= maxMarks {
		return mark{}
	}
	return m
}

func (a *API) list(ctx context.Context, workspace string) (marks []mark, err error) {
	page, err := a.catalog.List(ctx, catalog.Query{Table: table, Workspace: workspace})
	if err != nil {
		return nil, err
	}
	for _, m := range page.Entities {
		if one, ok := m.(*configv1.CachePurge); ok {
			marks = append(marks, mark{one.GetId(), one.GetPlugin().GetId(), one.GetCacheKey()})
		}
	}
	return marks, nil
}
