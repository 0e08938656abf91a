package admin_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/metrics"
)

// The page of metrics comes as its handler writes it, under the same guard as everything else.
func TestMetrics(t *testing.T) {
	t.Parallel()
	e := newEnvWith(t, nil, admin.Options{})
	e.deps.Rooms = append(e.deps.Rooms, metrics.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "up 1\n")
	})))
	e.serve(admin.Options{})
	a := e.get("/metrics")
	if a.status != 200 || a.text != "up 1\n" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("%d %v %q", a.status, a.header, a.text)
	}
	if a := e.do("GET", "/metrics", "", "", "Host", "evil.test"); a.status == 200 {
		t.Errorf("a foreign Host is served: %q", a.text)
	}
}
