package health_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keepgate/keepgate/controlplane/health"
)

// measured is a node with metrics of its own.
type measured struct {
	node
	collectors []prometheus.Collector
}

func (m measured) Collectors() []prometheus.Collector { return m.collectors }

func metrics(t *testing.T, collectors ...prometheus.Collector) string {
	t.Helper()
	w := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil)
	health.Metrics(measured{collectors: collectors}, "1").ServeHTTP(w, request)
	if w.Code != http.StatusOK {
		t.Fatalf("GET /metrics = %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestEncryptionMetrics(t *testing.T) {
	t.Parallel()
	e := health.NewEncryption("node-1")
	node, key := health.Hashed("node-1"), health.Hashed("key-1")
	e.Called("kms1", "/v2.KeyManagementService/Status", "OK", 300*time.Microsecond)
	plugins := health.NewPluginCounts("node-1", func() []health.PluginCounts {
		return []health.PluginCounts{{
			Provider: "kms1", Uses: []health.KeyUse{{Direction: "to_storage", KeyHash: key, Total: 3, Last: time.Unix(1700000000, 0)}},
			Named: map[string]time.Time{key: time.Unix(1700000000, 0)}, Invalid: map[string]uint64{"too_long": 1}, Held: 2,
		}}
	})
	count, took := e.Operation("licenses", "from_storage", "k8s:enc:kms:v2:kms1:", false)
	count.Add(2)
	took.Observe(3e-6)
	if _, took := e.Operation("licenses", "from_storage", "k8s:enc:kms:v2:kms1:", true); took != nil {
		t.Error("the time of what failed is taken")
	}
	e.InForce("sha256:old")
	e.InForce("sha256:new")
	e.Reloaded(true)
	e.Reloaded(false)
	counted := []health.Rows{{Table: "licenses", Provider: "kms/kms1", Key: "AAAAAAAA", Count: 2}, {Table: "licenses", Provider: "kms/kms1", Key: "AAAAAAAA", Count: 1}}
	got := metrics(t, e, plugins, health.NewRows(func() []health.Rows { return counted }))
	if metrics(t, e, plugins) == "" { // the Admin API shows them too
		t.Error("the same metrics are not shown twice")
	}
	for _, want := range []string{
		`apiserver_envelope_encryption_kms_operations_latency_seconds_bucket{grpc_status_code="OK",method_name="/v2.KeyManagementService/Status",provider_name="kms1",le="0.0004"} 1`,
		`apiserver_envelope_encryption_invalid_key_id_from_status_total{error="too_long",provider_name="kms1"} 1`,
		`apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{apiserver_id_hash="` + node + `",key_id_hash="` + key + `",provider_name="kms1"} 1.7e+09`,
		`apiserver_envelope_encryption_key_id_hash_total{apiserver_id_hash="` + node + `",key_id_hash="` + key + `",provider_name="kms1",transformation_type="to_storage"} 3`,
		`apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds{apiserver_id_hash="` + node + `"`,
		`apiserver_envelope_encryption_dek_source_cache_size{provider_name="kms1"} 2`,
		`apiserver_storage_transformation_operations_total{resource="licenses",status="OK",transformation_type="from_storage",transformer_prefix="k8s:enc:kms:v2:kms1:"} 2`,
		`apiserver_encryption_config_controller_last_config_info{apiserver_id_hash="` + node + `",hash="sha256:new"} 1`,
		`apiserver_encryption_config_controller_automatic_reloads_total{apiserver_id_hash="` + node + `",status="failure"} 1`,
		`apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds{apiserver_id_hash="` + node + `",status="success"} `,
		`keepgate_encryption_rows{key="AAAAAAAA",provider="kms/kms1",table="licenses"} 3`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(got, "sha256:old") || strings.Contains(got, "node-1") || strings.Contains(got, `"key-1"`) {
		t.Error("a former configuration, a node or a key is shown")
	}
}

// Names of keys are the word of whoever wrote the rows, and no more of them are shown than a collector bears.
func TestRowsAreBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(health.NewRows(func() (rows []health.Rows) {
		for i := range 5000 {
			rows = append(rows, health.Rows{Table: "keyauth_credentials", Provider: "aesgcm", Key: strconv.Itoa(i), Count: 1})
		}
		return rows
	}))
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 1001 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	total := 0.0
	for _, m := range families[0].GetMetric() {
		total += m.GetGauge().GetValue()
	}
	if total != 5000 {
		t.Errorf("%v rows are shown", total)
	}
}

func TestEnvelopeMetrics(t *testing.T) {
	t.Parallel()
	e := health.NewEnvelopes(func() (held, room int) { return 250, 1000 })
	for range 3 {
		e.Arrived("from_storage")
	}
	e.Arrived("to_storage")
	e.Missed()
	e.Generated(20 * time.Microsecond)
	shown := metrics(t, e)
	for _, line := range []string{
		`apiserver_envelope_encryption_dek_cache_fill_percent 0.25`,
		`apiserver_envelope_encryption_dek_cache_inter_arrival_time_seconds_count{transformation_type="from_storage"} 2`,
		`apiserver_storage_envelope_transformation_cache_misses_total 1`,
		`apiserver_storage_data_key_generation_duration_seconds_count 1`,
		`apiserver_storage_data_key_generation_failures_total 0`,
	} {
		if !strings.Contains(shown, line+"\n") {
			t.Errorf("no line %s in\n%s", line, shown)
		}
	}
	if strings.Contains(shown, `transformation_type="to_storage"`) {
		t.Error("one arrival has no time between two")
	}
	if none := metrics(t, health.NewEnvelopes(func() (int, int) { return 0, 0 })); !strings.Contains(none, "dek_cache_fill_percent 0\n") {
		t.Errorf("without a plugin:\n%s", none)
	}
}
