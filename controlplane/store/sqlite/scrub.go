package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// scrubPatience is how long readers may hold the log open.
const scrubPatience = 30 * time.Second

// Scrub makes the files forget what was overwritten: the log, in which older pages rest, is folded into the
// file and cut to nothing. In the file itself what is deleted is overwritten with zeros as it goes
// (secure_delete). Copies of the files, and what a disk keeps below them, are beyond reach.
func (s *Store) Scrub(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, scrubPatience, errors.New("readers kept the log open"))
	defer cancel()
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return fault.New(fault.Unavailable, "sqlite.Scrub", "", err)
	}
	defer conn.Close()
	for {
		err := fold(ctx, conn, s.timeout)
		if err == nil || (ctx.Err() == nil && !errors.Is(err, errBusy)) {
			return scrubFault(err)
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "sqlite.Scrub", "", fmt.Errorf("%w (%w)", context.Cause(ctx), ctx.Err()))
		case <-time.After(50 * time.Millisecond): // SQLite tells no one when a reader leaves
		}
	}
}

var errBusy = errors.New("readers hold the log")

// fold waits for readers only a moment: writers wait as long.
func fold(ctx context.Context, conn *sql.Conn, usual time.Duration) (err error) {
	if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 100"); err != nil {
		return err
	}
	defer func() {
		_, resetErr := conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("PRAGMA busy_timeout = %d", usual.Milliseconds()))
		err = errors.Join(err, resetErr)
	}()
	var busy, pages, folded int
	if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &folded); err != nil {
		return err
	}
	if busy != 0 {
		return errBusy
	}
	return nil
}

func scrubFault(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Internal, "sqlite.Scrub", "", err)
}
