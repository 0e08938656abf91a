package dns

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// lastTypes remembers by which type of record names were found.
type lastTypes struct {
	mu    sync.Mutex
	kinds map[string]Type // guarded by mu
}

// maxLast bounds what is remembered; what is forgotten costs a question.
const maxLast = 10000

func (l *lastTypes) get(name string) (Type, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kind, ok := l.kinds[name]
	return kind, ok
}

func (l *lastTypes) put(name string, kind Type) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kinds) >= maxLast {
		clear(l.kinds)
	}
	l.kinds[name] = kind
}

// search tries the names that host may stand for, and for each the types in their order.
func (r *Resolver) search(ctx context.Context, host string) (Answer, error) {
	c := r.configuration()
	none := Answer{TTL: r.options.NotFound}
	var failure error
	for _, name := range c.candidates(host) {
		for _, kind := range r.order(name) {
			answer, err := r.records(ctx, &c, question{name, kind}, 0)
			if err != nil {
				if ctx.Err() != nil {
					return Answer{}, err
				}
				failure = errors.Join(failure, err)
				continue
			}
			if len(answer.Records) > 0 {
				r.found.put(name, answer.Kind)
				return answer, nil
			}
			none.TTL = min(none.TTL, answer.TTL)
		}
	}
	if failure != nil { // somebody may know: what the others say is not the whole answer
		return Answer{}, failure
	}
	return none, nil
}

// order is which types to ask for, each once. An alias alone leads nowhere: the others follow it.
func (r *Resolver) order(name string) []Type {
	list := make([]Type, 0, len(r.options.Order))
	for _, kind := range r.options.Order {
		if kind == Last {
			last, ok := r.found.get(name)
			if !ok || !slices.Contains(r.options.Order, last) {
				continue
			}
			kind = last
		}
		if kind == CNAME || slices.Contains(list, kind) {
			continue
		}
		list = append(list, kind)
	}
	return list
}

// records asks one question and whatever its answer leads to. Its TTL, when there are none, says for how long.
func (r *Resolver) records(ctx context.Context, c *conf, q question, depth int) (Answer, error) {
	answer, err := r.query(ctx, c, q)
	if err != nil {
		return Answer{}, err
	}
	if answer.empty() {
		if answer.end != q.name && depth < maxChain && answer.negative < 0 { // the server did not follow the alias
			next, err := r.records(ctx, c, question{answer.end, q.kind}, depth+1)
			next.TTL = min(next.TTL, answer.ttl)
			return next, err
		}
		none := Answer{TTL: r.options.NotFound}
		if answer.negative >= 0 {
			none.TTL = min(none.TTL, answer.negative)
		}
		return none, nil
	}
	if q.kind == SRV {
		return r.services(ctx, c, answer)
	}
	found := Answer{Kind: q.kind, TTL: answer.ttl}
	for _, addr := range unique(answer.addrs) {
		found.Records = append(found.Records, Record{Addr: addr})
	}
	return found, nil
}

// services finds the addresses of SRV records: those of the best priority (RFC 2782). The target "." means that there
// is decidedly no such service.
func (r *Resolver) services(ctx context.Context, c *conf, answer *reply) (Answer, error) {
	found := Answer{Kind: SRV, TTL: answer.ttl}
	best := slices.MinFunc(answer.services, func(a, b service) int { return cmp.Compare(a.priority, b.priority) })
	var failure error
	for _, one := range answer.services {
		if one.priority != best.priority || one.target == "." {
			continue
		}
		addrs, ttl, err := r.addresses(ctx, c, one.target, answer.extra)
		if err != nil {
			failure = errors.Join(failure, err)
			continue
		}
		found.TTL = min(found.TTL, ttl)
		for _, addr := range addrs {
			record := Record{Addr: addr, Port: one.port, Weight: max(1, one.weight), Name: strings.TrimSuffix(one.target, ".")}
			if !slices.Contains(found.Records, record) {
				found.Records = append(found.Records, record)
			}
		}
	}
	if len(found.Records) == 0 && failure != nil {
		return Answer{}, failure
	}
	return found, nil
}

// addresses finds the addresses of an SRV record's target: in the answer that named it, or by asking.
func (r *Resolver) addresses(ctx context.Context, c *conf, target string, extra []resource) ([]netip.Addr, time.Duration, error) {
	kinds := make([]Type, 0, 2)
	for _, kind := range r.order(target) {
		if kind == A || kind == AAAA {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		kinds = append(kinds, A, AAAA)
	}
	for _, kind := range kinds {
		var known []netip.Addr
		ttl := maxTTL
		for _, one := range extra {
			if one.owner == target && one.kind == kind {
				known, ttl = append(known, one.addr), min(ttl, one.ttl)
			}
		}
		if len(known) > 0 {
			return unique(known), ttl, nil
		}
	}
	least := r.options.NotFound
	for _, kind := range kinds {
		answer, err := r.records(ctx, c, question{target, kind}, 1)
		if err != nil {
			return nil, 0, err
		}
		least = min(least, answer.TTL)
		if len(answer.Records) == 0 {
			continue
		}
		addrs := make([]netip.Addr, len(answer.Records))
		for i, record := range answer.Records {
			addrs[i] = record.Addr
		}
		return addrs, answer.TTL, nil
	}
	return nil, least, nil
}

func unique(addrs []netip.Addr) []netip.Addr {
	var list []netip.Addr
	for _, addr := range addrs {
		if !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	return list
}
