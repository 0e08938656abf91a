package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/e2e/harness"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// plugin is a KMS plugin as a control plane node sees it.
func plugin(t *testing.T, c *harness.Cluster, cp *harness.ControlPlane, name string) wrapv1.WrapServiceClient {
	t.Helper()
	source, err := mtls.Open(mtls.Files{Cert: c.Cert(name + ".crt"), Key: c.Cert(name + ".key"), CA: c.Cert("ca.crt"), CRL: c.Cert("crl.pem")})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(cp.Cluster, grpc.WithTransportCredentials(grpccreds.Client(source, "", identity.ControlPlane)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return wrapv1.NewWrapServiceClient(conn)
}

// Kubernetes' keys work at every node, are sealed by the keyring of strategy cluster, and come back with it after all
// nodes were gone.
func TestKEKsAtTwoNodesAndAfterAFullOutage(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2, func(int) []string { return nil })
	for _, cp := range n.all {
		cp.Start()
	}
	n.agree(1)
	a, b := n.all[0], n.all[1]
	n.CP("certs", "issue", "prod.master-1", "--role", "kms", "--dir", n.Certs())
	if said := n.CP("kek", "create", "prod", "--admin-url", a.Admin().URL("")); !strings.Contains(said, "made KEK prod") {
		t.Fatal(said)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	atA, atB := plugin(t, n.Cluster, a, "prod.master-1"), plugin(t, n.Cluster, b, "prod.master-1")
	sealed, err := atB.Wrap(ctx, &wrapv1.WrapRequest{Uid: "uid-of-the-first", Plaintext: []byte("the-seed-of-an-api-server")})
	if err != nil {
		t.Fatal(err)
	}
	opens := func(at wrapv1.WrapServiceClient, uid string) error {
		opened, err := at.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: uid, KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext})
		if err == nil && string(opened.Plaintext) != "the-seed-of-an-api-server" {
			t.Fatalf("it opens as %q", opened.Plaintext)
		}
		return err
	}
	if err := opens(atA, "uid-of-the-second"); err != nil {
		t.Fatal(err)
	}
	if said := n.CP("kek", "rotate", "prod", "--admin-url", b.Admin().URL("")); !strings.Contains(said, "former key  "+sealed.KeyId) || !strings.Contains(said, "and not before") {
		t.Fatal(said)
	}
	harness.Eventually(t, "the rotation being seen at the other node", func() string {
		shown, err := atA.Describe(ctx, &wrapv1.DescribeRequest{})
		if err != nil || len(shown.Keys) != 2 || shown.Keys[1].Generation != 2 {
			return shown.String() + " " + status.Convert(err).Message()
		}
		return ""
	})
	for cp, uid := range map[*harness.ControlPlane]string{b: "uid-of-the-first", a: "uid-of-the-second"} {
		journal := n.CP("audit", "list", "--action", "kek", "--json", "--admin-url", cp.Admin().URL(""))
		if !strings.Contains(journal, uid) || !strings.Contains(journal, "keepgate://kms/default/-/prod.master-1") {
			t.Errorf("the journal does not name %s:\n%s", uid, journal)
		}
	}

	for _, cp := range n.all {
		cp.Stop()
	}
	a.Start() // nobody is there who held the keyring
	if err := opens(atA, "uid-in-the-outage"); status.Code(err) != codes.Unavailable {
		t.Fatalf("without the keyring: %v", err)
	}
	if _, err := n.TryCP("keyring", "recover", "--key", n.recovery, "--admin-url", a.Admin().URL(""), "--admin-token-file", a.Prefix+"/admin.token"); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the key being back", func() string { return status.Convert(opens(atA, "uid-afterwards")).Message() })
	usage := a.Admin().Do(200, http.MethodGet, "/kms/keys/prod", nil)
	if keys, _ := usage["keys"].([]any); len(keys) != 2 {
		t.Errorf("after the recovery the KEK is %v", usage)
	}
}
