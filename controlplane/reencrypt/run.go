package reencrypt

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// Run looks for work until ctx ends: a job that nobody works at, or whose node is gone. Every node runs it.
func (j *Job) Run(ctx context.Context) error {
	seen := "" // the job whose end this node knows of
	idle := 0  // how many times in turn there was a job that nobody has and this node cannot take
	for ctx.Err() == nil {
		s, _, err := j.load(ctx)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				j.options.Log.WarnContext(ctx, "the re-encryption cannot be looked at", "error", err)
			}
		case s == nil:
		case s.State == Running:
			if j.take(ctx, s, &idle) {
				continue
			}
		case s.State == Done && s.ID != seen: // another node may have ended a migration
			if err := j.cipher.Refresh(ctx); err == nil {
				seen = s.ID
			}
		}
		j.rest(ctx, j.options.Poll)
	}
	return ctx.Err()
}

// patientLooks is how many times a node finds a job with nobody before it says so: another may be about to take it.
const patientLooks = 3

// take works at a running job, if nobody alive has it and this node writes what it wants. If it does not, idle counts.
func (j *Job) take(ctx context.Context, s *stored, idle *int) (worked bool) {
	if !j.orphan(ctx, s) {
		*idle = 0
		return false
	}
	if left := j.left.Load(); s.Owner == "" && left != nil && time.Since(*left) < 2*j.options.HandOver {
		return false // others first
	}
	if why := j.unfit(s); why != "" {
		if *idle++; *idle >= patientLooks {
			j.orphaned(ctx, s, why)
		}
		return false
	}
	*idle = 0
	mine := j.claim(ctx, s)
	if mine == nil {
		return false
	}
	j.options.Log.InfoContext(ctx, "re-encryption: this node works", "job", mine.ID, "pass", mine.Pass)
	j.work(ctx, mine)
	return true
}

// rest waits for a hint, or until the time is over.
func (j *Job) rest(ctx context.Context, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-j.wake:
	case <-timer.C:
	}
}

// claim takes a running job that nobody alive has for this node. Of two nodes that try one succeeds. nil: it is not for
// this node.
func (j *Job) claim(ctx context.Context, s *stored) *stored {
	id, owner := s.ID, s.Owner
	if s.Pass > 0 && owner != j.node { // the first one was named when it was started
		if err := j.record(ctx, "takeover", id, "from", cmp.Or(owner, "a node that stopped")); err != nil {
			j.options.Log.WarnContext(ctx, "the re-encryption is not taken over", "error", err)
			return nil
		}
	}
	mine, err := j.change(ctx, func(s *stored) (*stored, error) {
		if s == nil || s.ID != id || s.State != Running || s.Owner != owner {
			return nil, fault.Newf(fault.Conflict, "reencrypt.claim", subject, "another node has it")
		}
		s.Owner, s.Waiting = j.node, ""
		return s, nil
	})
	if err != nil {
		return nil
	}
	return mine
}

// orphan reports whether nobody alive has a job.
func (j *Job) orphan(ctx context.Context, s *stored) bool {
	if s.Owner == "" || s.Owner == j.node { // its own name is left from before a restart
		return true
	}
	if j.options.Live == nil {
		return false
	}
	live, err := j.options.Live(ctx)
	return err == nil && !slices.Contains(live, s.Owner)
}

// unfit says why this node does not work at a job: it would write otherwise than the job wants. It names no node, so
// that all say the same.
func (j *Job) unfit(s *stored) (why string) {
	const nobody = "no control plane node that lives takes it: "
	switch {
	case !j.cipher.Enabled():
		return nobody + "they have no keys to write with (keyring_enabled = off)"
	case s.To == ToPlaintext && !j.cipher.Decrypting():
		return nobody + "it is to leave secrets in clear, which needs keyring_decrypt_all = on; set it, or cancel the job"
	case s.To != ToPlaintext && j.cipher.Decrypting():
		return nobody + "it is to seal secrets, which needs keyring_decrypt_all = off; set it, or cancel the job"
	}
	return ""
}

// orphaned writes into a job why nobody takes it.
func (j *Job) orphaned(ctx context.Context, s *stored, why string) {
	if s.Waiting == why {
		return
	}
	id, owner := s.ID, s.Owner
	_, err := j.change(ctx, func(s *stored) (*stored, error) {
		if s == nil || s.ID != id || s.State != Running || s.Owner != owner {
			return nil, fault.Newf(fault.Conflict, "reencrypt.orphaned", subject, "another node has it")
		}
		s.Waiting, s.Speed = why, 0
		return s, nil
	})
	if err == nil {
		j.options.Log.WarnContext(ctx, "re-encryption waits", "job", id, "cause", why)
	}
}
