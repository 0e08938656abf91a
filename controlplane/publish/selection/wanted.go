package selection

// wanted reports whether an environment that may have a row holds it: as its own, or by need.
func (s *Selection) wanted(r *Row, e int) bool {
	switch r.Table {
	case tableRoutes:
		return s.chosen(r, e)
	case tableServices:
		return s.chosen(r, e) || s.needed(e, need{needsService, r.ID, ""})
	case tablePlugins:
		return s.wantsPlugin(r, e)
	case tableConsumers:
		return s.wantsConsumer(r, e)
	case tableMembers, tableAcls:
		return s.holds(e, Ref{tableConsumers, r.parent(tableConsumers)})
	case tableGroups:
		return s.needed(e, need{needsGroup, r.ID, ""})
	case tableUpstreams:
		return s.needed(e, need{needsUpstream, r.Workspace, r.Name})
	case tableSnis:
		return s.wantsName(r, e)
	case tableCertificates:
		return s.needed(e, need{needsCertificate, r.ID, ""})
	case tableAuthorities:
		return s.needed(e, need{needsAuthority, r.ID, ""})
	case tableMaps:
		return s.wantsMap(r, e)
	case tableVaults:
		return s.wantsVault(r, e)
	case tablePurges:
		if len(r.Parents) == 0 {
			return s.needed(e, need{needsRoutes, r.Workspace, ""})
		}
	}
	if isCredential(r.Table) {
		return s.checked(r, e) && s.holds(e, Ref{tableConsumers, r.parent(tableConsumers)})
	}
	return s.holdsParents(r, e)
}

func (s *Selection) holds(e int, ref Ref) bool {
	n := s.nodes[ref]
	return n != nil && n.flags[e]&held != 0
}

func (s *Selection) holdsParents(r *Row, e int) bool {
	for _, ref := range r.Parents {
		if !s.holds(e, ref) {
			return false
		}
	}
	return true
}

// chosen reports whether an environment selects a service, or a route for itself or its service.
func (s *Selection) chosen(r *Row, e int) bool {
	if n := s.nodes[r.Ref]; n != nil && n.flags[e]&tagged != 0 {
		return true
	}
	if r.Table != tableRoutes {
		return false
	}
	service := s.nodes[Ref{tableServices, r.parent(tableServices)}]
	return service != nil && service.flags[e]&tagged != 0
}

// wantsPlugin: one without a scope runs on the routes of its workspace, and one of the default workspace hears of
// requests without a route too, where an environment has any.
func (s *Selection) wantsPlugin(r *Row, e int) bool {
	if len(r.Parents) > 0 {
		return s.holdsParents(r, e)
	}
	if s.needed(e, need{needsRoutes, r.Workspace, ""}) {
		return true
	}
	return r.Workspace == s.home && (s.environments[e].Tags == nil || s.needed(e, need{needsSomeRoute, "", ""}))
}

// wantsMap: a plugin's own map is for that plugin alone, the others are for whatever names them.
func (s *Selection) wantsMap(r *Row, e int) bool {
	if id := r.parent(tablePlugins); id != "" {
		return s.needed(e, need{needsPluginMap, id, r.Name}) || s.needed(e, need{needsPluginMap, id, ""})
	}
	return s.holdsParents(r, e) && (s.needed(e, need{needsMap, r.Workspace, r.Name}) || s.needed(e, need{needsAnyMap, r.Workspace, ""}))
}

// checked reports whether a held plugin may check a credential of that kind.
func (s *Selection) checked(r *Row, e int) bool {
	return s.needed(e, need{needsCredentials, r.Workspace, r.Table}) && s.needed(e, need{needsRoutes, r.Workspace, ""})
}

func (s *Selection) wantsConsumer(r *Row, e int) bool {
	if s.needed(e, need{needsConsumer, r.Workspace, r.ID}) || r.Name != "" && s.needed(e, need{needsConsumer, r.Workspace, r.Name}) {
		return true
	}
	if s.needed(e, need{needsFound, r.Workspace, ""}) && s.needed(e, need{needsRoutes, r.Workspace, ""}) {
		return true
	}
	for child := range s.index.children[r.Ref] {
		if isCredential(child.row.Table) && child.flags[e]&fit != 0 && s.checked(child.row, e) {
			return true
		}
	}
	return false
}

// wantsVault: what is held refers to it; a vault that refers to another one for its token is no such other.
func (s *Selection) wantsVault(r *Row, e int) bool {
	if s.needed(e, need{needsVault, r.Workspace, r.Name}) || s.needed(e, need{needsAnyVault, r.Workspace, ""}) {
		return true
	}
	return levelOf(r) == levelPlaces && (s.needed(e, need{needsPlace, r.Workspace, r.Name}) || s.needed(e, need{needsAnyPlace, r.Workspace, ""}))
}
