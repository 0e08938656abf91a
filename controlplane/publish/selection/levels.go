package selection

// Tables that there are rules for. Others are held wherever all that they refer to is.
const (
	tableServices     = "services"
	tableRoutes       = "routes"
	tablePlugins      = "plugins"
	tableConsumers    = "consumers"
	tableUpstreams    = "upstreams"
	tableTargets      = "targets"
	tableCertificates = "certificates"
	tableSnis         = "snis"
	tableAuthorities  = "ca_certificates"
	tableGroups       = "consumer_groups"
	tableMembers      = "consumer_group_consumers"
	tableAcls         = "acls"
	tableMaps         = "key_value_maps"
	tableEntries      = "key_value_entries"
	tableVaults       = "vaults"
	tablePurges       = "cache_purges"
)

// CredentialTables are the tables of credentials, which reach only those environments where a plugin checks them.
func CredentialTables() []string {
	return []string{"basicauth_credentials", "jwt_secrets", "keyauth_credentials", "mtls_auth_credentials"}
}

func isCredential(table string) bool {
	switch table {
	case "basicauth_credentials", "jwt_secrets", "keyauth_credentials", "mtls_auth_credentials":
		return true
	}
	return false
}

// Answers are found in this order: each level follows from those before it alone. So there are no circles, and every
// row that a change may concern is looked at once.
const (
	levelRoutes uint8 = iota
	levelServices
	levelPlugins // those of no consumer and no group: only they call for consumers
	levelConsumers
	levelCredentials // and whatever else belongs to a consumer
	levelGroups
	levelPersonal // plugins of a consumer or a group
	levelUpstreams
	levelTargets
	levelSnis
	levelCertificates
	levelAuthorities
	levelMaps
	levelEntries
	levelVaults // those whose token is a reference
	levelPlaces // all other vaults: only these can be referred to by vaults
	levelPurges
	levelOthers
	levels
)

func levelOf(r *Row) uint8 {
	switch r.Table {
	case tableRoutes:
		return levelRoutes
	case tableServices:
		return levelServices
	case tablePlugins:
		if r.parent(tableConsumers) != "" || r.parent(tableGroups) != "" {
			return levelPersonal
		}
		return levelPlugins
	case tableConsumers:
		return levelConsumers
	case tableMembers, tableAcls:
		return levelCredentials
	case tableGroups:
		return levelGroups
	case tableUpstreams:
		return levelUpstreams
	case tableTargets:
		return levelTargets
	case tableSnis:
		return levelSnis
	case tableCertificates:
		return levelCertificates
	case tableAuthorities:
		return levelAuthorities
	case tableMaps:
		return levelMaps
	case tableEntries:
		return levelEntries
	case tableVaults:
		if len(r.Vaults) > 0 || r.Unread {
			return levelVaults
		}
		return levelPlaces
	case tablePurges:
		return levelPurges
	}
	if isCredential(r.Table) {
		return levelCredentials
	}
	return levelOthers
}

// enqueue has the answer for a row found again.
func (s *Selection) enqueue(n *node) {
	if !n.queued && !n.gone {
		n.queued = true
		s.queues[n.level] = append(s.queues[n.level], n)
	}
}

// enqueueOwners has the answer for a credential's consumer found again, who may be there for that credential alone.
func (s *Selection) enqueueOwners(n *node) {
	if !isCredential(n.row.Table) {
		return
	}
	if owner := s.nodes[Ref{tableConsumers, n.row.parent(tableConsumers)}]; owner != nil {
		s.enqueue(owner)
	}
}

// settle finds answers until nothing is left to follow.
func (s *Selection) settle() {
	for level := range s.queues {
		s.settleNeeds()
		for i := 0; i < len(s.queues[level]); i++ {
			n := s.queues[level][i]
			if int(n.level) != level { // it became another kind of plugin, and stands in that queue
				continue
			}
			n.queued = false
			if !n.gone {
				s.answer(n)
			}
		}
		s.queues[level] = s.queues[level][:0]
	}
	s.settleNeeds()
}

// answer finds which environments hold a row, and has those found again whom that concerns.
func (s *Selection) answer(n *node) {
	flipped := false
	for e := range s.environments {
		now := n.flags[e]&fit != 0 && s.wanted(n.row, e)
		if now == (n.flags[e]&held != 0) {
			continue
		}
		s.touch(n)
		n.flags[e] ^= held
		flipped = true
		if now {
			s.contribute(n.row, e, 1)
		} else {
			s.contribute(n.row, e, -1)
		}
	}
	if flipped {
		s.enqueueChildren(n)
	}
}

func (s *Selection) enqueueChildren(n *node) {
	for child := range s.index.children[n.row.Ref] {
		if child.level > n.level { // the others follow from where a row may be alone
			s.enqueue(child)
		}
	}
}
