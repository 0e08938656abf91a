package enrol_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/enrol"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// renew asks over the network with a certificate.
func (n *node) renew(with *mtls.Source, request []byte) (*enrolment.Answer, error) {
	n.t.Helper()
	conn, err := grpc.NewClient(n.address, grpc.WithTransportCredentials(grpccreds.Client(with, "", identity.ControlPlane)))
	n.must(err)
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	response, err := enrolv1.NewEnrolServiceClient(conn).Renew(ctx, &enrolv1.RenewRequest{Request: request})
	return &enrolment.Answer{Issued: response.GetIssued()}, err
}

// paused is how long a node waits between two certificates of one data plane.
func paused(pause time.Duration) func(*enrol.Options) {
	return func(o *enrol.Options) { o.RenewPause = pause }
}

func TestRenew(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	one := e.node(paused(time.Nanosecond)).found().serve()
	two := e.node(paused(time.Hour)).serve()
	firstKey, nextKey := e.newKey(), e.newKey()
	first, err := one.join(one.invite("default", "edge-1"), asking{key: firstKey})
	e.must(err)
	old := e.member(first, firstKey)
	next, err := two.renew(old, e.request(asking{key: nextKey}))
	e.must(err)
	id, err := identity.Of(e.leaf(next.Issued.Chain))
	if err != nil || id.String() != "keepgate://data-plane/acme/default/edge-1" || id.Serial == old.Identity().Serial {
		t.Errorf("renewed as %v: %v", id, err)
	}
	if _, err := two.renew(old, e.request(asking{key: e.newKey()})); status.Code(err) != codes.Unavailable {
		t.Errorf("again at once: %v", err)
	}
	fresh := e.member(next, nextKey)
	if _, err := one.renew(fresh, e.request(asking{key: e.newKey()})); err != nil { // this uses it
		t.Errorf("with the new one: %v", err)
	}
	if _, err := one.renew(old, e.request(asking{key: e.newKey()})); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "newer certificate") {
		t.Errorf("with the old one: %v", err)
	}
	if noted := e.journal.noted("enrol.renew data-plane/default/edge-1 serial " + id.Serial + " former " + old.Identity().Serial); len(noted) != 1 {
		t.Errorf("the journal: %v", e.journal.entries)
	}
	if noted := e.journal.noted("refused:enrol.renew data-plane/default/edge-1 serial " + old.Identity().Serial); len(noted) == 0 {
		t.Errorf("a refusal is not in the journal: %v", e.journal.entries)
	}
}

func TestRenewRefuses(t *testing.T) {
	t.Parallel()
	n := newEnv(t).node().found().serve()
	key := n.newKey()
	answer, err := n.join(n.invite("default", "edge-1"), asking{key: key})
	n.must(err)
	member := n.member(answer, key)
	foreign, err := url.Parse("keepgate://control-plane/acme/-/cp")
	n.must(err)
	for name, request := range map[string][]byte{
		"no request":      nil,
		"a control plane": n.request(asking{key: n.newKey(), template: x509.CertificateRequest{URIs: []*url.URL{foreign}}}),
		"a host's name":   n.request(asking{key: n.newKey(), template: x509.CertificateRequest{DNSNames: []string{"cp"}}}),
	} {
		if _, err := n.renew(member, request); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := n.request(asking{key: n.newKey()})
	files := n.issued(identity.DataPlane, "edge-2")
	if _, err := n.renew(files, good); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "where it was made") {
		t.Errorf("a certificate of the cluster's authority: %v", err)
	}
	if _, err := n.renew(n.issued(identity.KMS, "k8s"), good); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a certificate of role kms: %v", err)
	}
	_, who := n.link(answer)
	_, err = n.registry.Revoke(t.Context(), who.Environment, who.Name, "stolen")
	n.must(err)
	if _, err := n.renew(member, good); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("revoked: %v", err)
	}
}

// issued is a node whose certificate the cluster's authority signed.
func (n *node) issued(role identity.Role, name string) *mtls.Source {
	n.t.Helper()
	ca, err := certs.Open(n.dir)
	n.must(err)
	defer ca.Close()
	issued, err := ca.Issue(certs.Spec{Role: role, Name: name})
	n.must(err)
	dir := n.t.TempDir()
	files := mtls.Files{Cert: dir + "/node.crt", Key: dir + "/node.key", CA: n.files.CA}
	mtlstest.Write(n.t, files.Cert, issued.CertPEM)
	issued.KeyPEM.Reveal(func(data []byte) { mtlstest.Write(n.t, files.Key, append([]byte{}, data...)) })
	source, err := mtls.Open(files)
	n.must(err)
	return source
}

// Revoked and renewed at the same instant, at two nodes: whichever was first, it may not link.
func TestRevokedWhileRenewing(t *testing.T) {
	t.Parallel()
	revokedWhileRenewing(t, newEnv(t), 4)
}

func revokedWhileRenewing(t *testing.T, e *env, rounds int) {
	t.Helper()
	one := e.node().found().serve()
	two := e.node().serve()
	var all sync.WaitGroup
	for round := range rounds {
		all.Go(func() {
			name := "edge-" + string(rune('a'+round))
			key, next := e.newKey(), e.newKey()
			first, err := one.join(one.invite("default", name), asking{key: key})
			if err != nil {
				t.Error(err)
				return
			}
			member := e.member(first, key)
			_, who := one.link(first)
			var racing sync.WaitGroup
			var renewed *enrolment.Answer
			var renewErr error
			racing.Go(func() { renewed, renewErr = one.renew(member, e.request(asking{key: next})) })
			racing.Go(func() {
				if _, err := two.registry.Revoke(context.Background(), who.Environment, who.Name, ""); err != nil {
					t.Errorf("revoking: %v", err)
				}
			})
			racing.Wait()
			fresh := e.node().registry
			cs, who := one.link(first)
			if _, revoked := errors.AsType[*nodes.Revoked](fresh.Admit(context.Background(), cs, who)); !revoked {
				t.Error("the certificate of before may link")
			}
			if renewErr != nil {
				return
			}
			cs, who = one.link(renewed)
			if err := fresh.Admit(context.Background(), cs, who); err == nil {
				t.Error("the renewed certificate may link")
			}
		})
	}
	all.Wait()
}
