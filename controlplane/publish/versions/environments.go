package versions

import (
	"maps"
	"slices"
	"sync"
)

// Environments are those that there are, by name. Before the database was read every name may be one.
type Environments struct {
	packer *packer

	mu     sync.Mutex
	byName map[string]*Environment // guarded by mu
	known  bool                    // guarded by mu; the database was read
}

// New makes Environments of which nothing is known yet.
func New() *Environments {
	return &Environments{packer: newPacker(), byName: map[string]*Environment{}}
}

// Of returns the environment of that name, nil when there is none.
func (e *Environments) Of(name string) *Environment {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := e.byName[name]
	if found == nil && !e.known {
		found = newEnvironment(e.packer)
		e.byName[name] = found
	}
	return found
}

// Settle makes those of these names all that there are, and returns them in that order. Those that are lost are there
// too, and stay as they are.
func (e *Environments) Settle(names, lost []string) []*Environment {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known = true
	list := make([]*Environment, 0, len(names))
	for _, name := range names {
		if e.byName[name] == nil {
			e.byName[name] = newEnvironment(e.packer)
		}
		list = append(list, e.byName[name])
	}
	for _, name := range lost {
		if e.byName[name] == nil {
			e.byName[name] = newEnvironment(e.packer)
		}
	}
	for name, one := range e.byName {
		if !slices.Contains(names, name) && !slices.Contains(lost, name) {
			one.end()
			delete(e.byName, name)
		}
	}
	return list
}

// Names returns those that there are, in order; none before the database was read.
func (e *Environments) Names() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.known {
		return nil
	}
	return slices.Sorted(maps.Keys(e.byName))
}
