package relational

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	maxAttempts = 6
	// A row costs some tens of microseconds; ten times that is granted.
	patiencePerRow = time.Millisecond
	// Up to that many rows, what is left to do while the revision row is held takes less than the round trips
	// that would do it before.
	smallBatch = 100
)

// Apply commits a batch and returns its revision.
func (s *Store) Apply(ctx context.Context, batch record.Batch) (uint64, error) {
	p, err := s.plan(batch)
	if err != nil || p.size == 0 {
		return 0, err
	}
	patience := 6*s.timeout + time.Duration(p.size)*patiencePerRow
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errTimeout)
	defer cancel()
	a := application{store: s, plan: p, patience: patience}
	for attempt := 1; ; attempt++ {
		revision, err := a.run(ctx)
		if err == nil {
			s.see(revision)
			return revision, nil
		}
		if !a.again(ctx, err, attempt) {
			return a.settle(ctx, err)
		}
	}
}

// application is one batch on its way into the database.
type application struct {
	store    *Store
	plan     plan
	patience time.Duration

	// vacate takes the unique values from all rows before any gets a new one. It is needed only where rows
	// of one batch exchange values, which is rare, and it writes these rows twice.
	vacate bool

	batch      string  // names the attempt in its change record
	revision   uint64  // that the attempt has been given
	committing bool    // whether it got as far as its COMMIT
	candidates []group // whose rows the failed statement wrote; empty: any
}

func (a *application) run(ctx context.Context) (uint64, error) {
	a.batch, a.revision, a.committing, a.candidates = rand.Text(), 0, false, nil
	tx, err := a.store.begin(ctx, a.store.writer, a.store.dialect.Begin(a.patience))
	if err != nil {
		return 0, err
	}
	defer tx.end(ctx)
	for _, group := range a.plan.groups {
		if err := a.write(ctx, tx, group); err != nil {
			return 0, err
		}
	}
	if err := a.store.fence(ctx, tx, "Apply", a.plan.sealedUnder); err != nil {
		return 0, err
	}
	if check := a.store.dialect.CheckReferences; check != "" && a.plan.size > smallBatch {
		if _, err := tx.exec(ctx, check); err != nil {
			return 0, err
		}
	}
	if !a.plan.silent {
		if a.revision, err = a.store.appendChange(ctx, tx, a.batch, a.plan); err != nil {
			return 0, err
		}
	}
	a.committing = true
	if err := tx.commit(ctx); err != nil {
		return 0, err
	}
	return a.revision, nil
}

// again says whether another attempt may succeed, after a pause where others were in the way.
func (a *application) again(ctx context.Context, err error, attempt int) bool {
	if attempt == maxAttempts || ctx.Err() != nil {
		return false
	}
	switch a.store.dialect.Explain(err).Kind {
	case Unique:
		if a.vacate || !a.exchanges() {
			return false
		}
		a.vacate = true
		return true
	case Collision:
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause(attempt)):
			return true
		}
	}
	return false
}

// pause is random, so that two writers that collided do not collide again.
func pause(attempt int) time.Duration {
	upTo := int64(5*time.Millisecond) << attempt
	n, err := rand.Int(rand.Reader, big.NewInt(upTo))
	if err != nil {
		return time.Duration(upTo)
	}
	return time.Duration(n.Int64())
}

// exchanges reports that a table has two changes of which one rewrites a row, so that they could pass a
// unique value on.
func (a *application) exchanges() bool {
	for _, group := range a.plan.groups {
		for _, change := range group.changes {
			if !change.Delete && change.Expect != 0 && len(group.changes) > 1 {
				return true
			}
		}
	}
	return false
}

// settle makes the error of the last attempt one for the caller. A connection that broke during the COMMIT
// leaves open whether the server did it: the revision row is held until it did or did not, so who gets it
// next sees the truth.
func (a *application) settle(ctx context.Context, err error) (uint64, error) {
	s := a.store
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return 0, err
	}
	cause := s.dialect.Explain(err)
	switch {
	case ctx.Err() == nil && (cause.Kind == Unique || cause.Kind == Reference):
		return 0, s.refusal(ctx, a, cause, err)
	case !a.committing || cause.Kind != Unreachable && ctx.Err() == nil:
		return 0, s.fault(ctx, "Apply", "", err)
	}
	unknown := fault.Newf(fault.Unavailable, s.dialect.Name+".Apply", "",
		"the connection broke during the commit, whose outcome is not known: %w", err)
	if a.plan.silent {
		return 0, unknown
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	committed, lookErr := s.committed(ctx, a.revision, a.batch)
	for attempt := 1; lookErr != nil && attempt < maxAttempts && ctx.Err() == nil; attempt++ {
		time.Sleep(pause(attempt))
		committed, lookErr = s.committed(ctx, a.revision, a.batch)
	}
	switch {
	case lookErr != nil:
		return 0, unknown
	case committed:
		s.see(a.revision)
		return a.revision, nil
	}
	return 0, fault.Newf(fault.Unavailable, s.dialect.Name+".Apply", "", "the connection broke and nothing was committed: %w", err)
}

// committed waits for the transaction that may still hold the revision row, and then looks.
func (s *Store) committed(ctx context.Context, revision uint64, batch string) (bool, error) {
	tx, err := s.begin(ctx, s.writer, s.dialect.Begin(s.timeout))
	if err != nil {
		return false, err
	}
	defer tx.end(ctx)
	if _, err := tx.exec(ctx, "UPDATE "+s.dialect.table("revision")+" SET number = number WHERE id = 1"); err != nil {
		return false, fmt.Errorf("waiting for the revision: %w", err)
	}
	var found int64
	row := tx.conn.QueryRowContext(ctx, s.dialect.text("SELECT count(*) FROM "+s.dialect.table("changes")+
		" WHERE revision = ? AND batch = ?"), int64(revision), batch)
	if err := row.Scan(&found); err != nil {
		return false, fmt.Errorf("looking for the change: %w", err)
	}
	if found == 0 {
		return false, nil
	}
	// Found may still be lost with this server, where the wait for its standby was cut short by the loss of our connection. Our own
	// commit waits for the standby again, and comes after it.
	if err := tx.commit(ctx); err != nil {
		return false, fmt.Errorf("making sure that the change lasts: %w", err)
	}
	return true, nil
}
