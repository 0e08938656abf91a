// Package dns finds out where host names lead, and for how long.
//
// A [Resolver] asks name servers itself, because the system's resolver tells neither how long an answer holds nor the
// ports and weights of SRV records. It is a stub (RFC 1034 §5.3.1): it sends questions to servers that recurse and trusts
// them, but takes nothing from anybody else: every question has a socket and a random id of its own, and of an answer
// counts what the question leads to. [Names] remembers answers for as long as they hold, and serves the old one while
// a new one is fetched. Which address a request goes to is dataplane/balancer's to say.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Type is a kind of record, by its number (RFC 1035 §3.2.2).
type Type uint16

// The types that can be asked for. Last stands for the one that a name was found by the time before.
const (
	Last  Type = 0
	A     Type = 1
	CNAME Type = 5
	AAAA  Type = 28
	SRV   Type = 33
)

func (t Type) String() string {
	switch t {
	case Last:
		return "LAST"
	case A:
		return "A"
	case CNAME:
		return "CNAME"
	case AAAA:
		return "AAAA"
	case SRV:
		return "SRV"
	}
	return fmt.Sprintf("TYPE%d", uint16(t))
}

// ParseOrder reads dns_order: a subset of LAST, SRV, A, AAAA and CNAME.
func ParseOrder(list []string) ([]Type, error) {
	var order []Type
	for _, item := range list {
		found := false
		for _, t := range []Type{Last, SRV, A, AAAA, CNAME} {
			if strings.EqualFold(strings.TrimSpace(item), t.String()) {
				order, found = append(order, t), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%q is none of LAST, SRV, A, AAAA, CNAME", item)
		}
	}
	return order, nil
}

// Record is one place that a name leads to.
type Record struct {
	Addr   netip.Addr
	Port   uint16 // of an SRV record; 0: none was given
	Weight uint16 // of an SRV record, at least 1; 0 for others
	Name   string // what an SRV record calls the host; "" for others
}

// Answer is what a name leads to. No records mean that name servers say so.
type Answer struct {
	Records []Record
	Kind    Type // of the records
	TTL     time.Duration
}

// ErrNoRecords says that name servers know no address of a name.
var ErrNoRecords = errors.New("the name has no address")

// Options tunes a Resolver. The zero value is right for production.
type Options struct {
	// Servers are asked in turn; none means those of ResolvConf.
	Servers []netip.AddrPort
	// ResolvConf is where servers, search and options stand; default /etc/resolv.conf.
	ResolvConf string
	// HostsFile is looked into first; default /etc/hosts.
	HostsFile string
	// Order is which records are asked for, one after the other until there are some. Default LAST, SRV, A, AAAA, CNAME.
	Order []Type
	// NotFound is how long it holds at most that a name has no records. Default 30 s.
	NotFound time.Duration
}

var _ Asker = (*Resolver)(nil)

// Lookup implements [Asker].
func (r *Resolver) Lookup(ctx context.Context, host string) (Answer, error) {
	host = strings.ToLower(host)
	if addr, err := netip.ParseAddr(host); err == nil {
		return Answer{Records: []Record{{Addr: addr.Unmap()}}, Kind: A, TTL: fileTTL}, nil
	}
	if addrs := r.hosts.find(strings.TrimSuffix(host, ".")); len(addrs) > 0 {
		return fromFile(addrs), nil
	}
	return r.search(ctx, host)
}
