package authority_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/schema"
)

// foreign is an authority that whoever writes the database would like to be believed, with a data plane of it.
func (e *env) foreign() (ca *certs.Authority, shown [][]byte) {
	ca = e.open(certs.Create(e.t.TempDir()+"/foreign", "acme", certs.Options{}))
	issued, err := ca.Issue(certs.Spec{Name: "gw", Environment: "prod"})
	e.must(err)
	return ca, [][]byte{parsed(e.t, issued.CertPEM)[0].Raw}
}

// inClear is a document that names a foreign authority, made by a control plane of the thief's own.
func (e *env) inClear(foreign *certs.Authority) string {
	other := newEnv(e.t)
	n := other.node()
	if err := n.Trust(e.t.Context(), certificates(foreign), nil); err != nil {
		// The thief's control plane goes by no lists.
		files := other.files(other.ca, other.folder)
		files.CRL = ""
		n = other.unread(files, other.catalog)
		other.must(n.Trust(e.t.Context(), certificates(foreign), nil))
	}
	row, err := other.store.ByUnique(e.t.Context(), "cluster_trust", "", "name", "cluster")
	other.must(err)
	m, err := other.catalog.Open(e.t.Context(), row)
	other.must(err)
	return documentOf(m)
}

// TestWhoWritesTheDatabaseIsNotBelieved: what they write shows, and nobody goes by it.
func TestWhoWritesTheDatabaseIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		forge func(e *env, foreign *certs.Authority)
		says  string // of a node that starts with it
	}{
		"in clear": {func(e *env, foreign *certs.Authority) {
			e.sql("UPDATE cluster_trust SET document = ?", e.inClear(foreign))
		}, "rests in clear"},
		"sealed under another database's keys": {func(e *env, _ *certs.Authority) {
			other := newEnv(e.t)
			n := other.node()
			other.must(n.create(e.t, other.ca, false))
			e.sql("UPDATE cluster_trust SET document = ?", other.sealed())
		}, "key"},
		"a sealed value of another row": {func(e *env, _ *certs.Authority) {
			e.sealElsewhere()
		}, "does not verify"},
		"a broken one": {func(e *env, _ *certs.Authority) {
			sealed := e.sealed()
			e.sql("UPDATE cluster_trust SET document = ?", sealed[:len(sealed)-2]+"00")
		}, "does not verify"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			n := e.node()
			e.must(n.create(t, e.ca, false))
			chain, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour)
			e.must(err)
			good, sequence := e.sealed(), n.Sequence()
			foreign, thief := e.foreign()
			test.forge(e, foreign)
			if e.sealed() == good {
				t.Fatal("nothing was forged")
			}
			fresh := e.unread(e.files(e.ca, e.folder), e.catalog)
			if err := fresh.Load(t.Context()); err == nil {
				t.Fatal("a node that starts goes by it")
			}
			status, err := fresh.Status(t.Context())
			if err != nil || !strings.Contains(status.Problem, test.says) || len(status.Authorities) != 0 {
				t.Errorf("a node that starts says %+v, %v; want %q", status, err, test.says)
			}
			if !strings.Contains(fresh.log.String(), "not believed") {
				t.Errorf("its log: %s", fresh.log)
			}
			for _, node := range []*node{fresh, n} {
				if err := node.source.Check(shows(t, thief), identity.DataPlane); err == nil {
					t.Error("a data plane of the foreign authority is let in")
				}
			}
			if _, _, err := fresh.Certify(who("gw"), newKey(t).Public(), time.Hour); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("a node that starts certifies: %v", err)
			}
			// A node that held the document goes on with it, and writes it again.
			_ = n.Load(t.Context())
			if err := n.source.Check(shows(t, chain), identity.DataPlane); err != nil || n.Sequence() != sequence {
				t.Errorf("the node that held it: %v, sequence %d of %d", err, n.Sequence(), sequence)
			}
			if name == "sealed under another database's keys" {
				return // the key may come back, so that it is left
			}
			if !strings.Contains(n.journal.text(), "authority.restore") {
				t.Errorf("in the journal:\n%s", n.journal.text())
			}
			if err := fresh.Load(t.Context()); err != nil || fresh.Sequence() != sequence {
				t.Errorf("the node that started, after it was written again: %v, sequence %d of %d", err, fresh.Sequence(), sequence)
			}
		})
	}
}

// sealElsewhere puts a value into the row that was sealed for another place.
func (e *env) sealElsewhere() {
	_, err := e.catalog.Insert(e.t.Context(), catalog.Address{Table: "consumers", Workspace: e.workspace()}, schema.Document{"username": "u"})
	e.must(err)
	_, err = e.catalog.Insert(e.t.Context(), catalog.Address{Table: "keyauth_credentials", Workspace: e.workspace(), Parent: &catalog.Parent{Table: "consumers", Key: "u"}}, schema.Document{"key": strings.Repeat("k", 40)})
	e.must(err)
	rows, err := e.store.List(e.t.Context(), listing("keyauth_credentials"))
	e.must(err)
	e.sql("UPDATE cluster_trust SET document = ?", rows[0].Sealed["key"])
}

// TestAnOlderDocumentShows: bringing back what was retired.
func TestAnOlderDocumentShows(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	e.must(n.create(t, e.ca, false))
	old, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour)
	e.must(err)
	next, dir := e.after()
	e.must(n.Trust(t.Context(), certificates(next), crlOf(t, dir)))
	e.must(n.create(t, next, true))
	before := e.sealed()
	e.must(n.Retire(t.Context(), fingerprint(e.ca), true))
	sequence := n.Sequence()
	e.sql("UPDATE cluster_trust SET document = ?", before)
	e.must(n.Load(t.Context()))
	if err := n.source.Check(shows(t, old), identity.DataPlane); err == nil || n.Sequence() != sequence {
		t.Errorf("the retired one counts again: %v, sequence %d of %d", err, n.Sequence(), sequence)
	}
	if !strings.Contains(n.journal.text(), "authority.restore") || !strings.Contains(n.log.String(), "older form") {
		t.Errorf("it does not show:\n%s\n%s", n.journal.text(), n.log)
	}
	if fresh := e.node(); fresh.Sequence() != sequence {
		t.Errorf("it was not written again: sequence %d of %d", fresh.Sequence(), sequence)
	}
	e.sql("DELETE FROM cluster_trust")
	e.must(n.Load(t.Context()))
	if fresh := e.node(); fresh.Sequence() != sequence {
		t.Errorf("after it was deleted it was not written again: sequence %d of %d", fresh.Sequence(), sequence)
	}
}

// A document that opens was written by a control plane. One that this program cannot read is of a later program, as while
// nodes are updated one by one: it is not believed here, and stays.
func TestTheDocumentOfALaterProgramStays(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	e.must(n.create(t, e.ca, false))
	_, err := e.catalog.Change(t.Context(), catalog.Address{Table: "cluster_trust", Key: "cluster"}, func(proto.Message) (schema.Document, error) {
		return schema.Document{"document": `{"version":2,"sequence":99999999999}`}, nil
	})
	e.must(err)
	later := e.sealed()
	if err := n.Load(t.Context()); fault.KindOf(err) != fault.Conflict {
		t.Errorf("Load = %v", err)
	}
	if e.sealed() != later {
		t.Error("it was overwritten")
	}
	if err := n.Ready(); err != nil {
		t.Errorf("the node that holds the one before does not go on with it: %v", err)
	}
}
