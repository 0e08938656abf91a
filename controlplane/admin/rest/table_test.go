package rest_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
)

func newTable() *rest.Table {
	t := rest.NewTable()
	handler := func(*rest.Request) (rest.Answer, error) { return rest.NoContent(), nil }
	for _, pattern := range []string{
		"/", "/services", "/services/{s}", "/plugins/{p}", "/plugins/enabled", "/plugins/schema/{n}", "/plugins/{p}/route",
		"/keys/{k!}", "/keys/{k!}/consumer", "/consumers/{c}/key/{k!}",
	} {
		t.Handle("GET", pattern, handler)
	}
	t.Handle("POST", "/plugins/enabled/check", handler)
	return t
}

func TestFind(t *testing.T) {
	t.Parallel()
	table := newTable()
	for path, want := range map[string]struct {
		found     bool
		workspace string
	}{
		"/": {true, ""}, "": {true, ""}, "/services": {true, ""}, "/services/": {true, ""}, "/services/a%2Fb": {true, ""},
		"/services//": {false, ""}, "//services": {false, ""}, "/services/a/b": {false, ""}, "/plugins/enabled": {true, ""},
		"/plugins/schema/route": {true, ""}, "/plugins/schema": {true, ""}, "/plugins/x/route": {true, ""}, "/plugins/enabled/route": {true, ""},
		"/w/services": {true, "w"}, "/w/kong": {true, "w"}, "/w": {false, ""}, "/w/": {false, ""}, "/services/services": {true, ""},
		"/w/w/services": {false, ""}, "/kong": {false, ""}, "/kong/services": {false, ""}, "/w/nope": {false, ""},
	} {
		m, found := table.Find(path)
		if found != want.found || (found && m.Workspace != want.workspace) {
			t.Errorf("Find(%q) = %v, %v, want %v", path, m, found, want)
		}
	}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	m, _ := newTable().Find("/plugins/enabled/check")
	if got := m.Allow(); got != "OPTIONS, POST" || m.Handler("HEAD") != nil || m.Handler("POST") == nil {
		t.Errorf("Allow = %q", got)
	}
	if m, _ = newTable().Find("/services"); m.Handler("HEAD") == nil {
		t.Error("HEAD is not GET")
	}
}

func TestLoggable(t *testing.T) {
	t.Parallel()
	table := newTable()
	const id = "5c2a6a5e-3a52-4a1f-8c4f-4f1e6c1c7d10"
	got := map[string]string{}
	for _, path := range []string{
		"/services/shop", "/keys/secret", "/keys/secret/consumer", "/keys/" + id, "/consumers/bob/key/secret",
		"/consumers/bob/nope/secret", "/keys/a/b", "/w/keys/secret", "/services/%0Ax", "/keys/%zz",
	} {
		m, found := table.Find(path)
		got[path] = table.Loggable(path, m, found)
	}
	want := map[string]string{
		"/services/shop": "/services/shop", "/keys/secret": "/keys/REDACTED", "/keys/secret/consumer": "/keys/REDACTED/consumer",
		"/keys/" + id: "/keys/" + id, "/consumers/bob/key/secret": "/consumers/bob/key/REDACTED",
		"/consumers/bob/nope/secret": "/consumers/REDACTED/REDACTED/REDACTED", "/keys/a/b": "/keys/REDACTED/REDACTED",
		"/w/keys/secret": "/REDACTED/keys/REDACTED", "/services/%0Ax": "/services/%0Ax", "/keys/%zz": "REDACTED",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	query := rest.LoggableQuery(url.Values{"size": {"5"}, "key": {"secret"}, "secret": {""}})
	if query != "REDACTED&REDACTED&size=5" {
		t.Errorf("query %q", query)
	}
}

// FuzzLoggable: a value after a path's secret parameter is never written, whatever stands around it.
func FuzzLoggable(f *testing.F) {
	f.Add("", "")
	f.Add("w", "consumer")
	f.Add("..", "/")
	table := newTable()
	f.Fuzz(func(t *testing.T, before, after string) {
		const canary = "canary0"
		if strings.Contains(before+after, canary) {
			t.Skip()
		}
		path := "/" + before + "/keys/" + canary + "/" + after
		m, found := table.Find(path)
		if shown := table.Loggable(path, m, found); strings.Contains(shown, canary) {
			t.Errorf("%q is logged as %q", path, shown)
		}
	})
}
