package vaulttest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (s *store) config(c *call, writes bool) answer {
	switch {
	case writes:
		s.settings = s.settings.changed(c.body)
		return answer{status: http.StatusNoContent}
	case c.method == http.MethodGet:
		return answer{status: 200, data: map[string]any{
			"max_versions": s.settings.maxVersions, "cas_required": s.settings.cas, "delete_version_after": s.settings.deleteAfter.String(),
		}}
	}
	return refuse(http.StatusMethodNotAllowed, "unsupported operation")
}

func (s settings) changed(body map[string]any) settings {
	if value, given := body["max_versions"]; given {
		s.maxVersions = number(value)
	}
	if value, ok := body["cas_required"].(bool); ok {
		s.cas = value
	}
	if value, given := body["delete_version_after"]; given {
		s.deleteAfter = duration(value)
	}
	return s
}

func (s *store) metadata(c *call, path string, writes bool) answer {
	e := s.secrets[path]
	switch {
	case c.method == "LIST":
		return s.list(path)
	case path == "":
		return refuse(http.StatusNotFound)
	case writes || (c.method == http.MethodPatch && e != nil):
		if e == nil {
			e = &entry{created: c.server.now(), updated: c.server.now(), versions: map[int]*version{}}
			s.secrets[path] = e
		}
		e.settings = e.settings.changed(c.body)
		if custom, given := c.body["custom_metadata"].(map[string]any); given {
			e.custom = custom
		}
		return answer{status: http.StatusNoContent}
	case c.method == http.MethodDelete:
		delete(s.secrets, path)
		return answer{status: http.StatusNoContent}
	case c.method != http.MethodGet || e == nil:
		return refuse(http.StatusNotFound)
	}
	versions := map[string]any{}
	for number := range e.versions {
		about := e.about(number)
		delete(about, "version")
		delete(about, "custom_metadata")
		versions[strconv.Itoa(number)] = about
	}
	data := map[string]any{
		"cas_required": e.settings.cas, "created_time": stamp(e.created), "updated_time": stamp(e.updated), "current_version": e.current,
		"oldest_version": e.oldest, "max_versions": e.settings.maxVersions, "delete_version_after": e.settings.deleteAfter.String(),
		"versions": versions, "custom_metadata": nil,
	}
	if len(e.custom) > 0 {
		data["custom_metadata"] = e.custom
	}
	return answer{status: 200, data: data}
}

func (s *store) list(folder string) answer {
	if folder = strings.Trim(folder, "/"); folder != "" {
		folder += "/"
	}
	names := map[string]bool{}
	for path := range s.secrets {
		if below, ok := strings.CutPrefix(path, folder); ok {
			name, _, deeper := strings.Cut(below, "/")
			if deeper {
				name += "/"
			}
			names[name] = true
		}
	}
	if len(names) == 0 {
		return refuse(http.StatusNotFound)
	}
	return answer{status: 200, data: map[string]any{"keys": slices.Sorted(maps.Keys(names))}}
}
