package selection

import (
	"fmt"
	"slices"
	"strings"
)

// Why says in words for what reason an environment holds a row, "" when it does not.
func (s *Selection) Why(environment int, ref Ref) string {
	n := s.nodes[ref]
	if n == nil || n.flags[environment]&held == 0 {
		return ""
	}
	r, e := n.row, environment
	switch r.Table {
	case tableServices, tableRoutes:
		return s.whySelected(r, e)
	case tablePlugins:
		if len(r.Parents) == 0 {
			return "it has no scope: it runs on all routes of its workspace"
		}
		return "it is bound to " + refs(r.Parents)
	case tableConsumers:
		return s.whyConsumer(r, e)
	case tableAcls, tableMembers:
		return "it belongs to " + refs(r.Parents)
	case tableGroups:
		return "one of its members is held"
	case tableUpstreams:
		return fmt.Sprintf("a service has the host %q", r.Name)
	case tableTargets:
		return "it belongs to " + refs(r.Parents)
	case tableSnis:
		if r.Name == everyName {
			return "it is the default of routes that may be asked for over TLS"
		}
		return "a route may be asked for under this name"
	case tableCertificates:
		return s.whyShown(r, e)
	case tableAuthorities:
		return "a service, a plugin or a credential names it"
	case tableMaps:
		return s.whyMap(r, e)
	case tableVaults:
		if s.needed(e, need{needsVault, r.Workspace, r.Name}) {
			return "a plugin or a certificate refers to it"
		}
		if s.needed(e, need{needsPlace, r.Workspace, r.Name}) || s.needed(e, need{needsAnyPlace, r.Workspace, ""}) {
			return "a vault takes its token from it"
		}
		return "what a plugin or a certificate of its workspace refers to cannot be read"
	case tableEntries:
		return "it belongs to " + refs(r.Parents)
	case tablePurges:
		if len(r.Parents) == 0 {
			return "a route of its workspace is held"
		}
		return "it is for " + refs(r.Parents)
	}
	if isCredential(r.Table) {
		return "a plugin checks credentials of this kind, and its consumer is held"
	}
	return "all that it refers to is held"
}

func (s *Selection) whySelected(r *Row, e int) string {
	tags := s.environments[e].Tags
	own := func(r *Row) int {
		return slices.IndexFunc(r.Tags, func(tag string) bool { return slices.Contains(tags, tag) })
	}
	if tags == nil {
		return "the environment selects all of its workspace"
	}
	if i := own(r); i >= 0 {
		return fmt.Sprintf("it carries the tag %q", r.Tags[i])
	}
	if r.Table == tableServices {
		return "a route that is selected leads to it"
	}
	if service := s.nodes[Ref{tableServices, r.parent(tableServices)}]; service != nil {
		if i := own(service.row); i >= 0 {
			return fmt.Sprintf("its service carries the tag %q", service.row.Tags[i])
		}
	}
	return "it is selected"
}

func (s *Selection) whyConsumer(r *Row, e int) string {
	if s.needed(e, need{needsConsumer, r.Workspace, r.ID}) || r.Name != "" && s.needed(e, need{needsConsumer, r.Workspace, r.Name}) {
		return "a plugin names it"
	}
	for child := range s.index.children[r.Ref] {
		if isCredential(child.row.Table) && child.flags[e]&held != 0 {
			return "a plugin checks credentials of a kind that it has"
		}
	}
	return "a plugin finds consumers by what they are called"
}

func (s *Selection) whyShown(r *Row, e int) string {
	for child := range s.index.children[r.Ref] {
		if child.flags[e]&held != 0 && child.row.Table == tableSnis {
			return "a held server name is bound to it"
		}
	}
	return "a service or an upstream shows it"
}

func (s *Selection) whyMap(r *Row, e int) string {
	known := s.needed(e, need{needsMap, r.Workspace, r.Name})
	if id := r.parent(tablePlugins); id != "" {
		known = s.needed(e, need{needsPluginMap, id, r.Name})
	}
	if known {
		return "a plugin or a certificate refers to it by its name"
	}
	return "what a plugin or a certificate of its workspace refers to cannot be read"
}

func refs(list []Ref) string {
	texts := make([]string, len(list))
	for i, ref := range list {
		texts[i] = ref.Table + "/" + ref.ID
	}
	return strings.Join(texts, ", ")
}

// Rows returns the rows of a table that an environment holds, in no order; those of all tables for "".
func (s *Selection) Rows(environment int, table string) (rows []*Row) {
	for ref, n := range s.nodes {
		if (table == "" || ref.Table == table) && n.flags[environment]&held != 0 {
			rows = append(rows, n.row)
		}
	}
	return rows
}
