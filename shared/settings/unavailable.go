package settings

import (
	"slices"
	"strings"
)

// promise is a setting of Kong's that protects something by means this version does not have. Ignored with a
// warning, as other settings of Kong's are, it would let its operator believe in a protection that is not there:
// it stops the start instead.
type promise struct {
	keys    []string
	beside  string   // a setting of the binary that it concerns; the other one takes no notice
	kept    []string // what is asked for and done anyway, in lower case
	ignored []string // what asks for less than is done: it warns
	remedy  string
}

// promises are told by the same rule everywhere, under KONG_ and in a kong.conf too.
func promises() []promise {
	return []promise{
		{
			keys: []string{"audit_log"}, beside: "admin_listen", kept: []string{"off", "false"},
			remedy: "the log at level notice names every request to the Admin API; take it out",
		},
		{
			keys: []string{"pg_max_concurrent_queries", "pg_ro_max_concurrent_queries"}, beside: "pg_pool_size", kept: []string{"0"},
			remedy: "set pg_pool_size (pg_ro_pool_size): a connection has one query at a time, so it is the most there are at once",
		},
		{
			keys: []string{"pg_semaphore_timeout", "pg_ro_semaphore_timeout"}, beside: "pg_pool_size", kept: []string{"60000"},
			remedy: "take it out: what waits for a connection or an answer gives up after pg_timeout (pg_ro_timeout)",
		},
		{
			keys: []string{"pg_backlog", "pg_ro_backlog"}, beside: "pg_pool_size",
			remedy: "take it out: as many may wait for a connection as do, each for pg_timeout (pg_ro_timeout) at most",
		},
		{
			keys: []string{"fips"}, beside: "log_level", kept: []string{"off", "false"},
			remedy: "take it out, or build with GOFIPS140",
		},
		{
			keys: []string{"lua_ssl_protocols"}, beside: "ssl_trusted_certificate", kept: []string{"tlsv1.2 tlsv1.3"}, ignored: olderTLS(),
			remedy: "TLS 1.2 and 1.3 are spoken; write TLSv1.2 TLSv1.3",
		},
	}
}

func olderTLS() []string {
	return []string{"tlsv1.2", "tlsv1.1 tlsv1.2", "tlsv1.1 tlsv1.2 tlsv1.3", "tlsv1 tlsv1.1 tlsv1.2", "tlsv1 tlsv1.1 tlsv1.2 tlsv1.3"}
}

// unavailable deals with a name that promises what this version does not do. It reports false for all others,
// and where only a warning is due.
func (l *loader) unavailable(s *source, name, text string) bool {
	all := promises()
	at := slices.IndexFunc(all, func(p promise) bool { return slices.Contains(p.keys, name) })
	if at < 0 || l.byName[all[at].beside] == nil || text == "" {
		return false
	}
	words := strings.Fields(strings.ToLower(strings.ReplaceAll(text, ",", " ")))
	slices.Sort(words)
	switch asked := strings.Join(words, " "); {
	case slices.Contains(all[at].kept, asked):
		return true
	case slices.Contains(all[at].ignored, asked):
		return false
	}
	l.fault(name, s.origin(name), s.show(name)+" is not available in this version as it is given", all[at].remedy)
	return true
}
