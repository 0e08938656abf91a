package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

const (
	syncTimeout   = time.Minute
	logoutTimeout = 2 * time.Second
	forgetEvery   = 10 * time.Minute
)

// Ring is the keyring; controlplane/keyring says what each method promises.
type Ring interface {
	Take(ctx context.Context, offers []keyring.Offer) (refused []error, err error)
	Settled(ctx context.Context, ids []string) error
	Forget(ctx context.Context, ids []string) (forgotten []string, err error)
	Keys() keyring.Listing
	Wanted() []string
	Changed() <-chan struct{}
	Wake()
}

// Sync brings into a ring what Vault has.
type Sync struct {
	keeper *Keeper
	ring   Ring
	log    *slog.Logger
	turn   chan struct{} // one at a time
	forgot time.Time     // when keys were last thought of that are gone; guarded by turn
	done   chan struct{} // somebody asked for a sync and it went well
	asked  chan struct{} // somebody asks for a read soon
}

// NewSync makes the Sync of one ring, which keeper keeps. It starts nothing.
func NewSync(keeper *Keeper, ring Ring, log *slog.Logger) *Sync {
	return &Sync{
		keeper: keeper, ring: ring, log: log,
		turn: make(chan struct{}, 1), done: make(chan struct{}, 1), asked: make(chan struct{}, 1),
	}
}

// Wake makes Run read Vault soon.
func (s *Sync) Wake() { signal(s.asked) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Now reads all that Vault has, by a token for this once or, without one, by the settings, and returns when every node that
// lives holds it and the newest version is the active key. It fails with fault.Unavailable when Vault or a node, which is named, does
// not answer; with fault.Conflict when the newest version is deleted or refused; with fault.Invalid when token is none.
func (s *Sync) Now(ctx context.Context, token secret.Bytes) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	r, err := s.pass(ctx, token, true)
	if err != nil {
		return err
	}
	var ids []string
	for _, v := range r.versions {
		if v.good() {
			ids = append(ids, v.id)
		}
	}
	if err := s.ring.Settled(ctx, ids); err != nil {
		return err
	}
	signal(s.done)
	return s.newestFault(r)
}

// newestFault says why the newest version is not the active key.
func (s *Sync) newestFault(r *reading) error {
	switch v := r.newest(); {
	case v == nil:
		return conflict("%s has no version: write one (%s)", s.keeper.place(), s.keeper.put())
	case v.gone != "":
		return conflict("version %d of %s, the newest, is %s: the active key stays. Undelete it, or write another (%s)", v.number, s.keeper.place(), v.gone, s.keeper.put())
	case v.refused != "":
		return conflict("version %d of %s, the newest, is refused: %s. The active key stays. Write another (%s)", v.number, s.keeper.place(), v.refused, s.keeper.put())
	}
	return nil
}

func conflict(format string, args ...any) error {
	return fault.Newf(fault.Conflict, "vault.Sync", "vault", format, args...)
}

// pass reads Vault once and gives the ring what it has not. Without all, versions whose keys the ring holds are not read
// again.
func (s *Sync) pass(ctx context.Context, token secret.Bytes, all bool) (*reading, error) {
	began := time.Now()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !all && s.keeper.seen.Load().at.After(began) {
		return &reading{}, nil // somebody's sync was waited for, which read all there is
	}
	r, err := s.look(ctx, token, all)
	if err != nil {
		if !errors.Is(err, errNoToken) && token.Len() == 0 && ctx.Err() == nil {
			s.keeper.failed(err)
			s.ring.Wake() // it says why keys are missing
		}
		return nil, err
	}
	defer r.wipe()
	held, wanted := s.ring.Keys().IDs, s.ring.Wanted()
	s.keeper.succeeded(r, held, wanted) // before the ring asks why it lacks keys
	refused, err := s.ring.Take(ctx, r.offers)
	for i, why := range refused {
		if why != nil {
			r.versions[r.offered[i]].refused = fault.Text(why)
		}
	}
	s.keeper.succeeded(r, held, wanted)
	s.forget(ctx, all)
	if why := s.newestFault(r); why != nil && s.ring.Keys().Active == "" {
		return r, why
	}
	return r, err
}

// forget lets go of keys that Vault has no more and that nothing needs. Counting what needs them takes a while, so that
// polls do it now and then.
func (s *Sync) forget(ctx context.Context, asked bool) {
	missing := s.keeper.seen.Load().missing
	if len(missing) == 0 || !asked && time.Since(s.forgot) < forgetEvery {
		return
	}
	s.forgot = time.Now()
	forgotten, err := s.ring.Forget(ctx, missing)
	switch {
	case err != nil:
		s.log.WarnContext(ctx, "keyring: keys that Vault has no more were not forgotten; it is tried again", "keys", missing, "error", err)
	case len(forgotten) > 0:
		s.log.InfoContext(ctx, "keyring: keys that Vault has no more, and under which nothing rests, are forgotten", "keys", forgotten)
	}
}

// look logs in, reads, and logs out.
func (s *Sync) look(ctx context.Context, token secret.Bytes, all bool) (*reading, error) {
	k := s.keeper
	session, err := k.login(ctx, token)
	if err != nil {
		return nil, k.wrap(err)
	}
	defer func() {
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTimeout)
		defer cancel()
		_ = session.Close(leaving) // the token ends by itself
		k.client.Close()
	}()
	held := map[string]bool{}
	for _, id := range s.ring.Keys().IDs {
		held[id] = true
	}
	r, err := k.read(ctx, session, func(number int, created string) (version, bool) {
		v, ok := k.seen.Load().version(number, created)
		return v, ok && !all && (v.refused != "" || held[v.id])
	})
	if err != nil {
		return nil, k.wrap(err)
	}
	if k.options.Poll > 0 && k.options.Auth == AuthToken && token.Len() == 0 {
		r.token = renewed(ctx, session)
	}
	return r, nil
}

// renewed lets a token that is used again and again live on, as far as it may. Where its policies do not let it look at itself, nothing
// is known.
func renewed(ctx context.Context, session *vaultclient.Session) vaultclient.Token {
	token, err := session.Lookup(ctx)
	if err != nil || token.TTL == 0 || !token.Renewable {
		return token
	}
	if longer, err := session.Renew(ctx); err == nil {
		return longer
	}
	return token
}

// wrap makes what Vault said an error of the keyring: that Vault denies something is no word on who asks here.
func (k *Keeper) wrap(err error) error {
	if errors.Is(err, errNoToken) || vaultclient.StepOf(err) == "" {
		return err
	}
	kind := fault.Unavailable
	if fault.SubjectOf(err) == "token" && fault.KindOf(err) == fault.Invalid {
		kind = fault.Invalid
	}
	// The text alone: what is below may be a deadline, which is not the caller's.
	return fault.New(kind, "vault.Sync", "vault", &cannotRead{k.client.Address(), err, fmt.Sprintf("reading %s in Vault at %s: %s; %s", k.place(), k.client.Address(), textOf(err), k.mend(err))})
}

// cannotRead hides a cause that [errors.Is] would find.
type cannotRead struct {
	address string
	cause   error
	text    string
}

func (c *cannotRead) Error() string { return c.text }
