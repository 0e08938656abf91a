package selection

// index finds rows by what other rows know of them.
type index struct {
	children map[Ref]map[*node]struct{}   // by what they refer to
	named    map[name]map[*node]struct{}  // upstreams, consumers, server names, maps and vaults by their names, services by their host
	placed   map[place]map[*node]struct{} // credentials, consumers, server names, maps, vaults, and plugins and purges without a scope, by workspace
}

type name struct{ table, workspace, text string }

type place struct{ table, workspace string }

func newIndex() index {
	return index{map[Ref]map[*node]struct{}{}, map[name]map[*node]struct{}{}, map[place]map[*node]struct{}{}}
}

func (x *index) add(n *node) {
	for _, parent := range n.row.Parents {
		addTo(x.children, parent, n)
	}
	if at, ok := nameOf(n.row); ok {
		addTo(x.named, at, n)
	}
	if at, ok := placeOf(n.row); ok {
		addTo(x.placed, at, n)
	}
}

func (x *index) remove(n *node) {
	for _, parent := range n.row.Parents {
		removeFrom(x.children, parent, n)
	}
	if at, ok := nameOf(n.row); ok {
		removeFrom(x.named, at, n)
	}
	if at, ok := placeOf(n.row); ok {
		removeFrom(x.placed, at, n)
	}
}

func nameOf(r *Row) (name, bool) {
	switch r.Table {
	case tableUpstreams, tableConsumers, tableMaps, tableVaults:
		return name{r.Table, r.Workspace, r.Name}, r.Name != ""
	case tableSnis: // they are the whole gate's
		return name{r.Table, "", r.Name}, true
	case tableServices:
		return name{r.Table, r.Workspace, r.Host}, true
	}
	return name{}, false
}

func placeOf(r *Row) (place, bool) {
	switch {
	case r.Table == tablePlugins, r.Table == tablePurges:
		return place{r.Table, r.Workspace}, len(r.Parents) == 0
	case r.Table == tableConsumers, r.Table == tableSnis, r.Table == tableMaps, r.Table == tableVaults, isCredential(r.Table):
		return place{r.Table, r.Workspace}, true
	}
	return place{}, false
}

func addTo[K comparable](groups map[K]map[*node]struct{}, key K, n *node) {
	group := groups[key]
	if group == nil {
		group = map[*node]struct{}{}
		groups[key] = group
	}
	group[n] = struct{}{}
}

func removeFrom[K comparable](groups map[K]map[*node]struct{}, key K, n *node) {
	delete(groups[key], n)
	if len(groups[key]) == 0 {
		delete(groups, key)
	}
}
