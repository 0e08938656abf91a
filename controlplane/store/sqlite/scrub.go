package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
)

const (
	scrubPatience = 10 * time.Minute       // for all of it; some seconds a gigabyte
	foldPatience  = 100 * time.Millisecond // for readers that hold the log; writers wait as long
	foldPause     = 50 * time.Millisecond

	writersWait   = time.Second     // for the file to be built anew, at first; twice as long each time it is tried again
	writersLast   = 4 * time.Second // the longest that they wait
	rebuildPause  = 2 * time.Second // for them, after they have waited in vain
	watchInterval = 20 * time.Millisecond
)

var (
	errBusy   = errors.New("readers hold the log")
	errWaited = errors.New("others wanted to write meanwhile, and waited for too long")
)

// Scrub makes the files forget what was overwritten. secure_delete zeroes what is freed but not what lies in the
// gaps of pages whose cells were moved, so the file is built anew (VACUUM) and the log, in which older pages
// rest, is folded into it and cut to nothing. As much disk again is needed. Who wants to write meanwhile waits, for
// some seconds at most: then building is given up, tried again a few times, and refused. Copies of the files, and
// what a disk keeps below them, are beyond reach.
func (s *Store) Scrub(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, scrubPatience, errBusy)
	defer cancel()
	if err := s.scrub(ctx); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", context.Cause(ctx), ctx.Err())
		}
		return fault.New(fault.Unavailable, "sqlite.Scrub", "", err)
	}
	return nil
}

func (s *Store) scrub(ctx context.Context) error {
	for patience := writersWait; ; patience *= 2 {
		err := s.rebuild(ctx, patience)
		if err == nil {
			break
		}
		if !errors.Is(err, errWaited) || patience >= writersLast {
			return fmt.Errorf("building the file anew: %w", err)
		}
		if !lifecycle.Pause(ctx, rebuildPause) {
			return ctx.Err()
		}
	}
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		if err := fold(ctx, conn, s.timeout); !errors.Is(err, errBusy) {
			return err
		}
		if !lifecycle.Pause(ctx, foldPause) { // SQLite tells no one when a reader leaves
			return ctx.Err()
		}
	}
}

// rebuild holds the only connection that writes, and gives it up with errWaited when others have wanted it for so long.
func (s *Store) rebuild(ctx context.Context, patience time.Duration) error {
	before := s.writer.Stats()
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	waits := before.WaitCount + int64(before.InUse) // rises when one begins to wait; this one did where it was in use
	building, stop := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		if s.wanted(building, waits, patience) {
			stop(errWaited)
		}
	})
	_, err = conn.ExecContext(building, "VACUUM")
	stop(nil)
	watching.Wait()
	if err != nil && context.Cause(building) == errWaited {
		return errWaited
	}
	return err
}

// wanted waits until somebody has waited for the connection that writes for so long, more of them than before.
func (s *Store) wanted(ctx context.Context, before int64, patience time.Duration) bool {
	var since time.Time
	for lifecycle.Pause(ctx, watchInterval) {
		switch {
		case s.writer.Stats().WaitCount <= before:
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= patience:
			return true
		}
	}
	return false
}

// fold waits for readers only a moment, and leaves the connection as patient as it was.
func fold(ctx context.Context, conn *sql.Conn, usual time.Duration) (err error) {
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", foldPatience.Milliseconds())); err != nil {
		return err
	}
	defer func() {
		_, resetErr := conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("PRAGMA busy_timeout = %d", usual.Milliseconds()))
		err = errors.Join(err, resetErr)
	}()
	var busy, pages, folded int
	if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &folded); err != nil {
		return fmt.Errorf("folding the log: %w", err)
	}
	if busy != 0 {
		return errBusy
	}
	return nil
}
