package dpsettings

import (
	"time"

	"github.com/keepgate/keepgate/shared/settings/values"
)

// Balancing is how the addresses of upstreams are found and come into use.
type Balancing struct {
	SlowStart time.Duration `key:"upstream_slow_start" default:"0s" unit:"s" min:"0s" help:"How long a target that is new or healthy again takes to get its whole share of requests; 0 gives it at once."`

	DNSServers   values.NameServers `key:"dns_resolver" help:"The name servers, as address or address:port; empty takes those of /etc/resolv.conf, whose other options count either way."`
	DNSHostsFile string             `key:"dns_hostsfile" default:"/etc/hosts" path:"file" help:"The file of host names that is looked into first; changes to it are noticed."`
	DNSOrder     []string           `key:"dns_order" default:"LAST, SRV, A, AAAA, CNAME" help:"Which records a name is looked for by, until there are some: LAST is what it was found by before. CNAME may stand there; aliases are always followed."`
	DNSValid     time.Duration      `key:"dns_valid_ttl" default:"0s" unit:"s" min:"0s" help:"How long an answer is used, whatever its records say; 0 keeps to the records."`
	DNSStale     time.Duration      `key:"dns_stale_ttl" default:"3600s" unit:"s" min:"0s" help:"How much longer an answer is used while there is no new one."`
	DNSNotFound  time.Duration      `key:"dns_not_found_ttl" default:"30s" unit:"s" min:"0s" help:"How long it is believed at most that a name does not exist."`
	DNSFailed    time.Duration      `key:"dns_error_ttl" default:"1s" unit:"s" min:"0s" help:"How long is waited after name servers failed before they are asked again."`
}
