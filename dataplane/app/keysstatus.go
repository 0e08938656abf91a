package app

import (
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/dataplane/status"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
)

// sealing is how this node seals its disk.
func (p *plane) sealing() status.Sealing {
	if p.keys == nil || p.store == nil {
		return status.Sealing{}
	}
	k := p.keys
	s := status.Sealing{Mode: string(p.store.Report().Mode), Remembered: k.Former(), Migration: "done"}
	choice := k.Choice()
	for _, key := range scopedkeys.Keys() {
		if chosen, there := choice.Chosen[key.Section(choice.Who)]; there {
			s.Keys = append(s.Keys, status.SealingKey{Class: string(key.Class), Scope: chosen.Scope, ID: chosen.Key.ID(), Source: chosen.From})
		}
	}
	k.mu.Lock()
	s.TakenAt, s.Problem, s.Warnings, s.Changes, s.Refusals = k.taken, k.problem, k.warnings, k.changes, k.refusals
	over := k.over
	k.mu.Unlock()
	if over {
		return status.Sealing{Mode: s.Mode}
	}
	usage, err := p.store.Usage()
	if err != nil {
		return s
	}
	s.Values = valuesOf(usage)
	if s.Mode == string(localstore.Off) {
		s.Migration = "off"
		return s
	}
	left, inClear, err := p.left()
	if err == nil {
		s.Left, s.Clear = left, inClear
	}
	if s.Left > 0 || s.Remembered > 0 {
		s.Migration = "running"
	}
	return s
}

// valuesOf sums up what each key seals in the files that are read at a start.
func valuesOf(usage localstore.Usage) (list []status.SealedValues) {
	type by struct{ class, scope, key string }
	sums := map[by]int{}
	for _, use := range usage.Uses {
		key := by{string(use.Section.Class), use.Section.Scope, use.KeyID}
		at, there := sums[key]
		if !there {
			at = len(list)
			sums[key] = at
			list = append(list, status.SealedValues{Class: key.class, Scope: key.scope, KeyID: key.key, Scoped: use.Scoped, Clear: use.Mode == localstore.Off})
		}
		list[at].Values += use.Values
		list[at].Changes += uint64(use.Changes)
	}
	return list
}
