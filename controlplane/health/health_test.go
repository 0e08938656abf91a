package health_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/health"
)

type node struct {
	down error
	why  string
	kept map[string]int
}

func (n node) Head(context.Context) (uint64, error) { return 7, n.down }
func (n node) Seen() uint64                         { return 7 }
func (n node) ID() string                           { return "cp1" }
func (n node) DataPlanes(context.Context) ([]health.DataPlane, error) {
	one := health.DataPlane{ID: "dp1", Hostname: "edge\xff", IP: "192.0.2.1", Version: "1.0", LastSeen: 1700000000, ConfigHash: strings.Repeat("0", 30) + "ff" + strings.Repeat("0", 32)}
	one.Environment, one.Status, one.Link, one.LagVersions, one.LagSeconds, one.CertificateExpires = "prod", "normal", "linked", 2, 30, 1800000000
	other := one
	other.ID, other.Refuses, other.Status, other.Quarantined, other.LagVersions, other.CertificateExpires = "dp2", true, "refused", 3, 5, 1700000001
	gone := other
	gone.ID, gone.Link, gone.LagVersions, gone.LagSeconds, gone.CertificateExpires = "dp3", "away", 900, 9000, 1
	return []health.DataPlane{one, one, other, gone}, n.down
}
func (n node) Keyring() string                  { return n.why }
func (n node) Linked() int                      { return 3 }
func (n node) Kept() (int, map[string]int)      { return len(n.kept), n.kept }
func (n node) License() (state, expires string) { return "expired", "2020-01-31" }

func (n node) Refusals() map[string]uint64 { return map[string]uint64{"prod": 4} }
func (n node) Joined() (time.Time, error)  { return time.Now(), n.Joinable(context.Background()) }

func (n node) Joinable(context.Context) error {
	if n.why == "" {
		return nil
	}
	return errors.New(n.why)
}

func TestHandler(t *testing.T) {
	t.Parallel()
	down := node{down: errors.New("no route to host")}
	missing := node{why: "the keyring misses its active key"}
	limited := node{why: missing.why, kept: map[string]int{"LaW1urRQ": 1}}
	tests := map[string]struct {
		node   node
		path   string
		status int
		says   string
	}{
		"status":                     {node{}, "/status", 200, `{"database":{"reachable":true},"license":{"license_expiration_date":"2020-01-31","state":"expired"},"memory_protection":{"core_dumps":`},
		"all is published":           {node{}, "/status", 200, `"publishing":{"revision":7,"rows_kept":0},"secrets":{"writable":true}`},
		"a key is missing":           {limited, "/status", 200, `"publishing":{"missing_keys":{"LaW1urRQ":1},"revision":7,"rows_kept":1},"secrets":{"reason":"the keyring misses its active key","writable":false}`},
		"rows that are kept":         {limited, "/metrics", 200, "keepgate_published_rows_kept 1\n"},
		"status without a database":  {down, "/status", 200, `{"database":{"reachable":false}`},
		"ready":                      {node{}, "/status/ready", 200, `{"message":"ready"}`},
		"not ready: database":        {down, "/status/ready", 503, `{"message":"failed to connect to database"}`},
		"not ready: keyring":         {missing, "/status/ready", 503, `{"message":"the keyring misses its active key"}`},
		"metrics":                    {node{}, "/metrics", 200, "keepgate_data_planes_linked 3\n"},
		"metrics of a lost keyring":  {missing, "/metrics", 200, "keepgate_keyring_usable 0\n"},
		"metrics of a lost database": {down, "/metrics", 200, "keepgate_database_reachable 0\n"},
		"data planes":                {node{}, "/metrics", 200, `kong_data_plane_last_seen{hostname="edge�",ip="192.0.2.1",node_id="dp1"} 1.7e+09` + "\n"},
		"what they hold":             {node{}, "/metrics", 200, `kong_data_plane_config_hash{hostname="edge�",ip="192.0.2.1",node_id="dp1"} 255` + "\n"},
		"one that refuses":           {node{}, "/metrics", 200, `kong_data_plane_version_compatible{hostname="edge�",ip="192.0.2.1",kong_version="1.0",node_id="dp2"} 0` + "\n"},
		"the fleet":                  {node{}, "/metrics", 200, `keepgate_data_planes{environment="prod",link="linked",status="normal"} 2` + "\n" + `keepgate_data_planes{environment="prod",link="linked",status="refused"} 1` + "\n"},
		"who is away":                {node{}, "/metrics", 200, `keepgate_data_planes{environment="prod",link="away",status="refused"} 1` + "\n"},
		"the furthest behind":        {node{}, "/metrics", 200, `keepgate_data_planes_lag_versions{environment="prod"} 5` + "\n"},
		"for how long":               {node{}, "/metrics", 200, `keepgate_data_planes_lag_seconds{environment="prod"} 30` + "\n"},
		"the first to expire":        {node{}, "/metrics", 200, `keepgate_data_planes_certificate_expiry_seconds{environment="prod"} 1.700000001e+09` + "\n"},
		"what is quarantined":        {node{}, "/metrics", 200, `keepgate_data_planes_quarantined{environment="prod"} 2` + "\n"},
		"refusals":                   {node{}, "/metrics", 200, `keepgate_data_plane_refusals_total{environment="prod"} 4` + "\n"},
		"nobody could join":          {node{why: "closed"}, "/metrics", 200, "keepgate_fresh_data_plane_could_join 0\n"},
		"somebody could join":        {node{}, "/metrics", 200, "keepgate_fresh_data_plane_could_join 1\n"},
		"asked: nobody":              {node{why: "closed"}, "/status/join", 503, `{"message":"closed"}`},
		"asked: somebody":            {node{}, "/status/join", 200, `{"message":"a data plane that is new could join"}`},
		"nothing else":               {node{}, "/services", 404, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			health.Handler(test.node, "1.2.3").ServeHTTP(w, httptest.NewRequest(http.MethodGet, test.path, nil))
			body, err := io.ReadAll(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if w.Code != test.status || !strings.Contains(string(body), test.says) {
				t.Errorf("GET %s = %d %s, want %d %s", test.path, w.Code, body, test.status, test.says)
			}
		})
	}
}
