// Package revocation knows which certificates of a verified chain their issuers have taken back.
//
// It asks OCSP responders (RFC 6960) and reads certificate revocation lists (RFC 5280 §5) at the addresses that
// the certificates themselves name. Requests never fetch: [Chain.Check] looks at what is held, and what is missing
// or old is fetched beside it by [Room.Run]; [Strict] waits for that, because it must know. An answer counts until
// its nextUpdate, is fetched anew when [Settings.Refresh] has passed, and ahead of its end as long as somebody
// has asked of late. "Revoked" counts until a newer answer says otherwise, be it long out of date: who has
// lost a certificate shall not regain it by silencing a server.
//
// Addresses are taken from certificates only after their chain was verified, so that nobody but a configured
// authority can make a node fetch something. No redirect is followed, and only http and https are spoken.
//
// Not done: delta lists, indirect lists, lists of some reasons only, nonces in OCSP (the window of an answer's
// validity bounds a replay), the revocation of a responder's own certificate, ldap and file addresses.
// Nothing is kept over a restart. The trust anchor of a chain is not asked about: it is configured.
package revocation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	workers     = 16
	queueLength = 4096
	maxSources  = 16384
	maxHeld     = 256 << 20 // bytes of all lists together, as they are held
	idleAfter   = time.Hour // what nobody asked about for so long is not refreshed ahead
	forgetAfter = 24 * time.Hour
	sweepEvery  = 5 * time.Second
)

// Settings say how what somebody asks for is fetched. Equal settings share what was fetched.
type Settings struct {
	Timeout    time.Duration // of one fetch, and of waiting for it
	Refresh    time.Duration // how old an answer gets before a newer one is looked for; failures are kept at most so long
	HTTPProxy  string        // host:port for http addresses, "" for none
	HTTPSProxy string        // host:port for https addresses, "" for none
	NoLists    bool          // only responders are asked
}

// Options tunes a Room. The zero value is right for production.
type Options struct {
	Log  *slog.Logger // default: discard
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Room holds what was fetched, for a whole process.
type Room struct {
	log   *slog.Logger
	web   *web
	queue chan *source
	held  atomic.Int64  // bytes of lists
	parse chan struct{} // one list is parsed at a time: it takes several times its size

	mu      sync.Mutex
	sources map[sourceKey]*source // guarded by mu
}

// New makes a Room and starts nothing.
func New(o Options) *Room {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Room{
		log: o.Log, web: newWeb(o.Dial), queue: make(chan *source, queueLength),
		parse: make(chan struct{}, 1), sources: map[sourceKey]*source{},
	}
}

// Run fetches until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer r.web.close()
	defer running.Wait()
	for range workers {
		running.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case s := <-r.queue:
					s.fetch(ctx)
				}
			}
		})
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			r.sweep(now)
		}
	}
}

// sweep refreshes what will be asked for again and forgets what will not.
func (r *Room) sweep(now time.Time) {
	r.mu.Lock()
	var wanted []*source
	for key, s := range r.sources {
		switch idle := now.Sub(time.Unix(0, s.used.Load())); {
		case idle > forgetAfter:
			delete(r.sources, key)
			s.drop()
		case idle < idleAfter:
			wanted = append(wanted, s)
		}
	}
	r.mu.Unlock()
	for _, s := range wanted {
		s.refreshAhead(now)
	}
}

// sourceKey tells sources apart: what is asked, of whom, for which certificate, and how.
type sourceKey struct {
	settings Settings
	what     [sha256.Size]byte
}

func keyOf(settings Settings, of kind, urls []string, cert, issuer *x509.Certificate) sourceKey {
	sum := sha256.New()
	add := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		sum.Write(n[:])
		sum.Write(b)
	}
	add([]byte{byte(of)})
	add(issuer.Raw)
	if of == ofOCSP {
		add(cert.Raw)
	}
	for _, url := range urls {
		add([]byte(url))
	}
	key := sourceKey{settings: settings}
	sum.Sum(key.what[:0])
	return key
}

// source returns the one that is shared, nil when the certificate names no address that can be asked.
func (r *Room) source(settings Settings, of kind, cert, issuer *x509.Certificate) *source {
	urls := cert.CRLDistributionPoints
	if of == ofOCSP {
		urls = cert.OCSPServer
	}
	if urls = usable(urls); len(urls) == 0 {
		return nil
	}
	key := keyOf(settings, of, urls, cert, issuer)
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sources[key]; s != nil {
		return s
	}
	s := &source{room: r, settings: settings, kind: of, urls: urls, cert: cert, issuer: issuer}
	s.used.Store(time.Now().UnixNano())
	if len(r.sources) >= maxSources {
		r.evict()
	}
	r.sources[key] = s
	return s
}

// evict forgets the least recently used of a few sources; r.mu is held.
func (r *Room) evict() {
	var oldest sourceKey
	var found *source
	seen := 0
	for key, s := range r.sources { // the order of a map is random enough
		if found == nil || s.used.Load() < found.used.Load() {
			oldest, found = key, s
		}
		if seen++; seen == 32 {
			break
		}
	}
	if found != nil {
		delete(r.sources, oldest)
		found.drop()
	}
}

// Held is one thing that a Room knows or tries to.
type Held struct {
	Kind       string   // "ocsp" or "crl"
	Addresses  []string // where it is asked for
	Fetched    time.Time
	NextUpdate time.Time // until when it counts
	Failure    string    // of the last try, "" when it succeeded
}

// Report tells what is held, for people. The order is none.
func (r *Room) Report() []Held {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Held, 0, len(r.sources))
	for _, s := range r.sources {
		h := Held{Kind: s.kind.String(), Addresses: s.urls}
		if a := s.answer.Load(); a != nil {
			h.Fetched, h.NextUpdate = a.fetched, a.until
		}
		if failure := s.failure.Load(); failure != nil {
			h.Failure = (*failure).Error()
		}
		list = append(list, h)
	}
	return list
}
