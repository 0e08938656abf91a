package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/admin/node"
	"github.com/keepgate/keepgate/controlplane/admin/rbac"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// ServeHTTP answers one request and logs it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	defer s.counts.serve()()
	m, found := s.table.Find(r.URL.EscapedPath())
	r, err := s.identify(r, found)
	var answer rest.Answer
	if err == nil {
		answer, err = s.answer(w, r, m, found)
	}
	if err != nil {
		s.decisions.Deny(r.Context(), method(r), s.table.Loggable(r.URL.EscapedPath(), m, found), err)
	}
	if err != nil {
		var report bool
		if answer, report = rest.Of(err); report {
			s.deps.Log.ErrorContext(r.Context(), "admin request failed", "method", method(r), "path", s.table.Loggable(r.URL.EscapedPath(), m, found),
				"subject", fault.SubjectOf(err), "error", err)
		}
	}
	s.write(w, r, answer, began)
	s.deps.Log.Log(r.Context(), levelOf(r), "admin request", "method", method(r), "path", s.table.Loggable(r.URL.EscapedPath(), m, found),
		"query", rest.LoggableQuery(r.URL.Query()), "status", answer.Status, "bytes", len(answer.Body),
		"duration", time.Since(began), "client", r.RemoteAddr)
}

// identify refuses a request that nobody may make, and finds out who makes it.
func (s *Server) identify(r *http.Request, found bool) (*http.Request, error) {
	actor := s.guard.Actor(r)
	journaled := func() *http.Request { return r.WithContext(audit.WithActor(r.Context(), actor)) }
	if err := s.guard.Check(r); err != nil {
		return journaled(), err
	}
	if s.deps.Access == nil || r.Method == http.MethodOptions && found { // browsers ask for the methods without a token
		return journaled(), nil
	}
	caller, err := s.deps.Access.Login(r, s.guard.Local(r))
	if err != nil {
		actor.Via = "unknown"
		return journaled(), err
	}
	actor.Name, actor.Via = caller.Name, "rbac"
	r = r.WithContext(access.With(r.Context(), caller, rbac.ActionOf(r.Method)))
	return journaled(), nil
}

// admit refuses what the caller may not do. Whoever passes may have what the path reveals.
func (s *Server) admit(r *rest.Request, m *rest.Match) error {
	if s.deps.Access == nil {
		return nil
	}
	caller, action := access.Of(r.Context())
	if err := rbac.Admit(caller, action, m.Pattern(), s.deps.Catalog.Schema(), r.Resolve); err != nil {
		return err
	}
	r.Privileged = true
	return nil
}

// levelOf is "info" for reads and Kong's "notice", the default of log_level, for what may change something.
func levelOf(r *http.Request) slog.Level {
	if reads(r) {
		return slog.LevelInfo
	}
	return slog.LevelInfo + 2
}

// reads reports whether a request can change nothing.
func reads(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// method is a request's method as it may be logged.
func method(r *http.Request) string {
	switch r.Method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE":
		return r.Method
	}
	return "other"
}

// answer finds the handler and calls it. A panic is a bug; it costs this request alone.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, m *rest.Match, found bool) (answer rest.Answer, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			s.deps.Log.ErrorContext(r.Context(), "a handler of the Admin API panicked", "cause", describe(cause), "stack", string(debug.Stack()))
			answer, err = rest.Message(http.StatusInternalServerError, "An unexpected error occurred"), nil
		}
	}()
	if !found {
		return answer, rest.NotFound()
	}
	if r.Method == http.MethodOptions {
		answer = rest.NoContent()
		answer.Header = http.Header{"Allow": {m.Allow()}}
		s.guard.Mark(r, answer.Header, m.Allow())
		return answer, nil
	}
	handler := m.Handler(r.Method)
	if handler == nil {
		answer = rest.Message(http.StatusMethodNotAllowed, "Method not allowed")
		answer.Header = http.Header{"Allow": {m.Allow()}}
		return answer, nil
	}
	if strings.Count(r.URL.RawQuery, "&") >= schema.MaxArguments {
		return answer, schema.ErrTooManyArguments
	}
	request, err := s.request(w, r, m)
	if err != nil {
		return answer, err
	}
	if err := s.admit(request, m); err != nil {
		return answer, err
	}
	if err := s.record(request, m); err != nil {
		return answer, err
	}
	return handler(request)
}

// record writes into the journal that a request is let in, before its handler acts: no entry, no act. A read
// is written only when it demands what not everybody may have, and then at that moment; where every caller is known by
// name, each read is.
func (s *Server) record(r *rest.Request, m *rest.Match) error {
	if s.decisions.Journal == nil {
		return nil
	}
	allow := func(more ...string) error {
		return s.decisions.Allow(r.Context(), method(r.Request), s.table.Loggable(r.URL.EscapedPath(), m, true), rest.LoggableQuery(r.URL.Query()), more...)
	}
	if !reads(r.Request) || s.deps.Access != nil {
		return allow()
	}
	r.Granted = func(what string) error { return allow("for", what) }
	return nil
}

// request prepares what handlers get. A workspace that the path names must exist, whatever the path is about.
func (s *Server) request(w http.ResponseWriter, r *http.Request, m *rest.Match) (*rest.Request, error) {
	request := rest.NewRequest(w, r, m)
	request.Privileged = s.guard.Privileged(r)
	request.Resolve = func() (string, error) {
		id, err := s.deps.Catalog.Workspace(r.Context(), m.Workspace)
		if problem, ok := errors.AsType[*catalog.Problem](err); ok && problem.Code == catalog.NotFound {
			return "", rest.Refuse(http.StatusNotFound, "Workspace '%s' not found", m.Workspace)
		}
		return id, err
	}
	if m.Workspace == "" {
		return request, nil
	}
	id, err := request.Resolve()
	request.Resolve, m.Known = func() (string, error) { return id, nil }, err == nil
	return request, err
}

// describe names a panic without what it may hold.
func describe(cause any) string {
	if err, ok := cause.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", cause)
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, answer rest.Answer, began time.Time) {
	header := w.Header()
	for name, values := range answer.Header {
		header[name] = values
	}
	if r.Method != http.MethodOptions {
		s.guard.Mark(r, header, "")
	}
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	ms := strconv.FormatInt(time.Since(began).Milliseconds(), 10)
	server := "keepgate/" + s.options.Version
	if s.options.HeaderNames == "kong" {
		server = "kong/" + node.KongVersion
	} else {
		header.Set("X-Keepgate-Admin-Latency", ms)
	}
	if s.options.HeaderNames == "kong" || s.options.HeaderNames == "both" {
		header.Set("X-Kong-Admin-Latency", ms)
	}
	header.Set("Server", server)
	if answer.Body != nil {
		if len(header["Content-Type"]) == 0 {
			header.Set("Content-Type", "application/json; charset=utf-8")
		}
		header.Set("Content-Length", strconv.Itoa(len(answer.Body)))
	}
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // a client that is gone needs no answer
}
