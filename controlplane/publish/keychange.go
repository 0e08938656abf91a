package publish

import (
	"context"
	"slices"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/shared/fault"
)

// KeyChange says how far an environment has changed over to another fingerprint key.
type KeyChange struct {
	ID       string   // names the key
	Previous string   // names the key before it; "" when all have changed over
	Waiting  []string // names of data planes that do not hold the new key yet
}

// FingerprintKey says which fingerprint key an environment has, and who still waits for it. It is fault.NotFound when
// there is no such environment, and fault.Unavailable before the database was read.
func (p *Publisher) FingerprintKey(ctx context.Context, environment string) (KeyChange, error) {
	p.mu.RLock()
	e, shownTo, err := p.find("publish.FingerprintKey", environment)
	p.mu.RUnlock()
	if err != nil {
		return KeyChange{}, err
	}
	var change KeyChange
	change.ID, change.Previous = e.Key()
	if change.Previous == "" {
		return change, nil
	}
	nodes, err := p.nodes.List(ctx)
	if err != nil {
		return change, err
	}
	change.Waiting = waiting(nodes, environment, shownTo, change.ID)
	return change, nil
}

// find returns an environment. The caller holds mu.
func (p *Publisher) find(op, name string) (*wire.Environment, *versions.Environment, error) {
	if p.state == nil {
		return nil, nil, fault.Newf(fault.Unavailable, op, "environment/"+name, "the configuration was not read yet")
	}
	for i, e := range p.state.wire.Environments {
		if e.Selects.Name == name {
			return e, p.state.shown[i].environment, nil
		}
	}
	return nil, nil, fault.Newf(fault.NotFound, op, "environment/"+name, "there is no such environment")
}

// waiting names the data planes of an environment that do not hold a fingerprint key. Those that hold nothing wait for
// nothing: what they get first has it. Those that go on with the last form of something which the node that they are
// linked to cannot open are waited for too: it may be fingerprints under the previous key alone.
func waiting(nodes []fleet.Status, name string, environment *versions.Environment, key string) (names []string) {
	for _, node := range nodes {
		if node.Environment != name || node.Held.Hash == "" {
			continue
		}
		if (node.Kept.Entries > 0 || !gave(environment, node.Held, key)) && !slices.Contains(names, node.Name) {
			names = append(names, node.Name)
		}
	}
	return names
}

// gave reports whether a configuration that a data plane holds has a fingerprint key.
func gave(e *versions.Environment, h fleet.Held, key string) bool {
	v := e.Known(h)
	if v == nil {
		return false
	}
	entry, found := v.Set.Get(wire.FingerprintKeys, key)
	return found && !entry.Kept
}

// endKeyChanges drops the previous fingerprint keys of environments whose data planes all hold the new one. While
// credentials do not open the previous one stays: it is what their last form was made under.
func (p *Publisher) endKeyChanges(ctx context.Context) {
	if p.stuck.tables[tableKeyauth] > 0 {
		return
	}
	for _, e := range p.state.wire.Environments {
		if _, previous := e.Key(); previous == "" || e.Locked != nil {
			continue
		}
		change, err := p.FingerprintKey(ctx, e.Selects.Name)
		if err == nil && len(change.Waiting) > 0 {
			continue
		}
		if err == nil {
			err = p.catalog.DropPreviousFingerprintKey(ctx, e.Selects.Name, change.Previous)
		}
		if err != nil {
			p.log.Warn("the previous fingerprint key of an environment stays for now", "environment", e.Selects.Name, "error", err)
			continue
		}
		p.log.Info("every data plane has the new fingerprint key; the previous one was dropped", "environment", e.Selects.Name, "key", change.ID)
	}
}
