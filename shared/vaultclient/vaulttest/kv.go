package vaulttest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// store is a mount of the key-value store.
type store struct {
	settings settings
	secrets  map[string]*entry
	plain    map[string]map[string]any // version 1 has nothing but this
}

type settings struct {
	maxVersions int
	cas         bool
	deleteAfter time.Duration
}

// entry is a secret with its versions.
type entry struct {
	settings         settings
	created, updated time.Time
	current, oldest  int
	versions         map[int]*version
	custom           map[string]any
}

type version struct {
	data      map[string]any
	created   time.Time
	deletion  time.Time
	destroyed bool
}

const defaultVersions = 10

func newStore() *store { return &store{secrets: map[string]*entry{}} }

func (v *version) gone(now time.Time) bool {
	return v.destroyed || !v.deletion.IsZero() && !v.deletion.After(now)
}

func (s *store) call(c *call, below string) answer {
	if s.plain != nil {
		return s.callV1(c, below)
	}
	what, path, _ := strings.Cut(below, "/")
	writes := c.method == http.MethodPut || c.method == http.MethodPost
	switch {
	case what == "config":
		return s.config(c, writes)
	case what == "metadata":
		return s.metadata(c, path, writes)
	case path == "":
	case what == "data" && c.method == http.MethodGet:
		return s.read(c, path)
	case what == "data" && writes:
		return s.write(c, path)
	case what == "data" && c.method == http.MethodPatch:
		return s.patch(c, path)
	case what == "data" && c.method == http.MethodDelete:
		if e := s.secrets[path]; e != nil && e.versions[e.current] != nil && !e.versions[e.current].gone(c.server.now()) {
			e.versions[e.current].deletion = c.server.now()
		}
		return answer{status: http.StatusNoContent}
	case writes && slices.Contains([]string{"delete", "undelete", "destroy"}, what):
		return s.mark(c, what, path)
	}
	return refuse(http.StatusNotFound)
}

// callV1 answers for a store of version 1.
func (s *store) callV1(c *call, path string) answer {
	switch c.method {
	case http.MethodGet:
		if data := s.plain[path]; data != nil {
			return answer{status: 200, data: data}
		}
	case http.MethodPut, http.MethodPost:
		s.plain[path] = c.body
		return answer{status: http.StatusNoContent}
	case http.MethodDelete:
		delete(s.plain, path)
		return answer{status: http.StatusNoContent}
	}
	return refuse(http.StatusNotFound)
}

func (s *store) read(c *call, path string) answer {
	e := s.secrets[path]
	if e == nil || e.current == 0 {
		return refuse(http.StatusNotFound)
	}
	number := e.current
	if asked, err := strconv.Atoi(c.query("version")); err == nil && asked > 0 {
		number = asked
	}
	v := e.versions[number]
	if v == nil {
		return refuse(http.StatusNotFound)
	}
	if v.gone(c.server.now()) {
		return answer{status: http.StatusNotFound, data: map[string]any{"data": nil, "metadata": e.about(number)}}
	}
	return answer{status: 200, data: map[string]any{"data": v.data, "metadata": e.about(number)}}
}

// about is the metadata of one version.
func (e *entry) about(number int) map[string]any {
	v := e.versions[number]
	about := map[string]any{
		"created_time": stamp(v.created), "deletion_time": stamp(v.deletion), "destroyed": v.destroyed, "version": number, "custom_metadata": nil,
	}
	if len(e.custom) > 0 {
		about["custom_metadata"] = e.custom
	}
	return about
}

func (s *store) write(c *call, path string) answer {
	data, ok := c.body["data"].(map[string]any)
	if !ok {
		return refuse(http.StatusBadRequest, "no data provided")
	}
	e := s.secrets[path]
	current := 0
	demanded := s.settings.cas
	if e != nil {
		current, demanded = e.current, demanded || e.settings.cas
	}
	options, _ := c.body["options"].(map[string]any)
	switch cas, given := options["cas"]; {
	case demanded && !given:
		return refuse(http.StatusBadRequest, "check-and-set parameter required for this call")
	case given && number(cas) != current:
		return refuse(http.StatusBadRequest, "check-and-set parameter did not match the current version")
	}
	if e == nil {
		e = &entry{created: c.server.now(), versions: map[int]*version{}}
		s.secrets[path] = e
	}
	return s.append(c, e, data)
}

func (s *store) append(c *call, e *entry, data map[string]any) answer {
	e.current++
	e.updated = c.server.now()
	v := &version{data: data, created: e.updated}
	if after := max(e.settings.deleteAfter, s.settings.deleteAfter); after > 0 {
		v.deletion = e.updated.Add(after)
	}
	e.versions[e.current] = v
	keep := max(e.settings.maxVersions, s.settings.maxVersions)
	if keep == 0 {
		keep = defaultVersions
	}
	for number := range e.versions {
		if number <= e.current-keep {
			delete(e.versions, number)
		}
	}
	e.oldest = slices.Min(slices.Collect(maps.Keys(e.versions)))
	return answer{status: 200, data: e.about(e.current)}
}

// patch merges into the newest version (RFC 7396).
func (s *store) patch(c *call, path string) answer {
	data, ok := c.body["data"].(map[string]any)
	e := s.secrets[path]
	switch {
	case !ok || !strings.HasPrefix(c.header.Get("Content-Type"), "application/merge-patch+json"):
		return refuse(http.StatusUnsupportedMediaType, "PATCH requires Content-Type of application/merge-patch+json")
	case e == nil || e.versions[e.current] == nil || e.versions[e.current].gone(c.server.now()):
		return refuse(http.StatusNotFound)
	}
	options, _ := c.body["options"].(map[string]any)
	if cas, given := options["cas"]; given && number(cas) != e.current {
		return refuse(http.StatusBadRequest, "check-and-set parameter did not match the current version")
	}
	merged := maps.Clone(e.versions[e.current].data)
	for name, value := range data {
		if merged[name] = value; value == nil {
			delete(merged, name)
		}
	}
	return s.append(c, e, merged)
}

func (s *store) mark(c *call, what, path string) answer {
	e := s.secrets[path]
	list, _ := c.body["versions"].([]any)
	if len(list) == 0 {
		return refuse(http.StatusBadRequest, "No version number provided")
	}
	if e == nil {
		return answer{status: http.StatusNoContent}
	}
	for _, one := range list {
		v := e.versions[number(one)]
		switch {
		case v == nil || v.destroyed:
		case what == "destroy":
			v.data, v.destroyed = nil, true
		case what == "delete":
			v.deletion = c.server.now()
		default:
			v.deletion = time.Time{}
		}
	}
	return answer{status: http.StatusNoContent}
}

func number(value any) int {
	switch v := value.(type) {
	case float64:
		return int(v)
	case string:
		n, _ := strconv.Atoi(v) // 0 is no version
		return n
	}
	return 0
}
