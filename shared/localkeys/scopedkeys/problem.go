package scopedkeys

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

// Problem is one thing that is wrong with what was given.
type Problem struct {
	File    string // or the name of a setting
	Line    int    // 0: all of it
	Field   string
	Message string // without any key
}

func (p Problem) String() string {
	text := place{file: p.File, line: p.Line}.String() + ": "
	if p.Field != "" {
		text += p.Field + ": "
	}
	return text + p.Message
}

// Problems is everything that is wrong, in the order of files and lines.
type Problems struct{ List []Problem }

// Error writes one line a problem.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(at place, format string, args ...any) {
	p.List = append(p.List, Problem{at.file, at.line, at.field, fmt.Sprintf(format, args...)})
}

// sorted keeps the order of sources, and within a file that of its lines.
func (p *Problems) sorted() []Problem {
	slices.SortStableFunc(p.List, func(a, b Problem) int {
		if a.File != b.File {
			return 0
		}
		return cmp.Compare(a.Line, b.Line)
	})
	return p.List
}

// err is nil where nothing is wrong.
func (p *Problems) err(op string) error {
	if len(p.List) == 0 {
		return nil
	}
	p.sorted()
	return fault.New(fault.Invalid, op, "encryption_keys", p)
}
