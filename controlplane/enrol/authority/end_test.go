package authority_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/shared/fault"
)

// An authority that was ended certifies nobody, at a node that starts anew either; who is believed stays, and another
// one can be made.
func TestAnEndedAuthorityCertifiesNobody(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	e.must(n.create(t, e.ca, false))
	told, _ := n.Bundle()
	for range 2 { // the second time it is so already
		if err := n.End(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for what, at := range map[string]*node{"the node": n, "one that starts": e.node()} {
		_, _, err := at.Certify(who("gw"), newKey(t).Public(), time.Hour)
		wantFault(t, err, fault.Unavailable, "fleet authority create")
		if now, _ := at.Bundle(); len(now.GetAuthorities()) != len(told.GetAuthorities()) {
			t.Errorf("%s believes %d authorities, not %d", what, len(now.GetAuthorities()), len(told.GetAuthorities()))
		}
	}
	e.must(n.create(t, e.ca, false))
	if _, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour); err != nil {
		t.Errorf("another authority: %v", err)
	}
}

func TestKeysNeverRestInClear(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/document.golden")
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Sealed(string(golden)); err == nil || !strings.Contains(err.Error(), "fleet authority end") {
		t.Errorf("a document with a key: %v", err)
	}
	var document map[string]any
	if err := json.Unmarshal(golden, &document); err != nil {
		t.Fatal(err)
	}
	for _, edge := range document["edges"].([]any) {
		delete(edge.(map[string]any), "key")
	}
	without, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Sealed(string(without)); err != nil {
		t.Errorf("a document without keys: %v", err)
	}
	if authority.Sealed("no document") == nil {
		t.Error("what is no document may rest in clear")
	}
}
