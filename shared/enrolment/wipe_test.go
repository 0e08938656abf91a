package enrolment_test

import (
	"strings"
	"testing"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

func TestWipesAreProven(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "ca"), mtlstest.NewCA(t, "other")
	node, _, _ := ca.Source(t, mtlstest.Leaf{})
	leaf := func(role identity.Role) mtlstest.Leaf {
		return mtlstest.Leaf{Identity: identity.Identity{Role: role, Name: "signer"}}
	}
	controlPlane, _, _ := ca.Source(t, leaf(identity.ControlPlane))
	edge, _, _ := ca.Source(t, leaf(identity.DataPlane))
	admin, _, _ := ca.Source(t, leaf(identity.Admin))
	foreign, _, _ := other.Source(t, leaf(identity.ControlPlane))
	order := func() *enrolv1.Wipe {
		return &enrolv1.Wipe{Identity: "keepgate://data-plane/acme/prod/node-1", Serial: "0a", RevokedAt: time.Now().Unix(), Reason: "stolen"}
	}
	signed := func(by *mtls.Source) *enrolv1.SignedWipe {
		s, err := enrolment.SignWipe(by, order())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	wipe, signer, err := enrolment.ProvenWipe(node, signed(controlPlane))
	if err != nil || signer.Name != "signer" || wipe.GetReason() != "stolen" {
		t.Fatalf("ProvenWipe = %v, %v, %v", wipe, signer, err)
	}
	changed := signed(controlPlane)
	changed.Wipe = []byte(strings.Replace(string(changed.Wipe), "node-1", "node-2", 1))
	otherContext := signed(controlPlane)
	if otherContext.Proof, err = controlPlane.Sign("lease", otherContext.Wipe); err != nil {
		t.Fatal(err)
	}
	unreadable := &enrolv1.SignedWipe{Wipe: []byte{0xff}}
	if unreadable.Proof, err = controlPlane.Sign(enrolment.WipeContext, unreadable.Wipe); err != nil {
		t.Fatal(err)
	}
	for name, order := range map[string]*enrolv1.SignedWipe{
		"nothing": nil, "without a proof": {Wipe: changed.Wipe}, "changed": changed, "proven for something else": otherContext,
		"by a data plane": signed(edge), "by an admin": signed(admin), "by another cluster": signed(foreign), "unreadable": unreadable,
	} {
		if wipe, _, err := enrolment.ProvenWipe(node, order); err == nil {
			t.Errorf("%s: believed as %v", name, wipe)
		}
	}
	for name, change := range map[string]func(*enrolv1.Wipe){
		"nobody": func(w *enrolv1.Wipe) { w.Identity = "" }, "a control plane": func(w *enrolv1.Wipe) { w.Identity = "keepgate://control-plane/acme/-/cp" },
		"no serial": func(w *enrolv1.Wipe) { w.Serial = "" }, "no time": func(w *enrolv1.Wipe) { w.RevokedAt = 0 },
	} {
		w := order()
		change(w)
		if _, err := enrolment.SignWipe(controlPlane, w); err == nil {
			t.Errorf("an order about %s was signed", name)
		}
	}
}
