package statusport_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/statusport"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

type plugin struct{ report kek.Report }

func (p plugin) Report() kek.Report { return p.report }
func (p plugin) Node() string       { return "cp-1:8005" }
func (p plugin) Certificates() mtls.Status {
	return mtls.Status{
		Identity: identity.Identity{Role: identity.KMS, Organisation: "acme", Name: "prod.master-1", Serial: "0a", NotAfter: time.Unix(1900000000, 0)},
		Notices:  []string{"a list is stale"},
	}
}

func ask(t *testing.T, p plugin, path string) (status int, body string) {
	t.Helper()
	metrics := statusport.NewMetrics(p, "1.2.3")
	metrics.Called("v2", "Encrypt", codes.OK, 3*time.Millisecond)
	metrics.Asked("cp-1:8005", "Wrap", codes.Unavailable, time.Millisecond)
	server := httptest.NewServer(statusport.Handler(p, statusport.Facts{Version: "1.2.3", Socket: "unix:///run/kms.sock", V1: true}, metrics.Gatherer()))
	defer server.Close()
	response, err := http.Get(server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func well() plugin {
	now := time.Now()
	current := kek.Key{ID: "prod.2.bb", Generation: 2, CreatedAt: now.Add(-100 * 24 * time.Hour)}
	return plugin{kek.Report{
		Verdict: kek.Verdict{Current: current}, Name: "prod", HeardAt: now, IsOld: true, RotateEvery: time.Hour,
		Keys: []kek.KeyReport{
			{Key: kek.Key{ID: "prod.1.aa", Generation: 1}},
			{Key: current, IsUsed: true, UsedAt: now, TriedAt: now.Add(-time.Minute), WorksAt: now},
		},
	}}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	troubled, lost := well(), well()
	troubled.report.Trouble = "no answer"
	lost.report.Trouble, lost.report.IsLost, lost.report.Current = "gone", true, kek.Key{}
	for name, test := range map[string]struct {
		plugin plugin
		path   string
		status int
		says   []string
	}{
		"healthz when well":        {well(), "/healthz", 200, []string{"ok\n"}},
		"healthz in trouble":       {troubled, "/healthz", 503, []string{"no answer"}},
		"ready when well":          {well(), "/status/ready", 200, []string{`"ready"`}},
		"ready when lost":          {lost, "/status/ready", 503, []string{`"gone"`}},
		"alive when lost":          {lost, "/livez", 200, []string{"ok"}},
		"status when well":         {well(), "/status", 200, []string{`"state":"ok"`, `"current":"prod.2.bb"`, `"in_use":false`, `"v1beta1"`, "100 days old", "a list is stale", "keepgate://kms/acme/-/prod.master-1", `"rotate_every":3600`}},
		"status in trouble":        {troubled, "/status", 200, []string{`"state":"degraded"`, `"reason":"no answer"`}},
		"status when lost":         {lost, "/status", 200, []string{`"state":"lost"`, `"age_seconds":0`}},
		"no such thing":            {well(), "/other", 404, []string{"Not found"}},
		"metrics when well":        {well(), "/metrics", 200, []string{"keepgate_kms_healthy 1", "keepgate_kms_lost 0", "keepgate_kms_kek_rotation_due 1", "keepgate_kms_kek_generation 2", `keepgate_kms_key_in_use{key_id="prod.2.bb"} 1`, `keepgate_kms_key_canary_age_seconds{key_id="prod.2.bb"} 6`, `keepgate_kms_calls_total{api="v2",code="OK",method="Encrypt"} 1`, `keepgate_kms_call_duration_seconds_bucket{api="v2",method="Encrypt",le="0.005"} 1`, `keepgate_kms_control_plane_failures_total{code="Unavailable",method="Wrap",node="cp-1:8005"} 1`}},
		"metrics when lost":        {lost, "/metrics", 200, []string{"keepgate_kms_healthy 0", "keepgate_kms_lost 1"}},
		"metrics of an unused key": {well(), "/metrics", 200, []string{`keepgate_kms_certificate_expiry_timestamp_seconds 1.9e+09`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body := ask(t, test.plugin, test.path)
			if status != test.status {
				t.Errorf("status %d, want %d: %s", status, test.status, body)
			}
			for _, says := range test.says {
				if !strings.Contains(body, says) {
					t.Errorf("it does not say %s:\n%s", says, body)
				}
			}
			if strings.Contains(body, `key_in_use{key_id="prod.1.aa"}`) {
				t.Error("an unused key is in use")
			}
			if test.path == "/status" && !json.Valid([]byte(body)) {
				t.Errorf("no JSON: %s", body)
			}
		})
	}
}
