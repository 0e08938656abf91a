package nodes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
)

// TestDocumentForm holds the stored form.
func TestDocumentForm(t *testing.T) {
	t.Parallel()
	d := nodes.Document{
		Sequence: 7, Identity: "keepgate://data-plane/acme/prod/edge-1",
		Certificates: []nodes.Certificate{{Serial: "0a", IssuedAt: 1, NotAfter: 3, UsedAt: 2}, {Serial: "0b", IssuedAt: 2, NotAfter: 4}},
		JoinedAt:     1, Token: "9b2f8a53-4c2a-4d1a-9f11-000000000001", RenewedAt: 2, RevokedAt: 1, Reason: "stolen",
		Revoked: []nodes.Certificate{{Serial: "09", IssuedAt: 1, NotAfter: 3}},
	}
	text, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "document.golden.json")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(golden)) != text {
		t.Errorf("the stored form is %s (%v), want %s", text, err, golden)
	}
	read, err := nodes.ParseDocument(strings.TrimSpace(string(golden)))
	if diff := cmp.Diff(d, read); diff != "" || err != nil {
		t.Errorf("read (-want +got):\n%s%v", diff, err)
	}
	if read.Key() != "prod/edge-1" {
		t.Error(read.Key())
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add(`{"sequence":1,"identity":"keepgate://data-plane/acme/prod/edge-1"}`)
	f.Add(`{"sequence":1,"identity":"keepgate://data-plane/acme/prod/edge-1","certificates":[{"serial":"0a","issued_at":1,"not_after":2}],"joined_at":1}`)
	for _, bad := range []string{
		``, `{}`, `null`, `[]`, `{"sequence":1}`, `{"sequence":1,"identity":"keepgate://control-plane/acme/-/cp"}`,
		`{"sequence":0,"identity":"keepgate://data-plane/acme/prod/edge-1"}`, `{"sequence":1,"identity":"keepgate://data-plane/acme/prod/edge-1","more":1}`,
		`{"sequence":1,"identity":"keepgate://data-plane/acme/prod/edge-1"}{}`,
		`{"sequence":1,"identity":"keepgate://data-plane/acme/prod/edge-1","revoked":[{"serial":"0a","issued_at":1,"not_after":2}]}`,
		`{"sequence":1,"identity":"keepgate://data-plane/acme/prod/edge-1","certificates":[{"serial":"","issued_at":1,"not_after":2}]}`,
	} {
		if _, err := nodes.ParseDocument(bad); err == nil {
			f.Errorf("%s is taken for a document", bad)
		}
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := nodes.ParseDocument(text)
		if err != nil {
			return
		}
		again, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if same, err := nodes.ParseDocument(again); err != nil || cmp.Diff(d.Key(), same.Key()) != "" {
			t.Errorf("%q becomes %q: %v", text, again, err)
		}
	})
}
