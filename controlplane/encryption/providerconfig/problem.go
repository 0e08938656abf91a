package providerconfig

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	Line    int
	Field   string // resources[0].providers[1].kms.endpoint; "" is the file
	Message string // without any secret
}

// Problems is everything that is wrong with a file, in the order of its lines.
type Problems struct {
	File string
	List []Problem

	secrets bool // the file holds keys
}

// Error writes one line a problem: "file:line: field: message".
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		lines[i] = fmt.Sprintf("%s:%d: ", p.File, problem.Line)
		if problem.Field != "" {
			lines[i] += problem.Field + ": "
		}
		lines[i] += problem.Message
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(line int, field, format string, args ...any) {
	p.List = append(p.List, Problem{line, field, fmt.Sprintf(format, args...)})
}

// err is nil where nothing is wrong.
func (p *Problems) err() error {
	if len(p.List) == 0 {
		return nil
	}
	slices.SortStableFunc(p.List, func(a, b Problem) int { return a.Line - b.Line })
	return p
}
