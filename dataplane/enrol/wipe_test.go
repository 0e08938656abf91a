package enrol

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/enrol/enroltest"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
)

func TestWipe(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		order   func(t *testing.T, c *enroltest.Cluster, m *Member) *enrolv1.SignedWipe
		want    string // "": followed
		renewed bool
	}{
		"for this node": {order: func(t *testing.T, c *enroltest.Cluster, m *Member) *enrolv1.SignedWipe {
			return c.Wipe(t, m.source.Identity(), m.source.Identity().Serial)
		}},
		"about the certificate before a renewal": {renewed: true, order: func(t *testing.T, c *enroltest.Cluster, m *Member) *enrolv1.SignedWipe {
			return c.Wipe(t, m.source.Identity(), m.serials(m.source.Identity())[1])
		}},
		"for another node": {want: "is for keepgate://data-plane/acme/prod/edge-2", order: func(t *testing.T, c *enroltest.Cluster, m *Member) *enrolv1.SignedWipe {
			return c.Wipe(t, enroltest.Edge("edge-2"), m.source.Identity().Serial)
		}},
		"about another certificate": {want: "an enrolment before this one", order: func(t *testing.T, c *enroltest.Cluster, m *Member) *enrolv1.SignedWipe {
			return c.Wipe(t, m.source.Identity(), "0a")
		}},
		"by a data plane": {want: "not proven", order: func(t *testing.T, _ *enroltest.Cluster, m *Member) *enrolv1.SignedWipe {
			order, err := enrolment.SignWipe(m.source, &enrolv1.Wipe{Identity: m.source.Identity().String(), Serial: m.source.Identity().Serial, RevokedAt: 1})
			must(t, err)
			return order
		}},
		"by another cluster": {want: "not proven", order: func(t *testing.T, _ *enroltest.Cluster, m *Member) *enrolv1.SignedWipe {
			return enroltest.New(t).Wipe(t, m.source.Identity(), m.source.Identity().Serial)
		}},
		"changed on the way": {want: "not proven", order: func(t *testing.T, c *enroltest.Cluster, m *Member) *enrolv1.SignedWipe {
			order := c.Wipe(t, enroltest.Edge("edge-2"), m.source.Identity().Serial)
			order.Wipe = []byte(strings.Replace(string(order.Wipe), "edge-2", "edge-1", 1))
			return order
		}},
		"without a proof": {want: "not proven", order: func(*testing.T, *enroltest.Cluster, *Member) *enrolv1.SignedWipe { return nil }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := enroltest.New(t)
			holdings := &kept{}
			f, m := joined(t, c, holdings, Options{})
			if test.renewed {
				must(t, m.renew(t.Context(), c))
			}
			id := m.source.Identity()
			err := m.Wipe(test.order(t, c, m))
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || !f.Joined() || len(holdings.erased) != 0 || m.Status().Wiped != nil {
					t.Errorf("Wipe = %v, want %q; joined %v, erased %v", err, test.want, f.Joined(), holdings.erased)
				}
				return
			}
			must(t, err)
			<-m.Ended()
			if f.Joined() || len(holdings.erased) != 1 {
				t.Errorf("joined %v, erased %v", f.Joined(), holdings.erased)
			}
			s := m.Status()
			if s.Wiped == nil || s.Wiped.Reason != "stolen" || !strings.Contains(s.Advice, "fleet invite") || s.Wiped.By != c.Source.Identity().String() {
				t.Errorf("status %+v", s)
			}
			mustHoldNoKey(t, f.dir)
			standing, err := f.Look("")
			if err != nil || standing.Wiped == nil || standing.Joined || !standing.Wiped.Concerns(id.Serial) {
				t.Errorf("after a restart: %+v, %v", standing, err)
			}
			must(t, m.renew(t.Context(), c)) // does nothing
			if c.Issued > 2 {
				t.Error("a node that was shut out renews")
			}
		})
	}
}

func mustHoldNoKey(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if name := entry.Name(); name != wipedName && name != lockName {
			t.Errorf("%s is left", path)
		}
		return nil
	}))
}

// Files that an operator keeps are left; the order holds until he puts another certificate there.
func TestWipeOfAnOperatorsNode(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	owner, joined := joined(t, c, &kept{}, Options{})
	f := At(filepath.Join(t.TempDir(), "cluster"))
	holdings := &kept{}
	m := Appointed(f, joined.source, owner.CertFile(), holdings, Options{})
	id := joined.source.Identity()
	must(t, m.Wipe(c.Wipe(t, id, id.Serial)))
	if len(holdings.erased) != 1 || !owner.Joined() || !strings.Contains(m.Status().Advice, "left as they are") {
		t.Errorf("erased %v; the files %v; %+v", holdings.erased, owner.Joined(), m.Status())
	}
	standing, err := f.Look(id.Serial)
	if err != nil || standing.Wiped == nil {
		t.Errorf("after a restart: %+v, %v", standing, err)
	}
	standing, err = f.Look("0a") // another certificate
	if err != nil || standing.Wiped != nil {
		t.Errorf("with another certificate: %+v, %v", standing, err)
	}
	if standing, err = f.Look(id.Serial); err != nil || standing.Wiped != nil {
		t.Errorf("an order that was forgotten came back: %+v, %v", standing, err)
	}
}

// A node whose certificate is on its issuer's list is nobody, whoever brings the list.
func TestAListIsAsGoodAsAnOrder(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	holdings := &kept{}
	f, m := joined(t, c, holdings, Options{})
	if m.Listed() || Listed(m.source) != nil || m.Status().Wiped != nil {
		t.Fatal("it is on no list")
	}
	leaf, err := leafIn(f.CertFile())
	must(t, err)
	must(t, m.Trust(withLists(enroltest.Bundle(6, c.Root), c.Root.List(t, 1, leaf)), c.Shown()))
	for range 2 { // the second time there is nothing left to do
		if !m.Listed() {
			t.Fatal("it is on the list")
		}
	}
	if w := m.Status().Wiped; len(holdings.erased) != 1 || w == nil || w.By == "" || !w.Concerns(m.source.Identity().Serial) || f.Joined() {
		t.Errorf("erased %v, the folder holds a certificate: %v; %+v", holdings.erased, f.Joined(), w)
	}
	select {
	case <-m.Ended():
	default:
		t.Error("its membership goes on")
	}
}

// Joining again is a new beginning, and an order about what was before it is nobody's.
func TestJoiningAfterAWipe(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	f, m := joined(t, c, &kept{}, Options{})
	id := m.source.Identity()
	order := c.Wipe(t, id, id.Serial)
	must(t, m.Wipe(order))
	wish := Wish{Token: c.Token(t), Nodes: []string{c.Listen(t)}, Dial: enroltest.Straight}
	if _, err := f.Join(t.Context(), wish); err != nil {
		t.Fatal(err)
	}
	if standing, err := f.Look(""); err != nil || standing.Wiped != nil || !standing.Joined {
		t.Errorf("%+v, %v", standing, err)
	}
	source, err := f.Open(nil)
	must(t, err)
	again := Joined(f, source, &kept{}, Options{})
	if err := again.Wipe(order); err == nil || !strings.Contains(err.Error(), "before this one") {
		t.Errorf("the order from before = %v", err)
	}
	// The order was still there when the node joined, as after a crash between the two steps.
	w := Wiped{Identity: id.String(), Serials: []string{id.Serial}, RevokedAt: 1}
	must(t, f.noteWiped(w))
	if standing, err := f.Look(""); err != nil || standing.Wiped != nil {
		t.Errorf("%+v, %v", standing, err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, wipedName)); !os.IsNotExist(err) {
		t.Errorf("the order is still noted: %v", err)
	}
}
