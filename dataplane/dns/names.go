package dns

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// Asker looks a name up; *Resolver is one. An answer without records is an answer too: its TTL says for how long
// there are none.
type Asker interface {
	Lookup(ctx context.Context, host string) (Answer, error)
}

// NameOptions tunes Names. The zero value is right for production.
type NameOptions struct {
	// Valid, when above 0, is how long an answer is used, whatever its records say (dns_valid_ttl).
	Valid time.Duration
	// Stale is how long after that an answer still serves, until there is another one (dns_stale_ttl). Default 1 h; below 0
	// not at all.
	Stale time.Duration
	// Failed is how long it is remembered that nobody could be asked (dns_error_ttl). Default 1 s.
	Failed time.Duration
	// Timeout is how long one look-up may take. Default 10 s.
	Timeout time.Duration
}

func (o NameOptions) withDefaults() NameOptions {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&o.Stale, time.Hour}, {&o.Failed, time.Second}, {&o.Timeout, 10 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	o.Stale = max(0, o.Stale)
	return o
}

// Names remembers what host names resolve to, for all balancers of a process. While [Names.Run] runs, a name in
// use is refreshed behind the requests' backs; without it an expired answer is refreshed by the request that
// meets it.
type Names struct {
	asker   Asker
	options NameOptions
	refresh chan *Name
	running atomic.Bool
	version atomic.Uint64

	mu      sync.Mutex
	known   map[string]weak.Pointer[Name] // guarded by mu
	sweepAt int                           // guarded by mu; how many names make it worth looking for those that are gone
}

const (
	// minSweep is how many names may come before those that no balancer asks for are looked for.
	minSweep = 256
	// refreshers is how many names are refreshed at a time.
	refreshers = 8
	// patience is how long after its time a failure still serves while it is looked at again behind requests.
	patience = 5 * time.Second
	// shortest is how long an answer serves at least: a TTL of 0 would ask for every request.
	shortest = time.Second
)

// NewNames makes a Names that asks asker.
func NewNames(asker Asker, options NameOptions) *Names {
	return &Names{asker: asker, options: options.withDefaults(), refresh: make(chan *Name, 1024), known: map[string]weak.Pointer[Name]{}, sweepAt: minSweep}
}

// Version changes whenever some name leads elsewhere.
func (n *Names) Version() uint64 { return n.version.Load() }

// Name is one host name. It is forgotten with the last one who holds it.
type Name struct {
	names  *Names
	host   string
	answer atomic.Pointer[Known]
	queued atomic.Bool

	turn chan struct{} // held while it is looked up
}

// Known is what is known of a name. It does not change.
type Known struct {
	// Records are where the name leads. The list stays the same one as long as the set does.
	Records []Record
	// Kind is the type of record that was found.
	Kind Type
	// Err says why there are no records; it is [ErrNoRecords] when the name servers say so.
	Err error
	// Fresh is until when nobody is asked again.
	Fresh time.Time

	usable time.Time // until when it serves while there is no other answer
}

// Name returns the name of a host.
func (n *Names) Name(host string) *Name {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.known[host].Value(); known != nil {
		return known
	}
	if len(n.known) >= n.sweepAt {
		maps.DeleteFunc(n.known, func(_ string, one weak.Pointer[Name]) bool { return one.Value() == nil })
		n.sweepAt = 2*len(n.known) + minSweep
	}
	fresh := &Name{names: n, host: host, turn: make(chan struct{}, 1)}
	n.known[host] = weak.Make(fresh)
	return fresh
}

// Run refreshes names until ctx ends.
func (n *Names) Run(ctx context.Context) error {
	n.running.Store(true)
	defer n.running.Store(false)
	var wg sync.WaitGroup
	for range refreshers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case name := <-n.refresh:
					name.queued.Store(false)
					name.update(ctx)
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// Lookup returns what is known, and asks when nothing is. It is nil when ctx ended first.
func (n *Name) Lookup(ctx context.Context) *Known {
	have := n.answer.Load()
	if have == nil {
		return n.update(ctx)
	}
	now := time.Now()
	switch {
	case now.Before(have.Fresh):
		return have
	case now.Before(have.usable) && n.names.running.Load():
		if n.queued.CompareAndSwap(false, true) {
			select {
			case n.names.refresh <- n:
			default:
				n.queued.Store(false)
			}
		}
		return have
	}
	return n.update(ctx)
}

// update asks, once for all who wait. A failure leaves a usable answer in place.
func (n *Name) update(ctx context.Context) *Known {
	select {
	case n.turn <- struct{}{}:
		defer func() { <-n.turn }()
	case <-ctx.Done():
		return n.answer.Load()
	}
	have := n.answer.Load()
	if have != nil && time.Now().Before(have.Fresh) {
		return have
	}
	asked, cancel := context.WithTimeout(ctx, n.names.options.Timeout)
	defer cancel()
	answer, err := n.names.asker.Lookup(asked, n.host)
	if err != nil && ctx.Err() != nil {
		return have // the one who asked gave up; that says nothing about the name
	}
	next := n.names.learnt(have, answer, err, time.Now())
	n.answer.Store(next)
	if have == nil || !sameList(have.Records, next.Records) {
		n.names.version.Add(1)
	}
	return next
}

// learnt is what is known after an answer.
func (n *Names) learnt(have *Known, answer Answer, err error, now time.Time) *Known {
	o := n.options
	if err != nil || len(answer.Records) == 0 {
		next := &Known{Err: err, Fresh: now.Add(o.Failed)}
		if err == nil {
			next.Err, next.Fresh = ErrNoRecords, now.Add(max(answer.TTL, shortest))
		}
		next.usable = next.Fresh.Add(patience)
		if err != nil && have != nil && len(have.Records) > 0 && now.Before(have.usable) {
			next.Records, next.Kind, next.usable = have.Records, have.Kind, have.usable
		}
		return next
	}
	ttl := max(answer.TTL, shortest)
	if o.Valid > 0 {
		ttl = o.Valid
	}
	next := &Known{Records: answer.Records, Kind: answer.Kind, Fresh: now.Add(ttl), usable: now.Add(ttl + o.Stale)}
	if have != nil && sameSet(have.Records, next.Records) {
		next.Records = have.Records
	}
	return next
}

// sameList says whether two lists are one.
func sameList(a, b []Record) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// sameSet says whether two lists hold the same records, whatever the order.
func sameSet(a, b []Record) bool {
	if len(a) != len(b) {
		return false
	}
	for _, one := range a {
		found := 0
		for _, other := range b {
			if one == other {
				found++
			}
		}
		if found != 1 {
			return false
		}
	}
	return true
}

// IsKnown says whether Lookup returns at once.
func (n *Name) IsKnown() bool { return n.answer.Load() != nil }

// SameAs says whether k and other lead to the same places.
func (k *Known) SameAs(other *Known) bool {
	if k == nil || other == nil {
		return k == other
	}
	return sameList(k.Records, other.Records) && k.Kind == other.Kind && (k.Err == nil) == (other.Err == nil)
}

// Len is how many names are remembered.
func (n *Names) Len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.known)
}
