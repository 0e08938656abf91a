package verifier

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
)

// Verdict is what came of an attempt. The zero value refuses.
type Verdict uint8

const (
	Refused   Verdict = iota // wrong password or unknown user: 401
	Accepted                 // the password is right
	TooMany                  // this client, this user name or everyone together asks too much: 429
	Abandoned                // the context ended before there was a verdict
	Unusable                 // the stored hash cannot be verified: 401, and worth a log line
)

// Attempt is one password to verify.
type Attempt struct {
	Client       netip.Addr // who asks; an IPv6 address counts with its /64
	User         string     // the user name that was sent
	CredentialID string     // the credential found under that name; "" when there is none
	Hash         string     // its stored hash
	Salt         string     // its consumer's id, which Kong's form needs
	Password     []byte
}

// Options tunes a Guard. The zero value is right for production.
type Options struct {
	Parallel    int           // verifications at once; default max(1, cores/2)
	Queue       int           // verifications waiting for their turn; default 64 for each one at once
	ClientRate  float64       // verifications a second for one client; default 10
	ClientBurst int           // default 50
	UserRate    float64       // verifications a second for one user name; default 1
	UserBurst   int           // default 10
	Accepted    time.Duration // how long an accepted password stays remembered unused; default 1 h
	Refused     time.Duration // how long a wrong password stays remembered; default 10 s
	Entries     int           // size of each table: accepted, refused, clients, users; default 16384
}

func (o Options) withDefaults() Options {
	o.Parallel = positive(o.Parallel, max(1, runtime.GOMAXPROCS(0)/2))
	o.Queue = positive(o.Queue, 64*o.Parallel)
	o.ClientRate, o.ClientBurst = positive(o.ClientRate, 10), positive(o.ClientBurst, 50)
	o.UserRate, o.UserBurst = positive(o.UserRate, 1), positive(o.UserBurst, 10)
	o.Accepted, o.Refused = positive(o.Accepted, time.Hour), positive(o.Refused, 10*time.Second)
	o.Entries = positive(o.Entries, 16384)
	return o
}

func positive[T int | float64 | time.Duration](value, otherwise T) T {
	if value > 0 {
		return value
	}
	return otherwise
}

type digest = [sha256.Size]byte

// Guard verifies passwords at a bounded cost. A memory-hard hash is a lever for whoever sends wrong
// passwords: so few run at once, clients and user names have a budget, and verdicts are remembered under
// a keyed hash of credential, stored hash and password, so that a changed credential is a new question.
// A password that was accepted costs its user nothing more, whatever others spend on that name. An
// unknown user, and a cheap stored hash, cost as much as a hash that [HashPassword] made.
//
// It starts no goroutine and holds no password. It is safe for concurrent use.
type Guard struct {
	options Options
	digests *Fingerprinter // under a random key of this process
	decoy   Hash           // what an unknown user's password is verified against
	slots   chan struct{}

	mu       sync.Mutex
	waiting  int                            // guarded by mu
	running  map[digest]*inquiry            // guarded by mu
	accepted *recent[digest, time.Time]     // last use; guarded by mu
	refused  *recent[digest, time.Time]     // when it was refused; guarded by mu
	clients  *recent[netip.Prefix, *bucket] // guarded by mu
	users    *recent[digest, *bucket]       // guarded by mu
}

// inquiry is a verification under way; those who ask the same wait for it.
type inquiry struct {
	done    chan struct{}
	verdict Verdict // set before done is closed
}

// NewGuard makes a Guard.
func NewGuard(options Options) *Guard {
	o := options.withDefaults()
	key := make([]byte, 32)
	rand.Read(key)
	return &Guard{
		options:  o,
		digests:  NewFingerprinter(secret.Take(key)),
		decoy:    decoy(),
		slots:    make(chan struct{}, o.Parallel),
		running:  map[digest]*inquiry{},
		accepted: newRecent[digest, time.Time](o.Entries),
		refused:  newRecent[digest, time.Time](o.Entries),
		clients:  newRecent[netip.Prefix, *bucket](o.Entries),
		users:    newRecent[digest, *bucket](o.Entries),
	}
}

// Verify says whether the password of a is right. It blocks for the time of one hash, longer while
// others are served; remembered verdicts come at once.
func (g *Guard) Verify(ctx context.Context, a Attempt) Verdict {
	question := g.question(a)
	for {
		verdict, known, other, mine := g.begin(question, a)
		if known {
			return verdict
		}
		if mine != nil {
			verdict = g.verify(ctx, a)
			g.end(question, mine, verdict)
			return verdict
		}
		select {
		case <-other.done:
			if other.verdict != Abandoned { // its client left; ours did not
				return other.verdict
			}
		case <-ctx.Done():
			return Abandoned
		}
	}
}

// question identifies what is asked: a remembered answer is good for nothing else.
func (g *Guard) question(a Attempt) digest {
	return g.digests.SumBytes([]byte(a.User), []byte(a.CredentialID), []byte(a.Hash), []byte(a.Salt), a.Password)
}

// begin answers from memory, or finds the one who is asking the same, or makes the caller that one. A
// caller without budget is told so before it can take a turn.
func (g *Guard) begin(question digest, a Attempt) (verdict Verdict, known bool, other, mine *inquiry) {
	now := time.Now()
	name := g.digests.Sum(a.User)
	g.mu.Lock()
	defer g.mu.Unlock()
	if used, ok := g.accepted.get(question); ok {
		if now.Sub(used) < g.options.Accepted {
			g.accepted.put(question, now)
			return Accepted, true, nil, nil
		}
		g.accepted.drop(question)
	}
	if at, ok := g.refused.get(question); ok {
		if now.Sub(at) < g.options.Refused {
			return Refused, true, nil, nil
		}
		g.refused.drop(question)
	}
	if other, ok := g.running[question]; ok {
		return 0, false, other, nil
	}
	// The client pays first: one who has nothing left cannot spend what belongs to a user name.
	if !spend(g.clients, network(a.Client), now, g.options.ClientRate, g.options.ClientBurst) ||
		!spend(g.users, name, now, g.options.UserRate, g.options.UserBurst) {
		return TooMany, true, nil, nil
	}
	if g.waiting >= g.options.Queue+g.options.Parallel {
		return TooMany, true, nil, nil
	}
	g.waiting++
	mine = &inquiry{done: make(chan struct{})}
	g.running[question] = mine
	return 0, false, nil, mine
}

// end remembers the verdict and wakes those who asked the same.
func (g *Guard) end(question digest, mine *inquiry, verdict Verdict) {
	mine.verdict = verdict
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
	delete(g.running, question)
	switch verdict {
	case Accepted:
		g.accepted.put(question, time.Now())
	case Refused:
		g.refused.put(question, time.Now())
	}
	close(mine.done)
}

// verify waits for a turn and hashes.
func (g *Guard) verify(ctx context.Context, a Attempt) Verdict {
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return Abandoned
	}
	if ctx.Err() != nil {
		return Abandoned
	}
	if a.CredentialID == "" {
		g.decoy.Verify(a.Password, "") // only its cost counts
		return Refused
	}
	h, err := ParseHash(a.Hash)
	if err != nil || h.Scheme == KongSHA1 {
		g.decoy.Verify(a.Password, "") // only its cost counts
	}
	if err != nil {
		return Unusable
	}
	right, err := h.Verify(a.Password, a.Salt)
	switch {
	case err != nil:
		return Unusable
	case right:
		return Accepted
	}
	return Refused
}
