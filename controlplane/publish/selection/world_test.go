package selection_test

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/publish/selection"
)

// world draws rows and environments out of little, so that they have to do with each other.
type world struct{ t *rapid.T }

func (w world) pick(label string, of ...string) string { return rapid.SampledFrom(of).Draw(w.t, label) }

func (w world) some(label string, of ...string) []string {
	picked := rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, 2, rapid.ID[string]).Draw(w.t, label)
	slices.Sort(picked)
	return picked
}

func (w world) environments() []selection.Environment {
	var list []selection.Environment
	for i := range rapid.IntRange(1, 3).Draw(w.t, "environments") {
		e := selection.Environment{Name: fmt.Sprint("e", i), ID: fmt.Sprint("id", i)}
		if rapid.Bool().Draw(w.t, "some workspaces") {
			e.Workspaces = append([]string{}, w.some("workspaces", "w0", "w1")...)
		}
		if rapid.Bool().Draw(w.t, "some tags") {
			e.Tags = append([]string{}, w.some("selected", "t0", "t1")...)
		}
		list = append(list, e)
	}
	return list
}

func tables() []string {
	return append([]string{
		"services", "routes", "plugins", "consumers", "upstreams", "targets", "certificates", "snis", "ca_certificates", "consumer_groups",
		"consumer_group_consumers", "acls", "key_value_maps", "key_value_entries", "vaults", "cache_purges",
	}, selection.CredentialTables()...)
}

// any draws one of two rows of each table and workspace.
func (w world) any() selection.Row {
	return w.row(w.pick("table", tables()...), w.pick("workspace", "w0", "w1"), w.pick("row", "0", "1"))
}

func (w world) row(table, workspace, number string) selection.Row {
	if table == "ca_certificates" {
		workspace = ""
	}
	idOf := func(table, number string) string {
		if table == "ca_certificates" {
			return number
		}
		return workspace + "-" + number
	}
	id := func(table string) string { return idOf(table, w.pick("id", "0", "1")) }
	r := selection.Row{Ref: selection.Ref{Table: table, ID: idOf(table, number)}, Workspace: workspace}
	if rapid.IntRange(0, 3).Draw(w.t, "tagged") == 0 {
		r.Tags = w.some("tags", "t0", "t1", "x")
	}
	of := func(optional bool, table string) {
		if !optional || rapid.IntRange(0, 2).Draw(w.t, "refers to "+table) == 0 {
			r.Parents = append(r.Parents, selection.Ref{Table: table, ID: id(table)})
		}
	}
	switch table {
	case "services":
		of(true, "certificates")
		r.Host = w.pick("host", "u0", "u1", "elsewhere")
		r.Authorities = w.some("authorities", "0", "1")
	case "routes":
		of(true, "services")
		r.TLS = rapid.Bool().Draw(w.t, "TLS")
		r.Names = w.some("names", "a.b", "*.b", "c")
	case "plugins":
		for _, table := range []string{"routes", "services", "consumers", "consumer_groups"} {
			of(true, table)
		}
		r.Checks = w.pick("checks", append(selection.CredentialTables(), "", "")...)
		r.Finds = rapid.IntRange(0, 5).Draw(w.t, "finds") == 0
		r.Consumers = w.some("consumers", workspace+"-0", "bob")
		r.Authorities = w.some("authorities", "0", "1")
		r.Maps, r.Vaults = w.some("maps", "m0", "m1", "absent"), w.some("vaults", "v0", "v1", "env")
		r.Unread = rapid.IntRange(0, 5).Draw(w.t, "unread") == 0
	case "certificates":
		r.Maps, r.Vaults, r.Unread = w.some("maps", "m0", "m1"), w.some("vaults", "v0", "v1"), rapid.IntRange(0, 5).Draw(w.t, "unread") == 0
	case "key_value_maps":
		r.Name = w.pick("name", "m0", "m1")
		switch scope := w.pick("scope", "", "", "environment", "services", "routes", "plugins"); scope {
		case "":
		case "environment":
			r.Environment = w.pick("environment", "id0", "id1", "gone")
		default:
			of(false, scope)
		}
	case "key_value_entries":
		of(false, "key_value_maps")
	case "vaults":
		r.Name = w.pick("name", "v0", "v1")
		r.Vaults, r.Unread = w.some("vaults", "v0", "v1", "env"), rapid.IntRange(0, 9).Draw(w.t, "unread") == 0
	case "cache_purges":
		of(true, "plugins")
	case "consumers":
		r.Name = w.pick("name", "", "bob", "alice")
	case "upstreams":
		r.Name = w.pick("name", "u0", "u1")
		of(true, "certificates")
	case "targets":
		of(false, "upstreams")
	case "snis":
		r.Name = w.pick("name", "a.b", "*.b", "c", "*")
		of(false, "certificates")
	case "consumer_group_consumers":
		of(false, "consumers")
		of(false, "consumer_groups")
	case "ca_certificates", "consumer_groups":
	default:
		of(false, "consumers")
		if table == "mtls_auth_credentials" {
			of(true, "ca_certificates")
		}
	}
	return r
}

func pointers(rows []selection.Row) []*selection.Row {
	list := make([]*selection.Row, len(rows))
	for i := range rows {
		list[i] = &rows[i]
	}
	return list
}
