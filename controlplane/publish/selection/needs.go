package selection

// need is something that rows are held for, as long as some held row calls for it.
type need struct {
	what uint8
	a, b string
}

const (
	needsService     uint8 = iota // a: id. By routes
	needsRoutes                   // a: workspace, that some route of it is held
	needsSomeRoute                // that some route is held
	needsTLS                      // that some route may be asked for over TLS
	needsEveryName                // a: workspace, that such a route of it lists no names
	needsAnyName                  // that such a route of some workspace lists no names
	needsName                     // a: host or server name of such a route
	needsCredentials              // a: workspace, b: table. By plugins that check them
	needsFound                    // a: workspace. By plugins that find consumers by what they are called
	needsConsumer                 // a: workspace, b: id or user name. By plugins
	needsGroup                    // a: id. By its members
	needsUpstream                 // a: workspace, b: name. By services
	needsCertificate              // a: id
	needsAuthority                // a: id
	needsMap                      // a: workspace, b: name. By plugins and certificates
	needsAnyMap                   // a: workspace. By those of which nobody knows what they refer to
	needsPluginMap                // a: id of the plugin whose map it is, b: name, "" for any. By that plugin
	needsVault                    // a: workspace, b: prefix. By plugins and certificates
	needsAnyVault                 // a: workspace. By those of which nobody knows what they refer to
	needsPlace                    // a: workspace, b: prefix of a vault that refers to none. By vaults, for their tokens
	needsAnyPlace                 // a: workspace. By vaults of which nobody knows what they refer to
)

// count is how many held rows call for a need, by environment.
type count struct {
	need    need
	rows    []int32
	noticed []bool // that some do, by those who are held for it
	changed bool   // since then, it may be
}

func (s *Selection) needed(e int, n need) bool {
	c := s.needs[n]
	return c != nil && c.rows[e] > 0
}

// contribute counts what a held row calls for, once more or once less.
func (s *Selection) contribute(r *Row, e int, by int32) {
	call := func(what uint8, a, b string) {
		n := need{what, a, b}
		c := s.needs[n]
		if c == nil {
			c = &count{need: n, rows: make([]int32, len(s.environments)), noticed: make([]bool, len(s.environments))}
			s.needs[n] = c
		}
		c.rows[e] += by
		if !c.changed {
			c.changed = true
			s.changed = append(s.changed, c)
		}
	}
	if levelOf(r) == levelOthers {
		return
	}
	callReferences(r, call)
	if id := r.parent(tableCertificates); id != "" {
		call(needsCertificate, id, "")
	}
	if id := r.parent(tableAuthorities); id != "" {
		call(needsAuthority, id, "")
	}
	for _, id := range r.Authorities {
		call(needsAuthority, id, "")
	}
	switch r.Table {
	case tableRoutes:
		call(needsRoutes, r.Workspace, "")
		call(needsSomeRoute, "", "")
		if id := r.parent(tableServices); id != "" {
			call(needsService, id, "")
		}
		if !r.TLS {
			return
		}
		call(needsTLS, "", "")
		if len(r.Names) == 0 {
			call(needsEveryName, r.Workspace, "")
			call(needsAnyName, "", "")
		}
		for _, name := range r.Names {
			call(needsName, name, "")
		}
	case tableServices:
		call(needsUpstream, r.Workspace, r.Host)
	case tableMembers:
		call(needsGroup, r.parent(tableGroups), "")
	case tablePlugins:
		if levelOf(r) == levelPersonal {
			return
		}
		if r.Checks != "" {
			call(needsCredentials, r.Workspace, r.Checks)
		}
		if r.Finds {
			call(needsFound, r.Workspace, "")
		}
		for _, consumer := range r.Consumers {
			call(needsConsumer, r.Workspace, consumer)
		}
	}
}

// callReferences calls for what a row refers to in its values.
func callReferences(r *Row, call func(what uint8, a, b string)) {
	vault, anyVault := needsVault, needsAnyVault
	if r.Table == tableVaults {
		vault, anyVault = needsPlace, needsAnyPlace
	}
	for _, prefix := range r.Vaults {
		call(vault, r.Workspace, prefix)
	}
	for _, name := range r.Maps {
		call(needsMap, r.Workspace, name)
		if r.Table == tablePlugins {
			call(needsPluginMap, r.ID, name)
		}
	}
	if !r.Unread {
		return
	}
	call(anyVault, r.Workspace, "")
	if r.Table == tableVaults {
		return
	}
	call(needsAnyMap, r.Workspace, "")
	if r.Table == tablePlugins {
		call(needsPluginMap, r.ID, "")
	}
}

// settleNeeds has those found again who are held for a need that began or ended.
func (s *Selection) settleNeeds() {
	for _, c := range s.changed {
		c.changed = false
		moved, idle := false, true
		for e, rows := range c.rows {
			if on := rows > 0; on != c.noticed[e] {
				c.noticed[e], moved = on, true
			}
			idle = idle && rows == 0
		}
		if moved {
			s.enqueueReaders(c.need)
		}
		if idle {
			delete(s.needs, c.need)
		}
	}
	s.changed = s.changed[:0]
}

// enqueueReaders has those found again who may be held for a need.
func (s *Selection) enqueueReaders(n need) {
	row := func(table string) {
		if found := s.nodes[Ref{table, n.a}]; found != nil {
			s.enqueue(found)
		}
	}
	all := func(nodes map[*node]struct{}) {
		for found := range nodes {
			s.enqueue(found)
		}
	}
	switch n.what {
	case needsService:
		row(tableServices)
	case needsCertificate:
		row(tableCertificates)
	case needsAuthority:
		row(tableAuthorities)
	case needsGroup:
		row(tableGroups)
	case needsUpstream:
		all(s.index.named[name{tableUpstreams, n.a, n.b}])
	case needsSomeRoute:
		all(s.index.placed[place{tablePlugins, s.home}])
	case needsRoutes:
		all(s.index.placed[place{tablePlugins, n.a}])
		all(s.index.placed[place{tablePurges, n.a}])
		all(s.index.placed[place{tableConsumers, n.a}])
		for _, table := range CredentialTables() {
			all(s.index.placed[place{table, n.a}])
		}
	case needsFound:
		all(s.index.placed[place{tableConsumers, n.a}])
	case needsCredentials:
		for credential := range s.index.placed[place{n.b, n.a}] {
			s.enqueue(credential)
			s.enqueueOwners(credential)
		}
	case needsConsumer:
		if found := s.nodes[Ref{tableConsumers, n.b}]; found != nil {
			s.enqueue(found)
		}
		all(s.index.named[name{tableConsumers, n.a, n.b}])
	case needsTLS:
		all(s.index.named[name{tableSnis, "", everyName}])
	case needsEveryName:
		all(s.index.placed[place{tableSnis, n.a}])
	case needsAnyName:
		for at, nodes := range s.index.placed {
			if at.table == tableSnis {
				all(nodes)
			}
		}
	case needsName:
		s.enqueueFitting(n.a)
	case needsMap:
		all(s.index.named[name{tableMaps, n.a, n.b}])
	case needsAnyMap:
		all(s.index.placed[place{tableMaps, n.a}])
	case needsPluginMap:
		all(s.index.children[Ref{tablePlugins, n.a}])
	case needsVault:
		all(s.index.named[name{tableVaults, n.a, n.b}])
	case needsAnyVault:
		all(s.index.placed[place{tableVaults, n.a}])
	case needsPlace:
		s.enqueuePlaces(s.index.named[name{tableVaults, n.a, n.b}])
	case needsAnyPlace:
		s.enqueuePlaces(s.index.placed[place{tableVaults, n.a}])
	}
}

// enqueuePlaces has those vaults found again that other vaults may refer to.
func (s *Selection) enqueuePlaces(nodes map[*node]struct{}) {
	for found := range nodes {
		if found.level == levelPlaces {
			s.enqueue(found)
		}
	}
}
