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

// nearest returns the candidate that is fewest edits away from name, if it is near enough to be meant.
func nearest(name string, candidates []string) (best string) {
	least := max(1, len(name)/3) + 1
	for _, candidate := range candidates {
		if n := edits(name, candidate); n < least {
			best, least = candidate, n
		}
	}
	return best
}

// edits counts the insertions, deletions and substitutions that turn a into b (Levenshtein distance).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
