package enrol

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/enrol/enroltest"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
)

func withLists(b *enrolv1.Trust, lists ...[]byte) *enrolv1.Trust {
	b = proto.CloneOf(b)
	b.RevocationLists = lists
	return b
}

// A bundle is taken when it is newer and this node could still link under it.
func TestTrust(t *testing.T) {
	t.Parallel()
	other := enroltest.NewAuthority(t, "next")
	tests := map[string]struct {
		held  func(c *enroltest.Cluster) *enrolv1.Trust // nil: of sequence 5, the root without lists
		next  func(c *enroltest.Cluster) *enrolv1.Trust
		want  string // "": taken
		lists int    // that are held then
	}{
		"another authority beside": {next: func(c *enroltest.Cluster) *enrolv1.Trust { return enroltest.Bundle(6, c.Root, other) }},
		"lists for the first time": {next: func(c *enroltest.Cluster) *enrolv1.Trust {
			return withLists(enroltest.Bundle(6, c.Root), c.Root.List(t, 1))
		}, lists: 1},
		"the same again":          {next: func(c *enroltest.Cluster) *enrolv1.Trust { return enroltest.Bundle(5, c.Root) }},
		"an older one":            {next: func(c *enroltest.Cluster) *enrolv1.Trust { return enroltest.Bundle(4, c.Root) }, want: "lower than 5"},
		"others of one sequence":  {next: func(c *enroltest.Cluster) *enrolv1.Trust { return enroltest.Bundle(5, c.Root, other) }, want: "other authorities"},
		"nobody":                  {next: func(*enroltest.Cluster) *enrolv1.Trust { return enroltest.Bundle(6) }, want: "believes nobody"},
		"nothing":                 {next: func(*enroltest.Cluster) *enrolv1.Trust { return nil }, want: "lower than 5"},
		"without this node's own": {next: func(*enroltest.Cluster) *enrolv1.Trust { return enroltest.Bundle(6, other) }, want: "wrong CA"},
		"that revokes the teller": {next: func(c *enroltest.Cluster) *enrolv1.Trust {
			return withLists(enroltest.Bundle(6, c.Root), c.Root.List(t, 1, c.Chain[0]))
		}, want: "revoked"},
		"a list of half": {next: func(c *enroltest.Cluster) *enrolv1.Trust {
			return withLists(enroltest.Bundle(6, c.Root, other), c.Root.List(t, 1))
		}, want: "CRL"},
		"what is no certificate": {next: func(c *enroltest.Cluster) *enrolv1.Trust {
			return &enrolv1.Trust{Sequence: 6, Authorities: [][]byte{c.Root.Cert.Raw, {1}}}
		}, want: "CA"},
		"a newer list": {
			held: func(c *enroltest.Cluster) *enrolv1.Trust {
				return withLists(enroltest.Bundle(5, c.Root), c.Root.List(t, 3))
			},
			next: func(c *enroltest.Cluster) *enrolv1.Trust {
				return withLists(enroltest.Bundle(5, c.Root), c.Root.List(t, 4))
			}, lists: 1,
		},
		"an older list": {
			held: func(c *enroltest.Cluster) *enrolv1.Trust {
				return withLists(enroltest.Bundle(5, c.Root), c.Root.List(t, 3))
			},
			next: func(c *enroltest.Cluster) *enrolv1.Trust {
				return withLists(enroltest.Bundle(6, c.Root), c.Root.List(t, 2))
			}, want: "steps back", lists: 1,
		},
		"no lists any more": {
			held: func(c *enroltest.Cluster) *enrolv1.Trust {
				return withLists(enroltest.Bundle(5, c.Root), c.Root.List(t, 3))
			},
			next: func(c *enroltest.Cluster) *enrolv1.Trust { return enroltest.Bundle(6, c.Root) }, lists: 1,
		},
		"no list of another one": {
			held: func(c *enroltest.Cluster) *enrolv1.Trust {
				return withLists(enroltest.Bundle(5, c.Root), c.Root.List(t, 3))
			},
			next: func(c *enroltest.Cluster) *enrolv1.Trust { return enroltest.Bundle(6, c.Root, other) }, want: "no list of revoked certificates", lists: 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := enroltest.New(t)
			if test.held != nil {
				c.Trust = test.held(c)
			}
			f, m := joined(t, c, &kept{}, Options{})
			before, next := c.Trust.GetSequence(), test.next(c)
			err := m.Trust(next, c.Shown())
			switch {
			case test.want == "" && (err != nil || m.TrustSequence() != next.GetSequence() || m.Status().TrustProblem != ""):
				t.Errorf("Trust = %v, sequence %d", err, m.TrustSequence())
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || m.TrustSequence() != before || m.Status().TrustProblem == ""):
				t.Errorf("Trust = %v, sequence %d; want %q", err, m.TrustSequence(), test.want)
			}
			source, err := f.Open(nil) // what a restart finds
			if err != nil {
				t.Fatal(err)
			}
			if n := len(source.Status().CRLs); n != test.lists || n != len(m.source.Status().CRLs) {
				t.Errorf("%d lists on the disk, %d in use, want %d", n, len(m.source.Status().CRLs), test.lists)
			}
			if entries, err := os.ReadDir(f.dir); err != nil || len(entries) != 3 { // current, one generation, lock
				t.Errorf("the folder holds %v, %v", entries, err)
			}
		})
	}
}

func TestAnOperatorsTrustIsHisOwn(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	f, joined := joined(t, c, &kept{}, Options{})
	m := Appointed(f, joined.source, f.CertFile(), &kept{}, Options{})
	if err := m.Trust(enroltest.Bundle(6, c.Root), c.Shown()); err == nil || !strings.Contains(err.Error(), "cluster_ca_cert") {
		t.Errorf("Trust = %v", err)
	}
	if m.TrustSequence() != 0 {
		t.Errorf("sequence %d", m.TrustSequence())
	}
}

// Formats that a later version has to read.
func TestGoldenDocuments(t *testing.T) {
	t.Parallel()
	f := At(t.TempDir())
	must(t, os.Mkdir(f.path(1, ""), 0o700))
	for name, want := range map[string]string{recordName: "enrolment.golden", wipedName: "wiped.golden"} {
		golden, err := os.ReadFile(filepath.Join("testdata", want))
		must(t, err)
		if name == recordName {
			must(t, os.WriteFile(f.path(1, name), golden, 0o600))
		} else {
			must(t, os.WriteFile(filepath.Join(f.dir, name), golden, 0o600))
		}
	}
	r, err := f.recordOf(1)
	if err != nil || r.TrustSequence != 7 || r.JoinedAt != 1790000000 || r.RenewedAt != 1791000000 || strings.Join(r.FormerSerials, " ") != "0a 0b" {
		t.Errorf("the record: %+v, %v", r, err)
	}
	w, err := f.Wiped()
	if err != nil || w.Identity != "keepgate://data-plane/acme/prod/edge-1" || !w.Concerns("0a") || w.Concerns("0c") || w.Reason != "stolen" ||
		w.RevokedAt != 1790000000 || w.WipedAt != 1790000001 || w.By != "keepgate://control-plane/acme/-/cp" {
		t.Errorf("the order: %+v, %v", w, err)
	}
	before, err := os.ReadFile(filepath.Join("testdata", "wiped.golden"))
	must(t, err)
	must(t, f.noteWiped(*w))
	if after, err := os.ReadFile(filepath.Join(f.dir, wipedName)); err != nil || string(after) != string(before) {
		t.Errorf("the order is written as\n%s, %v", after, err)
	}
	must(t, os.WriteFile(f.path(1, recordName), []byte(`{"version":2}`), 0o600))
	if _, err := f.recordOf(1); err == nil {
		t.Error("a record of another version was read")
	}
	must(t, os.WriteFile(filepath.Join(f.dir, wipedName), []byte("{"), 0o600))
	if w, err := f.Wiped(); err != nil || w == nil || !w.Concerns("any") {
		t.Errorf("an order that cannot be read: %+v, %v", w, err)
	}
}
