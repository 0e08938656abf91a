package status_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/healthcheck"
	"github.com/keepgate/keepgate/dataplane/status"
	"github.com/keepgate/keepgate/dataplane/table"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

func TestUpstreams(t *testing.T) {
	t.Parallel()
	target := func(id, at string, weight, created int64) *configv1.Target {
		return &configv1.Target{Id: &id, Target: &at, Weight: &weight, CreatedAt: &created, Upstream: &configv1.Ref{Id: "u-id"}}
	}
	spec := balancer.Spec{
		ID: "u-id", Name: "u.name",
		Targets: []balancer.Target{{ID: "t1", Host: "10.0.0.1", Port: 80, Weight: 30}, {ID: "t2", Host: "10.0.0.2", Port: 80, Weight: 10}},
		Health:  healthcheck.Config{Threshold: 50, Passive: healthcheck.Passive{Unhealthy: healthcheck.Unhealthy{TCPFailures: 1}}},
	}
	u := balancer.NewUpstream(spec, balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})}, nil)
	holder := table.NewHolder()
	next := *holder.Current()
	next.Upstreams = []*table.Upstream{{Upstream: u, Targets: []*configv1.Target{target("t1", "10.0.0.1:80", 30, 100), target("t2", "10.0.0.2:80", 10, 200)}}}
	holder.Swap(&next)
	h := status.Handler(node{}, status.NewMetrics("node", "1"), status.NewUpstreams(holder, schema.New(plugins.All()), "the-node"))
	show := func(method, path string) (int, map[string]any) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%s %s: %s", method, path, w.Body)
		}
		return w.Code, body
	}
	states := func(name string) map[string]any {
		t.Helper()
		code, body := show("GET", "/upstreams/"+name+"/health")
		got := map[string]any{}
		for i, one := range body["data"].([]any) {
			m := one.(map[string]any)
			got[m["id"].(string)] = m["health"]
			if i == 0 && m["id"] != "t2" {
				t.Errorf("the newest target does not come first: %v", m["id"])
			}
		}
		if code != 200 || body["node_id"] != "the-node" {
			t.Errorf("%d %v", code, body)
		}
		return got
	}
	if diff := cmp.Diff(map[string]any{"t1": "HEALTHY", "t2": "HEALTHY"}, states("u.name")); diff != "" {
		t.Error(diff)
	}
	fell := 0
	for fell == 0 { // until the heavier one has failed
		var try balancer.Try
		at, err := balancer.New(u, func(target balancer.Target, _ netip.AddrPort) string { return target.ID }).Next(t.Context(), &try)
		if err != nil {
			t.Fatal(err)
		}
		if at == "t1" {
			try.Report(healthcheck.Unreachable())
			fell++
		}
		try.End()
	}
	if diff := cmp.Diff(map[string]any{"t1": "UNHEALTHY", "t2": "HEALTHY"}, states("u-id")); diff != "" {
		t.Error(diff)
	}
	want := map[string]any{
		"id": "u-id", "health": "UNHEALTHY", "balancer_health": "UNHEALTHY",
		"details": map[string]any{
			"healthy": false, "weight": map[string]any{"total": 40.0, "available": 10.0, "unavailable": 30.0},
			"hosts": []any{
				map[string]any{
					"host": "10.0.0.1", "port": 80.0, "dns": "A", "nodeWeight": 30.0, "weight": map[string]any{"total": 30.0, "available": 0.0, "unavailable": 30.0},
					"addresses": []any{map[string]any{"ip": "10.0.0.1", "port": 80.0, "weight": 30.0, "health": "UNHEALTHY"}},
				},
				map[string]any{
					"host": "10.0.0.2", "port": 80.0, "dns": "A", "nodeWeight": 10.0, "weight": map[string]any{"total": 10.0, "available": 10.0, "unavailable": 0.0},
					"addresses": []any{map[string]any{"ip": "10.0.0.2", "port": 80.0, "weight": 10.0, "health": "HEALTHY"}},
				},
			},
		},
	}
	if code, body := show("GET", "/upstreams/u-id/health?balancer_health=1"); code != 200 || cmp.Diff(want, body["data"]) != "" {
		t.Errorf("%d (-want +got):\n%s", code, cmp.Diff(want, body["data"]))
	}
	for path, want := range map[string]int{
		"GET /upstreams/u.name/targets": 200, "GET /upstreams/u-id/targets/all": 200, "GET /upstreams/other/health": 404, "GET /upstreams/other/targets": 404,
		"PUT /upstreams/u.name/health": 405, "POST /upstreams/u.name/targets": 405, "PUT /upstreams/u.name/targets/t1/unhealthy": 404,
	} {
		method, at, _ := strings.Cut(path, " ")
		if code, body := show(method, at); code != want || code == 200 && len(body["data"].([]any)) != 2 {
			t.Errorf("%s: %d %v, want %d", path, code, body, want)
		}
	}
}
