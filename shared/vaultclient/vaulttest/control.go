package vaulttest

import "slices"

// Put writes a version of a secret of the store "secret", whoever may, and returns its number.
func (s *Server) Put(path string, fields map[string]string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(path)
	data := map[string]any{}
	for name, value := range fields {
		data[name] = value
	}
	s.mounts["secret/"].append(&call{server: s}, e, data)
	return e.current
}

// Key writes a version that is a key of the control plane.
func (s *Server) Key(path, id, key string) int {
	return s.Put(path, map[string]string{"id": id, "key": key})
}

// Delete deletes versions, so that they can be had again.
func (s *Server) Delete(path string, versions ...int) { s.change("delete", path, versions) }

// Undelete brings deleted versions back.
func (s *Server) Undelete(path string, versions ...int) { s.change("undelete", path, versions) }

// Destroy destroys versions for good.
func (s *Server) Destroy(path string, versions ...int) { s.change("destroy", path, versions) }

func (s *Server) change(what, path string, versions []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []any{}
	for _, version := range versions {
		list = append(list, float64(version))
	}
	s.mounts["secret/"].mark(&call{server: s, body: map[string]any{"versions": list}}, what, path)
}

func (s *Server) entry(path string) *entry {
	secrets := s.mounts["secret/"].secrets
	if secrets[path] == nil {
		secrets[path] = &entry{created: s.now(), versions: map[int]*version{}}
	}
	return secrets[path]
}

// Revoke ends a token.
func (s *Server) Revoke(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, token)
}

// Methods are the methods among requests by anybody but the root.
func (s *Server) Methods(requests []Request) (methods []string) {
	for _, r := range requests {
		if r.Token != s.Root && !slices.Contains(methods, r.Method) {
			methods = append(methods, r.Method)
		}
	}
	slices.Sort(methods)
	return methods
}

// PutV1 writes a secret to the store of version 1 at "kv".
func (s *Server) PutV1(path string, data map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mounts["kv/"] == nil {
		s.mounts["kv/"] = &store{plain: map[string]map[string]any{}}
	}
	values := map[string]any{}
	for name, value := range data {
		values[name] = value
	}
	s.mounts["kv/"].plain[path] = values
}
