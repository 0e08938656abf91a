package schema_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// References within values are read where they are written, and what is wrong with one is said without it.
func TestReferencesBehindNames(t *testing.T) {
	t.Parallel()
	s := schema.New(plugins.All())
	e, _ := s.Entity("plugins")
	for config, want := range map[string]string{
		`{"add":{"headers":["X-Key:{kvm://m/a/b}","X-Both:a {vault://prod/x/y#2} b{kvm://m/k}"]}}`: "",
		`{"replace":{"uri":"/a/{kvm://m/k}"}}`:                                                     "",
		`{"replace":{"uri":"{kvm://m/k}"}}`:                                                        "",
		`{"add":{"headers":["{kvm://m/k}"]}}`:                                                      "a reference stands behind a name",
		`{"append":{"querystring":["a:{kvm://canary}"]}}`:                                          "invalid reference: the reference names no secret",
		`{"add":{"body":["a:x{vault://CANARY/x}"]}}`:                                               "invalid reference: the vault of the reference",
		`{"replace":{"uri":"/{kvm://m/k"}}`:                                                        "invalid reference: the reference does not end",
	} {
		doc, err := schema.ParseJSON([]byte(`{"name":"request-transformer","config":` + config + `}`))
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Build(e, nil, doc, schema.Insert, nil)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", config, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(strings.ToLower(err.Error()), "canary")):
			t.Errorf("%s: %v", config, err)
		}
	}
}
