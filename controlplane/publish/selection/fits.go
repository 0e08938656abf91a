package selection

import "slices"

// What a row cannot be without is known before it: certificates before upstreams, those before services, and so on.
const fitLevels = 7

func fitLevelOf(table string) uint8 {
	switch table {
	case tableCertificates, tableConsumers, tableGroups, tableAuthorities, tableVaults:
		return 0
	case tableServices, tableTargets:
		return 2
	case tableRoutes:
		return 3
	case tableUpstreams, tableSnis, tableMembers, tableAcls:
		return 1
	case tableMaps, tablePurges:
		return 5
	case tableEntries:
		return 6
	}
	if isCredential(table) {
		return 1
	}
	return 4 // plugins, and what there is no rule for
}

// refit has it found again where a row may be, and the services whose host is its name.
func (s *Selection) refit(n *node) {
	s.addFit(n)
	if n.row.Table == tableUpstreams {
		for service := range s.index.named[name{tableServices, n.row.Workspace, n.row.Name}] {
			s.addFit(service)
		}
	}
}

func (s *Selection) addFit(n *node) {
	if !n.fitted {
		n.fitted = true
		level := fitLevelOf(n.row.Table)
		s.fits[level] = append(s.fits[level], n)
	}
}

// settleFits finds where rows may be.
func (s *Selection) settleFits() {
	for level := range s.fits {
		for i := 0; i < len(s.fits[level]); i++ {
			n := s.fits[level][i]
			n.fitted = false
			if !n.gone && !s.fitAgain(n) {
				continue
			}
			s.enqueue(n)
			s.enqueueOwners(n)
			for child := range s.index.children[n.row.Ref] {
				s.addFit(child)
				s.enqueue(child)
			}
			if n.row.Table == tableUpstreams {
				for service := range s.index.named[name{tableServices, n.row.Workspace, n.row.Name}] {
					s.addFit(service)
				}
			}
		}
		s.fits[level] = s.fits[level][:0]
	}
}

// fitAgain finds where a row may be, and reports whether that is elsewhere than before.
func (s *Selection) fitAgain(n *node) (changed bool) {
	chosen := false // by its tags, in some environment
	for e := range s.environments {
		chosen = chosen || s.chooses(e, n.row)
	}
	for e := range s.environments {
		environment, now := &s.environments[e], flags(0)
		if environment.Covers(n.row.Workspace) {
			if environment.Tags == nil || s.chooses(e, n.row) {
				now = own | tagged
			} else if !chosen || n.row.Table == tableAuthorities {
				now = own
			}
		}
		if now != 0 && s.complete(n.row, e) {
			now |= fit
		}
		if before := n.flags[e] &^ held; now != before {
			s.touch(n)
			n.flags[e] = now | n.flags[e]&held
			changed = true
		}
	}
	return changed
}

// chooses reports whether an environment selects a row by one of its tags.
func (s *Selection) chooses(e int, r *Row) bool {
	environment := &s.environments[e]
	return len(environment.Tags) > 0 && len(r.Tags) > 0 && environment.Covers(r.Workspace) &&
		slices.ContainsFunc(r.Tags, func(tag string) bool { return slices.Contains(environment.Tags, tag) })
}

// complete reports whether an environment may have all that a row cannot be without.
func (s *Selection) complete(r *Row, e int) bool {
	if r.Environment != "" && r.Environment != s.environments[e].ID {
		return false
	}
	for _, ref := range r.Parents {
		if parent := s.nodes[ref]; parent == nil || parent.flags[e]&fit == 0 {
			return false
		}
	}
	if r.Table == tableServices {
		for upstream := range s.index.named[name{tableUpstreams, r.Workspace, r.Host}] {
			if upstream.flags[e]&fit == 0 {
				return false
			}
		}
	}
	return true
}
