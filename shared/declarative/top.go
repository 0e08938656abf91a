package declarative

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/schema"
)

// top reads the top of a file: its options, then its lists of entities.
func (p *parser) top(root *value) {
	if root.kind != mapKind {
		p.problems.add(root.line, nil, "expected a declarative configuration")
		return
	}
	p.version(root)
	for _, m := range root.members {
		if m.key != "_info" && m.key != "_plugin_configs" { // entities need these two first
			continue
		}
		p.option(m)
	}
	for _, m := range root.members {
		path := []any{m.key}
		e, isTable := p.schema.Entity(m.key)
		switch {
		case m.key == "_info", m.key == "_plugin_configs", m.key == "_format_version":
		case strings.HasPrefix(m.key, "_"):
			p.option(m)
		case isTable && e.Declarable():
			p.list(e, m.value, path, nil, nil)
		default:
			p.problems.add(m.line, path, p.unknown(m.key))
		}
	}
}

// version reads _format_version. Unquoted, YAML makes a number of it, whose text still says what was meant.
func (p *parser) version(root *value) {
	const key = "_format_version"
	v := root.get(key)
	if v == nil {
		p.problems.add(root.line, []any{key}, "required field missing")
		return
	}
	switch text := fmt.Sprint(v.scalar); text {
	case "3.0", "1.1", "2.1":
		p.file.FormatVersion = text
	case "3":
		p.file.FormatVersion = "3.0"
	default:
		p.problems.add(v.line, []any{key}, "expected one of: 1.1, 2.1, 3.0")
	}
}

func (p *parser) option(m member) {
	path, v := []any{m.key}, m.value
	switch m.key {
	case "_comment", "_ignore":
	case "_transform":
		transform, ok := v.scalar.(bool)
		if !ok {
			p.problems.add(v.line, path, "expected a boolean")
		}
		p.file.Transform = transform
	case "_workspace":
		name, ok := v.scalar.(string)
		if !ok || name == "" {
			p.problems.add(v.line, path, "expected a string")
		}
		p.file.Workspace = name
	case "_plugin_configs":
		p.pluginConfigs(v, path)
	case "_info":
		p.info(v, path)
	default:
		p.problems.add(m.line, path, p.unknown(m.key))
	}
}

func (p *parser) pluginConfigs(v *value, path []any) {
	p.configs = map[string]map[string]any{}
	if v.kind != mapKind {
		p.problems.add(v.line, path, "expected a map")
		return
	}
	for _, m := range v.members {
		config, ok := m.value.plain().(map[string]any)
		if !ok {
			p.problems.add(m.line, with(path, m.key), "expected a record")
			continue
		}
		p.configs[m.key] = config
	}
}

func (p *parser) info(v *value, path []any) {
	if v.kind != mapKind {
		p.problems.add(v.line, path, "expected a record")
		return
	}
	for _, m := range v.members {
		at := with(path, m.key)
		switch m.key {
		case "select_tags":
			p.selectTags(m.value, at)
		case "defaults":
			p.infoDefaults(m.value, at)
		default:
			p.problems.add(m.line, at, "unknown field"+suggest(m.key, []string{"select_tags", "defaults"}))
		}
	}
}

func (p *parser) selectTags(v *value, path []any) {
	if v.kind != listKind {
		p.problems.add(v.line, path, "expected a set")
		return
	}
	for i, item := range v.items {
		tag, ok := item.scalar.(string)
		if !ok || tag == "" {
			p.problems.add(item.line, with(path, i), "expected a string")
		} else if !slices.Contains(p.file.SelectTags, tag) {
			p.file.SelectTags = append(p.file.SelectTags, tag)
		}
	}
}

// infoDefaults reads values that the file gives all services, routes, upstreams or targets.
func (p *parser) infoDefaults(v *value, path []any) {
	if v.kind != mapKind {
		p.problems.add(v.line, path, "expected a record")
		return
	}
	p.defaults = map[string]map[string]any{}
	tables := map[string]string{"service": "services", "route": "routes", "upstream": "upstreams", "target": "targets"}
	for _, m := range v.members {
		at := with(path, m.key)
		table, known := tables[m.key]
		values, ok := m.value.plain().(map[string]any)
		switch {
		case !known:
			p.problems.add(m.line, at, "unknown field"+suggest(m.key, slices.Sorted(maps.Keys(tables))))
		case !ok:
			p.problems.add(m.line, at, "expected a record")
		default:
			p.defaults[table] = values
		}
	}
}

// list reads a list of entities, at the top or below a parent.
func (p *parser) list(e *schema.Entity, v *value, path []any, parent *entry, key *schema.ForeignKey) {
	if v.kind != listKind {
		if v.kind != scalarKind || v.scalar != nil {
			p.problems.add(v.line, path, "expected an array")
		}
		return
	}
	for i, item := range v.items {
		p.entity(e, item, with(path, i), parent, key)
	}
}

// entity takes an entity apart: what is its own, and the entities below it.
func (p *parser) entity(e *schema.Entity, v *value, path []any, parent *entry, key *schema.ForeignKey) {
	if _, ok := v.scalar.(string); ok && v.kind == scalarKind && e.Table == "snis" && parent != nil {
		v = &value{line: v.line, kind: mapKind, members: []member{{"name", v.line, v}}} // snis: [example.com]
	}
	en := &entry{node: v, path: path, parent: parent, child: key, doc: schema.Document{}}
	p.entries[e.Table] = append(p.entries[e.Table], en)
	if v.kind != mapKind {
		p.problems.add(v.line, path, "expected a record")
		en.broken, en.doc = true, nil
		return
	}
	for _, m := range v.members {
		child, below := p.childOf(e, m.key)
		members := memberList(e.Table, m.key)
		switch {
		case m.key == "_comment", m.key == "_ignore":
		case m.key == "_config" && e.Table == "plugins":
		case members != nil:
			p.members(members, m.value, with(path, m.key), en)
		case child != nil:
			p.list(child, m.value, with(path, m.key), en, below)
		case e.Field(m.key) == nil:
			p.problems.add(m.line, with(path, m.key), "unknown field"+suggest(m.key, p.names(e)))
		default:
			en.doc[m.key] = m.value.plain()
		}
	}
	p.complete(e, en)
}

// childOf finds the entity whose list may stand below e under this name.
func (p *parser) childOf(e *schema.Entity, name string) (*schema.Entity, *schema.ForeignKey) {
	if e.Table == mapTable && name == entryList {
		name = entryTable
	}
	child, found := p.schema.Entity(name)
	if !found || child.Internal {
		return nil, nil
	}
	for _, key := range child.Foreign {
		if key.Table == e.Table {
			return child, key
		}
	}
	return nil, nil
}

// complete adds what the top of the file says for all: defaults, tags, named plugin configurations.
func (p *parser) complete(e *schema.Entity, en *entry) {
	if defaults := p.defaults[e.Table]; defaults != nil {
		en.doc = overlay(defaults, en.doc)
	}
	if len(p.file.SelectTags) > 0 && e.Field("tags") != nil {
		tags, isList := en.doc["tags"].([]any)
		if isList || en.doc["tags"] == nil {
			for _, tag := range p.file.SelectTags {
				if !slices.Contains(tags, any(tag)) {
					tags = append(tags, tag)
				}
			}
			en.doc["tags"] = tags
		}
	}
	if named := en.node.get("_config"); named != nil && e.Table == "plugins" {
		name, _ := named.scalar.(string)
		config, found := p.configs[name]
		if !found {
			p.problems.add(named.line, with(en.path, "_config"), fmt.Sprintf("no such entry in '_plugin_configs': '%s'", name))
			en.broken = true
			return
		}
		own, _ := en.doc["config"].(map[string]any)
		en.doc["config"] = overlay(config, own)
	}
	if p.file.FormatVersion != "3.0" && e.Table == "routes" {
		migratePaths(en.doc)
	}
}

// overlay lays changes over base without changing either; maps merge deeply.
func overlay(base, changes map[string]any) map[string]any {
	merged := maps.Clone(base)
	for key, v := range changes {
		before, isMap := merged[key].(map[string]any)
		after, ok := v.(map[string]any)
		if isMap && ok {
			v = overlay(before, after)
		}
		merged[key] = v
	}
	return merged
}

// migratePaths marks regular expressions, which formats before 3.0 told by their look.
func migratePaths(doc schema.Document) {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~/%-"
	paths, _ := doc["paths"].([]any)
	for i, item := range paths {
		path, ok := item.(string)
		if ok && strings.Trim(path, plain) != "" && !strings.HasPrefix(path, "~") {
			paths[i] = "~" + path
		}
	}
}
