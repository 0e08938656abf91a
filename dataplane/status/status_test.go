package status_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/proxy"
	"github.com/keepgate/keepgate/dataplane/status"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/shared/memguard"
)

type node struct{ why string }

func (n node) Ready() string                             { return n.why }
func (node) ConfigurationHash() string                   { return strings.Repeat("ab", 32) }
func (node) Connections() (accepted, open, active int64) { return 9, 3, 1 }
func (node) Requests() int64                             { return 42 }

func get(t *testing.T, h http.Handler, target string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	return w.Code, w.Body.String()
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	metrics := status.NewMetrics("n1", "1.0")
	up, down := status.Handler(node{}, metrics, nil), status.Handler(node{"no configuration available (empty configuration present)"}, metrics, nil)
	if code, body := get(t, up, "/status/ready"); code != 200 || body != "{\"message\":\"ready\"}\n" {
		t.Errorf("ready: %d %s", code, body)
	}
	if code, body := get(t, down, "/status/ready"); code != 503 || !strings.Contains(body, "no configuration available") {
		t.Errorf("not ready: %d %s", code, body)
	}
	code, body := get(t, up, "/status?unit=k")
	var shown struct {
		Server map[string]int64 `json:"server"`
		Hash   string           `json:"configuration_hash"`
		Memory memguard.Status  `json:"memory_protection"`
	}
	if err := json.Unmarshal([]byte(body), &shown); err != nil || code != 200 {
		t.Fatalf("status: %d %v %s", code, err, body)
	}
	if shown.Server["connections_waiting"] != 2 || shown.Server["total_requests"] != 42 || len(shown.Hash) != 32 || !strings.Contains(body, "KiB") {
		t.Errorf("status: %s", body)
	}
	if now := memguard.Look(); shown.Memory.CoreDumps != now.CoreDumps || shown.Memory.Warnings == nil {
		t.Errorf("the memory's protection: %+v, want %+v", shown.Memory, now)
	}
	if code, _ := get(t, up, "/status?unit=x"); code != 400 {
		t.Errorf("a wrong unit: %d", code)
	}
	if code, _ := get(t, up, "/config"); code != 404 {
		t.Errorf("nothing else: %d", code)
	}
}

func finished(status int, origin exchange.Origin) *exchange.Exchange {
	ex := new(exchange.Exchange)
	ex.Start = time.Now().Add(-40 * time.Millisecond)
	ex.Response.Status, ex.Response.Origin = status, origin
	ex.Sent.HeadBytes, ex.Sent.BodyBytes, ex.Sent.RequestBytes = 100, 1000, 50
	for _, m := range []exchange.Mark{exchange.UpstreamStart, exchange.UpstreamHead, exchange.ServeDone, exchange.Done} {
		ex.Mark(m)
	}
	return ex
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := status.NewMetrics("n1", "1.0")
	h := status.Handler(node{}, m, nil)
	one := &table.Route{ID: "1", Name: "orders", Service: &table.Service{ID: "s", Name: "shop"}}
	same := &table.Route{ID: "2", Name: "orders", Service: &table.Service{ID: "s", Name: "shop"}} // of another workspace
	for range 3 {
		m.Observe(one).(proxy.Meter).Count(finished(200, exchange.Upstream)) // the same meter after every compilation
	}
	m.Observe(same).(proxy.Meter).Count(finished(200, exchange.Upstream))
	m.Observe(one).(proxy.Meter).Count(finished(401, exchange.Gateway))
	m.Unmatched().(proxy.Meter).Count(finished(404, exchange.Gateway))
	code, body := get(t, h, "/metrics")
	for _, want := range []string{
		`keepgate_http_requests_total{code="200",route="orders",service="shop",source="upstream"} 4`,
		`keepgate_http_requests_total{code="401",route="orders",service="shop",source="gateway"} 1`,
		`keepgate_http_requests_total{code="404",route="",service="",source="gateway"} 1`,
		`keepgate_bandwidth_bytes{direction="egress",route="orders",service="shop"} 5500`,
		`keepgate_request_latency_ms_bucket{service="shop",le="25"} 0`, `keepgate_request_latency_ms_count{service="shop"} 5`,
		`keepgate_upstream_latency_ms_bucket{service="shop",le="25"} 4`, `keepgate_node_info{node_id="n1",version="1.0"} 1`, "go_goroutines",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%d: %s is missing", code, want)
		}
	}
	runtime.KeepAlive(one)
	runtime.KeepAlive(same)
}

// The series of a route that no table holds any more end.
func TestMetricsForgetRoutes(t *testing.T) {
	t.Parallel()
	m := status.NewMetrics("n1", "1.0")
	h := status.Handler(node{}, m, nil)
	m.Observe(&table.Route{ID: "1", Name: "short-lived"}).(proxy.Meter).Count(finished(200, exchange.Upstream))
	for range 100 {
		runtime.GC()
		if _, body := get(t, h, "/metrics"); !strings.Contains(body, "short-lived") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the series is still shown")
}
