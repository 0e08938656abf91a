package dial

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// kind is what a warning is about; there is one of a kind for a host.
type kind string

const (
	kindOff        kind = "off"
	kindUnverified kind = "unverified"
	kindClear      kind = "clear"
	kindCommonName kind = "common name"
	kindFiles      kind = "files"
)

// warnings are what holds now, by host and kind.
type warnings struct {
	warn func(text string)

	mu   sync.Mutex
	held map[string]string // guarded by mu
}

func newWarnings(warn func(string)) *warnings {
	if warn == nil {
		warn = func(string) {}
	}
	return &warnings{warn: warn, held: map[string]string{}}
}

// set says what is wrong with a host in one respect; nil: nothing any more.
func (w *warnings) set(host string, about kind, problem error) {
	key := host + " " + string(about)
	w.mu.Lock()
	known := w.held[key]
	if problem == nil {
		delete(w.held, key)
		w.mu.Unlock()
		return
	}
	w.held[key] = problem.Error()
	w.mu.Unlock()
	if known != problem.Error() {
		w.warn(problem.Error())
	}
}

// Warnings are what is not as it should be, for the status of the node. Files are looked at for it: without a new connection nobody else
// would for a while, and whoever has just replaced some wants to know.
func (d *Dialer) Warnings() []string {
	d.keys.generation()
	d.warnings.mu.Lock()
	defer d.warnings.mu.Unlock()
	return slices.Sorted(maps.Values(d.warnings.held))
}

// standing notes what the settings themselves give up.
func (d *Dialer) standing() {
	var names []string
	for _, host := range d.options.Hosts {
		if !host.socket() {
			names = append(names, host.Name)
		}
	}
	to := strings.Join(names, ", ")
	switch {
	case len(names) == 0:
	case !d.options.TLS:
		d.warnings.set("", kindOff, warning("pg_ssl = off: passwords, keys and everything else go to PostgreSQL ("+to+") in clear"))
	case !d.options.Verify:
		d.warnings.set("", kindUnverified, warning("pg_ssl_verify = off: whoever answers for "+to+" is taken for the PostgreSQL server"))
	}
}

type warning string

func (w warning) Error() string { return string(w) }
