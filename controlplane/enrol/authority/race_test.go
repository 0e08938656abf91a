package authority_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/schema"
)

// TestTwoNodesCreateAtOnce: there is one authority that signs afterwards, on both, and each command knows how it went.
func TestTwoNodesCreateAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	nodes := []*node{e.unread(e.files(e.ca, e.folder), e.catalog), e.unread(e.files(e.ca, e.folder), e.newCatalog(e.ring))}
	var mu sync.Mutex // one folder serves one command at a time
	failed := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			asked, err := n.Request(t.Context(), e.ca.Certificate(), false)
			if err != nil {
				failed[i] = err
				return
			}
			mu.Lock()
			issued, err := e.ca.SignEdge(asked.PEM, 0)
			mu.Unlock()
			if err != nil {
				failed[i] = err
				return
			}
			failed[i] = n.Install(t.Context(), parsed(t, issued.CertPEM), false)
		})
	}
	wg.Wait()
	good := 0
	for _, err := range failed {
		switch {
		case err == nil:
			good++
		case fault.KindOf(err) != fault.Conflict:
			t.Errorf("a command ended with %v", err)
		}
	}
	if good == 0 {
		t.Fatalf("neither command made it: %v", failed)
	}
	var status []authority.Status
	for _, n := range nodes {
		e.must(n.Load(t.Context()))
		s, err := n.Status(t.Context())
		e.must(err)
		status = append(status, s)
		chain, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour)
		e.must(err)
		for _, other := range nodes {
			if err := other.source.Check(shows(t, chain), identity.DataPlane); err != nil {
				t.Error(err)
			}
		}
	}
	signing := ""
	for _, s := range status {
		for _, edge := range s.Edges {
			if edge.State == authority.Signing {
				if signing != "" && signing != edge.Serial {
					t.Errorf("two sign: %s and %s", signing, edge.Serial)
				}
				signing = edge.Serial
			}
		}
	}
}

// TestChangesAtOnce: none is lost.
func TestChangesAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first := e.node()
	e.must(first.create(t, e.ca, false))
	const count = 4
	var wg sync.WaitGroup
	for i := range count {
		n := e.node()
		dir := t.TempDir() + "/ca"
		ca := e.open(certs.Create(dir, "acme", certs.Options{}))
		wg.Go(func() {
			for {
				err := n.Trust(t.Context(), certificates(ca), crlOf(t, dir))
				if err == nil {
					return
				}
				if fault.KindOf(err) != fault.Conflict {
					t.Errorf("change %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	e.must(first.Load(t.Context()))
	status, err := first.Status(t.Context())
	if err != nil || len(status.Authorities) != count+1 {
		t.Errorf("%d authorities, %v", len(status.Authorities), err)
	}
}

// TestKilledBetweenSteps: whatever a command has come to when it is killed, running it again ends it.
func TestKilledBetweenSteps(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	asked, err := e.node().Request(t.Context(), e.ca.Certificate(), false) // the node is gone, and the command
	e.must(err)
	sign(t, e.ca, asked.PEM) // signed, and not handed over
	again, err := e.node().Request(t.Context(), e.ca.Certificate(), false)
	e.must(err)
	if again.Name != asked.Name {
		t.Errorf("another was asked for: %s and %s", again.Name, asked.Name)
	}
	last := sign(t, e.ca, again.PEM)
	e.must(e.node().Install(t.Context(), last, false)) // the answer was lost
	n := e.node()
	e.must(n.Install(t.Context(), last, false))
	if _, _, err := n.Certify(who("gw"), newKey(t).Public(), time.Hour); err != nil {
		t.Error(err)
	}
}

// failing is a catalog whose writes do not arrive, or whose answers do not.
type failing struct {
	authority.Catalog
	after bool
	err   error
}

func (f *failing) Insert(ctx context.Context, at catalog.Address, doc schema.Document) (m proto.Message, err error) {
	if f.err == nil || f.after {
		m, err = f.Catalog.Insert(ctx, at, doc)
	}
	if f.err != nil {
		return nil, f.err
	}
	return m, err
}

// TestALostAnswer: a change of which nobody knows whether it was made is either there or not.
func TestALostAnswer(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"the write": false, "the answer": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			rows := &failing{Catalog: e.catalog, after: after, err: fault.New(fault.Unavailable, "test", "database", errTest)}
			n := e.unread(e.files(e.ca, e.folder), rows)
			_, err := n.Request(t.Context(), e.ca.Certificate(), false)
			wantFault(t, err, fault.Unavailable)
			rows.err = nil
			e.must(n.create(t, e.ca, false))
			if status, err := n.Status(t.Context()); err != nil || len(status.Edges) != 1 {
				t.Errorf("%+v, %v", status, err)
			}
		})
	}
}

// TestRunFollows: a node takes over what another has changed, without a hint.
func TestRunFollows(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	here, there := e.node(), e.node()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- there.Run(ctx) }()
	_, changed := there.Bundle()
	e.must(here.create(t, e.ca, false))
	for end := time.After(30 * time.Second); there.Sequence() < here.Sequence(); _, changed = there.Bundle() {
		select {
		case <-changed:
		case <-end:
			t.Fatal("it never follows")
		}
	}
	cancel()
	<-done
}
