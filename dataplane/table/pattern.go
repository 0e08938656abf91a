package table

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Conditions are the matching attributes of one route, as its entity holds them. A nil list is an unset one.
type Conditions struct {
	ID            string
	Methods       []string
	Hosts         []string // plain, "*.x" or "x.*", each with an optional port
	Paths         []string // "/…" is a prefix, "~/…" a regular expression (RE2) anchored at its start
	SNIs          []string
	Headers       map[string][]string
	RegexPriority int64
	Unsure        bool // other conditions are not known: the pattern takes what these allow, before all other routes
}

// Pattern is a route's conditions ready to be built into a [Router]. It is immutable and may be built into
// many routers, so that an unchanged route compiles its expressions once.
type Pattern struct {
	id    string
	hosts []hostCondition
	rest  conditions
	parts []part
}

// part is what Kong's traditional_compatible flavor makes of a route with several paths: one for each
// length of prefix and one for all expressions, since each has a priority of its own.
type part struct {
	priority uint64
	paths    []pathCondition
}

// pathCondition is one path of a part. A request takes it only below prefix, which for an expression is
// the literal text that it must begin with.
type pathCondition struct {
	prefix string
	regex  *regexp.Regexp // nil for a prefix
}

// Prepare compiles the conditions of one route. When an expression does not compile, the error says which,
// and the pattern covers at least what the expression can have covered, in its place in the order, so that
// the caller can fail those requests closed instead of letting them fall through to another route.
func Prepare(c Conditions) (*Pattern, error) {
	p := &Pattern{id: c.ID, rest: conditions{methods: c.Methods, snis: lowered(c.SNIs)}}
	var faults []error
	for _, host := range c.Hosts {
		p.hosts = append(p.hosts, parseHost(host))
	}
	for name, values := range c.Headers {
		header, err := parseHeader(name, values)
		if err != nil { // without the condition the pattern covers more, not less
			faults = append(faults, err)
			continue
		}
		p.rest.headers = append(p.rest.headers, header)
	}
	slices.SortFunc(p.rest.headers, func(a, b headerCondition) int { return strings.Compare(a.name, b.name) })
	if len(c.Hosts)+len(c.Methods)+len(c.Headers)+len(c.SNIs)+len(c.Paths) == 0 && !c.Unsure {
		return p, nil // a route without conditions matches nothing
	}
	p.split(c, &faults)
	for i := range p.parts {
		if c.Unsure {
			p.parts[i].priority = math.MaxUint64
		}
	}
	return p, errors.Join(faults...)
}

// split makes the parts of the paths as Kong does. A path at fault is replaced by its literal beginning.
func (p *Pattern) split(c Conditions, faults *[]error) {
	regexes := part{priority: priorityOf(c, true, 0)}
	var prefixes []part // by length, as they come
	for _, path := range c.Paths {
		if expression, ok := strings.CutPrefix(path, "~"); ok {
			condition, err := parseExpression(expression)
			if err != nil {
				*faults = append(*faults, err)
			}
			regexes.paths = append(regexes.paths, condition)
			continue
		}
		if normal, err := exchange.Normalise(nil, path); err == nil {
			path = string(normal)
		}
		i := slices.IndexFunc(prefixes, func(of part) bool { return len(of.paths[0].prefix) == len(path) })
		if i < 0 {
			i = len(prefixes)
			prefixes = append(prefixes, part{priority: priorityOf(c, false, len(path))})
		}
		prefixes[i].paths = append(prefixes[i].paths, pathCondition{prefix: path})
	}
	p.parts = prefixes
	if len(regexes.paths) > 0 {
		p.parts = append(p.parts, regexes)
	}
	if len(c.Paths) == 0 {
		p.parts = []part{{priority: priorityOf(c, false, 0), paths: []pathCondition{{}}}}
	}
}

// parseExpression compiles a path's expression. On an error the condition covers the text before its first
// metacharacter.
func parseExpression(expression string) (pathCondition, error) {
	regex, err := regexp.Compile("^(?:" + expression + ")")
	if err != nil {
		return pathCondition{prefix: literalText(expression)}, fmt.Errorf("path ~%s: not a regular expression that RE2 knows: %w", expression, err)
	}
	prefix := ""
	if free, err := regexp.Compile(expression); err == nil { // LiteralPrefix of an anchored one is empty
		prefix, _ = free.LiteralPrefix()
	}
	return pathCondition{prefix: prefix, regex: regex}, nil
}

// literalText is what precedes the first metacharacter, less the last byte when that is repeated.
func literalText(expression string) string {
	end := strings.IndexAny(expression, `\^$.|?*+()[]{}`)
	if end < 0 || strings.ContainsRune(expression, '|') { // alternatives share nothing for sure
		return ""
	}
	if end > 0 && strings.IndexByte("?*{", expression[end]) >= 0 {
		end--
	}
	return expression[:end]
}
