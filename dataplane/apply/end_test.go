package apply_test

import (
	"errors"
	"slices"
	"testing"

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
