package vault

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

const (
	firstPause = time.Second
	mostPause  = 30 * time.Second // between attempts that an outage made fail
	deniedMost = 5 * time.Minute  // between attempts that take an operator
	fileMost   = 5 * time.Second  // between looks at a file into which an agent may write a token at any time
	giveWay    = 3 * time.Second  // for other nodes to send a key that is wanted here
	never      = 365 * 24 * time.Hour
)

// Run reads Vault at the start until that goes well, whenever it is polled, and when a key is wanted that no other node
// sends. It returns when ctx ends.
func (s *Sync) Run(ctx context.Context) error {
	failures, told := 0, ""
	for {
		pause := s.keeper.pollPause()
		reading, err := s.background(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errNoToken):
			pause = never // nothing to try with
		case err != nil:
			pause = min(pause, backoff(failures, err)) // a poll finds what an agent or operator mended
			failures++
		default:
			failures = 0
		}
		told = s.tell(ctx, reading, err, told)
		if !s.wait(ctx, pause, err != nil) {
			return nil
		}
	}
}

func (s *Sync) background(ctx context.Context) (*reading, error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	return s.pass(ctx, secret.Bytes{}, false)
}

// wait returns when Vault is to be read again; false when ctx ends.
func (s *Sync) wait(ctx context.Context, pause time.Duration, failing bool) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	soon := failing
	for {
		changed := s.ring.Changed()
		if !soon && s.lacking() {
			timer.Reset(giveWay + rand.N(giveWay))
			soon = true
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-s.asked:
			return true
		case <-changed:
		case <-s.done:
			timer.Reset(s.keeper.pollPause())
			soon = false
		}
	}
}

// lacking: a key is wanted of which Vault is not known to have no version.
func (s *Sync) lacking() bool {
	now := s.keeper.seen.Load()
	if s.keeper.tokenless() {
		return false
	}
	for _, id := range s.ring.Wanted() {
		if !slices.Contains(now.missing, id) {
			return true
		}
	}
	return false
}

func (k *Keeper) pollPause() time.Duration {
	if k.options.Poll <= 0 {
		return never
	}
	return k.options.Poll*9/10 + rand.N(k.options.Poll/5+1)
}

// backoff is longer for what only an operator mends.
func backoff(failures int, err error) time.Duration {
	most, cause := mostPause, causeOf(err)
	switch vaultclient.StepOf(cause) {
	case vaultclient.StepAddress, vaultclient.StepTLS, vaultclient.StepLogin, vaultclient.StepRead:
		most = deniedMost
		if fault.SubjectOf(cause) == tokenFileSetting && fault.KindOf(cause) == fault.Unavailable { // Vault was not asked
			most = fileMost
		}
	}
	pause := min(firstPause<<min(failures, 12), most)
	return pause/2 + rand.N(pause)
}

// tell logs what changed, and returns what it told.
func (s *Sync) tell(ctx context.Context, r *reading, err error, told string) string {
	log := s.log
	text := fault.Text(err)
	if err == nil {
		text = strings.Join(s.keeper.Warnings(), "; ")
	}
	switch {
	case text != "" && text != told:
		log.WarnContext(ctx, text)
	case text == "" && told != "", err == nil && len(r.offers) > 1:
		log.InfoContext(ctx, "keyring: read Vault", "versions", len(r.versions), "active", s.ring.Keys().Active)
	}
	return text
}
