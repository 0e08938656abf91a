package declarative

import (
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/spelling"
)

// names lists what may stand in an entity of a file.
func (p *parser) names(e *schema.Entity) []string {
	names := []string{"_comment", "_ignore"}
	for _, f := range e.Fields {
		names = append(names, f.Name)
	}
	for _, list := range memberLists() {
		if list.table == e.Table {
			names = append(names, list.name)
		}
	}
	for _, child := range p.schema.Entities() {
		if c, _ := p.childOf(e, child.Table); c != nil {
			names = append(names, listName(child.Table))
		}
	}
	return names
}

// unknown says why a key at the top cannot be used.
func (p *parser) unknown(key string) string {
	switch key {
	case "environments":
		return "environments are the installation's and stand in no file; see keepgate-cp environments"
	case "_konnect", "filter_chains", "rbac_roles", "service_packages", "licenses", "keys",
		"key_sets", "partials", "custom_entities", "cloned_plugins", "custom_plugins", "hmacauth_credentials",
		"oauth2_credentials", "workspaces":
		return "not supported in this file"
	}
	names := []string{
		"_format_version", "_transform", "_comment", "_ignore", "_info", "_workspace", "_plugin_configs",
	}
	for _, e := range p.schema.Entities() {
		if e.Declarable() {
			names = append(names, e.Table)
		}
	}
	return "unknown field" + suggest(key, names)
}

// suggest names the word that was probably meant.
func suggest(word string, known []string) string {
	best := spelling.Nearest(word, known)
	if best == "" {
		return ""
	}
	return "; did you mean '" + best + "'?"
}
