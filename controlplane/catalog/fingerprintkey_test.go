package catalog_test

import (
	"strings"
	"testing"
)

func TestAFingerprintKeyIsRotatedInTwoSteps(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("environments", `{"name":"prod"}`)
	first, other := e.environmentOf("prod"), e.environmentOf("default")
	if err := e.catalog.RotateFingerprintKey(t.Context(), "prod"); err != nil {
		t.Fatal(err)
	}
	both := e.environmentOf("prod")
	if both.GetPreviousFingerprintKey() != first.GetFingerprintKey() || both.GetPreviousFingerprintKeyId() != first.GetFingerprintKeyId() ||
		both.GetFingerprintKey() == first.GetFingerprintKey() || both.GetFingerprintKeyId() == first.GetFingerprintKeyId() {
		t.Error("the previous key is not the one before, or the new one is no other")
	}
	if now := e.environmentOf("default"); now.GetFingerprintKeyId() != other.GetFingerprintKeyId() || now.PreviousFingerprintKeyId != nil {
		t.Error("another environment's key changed")
	}
	if p := problemIn(e.catalog.RotateFingerprintKey(t.Context(), "prod")); p == nil || !strings.Contains(p.Message, "being changed already") {
		t.Errorf("a second change under way: %v", p)
	}
	if p := problemIn(e.catalog.RotateFingerprintKey(t.Context(), "nowhere")); p == nil {
		t.Error("an environment that is not there has its key changed")
	}
	for _, id := range []string{"another", first.GetFingerprintKeyId(), first.GetFingerprintKeyId()} {
		if err := e.catalog.DropPreviousFingerprintKey(t.Context(), "prod", id); err != nil {
			t.Fatal(err)
		}
		if gone := e.environmentOf("prod").PreviousFingerprintKeyId == nil; gone != (id != "another") {
			t.Errorf("dropping %q: gone is %v", id, gone)
		}
	}
	now := e.environmentOf("prod")
	if now.PreviousFingerprintKey != nil || now.GetFingerprintKey() != both.GetFingerprintKey() || len(now.GetFormerFingerprintKeyIds().GetValues()) != 0 {
		t.Error("after the change something of it is left, or the new key is not the same")
	}
}
