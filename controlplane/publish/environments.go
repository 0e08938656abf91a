package publish

import (
	"maps"
	"slices"
	"sync"
)

// environments are those that there are, by name. Before the database was read every name may be one.
type environments struct {
	mu     sync.Mutex
	byName map[string]*environment // guarded by mu
	known  bool                    // guarded by mu; the database was read
}

func newEnvironments() *environments { return &environments{byName: map[string]*environment{}} }

// of returns the environment of that name, nil when there is none.
func (e *environments) of(name string) *environment {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := e.byName[name]
	if found == nil && !e.known {
		found = newEnvironment()
		e.byName[name] = found
	}
	return found
}

// settle makes those of these names all that there are, and returns them in that order. Those that are lost are there
// too, and stay as they are.
func (e *environments) settle(names, lost []string) []*environment {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known = true
	list := make([]*environment, 0, len(names))
	for _, name := range names {
		if e.byName[name] == nil {
			e.byName[name] = newEnvironment()
		}
		list = append(list, e.byName[name])
	}
	for _, name := range lost {
		if e.byName[name] == nil {
			e.byName[name] = newEnvironment()
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

// names returns those that there are, in order; none before the database was read.
func (e *environments) names() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.known {
		return nil
	}
	return slices.Sorted(maps.Keys(e.byName))
}
