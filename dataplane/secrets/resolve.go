package secrets

import (
	"errors"
	"fmt"
	"iter"
	"time"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/secretref"
)

// Begin begins a compilation with the vault entities of a configuration, by workspace. What is asked for from now on is what
// the configuration needs.
func (s *Secrets) Begin(vaults iter.Seq2[string, *configv1.Vault]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.compiling {
		s.compiling, s.until = true, time.Now().Add(s.options.Patience)
	}
	s.round++
	next := map[place]spec{}
	for _, kind := range [...]string{kindEnv, kindFile, kindHCV} {
		next[place{home, kind}] = s.options.own(kind)
	}
	for workspace, m := range vaults {
		if at := (place{workspace, m.GetPrefix()}); !isKind(at.name) {
			next[at] = s.options.of(workspace, m)
		}
	}
	for at, v := range s.vaults {
		if is, there := next[at]; !there || is.kind != v.spec.kind || is.where != v.spec.where {
			s.forget(at)
		}
	}
	for at, is := range next {
		s.follow(at, is)
	}
}

// forget drops a vault and all that is known of it.
func (s *Secrets) forget(at place) {
	s.close(s.vaults[at])
	delete(s.vaults, at)
	for k, d := range s.documents {
		if k.at == at {
			d.drop()
			delete(s.documents, k)
		}
	}
}

// follow keeps a vault as it is, or asks it in another way from now on: what is known of it stays, and is asked for again. Of a
// vault that cannot be asked any more nothing is known any more.
func (s *Secrets) follow(at place, is spec) {
	v := s.vaults[at]
	if v != nil && v.spec.access == is.access && v.spec.fault == is.fault {
		v.spec.times, v.refused = is.times, nil
		return
	}
	next := &vault{at: at, spec: is}
	if !s.over {
		next.backend, next.spec.fault = s.opener(at, is)
	}
	s.vaults[at] = next
	if v == nil {
		return
	}
	s.close(v)
	next.failures, next.lastSuccess = v.failures, v.lastSuccess
	for k, d := range s.documents {
		switch {
		case k.at != at:
		case next.backend == nil:
			d.drop()
			delete(s.documents, k)
		default:
			d.vault, d.due = next, time.Now()
		}
	}
}

// Fault says why the vault entity of that prefix, which Begin was told of, cannot be asked; "" when it can.
func (s *Secrets) Fault(workspace, prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.vaults[place{workspace, prefix}]; v != nil && v.backend == nil && !s.over {
		return v.spec.fault
	}
	return ""
}

// Resolve returns what a reference of a workspace leads to, as far as that is known. It never waits. Errors name no secret.
func (s *Secrets) Resolve(workspace string, r secretref.Reference) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := place{workspace, r.Place}
	v := s.vaults[at]
	switch {
	case s.over:
		return "", errors.New("this node keeps no secrets any more")
	case v == nil && isKind(r.Place):
		return "", fmt.Errorf("vault %q of this node can be referred to in the workspace default alone", r.Place)
	case v == nil:
		return "", fmt.Errorf("there is no vault %q in the workspace", r.Place)
	case v.backend == nil:
		if v.refused == nil {
			v.refused = map[string]bool{}
		}
		v.refused[r.String()] = true
		return "", fmt.Errorf("vault %q: %s", r.Place, v.spec.fault)
	}
	one := s.want(v, r)
	one.given = one.generation
	switch {
	case one.have:
		var text string
		one.value.Reveal(func(data []byte) { text = string(data) })
		return text, nil
	case one.pending:
		return "", fmt.Errorf("vault %q has not answered yet", r.Place)
	}
	return "", fmt.Errorf("vault %q: %s", r.Place, one.fault)
}

// want notes that a reference is needed.
func (s *Secrets) want(v *vault, r secretref.Reference) *known {
	k := key{v.at, r.Secret, r.Version}
	d := s.documents[k]
	if d == nil {
		d = &document{key: k, vault: v, fields: map[string]*known{}}
		s.documents[k] = d
	}
	if d.round != s.round {
		d.round, d.times = s.round, v.spec.times
	}
	shorten(&d.ttl, r.TTL)
	shorten(&d.negative, r.NegativeTTL)
	shorten(&d.resurrect, r.ResurrectTTL)
	one := d.fields[r.Field]
	if one == nil {
		one = &known{pending: true}
		d.fields[r.Field], d.due = one, time.Now()
	}
	one.round = s.round
	return one
}

// Settle waits for what was asked for and of which nothing was heard yet. All Settles until End wait for a bounded time
// together. It returns whether something was heard.
func (s *Secrets) Settle() bool {
	timer := time.NewTimer(time.Until(s.deadline()))
	defer timer.Stop()
	for {
		s.mu.Lock()
		s.launch(time.Now())
		waits := false
		for _, d := range s.documents {
			waits = waits || d.round == s.round && d.pending() && (d.fetching || d.vault.ready(time.Now()))
		}
		moved := s.moved()
		s.mu.Unlock()
		if !waits {
			return moved
		}
		select {
		case <-s.progress:
		case <-timer.C:
			return moved
		}
	}
}

func (s *Secrets) deadline() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until
}

// moved: something leads elsewhere than the compilation was told. Called with mu held.
func (s *Secrets) moved() bool {
	for _, d := range s.documents {
		if d.round == s.round && d.moved() {
			return true
		}
	}
	return false
}

// End forgets what was not asked for since Begin.
func (s *Secrets) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compiling = false
	for k, d := range s.documents {
		if d.round != s.round {
			d.drop()
			delete(s.documents, k)
			continue
		}
		for name, one := range d.fields {
			if one.round != s.round {
				one.lose("")
				delete(d.fields, name)
			}
		}
		if again := d.fetched.Add(d.ttl); d.has() && !d.failing && d.ttl > 0 && (d.due.IsZero() || d.due.After(again)) {
			d.due = again // a shorter time than before
		}
	}
	if s.moved() {
		tell(s.changed)
	}
	tell(s.wake)
}
