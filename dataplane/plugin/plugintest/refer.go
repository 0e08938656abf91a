package plugintest

import (
	"errors"
	"iter"
	"sync"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/secretref"
)

// vaults are what references lead to.
type vaults struct {
	mu     sync.Mutex
	values map[string]string // guarded by mu; by reference
}

// Refer says what a {vault://…} reference leads to from the next configuration on. Those of which nothing was said lead nowhere;
// {kvm://…} leads to the maps of the configuration.
func (g *Gate) Refer(reference, value string) {
	g.t.Helper()
	r, err := secretref.Parse(reference)
	if err != nil {
		g.t.Fatalf("%s: %v", reference, err)
	}
	g.vaults.mu.Lock()
	defer g.vaults.mu.Unlock()
	if g.vaults.values == nil {
		g.vaults.values = map[string]string{}
	}
	g.vaults.values[r.String()] = value
}

// Begin implements compile.Vaults.
func (*vaults) Begin(iter.Seq2[string, *configv1.Vault]) {}

// Fault implements compile.Vaults.
func (*vaults) Fault(_, _ string) string { return "" }

// Resolve implements compile.Vaults.
func (v *vaults) Resolve(_ string, r secretref.Reference) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if value, ok := v.values[r.String()]; ok {
		return value, nil
	}
	return "", errors.New("vault " + r.Place + " has no such secret")
}

// Settle implements compile.Vaults.
func (*vaults) Settle() bool { return false }

// End implements compile.Vaults.
func (*vaults) End() {}
