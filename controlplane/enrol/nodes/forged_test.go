package nodes_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	"github.com/keepgate/keepgate/shared/fault"
)

// Whoever writes the database, and has no keys, lets nobody in and has nobody wiped.
func TestRowsForged(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := t.Context()
	victim, attacker := e.link("victim", e.edge), e.link("attacker", e.edge)
	e.record(victim)
	e.record(attacker)
	r := e.registry()
	_, err := r.Revoke(ctx, attacker.who.Environment, attacker.who.Name, "")
	e.must(err)
	goods := func(name string, change func()) {
		t.Helper()
		change()
		for what, reader := range map[string]*nodes.Registry{"a node that knew it": r, "a node that starts": e.registry()} {
			e.must(reader.Load(ctx))
			if err := reader.Admit(ctx, attacker.cs, attacker.who); err == nil {
				t.Errorf("%s: %s lets the attacker in", name, what)
			}
			if err := reader.Admit(ctx, victim.cs, victim.who); isRevoked(err) {
				t.Errorf("%s: %s has the victim wiped", name, what)
			}
		}
	}
	row := func(name string) (document string) {
		t.Helper()
		found, err := e.store.ByUnique(ctx, nodes.Table, "", "identity", "prod/"+name)
		e.must(err)
		return found.Sealed["document"]
	}
	good, revoked := row("victim"), row("attacker")
	goods("the victim's document copied over the attacker's", func() {
		e.sql("update enrolments set document = ? where identity = ?", good, "prod/attacker")
	})
	goods("the attacker's copied over the victim's", func() {
		e.sql("update enrolments set document = ? where identity = ?", revoked, "prod/victim")
	})
	e.sql("update enrolments set document = ? where identity = ?", good, "prod/victim")
	goods("names exchanged", func() {
		e.sql("update enrolments set identity = 'prod/x' where identity = 'prod/victim'")
		e.sql("update enrolments set identity = 'prod/victim' where identity = 'prod/attacker'")
		e.sql("update enrolments set identity = 'prod/attacker' where identity = 'prod/x'")
	})
	goods("in clear", func() {
		e.sql("update enrolments set document = ? where identity = 'prod/attacker'",
			`{"sequence":99,"identity":"`+attacker.who.String()+`","certificates":[{"serial":"`+attacker.who.Serial+`","issued_at":1,"not_after":99999999999}]}`)
	})
	goods("deleted", func() { e.sql("delete from enrolments where identity in ('prod/attacker', 'prod/victim')") })
}

// A document of before does not undo what this process knows; a row that vanished does not either.
func TestRowsThatGoBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := t.Context()
	l := e.link("edge-1", e.ca)
	r := e.registry()
	e.record(l)
	found, err := e.store.ByUnique(ctx, nodes.Table, "", "identity", "prod/edge-1")
	e.must(err)
	_, err = r.Revoke(ctx, l.who.Environment, l.who.Name, "stolen", l.certificate())
	e.must(err)
	e.sql("update enrolments set document = ?", found.Sealed["document"])
	e.must(r.Load(ctx))
	if err := r.Admit(ctx, l.cs, l.who); !isRevoked(err) {
		t.Errorf("a document of before the revocation: %v", err)
	}
	e.sql("delete from enrolments")
	e.must(r.Load(ctx))
	if err := r.Admit(ctx, l.cs, l.who); !isRevoked(err) {
		t.Errorf("no row any more: %v", err)
	}
}

// What a running node knows is written again: after a restore from a backup, or where somebody deleted.
func TestWhatIsKnownIsGivenBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := t.Context()
	joined, revoked := e.link("joined", e.edge), e.link("revoked", e.ca)
	e.record(joined)
	found, err := e.store.ByUnique(ctx, nodes.Table, "", "identity", "prod/joined")
	e.must(err)
	next := e.link("joined", e.edge)
	e.renew(joined, next)
	j := &journal{}
	r := e.registry(func(o *nodes.Options) { o.Journal = j })
	_, err = r.Revoke(ctx, revoked.who.Environment, revoked.who.Name, "", revoked.certificate())
	e.must(err)
	e.sql("update enrolments set document = ? where identity = 'prod/joined'", found.Sealed["document"])
	e.sql("delete from enrolments where identity = 'prod/revoked'")
	e.must(r.Load(ctx))
	e.must(r.Admit(ctx, next.cs, next.who))
	e.run(r)
	e.eventually("a node that starts knows both", func() bool {
		fresh := e.registry()
		return fresh.Admit(ctx, next.cs, next.who) == nil && isRevoked(fresh.Admit(ctx, revoked.cs, revoked.who))
	})
	third := e.link("joined", e.edge)
	e.renew(next, third)
	if err := r.Admit(ctx, third.cs, third.who); err != nil {
		t.Errorf("renewed since: %v", err)
	}
	e.eventually("it is in the journal", func() bool { return slices.Contains(j.all(), "enrol.restore data-plane/prod/joined") })
}

// A row that was damaged shuts its node out, until it is revoked or joins anew.
func TestADamagedRowIsMendedByRevoking(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := t.Context()
	l := e.link("edge-1", e.edge)
	e.record(l)
	r := e.registry()
	e.must(r.Admit(ctx, l.cs, l.who))
	found, err := e.store.ByUnique(ctx, nodes.Table, "", "identity", "prod/edge-1")
	e.must(err)
	sealed := found.Sealed["document"]
	last := "0"
	if sealed[len(sealed)-1] == '0' {
		last = "1"
	}
	e.sql("update enrolments set document = ?", sealed[:len(sealed)-1]+last)
	e.must(r.Load(ctx))
	if err := r.Admit(ctx, l.cs, l.who); !errors.Is(err, nodes.ErrUnreadable) {
		t.Errorf("a damaged record: %v", err)
	}
	if list := r.List(); len(list) != 1 || list[0].Problem == "" {
		t.Errorf("it is not shown: %+v", list)
	}
	if _, err := r.Revoke(ctx, l.who.Environment, l.who.Name, ""); err != nil {
		t.Fatal(err)
	}
	for _, reader := range []*nodes.Registry{r, e.registry()} {
		if err := reader.Admit(ctx, l.cs, l.who); !isRevoked(err) {
			t.Errorf("revoked: %v", err)
		}
	}
	again := e.link("edge-1", e.edge)
	e.record(again)
	e.must(r.Load(ctx))
	e.must(r.Admit(ctx, again.cs, again.who))
}

// While a key is missing, nodes whose record was opened before go on; others are refused, and come in when it is back.
func TestRowsWhoseKeyIsMissing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := t.Context()
	known, other := e.link("known", e.edge), e.link("other", e.edge)
	e.record(known)
	keys := &losing{Keys: e.ring}
	lossy := e.over(keys)
	r := nodes.New(lossy, e.store, nodes.Options{Organisation: "acme"})
	e.must(r.Load(ctx))
	keys.lose(true)
	e.record(other)
	e.must(r.Load(ctx))
	if err := r.Admit(ctx, known.cs, known.who); err != nil {
		t.Errorf("one that was known: %v", err)
	}
	if err := r.Admit(ctx, other.cs, other.who); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("one that never opened: %v", err)
	}
	if _, err := r.Revoke(ctx, other.who.Environment, other.who.Name, ""); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("revoking what does not open: %v", err)
	}
	keys.lose(false)
	e.run(r)
	e.eventually("it may link", func() bool { return r.Admit(ctx, other.cs, other.who) == nil })
}
