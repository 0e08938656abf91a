package settings

import (
	"fmt"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

// Fault is one thing to repair.
type Fault struct {
	Key     string // may be empty: a line that is no setting
	Origin  string // "keepgate.conf:12", "KEEPGATE_PG_PORT", "--pg-port"
	Problem string // "pg_port is not a number: 'x'"; never a secret's value
	Remedy  string
}

// Faults is all that is wrong, in the order the sources were read.
type Faults struct{ List []Fault }

// Error lists the faults, one a line.
func (f *Faults) Error() string {
	lines := make([]string, len(f.List))
	for i, one := range f.List {
		lines[i] = one.Origin + ": " + one.Problem
		if strings.HasPrefix(one.Problem, one.Origin+" ") { // a variable or a flag, which is its own place
			lines[i] = one.Problem
		}
		if one.Remedy != "" {
			lines[i] += "; " + one.Remedy
		}
	}
	if len(lines) == 1 {
		return "settings: " + lines[0]
	}
	return fmt.Sprintf("settings: %d things to repair:\n  %s", len(lines), strings.Join(lines, "\n  "))
}

// Unwrap makes fault.KindOf answer Invalid.
func (f *Faults) Unwrap() error { return fault.New(fault.Invalid, "settings.Load", "", nil) }
