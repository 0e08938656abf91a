package selection_test

import (
	"slices"

	"github.com/keepgate/keepgate/controlplane/publish/selection"
)

// oracle is the rules, each read off the package's doc: it looks at all rows until nothing more is held.
type oracle struct {
	environment selection.Environment
	all         []selection.Environment
	home        string
	rows        map[selection.Ref]selection.Row
	held        map[selection.Ref]bool
}

func (o *oracle) covers(e selection.Environment, workspace string) bool {
	return e.Workspaces == nil || workspace == "" || slices.Contains(e.Workspaces, workspace)
}

func (o *oracle) shares(a, b []string) bool {
	return slices.ContainsFunc(a, func(tag string) bool { return slices.Contains(b, tag) })
}

// may: of its workspaces, not another's by its tags, and so is all that it refers to.
func (o *oracle) may(r selection.Row) bool {
	if !o.covers(o.environment, r.Workspace) {
		return false
	}
	others := slices.ContainsFunc(o.all, func(e selection.Environment) bool { return o.covers(e, r.Workspace) && o.shares(r.Tags, e.Tags) })
	if others && o.environment.Tags != nil && !o.shares(r.Tags, o.environment.Tags) && r.Table != "ca_certificates" {
		return false
	}
	if r.Environment != "" && r.Environment != o.environment.ID {
		return false
	}
	for _, ref := range r.Parents {
		if parent, found := o.rows[ref]; !found || !o.may(parent) {
			return false
		}
	}
	if r.Table == "services" {
		for _, u := range o.rows {
			if u.Table == "upstreams" && u.Workspace == r.Workspace && u.Name == r.Host && !o.may(u) {
				return false
			}
		}
	}
	return true
}

func (o *oracle) selects(r selection.Row) bool {
	return o.environment.Tags == nil || o.shares(r.Tags, o.environment.Tags)
}

func (o *oracle) some(holds func(r selection.Row) bool) bool {
	for ref := range o.held {
		if holds(o.rows[ref]) {
			return true
		}
	}
	return false
}

func parent(r selection.Row, table string) string {
	for _, p := range r.Parents {
		if p.Table == table {
			return p.ID
		}
	}
	return ""
}

func impersonal(r selection.Row) bool {
	return r.Table == "plugins" && parent(r, "consumers") == "" && parent(r, "consumer_groups") == ""
}

func (o *oracle) routed(workspace string) bool {
	return o.some(func(r selection.Row) bool { return r.Table == "routes" && r.Workspace == workspace })
}

func (o *oracle) checked(c selection.Row) bool {
	return o.routed(c.Workspace) && o.some(func(p selection.Row) bool { return impersonal(p) && p.Workspace == c.Workspace && p.Checks == c.Table })
}

func (o *oracle) wants(r selection.Row) bool {
	parents := !slices.ContainsFunc(r.Parents, func(ref selection.Ref) bool { return !o.held[ref] })
	owned := o.held[selection.Ref{Table: "consumers", ID: parent(r, "consumers")}]
	switch r.Table {
	case "services":
		return o.selects(r) || o.some(func(x selection.Row) bool { return x.Table == "routes" && parent(x, "services") == r.ID })
	case "routes":
		service, found := o.rows[selection.Ref{Table: "services", ID: parent(r, "services")}]
		return o.selects(r) || found && o.selects(service)
	case "plugins":
		if len(r.Parents) > 0 {
			return parents
		}
		return o.routed(r.Workspace) || r.Workspace == o.home && (o.environment.Tags == nil || o.some(func(x selection.Row) bool { return x.Table == "routes" }))
	case "consumers":
		for _, c := range o.rows {
			if slices.Contains(selection.CredentialTables(), c.Table) && parent(c, "consumers") == r.ID && o.may(c) && o.checked(c) {
				return true
			}
		}
		return o.some(func(p selection.Row) bool {
			if !impersonal(p) || p.Workspace != r.Workspace {
				return false
			}
			named := slices.Contains(p.Consumers, r.ID) || r.Name != "" && slices.Contains(p.Consumers, r.Name)
			return named || p.Finds && o.routed(r.Workspace)
		})
	case "acls", "consumer_group_consumers":
		return owned
	case "consumer_groups":
		return o.some(func(x selection.Row) bool {
			return x.Table == "consumer_group_consumers" && parent(x, "consumer_groups") == r.ID
		})
	case "upstreams":
		return o.some(func(x selection.Row) bool {
			return x.Table == "services" && x.Workspace == r.Workspace && x.Host == r.Name
		})
	case "targets", "key_value_entries":
		return parents
	case "cache_purges":
		return len(r.Parents) > 0 && parents || len(r.Parents) == 0 && o.routed(r.Workspace)
	case "key_value_maps":
		return parents && o.some(func(x selection.Row) bool {
			own := parent(r, "plugins")
			return x.Table != "vaults" && x.Workspace == r.Workspace && (own == "" || x.Table == "plugins" && own == x.ID) && (x.Unread || slices.Contains(x.Maps, r.Name))
		})
	case "vaults":
		return o.some(func(x selection.Row) bool {
			if x.Table == "vaults" && (len(r.Vaults) > 0 || r.Unread) { // nobody logs in by what takes a login
				return false
			}
			return x.Workspace == r.Workspace && (x.Unread || slices.Contains(x.Vaults, r.Name))
		})
	case "snis":
		return o.some(func(x selection.Row) bool {
			if x.Table != "routes" || !x.TLS {
				return false
			}
			if r.Name == "*" || len(x.Names) == 0 && (x.Workspace == r.Workspace || r.Workspace == o.home || o.environment.Tags == nil) {
				return true
			}
			return slices.ContainsFunc(x.Names, func(pattern string) bool { return meets(r.Name, pattern) })
		})
	case "certificates":
		return o.some(func(x selection.Row) bool { return parent(x, "certificates") == r.ID })
	case "ca_certificates":
		return o.some(func(x selection.Row) bool {
			return parent(x, "ca_certificates") == r.ID || slices.Contains(x.Authorities, r.ID)
		})
	}
	return owned && o.checked(r)
}

func (o *oracle) solve() map[selection.Ref]bool {
	o.held = map[selection.Ref]bool{}
	for grown := true; grown; {
		grown = false
		for ref, r := range o.rows {
			if !o.held[ref] && o.may(r) && o.wants(r) {
				o.held[ref], grown = true, true
			}
		}
	}
	return o.held
}
