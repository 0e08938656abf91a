package reencrypt

import (
	"context"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// Run looks for work until ctx ends: a job that nobody works at, or whose node is gone. Every node runs it.
func (j *Job) Run(ctx context.Context) error {
	seen := "" // the job whose end this node knows of
	for ctx.Err() == nil {
		s, _, err := j.load(ctx)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				j.options.Log.WarnContext(ctx, "the re-encryption cannot be looked at", "error", err)
			}
		case s == nil:
		case s.State == Running:
			if mine := j.claim(ctx, s); mine != nil {
				j.options.Log.InfoContext(ctx, "re-encryption: this node works", "job", mine.ID, "pass", mine.Pass)
				j.work(ctx, mine)
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

// claim takes a running job for this node, if nobody alive has it and this node writes what it wants. Of two
// nodes that try one succeeds. nil: it is not for this node.
func (j *Job) claim(ctx context.Context, s *stored) *stored {
	if (s.To == ToPlaintext) != j.cipher.Decrypting() || !j.cipher.Enabled() {
		return nil
	}
	if s.Owner != "" && s.Owner != j.node { // its own name is left from before a restart
		if j.options.Live == nil {
			return nil
		}
		live, err := j.options.Live(ctx)
		if err != nil || slices.Contains(live, s.Owner) {
			return nil
		}
	}
	id, owner := s.ID, s.Owner
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
