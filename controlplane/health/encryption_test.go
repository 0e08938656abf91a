package health_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	e.InvalidKeyID("kms1", "too_long")
	e.Named("kms1", key)
	e.Used("to_storage", "kms1", key, 3)
	e.Operation("licenses", "from_storage", "k8s:enc:kms:v2:kms1:", "OK").Add(2)
	e.InForce("sha256:old")
	e.InForce("sha256:new")
	e.Reloaded(true)
	e.Reloaded(false)
	counted := []health.Rows{{Table: "licenses", Provider: "kms/kms1", Key: "AAAAAAAA", Count: 2}, {Table: "licenses", Provider: "kms/kms1", Key: "AAAAAAAA", Count: 1}}
	got := metrics(t, e, health.NewRows(func() []health.Rows { return counted }))
	if metrics(t, e) == "" { // the Admin API shows them too
		t.Error("the same metrics are not shown twice")
	}
	for _, want := range []string{
		`apiserver_envelope_encryption_kms_operations_latency_seconds_bucket{grpc_status_code="OK",method_name="/v2.KeyManagementService/Status",provider_name="kms1",le="0.0004"} 1`,
		`apiserver_envelope_encryption_invalid_key_id_from_status_total{error="too_long",provider_name="kms1"} 1`,
		`apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{apiserver_id_hash="` + node + `",key_id_hash="` + key + `",provider_name="kms1"} `,
		`apiserver_envelope_encryption_key_id_hash_total{apiserver_id_hash="` + node + `",key_id_hash="` + key + `",provider_name="kms1",transformation_type="to_storage"} 3`,
		`apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds{apiserver_id_hash="` + node + `"`,
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

// A plugin that names a new key at each answer does not fill the memory.
func TestKeysAreForgotten(t *testing.T) {
	t.Parallel()
	e := health.NewEncryption("node-1")
	for i := range 500 {
		e.Named("kms1", "first")
		e.Named("kms1", fmt.Sprint(i))
		e.Used("to_storage", "kms1", fmt.Sprint(i), 1)
	}
	got := metrics(t, e)
	for _, name := range []string{"key_id_hash_status_last_timestamp_seconds{", "key_id_hash_last_timestamp_seconds{", "key_id_hash_total{"} {
		if count := strings.Count(got, "\napiserver_envelope_encryption_"+name); count != 100 {
			t.Errorf("%d of %s, want 100", count, name)
		}
	}
	if !strings.Contains(got, `key_id_hash="first"`) || !strings.Contains(got, `key_id_hash="499"`) {
		t.Error("a key that is named all the time was forgotten")
	}
}
