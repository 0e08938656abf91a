package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func TestWhoMayLink(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	recorded, unknown, files := e.link("edge-1", e.edge), e.link("edge-2", e.edge), e.link("edge-3", e.ca)
	other := e.link("edge-1", e.edge) // of the recorded name, and issued by whoever has the edge authority's key
	e.record(recorded)
	r := e.registry()
	for name, test := range map[string]struct {
		link link
		want error
	}{
		"on record":                    {recorded, nil},
		"of an edge, not on record":    {unknown, nodes.ErrUnknown},
		"of an edge, another's name":   {other, nodes.ErrReplaced},
		"of the cluster, no record":    {files, nil},
		"of the cluster, joined since": {e.link("edge-1", e.ca), nil},
	} {
		err := r.Admit(t.Context(), test.link.cs, test.link.who)
		if !errors.Is(err, test.want) || test.want != nil && fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	d, found := r.Find("prod", "edge-1")
	if !found || d.Certificates[0].UsedAt == 0 {
		t.Errorf("the first use is not noted: %+v", d)
	}
	if names := r.Enrolled("prod"); len(names) != 1 || names[0] != "edge-1" || len(r.Enrolled("other")) != 0 {
		t.Errorf("enrolled: %v", names)
	}
	if r.JoinedWith("token") != recorded.who.String() || r.JoinedWith("another") != "" {
		t.Error("who joined with a token is not known")
	}
}

// A node that has not read the row yet asks for it before it refuses.
func TestARowOfAnotherNodeIsReadBeforeRefusing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	r := e.registry() // does not run
	l := e.link("edge-1", e.edge)
	e.record(l)
	if err := r.Admit(t.Context(), l.cs, l.who); err != nil {
		t.Error(err)
	}
}

// Names that nobody was given, as many as somebody likes, neither fill the memory nor keep the database busy.
func TestAFloodOfNames(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	counting := &counted{Catalog: e.catalog}
	r := nodes.New(counting, e.store, nodes.Options{})
	e.must(r.Load(t.Context()))
	l := e.link("edge-1", e.edge)
	begun := time.Now()
	const flood = 500
	for i := range flood {
		who := l.who
		who.Name = fmt.Sprint("edge-", i)
		if err := r.Admit(t.Context(), l.cs, who); !errors.Is(err, nodes.ErrUnknown) {
			t.Fatal(err)
		}
	}
	if most := 210 + int64(100*time.Since(begun).Seconds()); counting.gets.Load() > most {
		t.Errorf("%d looks at the database in %v", counting.gets.Load(), time.Since(begun))
	}
	if n := nodes.Known(r); n != 0 {
		t.Errorf("%d names are remembered", n)
	}
}

// counted counts looks at single rows.
type counted struct {
	*catalog.Catalog
	gets atomic.Int64
}

func (c *counted) Get(ctx context.Context, at catalog.Address) (proto.Message, error) {
	c.gets.Add(1)
	return c.Catalog.Get(ctx, at)
}

func TestAnOlderCertificateCountsUntilTheNewerIsUsed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first, second, third := e.link("edge-1", e.edge), e.link("edge-1", e.edge), e.link("edge-1", e.edge)
	e.record(first)
	here, there := e.run(e.registry()), e.run(e.registry())
	ctx := t.Context()
	e.must(here.Admit(ctx, first.cs, first.who))
	e.renew(first, second)
	e.renew(first, third) // the answer with the second was lost
	for name, l := range map[string]link{"first": first, "third": third} {
		r := e.registry()
		if err := r.Admit(ctx, l.cs, l.who); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := e.registry().Admit(ctx, second.cs, second.who); !errors.Is(err, nodes.ErrReplaced) && !errors.Is(err, nodes.ErrUnknown) {
		t.Errorf("a certificate that nobody got: %v", err)
	}
	watched := make(chan error, 1)
	go func() { watched <- there.Watch(ctx, first.cs, first.who) }()
	e.must(here.Admit(ctx, third.cs, third.who))
	if err := <-watched; !errors.Is(err, nodes.ErrReplaced) {
		t.Errorf("the older one's link ends with %v", err)
	}
	if err := here.Admit(ctx, first.cs, first.who); !errors.Is(err, nodes.ErrReplaced) {
		t.Errorf("the older one links again: %v", err)
	}
}

func TestRevokedIsCutEverywhereWithAnOrder(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for name, l := range map[string]link{"joined": e.link("edge-1", e.edge), "of the cluster": e.link("edge-2", e.ca)} {
		if name == "joined" {
			e.record(l)
		}
		here, there := e.run(e.registry()), e.run(e.registry()) // there are no hints between them
		ctx := t.Context()
		watched := make(chan error, 2)
		for _, r := range []*nodes.Registry{here, there} {
			e.must(r.Admit(ctx, l.cs, l.who))
			go func() { watched <- r.Watch(ctx, l.cs, l.who) }()
		}
		_, err := here.Revoke(ctx, l.who.Environment, l.who.Name, "stolen", l.certificate())
		e.must(err)
		for range 2 {
			err := <-watched
			revoked, ok := errors.AsType[*nodes.Revoked](err)
			if !ok || revoked.Reason != "stolen" || fault.KindOf(err) != fault.Denied {
				t.Fatalf("%s: %v", name, err)
			}
			wipe, by, err := enrolment.ProvenWipe(e.signer, revoked.Wipe())
			if err != nil || by.Role != identity.ControlPlane || wipe.Identity != l.who.String() || wipe.Serial != l.who.Serial || wipe.Reason != "stolen" {
				t.Errorf("%s: the order %v of %v: %v", name, wipe, by, err)
			}
		}
		if err := e.registry().Admit(ctx, l.cs, l.who); !isRevoked(err) {
			t.Errorf("%s: a new node lets it in: %v", name, err)
		}
	}
}

func isRevoked(err error) bool {
	carrier, ok := errors.AsType[interface {
		error
		Wipe() *enrolv1.SignedWipe
	}](err)
	return ok && carrier.Wipe() != nil
}

// What is issued after a revocation counts; what was issued before does not, known or not.
func TestAfterARevocation(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := t.Context()
	r := e.registry()
	before := e.link("edge-1", e.ca)
	d, err := r.Revoke(ctx, before.who.Environment, before.who.Name, "")
	e.must(err)
	later := e.linkFrom("edge-1", e.ca, time.Unix(d.RevokedAt+1, 0))
	if err := r.Admit(ctx, before.cs, before.who); !isRevoked(err) {
		t.Errorf("one of before: %v", err)
	}
	if err := r.Admit(ctx, later.cs, later.who); err != nil {
		t.Errorf("one of after: %v", err)
	}
	joined := e.link("edge-1", e.edge) // its certificate begins a minute before it was issued
	e.record(joined)
	e.must(r.Load(ctx))
	if err := r.Admit(ctx, joined.cs, joined.who); err != nil {
		t.Errorf("one that has joined since: %v", err)
	}
	if err := r.Admit(ctx, before.cs, before.who); !isRevoked(err) {
		t.Errorf("one of before, after somebody has joined: %v", err)
	}
	again, err := r.Revoke(ctx, joined.who.Environment, joined.who.Name, "")
	if err != nil || again.RevokedAt < d.RevokedAt || len(again.Certificates) != 0 || len(again.Revoked) != 1 {
		t.Errorf("revoked again: %+v %v", again, err)
	}
	if err := r.Admit(ctx, joined.cs, joined.who); !isRevoked(err) {
		t.Errorf("revoked again, it may link: %v", err)
	}
}

func TestRevokeRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	r := e.registry()
	for name, test := range map[string]struct {
		who    identity.Identity
		reason string
	}{
		"no name":       {identity.Identity{Organisation: "acme", Environment: "prod"}, ""},
		"a bad name":    {identity.Identity{Organisation: "acme", Environment: "prod", Name: "a/b"}, ""},
		"a long reason": {identity.Identity{Organisation: "acme", Environment: "prod", Name: "a"}, strings.Repeat("x", 300)},
		"two lines":     {identity.Identity{Organisation: "acme", Environment: "prod", Name: "a"}, "x\ny"},
	} {
		if _, err := r.Revoke(t.Context(), test.who.Environment, test.who.Name, test.reason); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(r.List()) != 0 {
		t.Errorf("something was revoked: %v", r.List())
	}
}

type journal struct {
	err error

	mu      sync.Mutex
	actions []string // guarded by mu
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.actions)
}

func (j *journal) Record(_ context.Context, action, subject string, _ ...string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.actions = append(j.actions, action+" "+subject)
	return j.err
}

func TestNoRevocationWithoutAnEntry(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	j := &journal{err: fault.New(fault.Unavailable, "audit.Record", "", nil)}
	l := e.link("edge-1", e.ca)
	r := e.registry(func(o *nodes.Options) { o.Journal = j })
	if _, err := r.Revoke(t.Context(), l.who.Environment, l.who.Name, ""); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("revoked without an entry: %v", err)
	}
	e.must(r.Admit(t.Context(), l.cs, l.who))
	j.err = nil
	if _, err := r.Revoke(t.Context(), l.who.Environment, l.who.Name, ""); err != nil || j.actions[1] != "enrol.revoke data-plane/prod/edge-1" {
		t.Errorf("%v %v", j.actions, err)
	}
}

// Spent records go, others stay, those of revoked nodes above all.
func TestPurge(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	old := time.Now().Add(-time.Hour).Unix()
	put := func(name string, d nodes.Document) {
		who := identity.Identity{Role: identity.DataPlane, Organisation: "acme", Environment: "prod", Name: name}
		d.Identity = who.String()
		_, err := e.catalog.Together(t.Context(), nodes.Piece(nodes.Key("prod", name), func(nodes.Document) (nodes.Document, error) { return d, nil }))
		e.must(err)
	}
	spent := []nodes.Certificate{{Serial: "01", IssuedAt: old, NotAfter: old}}
	fresh := []nodes.Certificate{{Serial: "02", IssuedAt: old, NotAfter: time.Now().Add(time.Hour).Unix()}}
	put("spent", nodes.Document{Certificates: spent})
	put("lives", nodes.Document{Certificates: append(spent[:1:1], fresh...)})
	put("spent-and-revoked", nodes.Document{RevokedAt: old, Revoked: spent})
	put("revoked", nodes.Document{RevokedAt: old, Revoked: fresh})
	put("revoked-unseen", nodes.Document{RevokedAt: old})
	r := e.registry(func(o *nodes.Options) { o.PurgeDelay = time.Minute })
	nodes.Purge(t.Context(), r)
	e.must(r.Load(t.Context()))
	var left []string
	for _, n := range r.List() {
		left = append(left, strings.TrimPrefix(n.Key, "prod/"))
	}
	if got := strings.Join(left, " "); got != "lives revoked revoked-unseen" {
		t.Errorf("left: %s", got)
	}
}
