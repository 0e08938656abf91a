package secrets

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretbackend"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

const (
	questions      = 64 // at once
	questionsPlace = 8  // of one workspace: its vaults may not answer, and the others' have to be asked all the same
	questionsVault = 4  // to one vault
	firstPause     = 500 * time.Millisecond
	longestPause   = 30 * time.Second
	askPatience    = 12 * time.Second // a login and a question
)

// Run asks again for what gets old, until ctx ends.
func (s *Secrets) Run(ctx context.Context) error {
	for {
		s.mu.Lock()
		now := time.Now()
		s.expire(now)
		next := time.Hour
		if !s.compiling { // Settle asks, and End wakes us: a secret is to be asked for once, for all of its fields
			s.launch(now)
			next = s.next(now)
		}
		s.mu.Unlock()
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			s.stop()
			return ctx.Err()
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// stop ends questions and logins. What is known stays known: requests may still be served.
func (s *Secrets) stop() {
	s.cancel()
	s.mu.Lock()
	for _, v := range s.vaults {
		s.close(v)
	}
	s.stopped = true
	s.mu.Unlock()
	s.fetching.Wait()
}

// ready says whether a vault can be asked one question more. One that fails is asked one at a time.
func (v *vault) ready(now time.Time) bool {
	if v.fails > 0 {
		return v.inFlight == 0 && !now.Before(v.notBefore)
	}
	return v.inFlight < questionsVault
}

// room says whether one question more of a workspace can be put. Called with mu held.
func (s *Secrets) room(workspace string) bool {
	return s.inFlight < questions && s.asking[workspace] < questionsPlace
}

// launch puts the questions that are due. Called with mu held.
func (s *Secrets) launch(now time.Time) {
	if s.over || s.stopped {
		return
	}
	for _, d := range s.documents {
		if d.fetching || d.due.IsZero() || d.due.After(now) || !d.vault.ready(now) || !s.room(d.key.at.workspace) {
			continue
		}
		d.fetching = true
		d.vault.inFlight++
		s.inFlight++
		s.asking[d.key.at.workspace]++
		names, v := d.names(), d.vault
		s.fetching.Go(func() { s.fetch(d, v, names) })
	}
}

func (s *Secrets) fetch(d *document, v *vault, names []string) {
	ctx, cancel := context.WithTimeout(s.base, askPatience)
	defer cancel()
	found, err := v.backend.Read(ctx, d.key.secret, d.key.version, names)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	v.inFlight--
	if s.asking[v.at.workspace]--; s.asking[v.at.workspace] == 0 {
		delete(s.asking, v.at.workspace)
	}
	d.fetching = false
	s.take(d, v, names, found, err, time.Now())
	if d.moved() && !s.compiling && !d.dropped {
		tell(s.changed)
	}
	tell(s.progress)
	tell(s.wake)
}

// take notes the answer to a question. Called with mu held.
func (s *Secrets) take(d *document, v *vault, names []string, found map[string]secretbackend.Field, err error, now time.Time) {
	if d.dropped || v != d.vault || s.over {
		for _, one := range found {
			one.Value.Wipe()
		}
		return // nobody needs it any more, or it came in a way that is not the vault's any more
	}
	s.note(v, err, now)
	switch {
	case err == nil:
		d.take(found, names, now)
	case fault.KindOf(err) == fault.NotFound:
		d.lose(names, secretbackend.Coarse(err), now)
	default:
		d.fail(names, err, now)
	}
	if d.pending() {
		d.due = now // a field of it was wanted meanwhile
	}
}

// take takes values.
func (d *document) take(found map[string]secretbackend.Field, names []string, now time.Time) {
	d.fetched, d.failing, d.fails = now, false, 0
	missing := false
	for _, name := range names {
		one, wanted := d.fields[name]
		got := found[name]
		switch {
		case !wanted:
			got.Value.Wipe()
		case got.Fault == "" && got.Value.Len() > 0:
			one.set(got.Value)
		default:
			missing = true
			why := got.Fault
			if why == "" {
				why = secretbackend.NoMember
			}
			one.lose(why)
		}
	}
	d.due = time.Time{}
	if d.ttl > 0 {
		d.due = now.Add(d.ttl - rand.N(d.ttl/10+1))
	}
	if again := now.Add(max(d.negative, time.Second)); missing && (d.due.IsZero() || again.Before(d.due)) {
		d.due = again
	}
}

// lose says that there is no such secret.
func (d *document) lose(names []string, why string, now time.Time) {
	d.failing, d.fails = false, 0
	for _, name := range names {
		if one := d.fields[name]; one != nil {
			one.lose(why)
		}
	}
	d.due = now.Add(max(d.negative, time.Second))
}

// fail keeps what is known.
func (d *document) fail(names []string, err error, now time.Time) {
	d.failing = true
	for _, name := range names {
		if one := d.fields[name]; one != nil && !one.have {
			one.lose(secretbackend.Coarse(err))
		}
	}
	if !concernsAll(err) {
		d.fails++
		d.due = now.Add(pause(d.fails))
	}
}

// concernsAll says whether an error is one of the whole vault, so that no other question needs to be put to it for now.
func concernsAll(err error) bool {
	step := vaultclient.StepOf(err)
	return fault.KindOf(err) == fault.Unavailable || step == vaultclient.StepLogin || step == vaultclient.StepAddress
}

// note keeps count of how a vault answers, and says once when that changes. Called with mu held.
func (s *Secrets) note(v *vault, err error, now time.Time) {
	before := v.fault
	answered := err == nil || fault.KindOf(err) == fault.NotFound
	switch {
	case answered:
		v.lastSuccess, v.fault = now, ""
	default:
		v.failures++
		v.fault = secretbackend.Detailed(err)
	}
	if answered || !concernsAll(err) {
		v.fails, v.notBefore = 0, time.Time{}
	} else {
		v.fails++
		v.notBefore = now.Add(pause(v.fails))
	}
	switch {
	case before == "" && v.fault != "":
		s.options.Log.Warn("a vault cannot be read; what is known of it goes on being used for resurrect_ttl", "vault", v.at.name, "workspace", v.at.workspace, "reason", v.fault)
	case before != "" && v.fault == "":
		s.options.Log.Info("a vault can be read again", "vault", v.at.name, "workspace", v.at.workspace)
	}
}

// pause is how long to wait after a number of failures in a row.
func pause(fails int) time.Duration {
	p := min(firstPause<<min(fails-1, 10), longestPause)
	return p - p/10 + rand.N(p/5)
}

// expire drops values that could not be asked for again for too long. Called with mu held.
func (s *Secrets) expire(now time.Time) {
	for _, d := range s.documents {
		at := d.expires()
		if at.IsZero() || now.Before(at) {
			continue
		}
		for _, one := range d.fields {
			one.lose("it could not be asked for longer than resurrect_ttl")
		}
		if !s.compiling {
			tell(s.changed)
		}
	}
}

// next is how long nothing is to be done. Called with mu held.
func (s *Secrets) next(now time.Time) time.Duration {
	next := now.Add(time.Hour)
	sooner := func(at time.Time) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	for _, d := range s.documents {
		sooner(d.expires())
		if d.fetching || d.due.IsZero() || d.vault.inFlight > 0 && !d.vault.ready(now) || !s.room(d.key.at.workspace) {
			continue // an answer comes first
		}
		if d.vault.notBefore.After(d.due) {
			sooner(d.vault.notBefore)
		} else {
			sooner(d.due)
		}
	}
	return max(next.Sub(now), 0)
}
