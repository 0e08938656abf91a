package declarative

import "github.com/keepgate/keepgate/shared/schema"

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

// suggest names the word that was probably meant: at most a third of its letters differ.
func suggest(word string, known []string) string {
	best, least := "", len(word)/3+1
	for _, candidate := range known {
		if d := distance(word, candidate); d < least {
			best, least = candidate, d
		}
	}
	if best == "" || len(word) > 64 {
		return ""
	}
	return "; did you mean '" + best + "'?"
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
