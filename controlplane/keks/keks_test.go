package keks_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestWrapAndUnwrapOverARotation(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	first := n.create("prod")
	wrapped, keyID := n.wrap(keks.Use{Name: "prod", UID: "u1"}, "seed one")
	if keyID != first.KeyID {
		t.Fatalf("it wraps under %s, and %s is active", keyID, first.KeyID)
	}
	second := n.rotate("prod")
	if second.Former != first.KeyID || !strings.HasPrefix(second.KeyID, "prod.2.") {
		t.Fatalf("Rotate = %+v after %+v", second, first)
	}
	n.opens(keks.Use{Name: "prod", UID: "u2", KeyID: keyID}, wrapped, "seed one")
	again, under := n.wrap(keks.Use{Name: "prod", UID: "u3"}, "seed two")
	if under != second.KeyID {
		t.Fatalf("it wraps under %s after a rotation to %s", under, second.KeyID)
	}
	_, err := n.keks.Unwrap(t.Context(), prod, keks.Use{Name: "prod", KeyID: first.KeyID}, again)
	wants(t, err, fault.Invalid)
	wants(t, n.keks.Retire(t.Context(), "prod", first.KeyID, false), fault.Conflict)
	wants(t, n.keks.Retire(t.Context(), "prod", second.KeyID, true), fault.Conflict)
	if err := n.keks.Retire(t.Context(), "prod", first.KeyID, true); err != nil {
		t.Fatal(err)
	}
	_, err = n.keks.Unwrap(t.Context(), prod, keks.Use{Name: "prod", KeyID: first.KeyID}, wrapped)
	wants(t, err, fault.Conflict)
	n.opens(keks.Use{Name: "prod", KeyID: under}, again, "seed two")
}
