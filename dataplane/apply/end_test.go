package apply_test

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"weak"

	"github.com/keepgate/keepgate/dataplane/apply"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

func TestRewriteKeepsWhatServesTwice(t *testing.T) {
	t.Parallel()
	n := &node{}
	a := apply.New(n, n)
	if err := a.Rewrite(); err != nil || len(n.log) != 0 {
		t.Errorf("before there is anything: %v, %v", err, n.log)
	}
	a.Start(apply.State{Epoch: 1, Version: 5, Set: entries("a")})
	n.log = nil
	if err := a.Rewrite(); err != nil || !slices.Equal(n.log, []string{"replace", "replace"}) {
		t.Errorf("Rewrite = %v, %v", err, n.log)
	}
	n.full = errors.New("the disk is full")
	if err := a.Rewrite(); !errors.Is(err, n.full) {
		t.Errorf("Rewrite = %v", err)
	}
}

func TestEndIsForGood(t *testing.T) {
	t.Parallel()
	n := &node{}
	a := apply.New(n, n)
	a.Start(apply.State{Epoch: 1, Version: 5, Set: entries("a", "bad")})
	n.log = nil
	installed := false
	a.End(func() { installed = true })
	if _, holds := a.Held(); holds || !installed || len(a.Quarantined()) != 0 {
		t.Errorf("it holds something: %v; installed %v", holds, installed)
	}
	next := entries("a", "b")
	refusal := a.Apply(apply.Update{Snapshot: true, Target: at(2, 6, next), Delta: configset.Diff(configset.Set{}, next)})
	if refusal == nil || refusal.Reason != syncv1.NackReason_NACK_REASON_STORAGE {
		t.Errorf("Apply = %v", refusal)
	}
	if err := a.Rewrite(); err != nil || len(n.log) != 0 {
		t.Errorf("after the end: %v, %v", err, n.log)
	}
}

// remembers is a compiler that keeps what it has seen, as the real one does.
type remembers struct{ seen []configset.Set }

func (r *remembers) Compile(set configset.Set) (install func(), quarantined []*syncv1.Quarantined) {
	r.seen = append(r.seen, set)
	return func() {}, nil
}

// What a compiler has made of secrets goes with the state.
func TestEndLetsTheCompilerGo(t *testing.T) {
	t.Parallel()
	compiler := &remembers{}
	left := weak.Make(compiler)
	a := apply.New(compiler, &node{})
	a.Start(apply.State{Epoch: 1, Version: 5, Set: entries("a")})
	compiler = nil
	a.End(func() {})
	runtime.GC()
	if left.Value() != nil {
		t.Error("the compiler is still there, and remembers what it was given")
	}
	a.Start(apply.State{Epoch: 1, Version: 5, Set: entries("a")})
	if _, holds := a.Held(); holds {
		t.Error("it begins again after the end")
	}
}

func TestRefreshCompilesWhatServes(t *testing.T) {
	t.Parallel()
	n := &node{}
	a := apply.New(n, n)
	a.Refresh()
	if len(n.log) != 0 {
		t.Errorf("before there is anything: %v", n.log)
	}
	a.Start(apply.State{Epoch: 1, Version: 5, Set: entries("a", "bad")})
	n.log = nil
	a.Refresh()
	if held, _ := a.Held(); !slices.Equal(n.log, []string{"compile", "install"}) || held.Version != 5 || len(a.Quarantined()) != 1 {
		t.Errorf("Refresh did %v, and %v is quarantined at version %d", n.log, a.Quarantined(), held.Version)
	}
	a.End(func() {})
	n.log = nil
	if a.Refresh(); len(n.log) != 0 {
		t.Errorf("after the end: %v", n.log)
	}
}
