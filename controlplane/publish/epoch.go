package publish

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// metaEpoch names the number that tells two lives of a database apart.
const metaEpoch = "epoch"

// Meta is the named values of a database.
type Meta interface {
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
}

// readEpoch returns the database's epoch; the first reader of a new database sets it. It begins at the clock,
// so that data planes of a database that was thrown away take the new one's configuration.
func readEpoch(ctx context.Context, store Meta) (uint64, error) {
	text, found, err := store.Meta(ctx, metaEpoch)
	if err == nil && !found {
		text = strconv.FormatInt(time.Now().Unix(), 10)
		err = store.SwapMeta(ctx, metaEpoch, nil, text)
		if fault.KindOf(err) == fault.Conflict { // another node was faster
			text, _, err = store.Meta(ctx, metaEpoch)
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

// RaiseEpoch tells data planes that the database's history began anew, as after a restore: they then take a
// configuration that is older than the one they hold. Running publishers notice within seconds.
func RaiseEpoch(ctx context.Context, store Meta) (uint64, error) {
	text, found, err := store.Meta(ctx, metaEpoch)
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
	return next, store.SwapMeta(ctx, metaEpoch, old, strconv.FormatUint(next, 10))
}
