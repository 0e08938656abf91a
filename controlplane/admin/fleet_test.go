package admin_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/fleet"
)

func TestDataPlanes(t *testing.T) {
	t.Parallel()
	e := newEnvWith(t, nil, admin.Options{Version: "1"})
	for _, name := range []string{"edge-2", "edge-1"} {
		session := e.fleet.Join(
			fleet.Certificate{Name: name, Environment: "default", Serial: "01", Expires: time.Unix(2e9, 0)},
			fleet.Label{NodeID: "id-of-" + name, Hostname: "host", IP: "10.0.0.1", Version: "0.1.0"}, fleet.Held{})
		session.Acked(fleet.Held{Epoch: 1, Version: 2, Hash: "abc"}, nil, fleet.Kept{})
	}
	tree := e.get("/clustering/data-planes?size=1").tree(t)
	data := tree["data"].([]any)
	if len(data) != 1 || tree["total"] != 2.0 || tree["next"] != "/clustering/data-planes?offset="+tree["offset"].(string)+"&size=1" {
		t.Fatalf("the first page: %v", tree)
	}
	one := data[0].(map[string]any)
	kong := []string{
		"cert_details", "config_hash", "hostname", "id", "ip", "labels", "last_seen", "rpc_capabilities", "sync_status", "ttl", "updated_at", "version",
	}
	for _, name := range kong {
		if _, found := one[name]; !found {
			t.Errorf("%s is missing among %v", name, slices.Sorted(maps.Keys(one)))
		}
	}
	if one["id"] != "id-of-edge-1" || one["sync_status"] != "normal" || one["labels"] != nil || one["away"] != false || one["config_version"] != 2.0 ||
		!cmp.Equal(one["cert_details"], map[string]any{"expiry_timestamp": 2e9}) {
		t.Errorf("%v", one)
	}
	if ttl := one["ttl"].(float64); ttl < 3590 || ttl > 3600 {
		t.Errorf("ttl %v, want nearly the purge delay", ttl)
	}
	old := e.get("/clustering/status")
	if old.header.Get("Deprecation") != "true" || !strings.Contains(old.text, `"id-of-edge-2":{"config_hash":"abc"`) {
		t.Errorf("/clustering/status: %v %s", old.header, old.text)
	}
	if a := e.do("POST", "/clustering/accept-restore", "", ""); a.status != 200 || a.tree(t)["epoch"] != 7.0 {
		t.Errorf("accept-restore: %d %s", a.status, a.text)
	}
	if a := e.do("POST", "/clustering/accept-restore", "", "", "Via", "proxy"); a.status != 403 {
		t.Errorf("accept-restore through a proxy: %d", a.status)
	}
}
