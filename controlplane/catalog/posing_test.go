package catalog_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/catalog"
)

// What is no secret cannot pose as a sealed value: the row would count for a provider that nobody has, and no start and
// no re-encryption would ever be satisfied.
func TestNothingPosesAsSealed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("consumers", `{"username":"bob"}`)
	e.insert("plugins", nested)
	for name, config := range map[string]string{
		"another provider's": `{"public":"k8s:enc:aesgcm:v1:gone:AAAA"}`,
		"the keyring's":      `{"public":"$ke$1$-AAAAAAAA-00"}`,
		"of no known form":   `{"public":"k8s:enc:"}`,
		"a name":             `{"headers":{"k8s:enc:kms:v2:gone:AAAAAAAAAA":"x"}}`,
	} {
		_, err := e.catalog.Insert(t.Context(), e.at("plugins", ""), doc(t, `{"name":"secretive","config":`+config+`}`))
		problem := problemIn(err)
		if problem == nil || problem.Code != catalog.SchemaViolation || !strings.Contains(problem.Message, "no value but a secret may begin") {
			t.Errorf("%s: %v", name, err)
		}
	}
	e.insert("plugins", `{"name":"secretive","config":{"endpoint":"k8s:enc:aesgcm:v1:gone:AAAA","client_id":["$ke$1$-AAAAAAAA-00"],
		"public":"it says \"k8s:enc:aesgcm:v1:gone:AAAA\" and $ke$1$-AAAAAAAA-00"}}`)
	counts, err := e.store.CountSealed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, count := range counts {
		if count.Table == "plugins" && count.Key != e.ring.Keys().Active {
			t.Errorf("%d rows count for %q", count.Rows, count.Key)
		}
	}
	if changed, bad := e.reseal(); changed != 0 || len(bad) != 0 {
		t.Errorf("%d rows are stale, %v unreadable", changed, bad)
	}
}
