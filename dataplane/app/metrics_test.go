package app

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keepgate/keepgate/dataplane/plugin/all"
)

// What the plugins of this build show can be shown together.
func TestCollectorsOfPlugins(t *testing.T) {
	t.Parallel()
	p := &plane{kinds: all.Kinds(all.Options{Prefix: t.TempDir()})}
	registry := prometheus.NewPedanticRegistry()
	for _, kind := range p.kinds {
		for _, one := range collectors(kind) {
			if err := registry.Register(one); err != nil {
				t.Fatalf("%s: %v", kind.Name(), err)
			}
		}
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, plugin := range []string{"file-log", "http-log"} {
		if want := `keepgate_log_records_dropped_total{plugin="` + plugin + `"} 0`; w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d %s, want %s", w.Code, w.Body, want)
		}
	}
}
