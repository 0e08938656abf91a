package table

import (
	"math"
	"strings"
)

// Kong 3.8's priority of a route, flavor traditional_compatible, high bit first:
//
//	 3 bits  number of attributes that are set: methods, hosts, headers, snis, paths
//	 1       every host is plain (also when hosts is an empty list)
//	 8       number of headers
//	 1       path is an expression
//	32       regex_priority, 0 for a prefix
//	19       length of the path, 0 for an expression
//
// Ours differs in one thing: regex_priority is held with an offset, so that a negative one sorts below
// zero, where Kong's arithmetic would let it run over into the other fields.
const (
	attributesShift    = 61
	plainHostsShift    = 60
	headersShift       = 52
	regexShift         = 51
	regexPriorityShift = 19
	maxPathLength      = 1<<19 - 1
	maxHeaders         = 1<<8 - 1
)

func priorityOf(c Conditions, regex bool, pathLength int) uint64 {
	attributes := uint64(0)
	for _, set := range []bool{len(c.Methods) > 0, len(c.Hosts) > 0, len(c.Headers) > 0, len(c.SNIs) > 0, len(c.Paths) > 0} {
		if set {
			attributes++
		}
	}
	priority := attributes << attributesShift
	if c.Hosts != nil && allPlain(c.Hosts) {
		priority |= 1 << plainHostsShift
	}
	priority |= uint64(min(len(c.Headers), maxHeaders)) << headersShift
	if !regex {
		return priority | uint64(min(pathLength, maxPathLength))
	}
	offset := max(math.MinInt32, min(math.MaxInt32, c.RegexPriority)) - math.MinInt32
	return priority | 1<<regexShift | uint64(offset)<<regexPriorityShift
}

func allPlain(hosts []string) bool {
	for _, host := range hosts {
		if strings.Contains(host, "*") {
			return false
		}
	}
	return true
}
