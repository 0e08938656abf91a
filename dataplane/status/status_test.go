package status_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/status"
	"github.com/keepgate/keepgate/shared/memguard"
)

type node struct{ why string }

func (n node) Ready() string                             { return n.why }
func (node) ConfigurationHash() string                   { return strings.Repeat("ab", 32) }
func (node) Connections() (accepted, open, active int64) { return 9, 3, 1 }
func (node) Requests() int64                             { return 42 }
func (node) Cluster() enrol.Status                       { return standing() }
func (node) Sealing() status.Sealing                     { return sealing() }
func (node) Vaults() []status.Vault {
	return []status.Vault{{Workspace: "default", Name: "mine", Kind: "hcv", References: 3, Unresolved: 1, Failures: 2, Fault: "the server is sealed: unseal it"}}
}

func (node) Cache() status.Cache {
	return status.Cache{Memory: cachestore.Usage{Entries: 2, Bytes: 300, Limit: 1000, Hits: 7}, Disk: &cachestore.Usage{Entries: 5, Hits: 1, Failing: true, Tried: 1e9, Again: 1e9 + 60}, Misses: 4}
}

func (node) Kept(key string) []any {
	if key != "known" {
		return nil
	}
	return []any{map[string]any{"status": 200}}
}

func standing() enrol.Status {
	return enrol.Status{
		Identity: "keepgate://data-plane/acme/prod/edge-1", Environment: "prod", Serial: "0a", Joined: true,
		Expires: time.Unix(2_000_000_000, 0), TrustSequence: 7, RenewedAt: time.Unix(1_900_000_000, 0), RenewalFailures: 3, RenewalProblem: "nobody answers",
	}
}

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
	var cluster struct{ Cluster map[string]any }
	if err := json.Unmarshal([]byte(body), &cluster); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"identity": "keepgate://data-plane/acme/prod/edge-1", "environment": "prod", "certificate_source": "joined", "certificate_serial": "0a",
		"certificate_expires_at": "2033-05-18T03:33:20Z", "trust_sequence": 7.0, "last_renewal_at": "2030-03-17T17:46:40Z", "next_renewal_at": nil,
		"renewal_failures": 3.0, "renewal_problem": "nobody answers", "trust_problem": nil, "advice": nil, "revoked": nil,
	}
	if diff := cmp.Diff(want, cluster.Cluster); diff != "" {
		t.Errorf("cluster (-want +got):\n%s", diff)
	}
	var vaults struct{ Vaults []map[string]any }
	if err := json.Unmarshal([]byte(body), &vaults); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]map[string]any{{
		"workspace": "default", "vault": "mine", "kind": "hcv", "references": 3.0, "references_unresolved": 1.0, "failures": 2.0, "last_success_at": nil,
		"problem": "the server is sealed: unseal it",
	}}, vaults.Vaults); diff != "" {
		t.Errorf("vaults (-want +got):\n%s", diff)
	}
	if code, _ := get(t, up, "/status?unit=x"); code != 400 {
		t.Errorf("a wrong unit: %d", code)
	}
	if code, _ := get(t, up, "/config"); code != 404 {
		t.Errorf("nothing else: %d", code)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := status.NewMetrics("n1", "1.0")
	shut := standing()
	shut.Wiped = &enrol.Wiped{}
	if err := m.Register(status.NewMembership(func() enrol.Status { return shut })); err != nil {
		t.Fatal(err)
	}
	code, body := get(t, status.Handler(node{}, m, nil), "/metrics")
	for _, want := range []string{
		`kong_nginx_connections_total{node_id="n1",state="waiting",subsystem="http"} 2`, `kong_nginx_requests_total{node_id="n1",subsystem="http"} 42`,
		`kong_nginx_timers{state="running"} 0`, "kong_datastore_reachable 1", "kong_nginx_metric_errors_total 0", `kong_memory_workers_lua_vms_bytes{kong_subsystem="http",node_id="n1",pid="`,
		`kong_node_info{node_id="n1",version="1.0"} 1`, `keepgate_node_info{node_id="n1",version="1.0"} 1`, "go_goroutines",
		"kong_data_plane_cluster_cert_expiry_timestamp 2e+09", "keepgate_cluster_certificate_renewed_timestamp 1.9e+09", "keepgate_cluster_certificate_renewal_failures_total 3",
		"keepgate_cluster_trust_sequence 7", "keepgate_cluster_revoked 1",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%d: %s is missing", code, want)
		}
	}
}

func sealing() status.Sealing {
	return status.Sealing{
		Mode: "aes-256-gcm", Keys: []status.SealingKey{{Class: "kms", Scope: "organisation acme", ID: "0123456789abcdef", Source: "/etc/keys.yaml:3"}},
		Problem: "keys.yaml:2: it is empty", Changes: 2, Refusals: 1, Remembered: 1, Migration: "running", Left: 7, Clear: 3,
		Values: []status.SealedValues{
			{Class: "kms", KeyID: "0123456789abcdef", Scoped: true, Values: 4, Changes: 1}, {Class: "contract", KeyID: "fedcba9876543210", Values: 2}, {Class: "kvm", Scope: "prod", Clear: true, Values: 3},
		},
	}
}

func TestSealing(t *testing.T) {
	t.Parallel()
	handler := status.Handler(node{}, status.NewMetrics("id", "1"), nil)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/status", nil))
	for _, want := range []string{
		`"migration":{"clear":3,"left":7,"state":"running"}`, `"keys_problem":"keys.yaml:2: it is empty"`, `"sealed_by":"derived"`, `"sealed_by":"clear"`,
		`{"class":"kms","id":"0123456789abcdef","scope":"organisation acme","source":"/etc/keys.yaml:3"}`, `"former_keys":1`, `"keys_warnings":[]`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("status lacks %s:\n%s", want, w.Body)
		}
	}
	metrics := status.NewMetrics("id", "1")
	if err := metrics.Register(status.NewSeals(sealing)); err != nil {
		t.Fatal(err)
	}
	w = httptest.NewRecorder()
	status.Handler(node{}, metrics, nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`keepgate_local_store_values{class="kms",key_id="0123456789abcdef",scope="",sealed_by="scoped"} 4`, "keepgate_local_store_values_clear 3",
		"keepgate_local_store_values_left 7", "keepgate_encryption_keys_problem 1", `keepgate_encryption_keys_changes_total{result="refused"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestTheCache(t *testing.T) {
	t.Parallel()
	metrics := status.NewMetrics("id", "1")
	if err := metrics.Register(status.NewCaching(node{}.Cache)); err != nil {
		t.Fatal(err)
	}
	handler := status.Handler(node{}, metrics, nil)
	var shown struct {
		Cache struct {
			Memory map[string]int64
			Disk   struct {
				Hits    int64
				Failing bool
				Tried   int64
				Again   int64
			}
			Misses int64
		} `json:"cache"`
	}
	if _, body := get(t, handler, "/status"); json.Unmarshal([]byte(body), &shown) != nil || shown.Cache.Memory["bytes"] != 300 || shown.Cache.Disk.Hits != 1 || !shown.Cache.Disk.Failing || shown.Cache.Disk.Tried != 1e9 || shown.Cache.Disk.Again != 1e9+60 || shown.Cache.Misses != 4 {
		t.Errorf("%+v", shown)
	}
	if code, body := get(t, handler, "/proxy-cache/known"); code != 200 || body != "{\"data\":[{\"status\":200}],\"key\":\"known\"}\n" {
		t.Errorf("a key: %d %s", code, body)
	}
	if code, _ := get(t, handler, "/proxy-cache/other"); code != 404 {
		t.Errorf("an unknown key: %d", code)
	}
	_, body := get(t, handler, "/metrics")
	for _, line := range []string{
		`keepgate_proxy_cache_entries{tier="memory"} 2`, `keepgate_proxy_cache_hits_total{tier="disk"} 1`, `keepgate_proxy_cache_misses_total 4`,
		`keepgate_proxy_cache_failing{tier="disk"} 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
}
