package status

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/keepgate/keepgate/dataplane/table"
)

// Routes that are in no table any more are forgotten, though nobody scrapes.
func TestRoutesAreForgotten(t *testing.T) {
	t.Parallel()
	m := NewMetrics("node", "test")
	kept := &table.Route{ID: "kept", Service: &table.Service{ID: "kept"}}
	meter := m.Observe(kept)
	for i := range 50_000 {
		m.Observe(&table.Route{ID: fmt.Sprint(i), Service: &table.Service{ID: fmt.Sprint(i)}})
		if i%1000 == 0 {
			runtime.GC()
		}
	}
	if r, s := len(m.routes), len(m.services); r > 12_000 || s > 12_000 {
		t.Errorf("%d routes and %d services are remembered", r, s)
	}
	if m.Observe(kept) != meter {
		t.Error("a route in use lost its counts")
	}
}
