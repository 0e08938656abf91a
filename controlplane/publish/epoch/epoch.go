// Package epoch tells two lives of a database apart, so that data planes take a configuration which is older than the one they hold
// where that is meant.
package epoch

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// name is what the database calls the number.
const name = "epoch"

// Meta is the named values of a database.
type Meta interface {
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
}

// Read returns the database's epoch; the first reader of a new database sets it. It begins at the clock,
// so that data planes of a database that was thrown away take the new one's configuration.
func Read(ctx context.Context, store Meta) (uint64, error) {
	text, found, err := store.Meta(ctx, name)
	if err == nil && !found {
		text = strconv.FormatInt(time.Now().Unix(), 10)
		err = store.SwapMeta(ctx, name, nil, text)
		if fault.KindOf(err) == fault.Conflict { // another node was faster
			text, _, err = store.Meta(ctx, name)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("reading the epoch: %w", err)
	}
	epoch, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the epoch is no number: %w", err)
	}
	return epoch, nil
}

// Raise tells data planes that the database's history began anew, as after a restore: they then take a
// configuration that is older than the one they hold. Running publishers notice within seconds.
func Raise(ctx context.Context, store Meta) (uint64, error) {
	text, found, err := store.Meta(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("reading the epoch: %w", err)
	}
	next := uint64(time.Now().Unix())
	var old *string
	if found {
		held, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the epoch is no number: %w", err)
		}
		next, old = max(next, held+1), &text
	}
	return next, store.SwapMeta(ctx, name, old, strconv.FormatUint(next, 10))
}
