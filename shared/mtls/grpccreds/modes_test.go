package grpccreds_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

// Under a shared certificate the name is Kong's whatever address is dialled, and the peer is who the source says.
func TestASharedCertificateOverGRPC(t *testing.T) {
	t.Parallel()
	files, _ := mtlstest.SharedFiles(t)
	open := func(files mtls.Files, mode trust.Mode, role identity.Role) *mtls.Source {
		source, err := mtls.OpenWith(files, mtls.Options{Mode: mode, Role: role})
		if err != nil {
			t.Fatal(err)
		}
		return source
	}
	var log lines
	asked := make(chan identity.Identity, 1)
	address := serve(t, open(files, trust.Shared, identity.ControlPlane), &log, asked)
	node := open(files, trust.Shared, identity.DataPlane)
	if err := check(t, address, grpccreds.Client(node, "127.0.0.1", identity.ControlPlane)); err != nil {
		t.Fatal(err)
	}
	if who := <-asked; who.String() != "keepgate://data-plane/default/default/kong_clustering" {
		t.Errorf("the server sees %s", who)
	}
	ca := mtlstest.NewCA(t, "cluster")
	keep, _, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane}})
	var other lines
	if err := check(t, serve(t, keep, &other, asked), grpccreds.Client(node, "127.0.0.1", identity.ControlPlane)); err == nil || !strings.Contains(err.Error(), "not the shared certificate") {
		t.Errorf("the client says %v", err)
	}
	awaitLine(t, &other, "the other side has cluster_mtls = shared, this one pki")
}

// A client hears of its refusal when it first reads, and says what it heard.
func TestARefusedClientSaysSo(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	source, _, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane}})
	var log lines
	address := serve(t, source, &log, make(chan identity.Identity, 1))
	admin, _, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.Admin}})
	if err := check(t, address, grpccreds.Client(admin, "", identity.ControlPlane)); err == nil || !strings.Contains(err.Error(), "refused by the other side: bad certificate; its log says why") {
		t.Errorf("the client says %v", err)
	}
}

// A client that is sent to a port where HTTP is spoken says which port was meant.
func TestAClientAtAnotherPortNamesTheRightOne(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	node, _, _ := mtlstest.NewCA(t, "cluster").Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.KMS}})
	err := check(t, web.Listener.Addr().String(), grpccreds.Client(node, "", identity.ControlPlane))
	if err == nil || !strings.Contains(err.Error(), "cluster_listen, 8005 by default") {
		t.Errorf("the client says %v", err)
	}
}

// awaitLine waits for a line that a server writes after its client knows.
func awaitLine(t *testing.T, log *lines, want string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(log.String(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %q in the log:\n%s", want, log)
		}
	}
}
