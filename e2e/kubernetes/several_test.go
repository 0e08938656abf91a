//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Two API servers over one etcd, each with a plugin and a certificate of its own: each reads what the other writes, at every
// moment of a rotation.
func TestTwoAPIServers(t *testing.T) {
	t.Parallel()
	i := install(t)
	var servers []*apiServer
	var plugins []*harness.KMS
	for n := range 2 {
		plugin := i.KMS(fmt.Sprint("prod.master-", n), []*harness.ControlPlane{i.cp})
		plugin.Start()
		server := newAPIServer(t, i.Cluster, i.etcd, fmt.Sprint("apiserver-", n), encryption("v2 keepgate "+plugin.Endpoint()))
		server.serve()
		servers, plugins = append(servers, server), append(plugins, plugin)
	}
	written := 0
	exchange := func() {
		t.Helper()
		for n, server := range servers {
			name := fmt.Sprint("f-", written)
			written++
			server.create(name, "canary-"+name)
			for _, reader := range servers {
				harness.Eventually(t, "a secret at the other server", func() string { return reader.reads(name, "canary-"+name) })
			}
			_, _ = servers[n].try(http.MethodGet, "/healthz/kms-providers", "")
		}
	}
	exchange()
	i.kek("rotate", "prod")
	next := i.current()
	seen := func(server *apiServer) bool {
		last := i.etcd.values(t)[prefix+"default/f-"+fmt.Sprint(written-len(servers)+index(servers, server))]
		return strings.Contains(last, next)
	}
	harness.Eventually(t, "both servers writing under the new key", func() string {
		exchange()
		for _, server := range servers {
			if !seen(server) {
				return server.Name + " does not"
			}
		}
		return ""
	})
	t.Logf("%d secrets were exchanged during the rotation", written)
	plugins[0].Kill() // what the other one's plugin does is no matter of this one
	servers[1].create("lone", "canary-lone")
	harness.Eventually(t, "a secret whose seed is held", func() string { return servers[0].reads("f-0", "canary-f-0") })
	plugins[0].Start()
	harness.Eventually(t, "a secret of the other", func() string { return servers[0].reads("lone", "canary-lone") })
}

func index(servers []*apiServer, server *apiServer) int {
	for i, one := range servers {
		if one == server {
			return i
		}
	}
	return -1
}

// What KMS v1 wrote is read and moved to v2 on the same socket, and v1 goes.
func TestFromVersionOneToTwo(t *testing.T) {
	t.Parallel()
	i := install(t)
	plugin := i.KMS("prod", []*harness.ControlPlane{i.cp}, "--kms-v1=on")
	plugin.Start()
	gate := "--feature-gates=KMSv1=true"
	api := newAPIServer(t, i.Cluster, i.etcd, "apiserver", encryption("v1 old "+plugin.Endpoint()), gate)
	api.serve()
	for n := range 50 {
		api.create(fmt.Sprint("f-", n), fmt.Sprint("canary-", n))
	}
	rest := func(want string) {
		t.Helper()
		for key, value := range i.etcd.values(t) {
			if !strings.HasPrefix(value, want) || strings.Contains(value, "canary") {
				t.Fatalf("%s rests as %.60q, want %s", key, value, want)
			}
		}
	}
	rest("k8s:enc:kms:v1:old:")
	i.kek("rotate", "prod") // v1 does not know of it: its ciphers name their keys
	knows(t, plugin, i.current())
	api.Stop()
	api.configure(encryption("v2 keepgate "+plugin.Endpoint(), "v1 old "+plugin.Endpoint()))
	api.serve()
	api.mustRead("f-7", "canary-7")
	api.kubectl(rewrite)
	rest(stored)
	api.Stop()
	api.configure(encryption("v2 keepgate " + plugin.Endpoint()))
	api.serve()
	api.mustRead("f-49", "canary-49")
}
