package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	scrubPatience = 10 * time.Minute       // for all of it; some seconds a gigabyte
	foldPatience  = 100 * time.Millisecond // for readers that hold the log; writers wait as long
	foldPause     = 50 * time.Millisecond
)

var errBusy = errors.New("readers hold the log")

// Scrub makes the files forget what was overwritten. secure_delete zeroes what is freed but not what lies in the
// gaps of pages whose cells were moved, so the file is built anew (VACUUM) and the log, in which older pages
// rest, is folded into it and cut to nothing. Writers wait meanwhile, and as much disk again is needed. Copies
// of the files, and what a disk keeps below them, are beyond reach.
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
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "VACUUM"); err != nil {
		return fmt.Errorf("building the file anew: %w", err)
	}
	for {
		if err := fold(ctx, conn, s.timeout); !errors.Is(err, errBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(foldPause): // SQLite tells no one when a reader leaves
		}
	}
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
