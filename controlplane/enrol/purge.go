package enrol

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/schema"
)

const purgeEvery = time.Hour

var errKept = errors.New("the token is kept")

// Run forgets tokens that nobody asks after any more, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	pause := time.Minute
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = purgeEvery
		if err := s.purge(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.options.Log.Warn("old join tokens are still there", "error", err)
		}
	}
}

func (s *Service) purge(ctx context.Context, now time.Time) error {
	list, _, err := s.Tokens(ctx)
	if err != nil {
		return err
	}
	for _, t := range list {
		if !t.spent(now, s.options.PurgeDelay) {
			continue
		}
		piece := catalog.Piece{At: catalog.Address{Table: tableTokens, Key: t.ID}, Edit: func(present proto.Message) (schema.Document, error) {
			if present == nil {
				return nil, nil
			}
			found, err := tokenOf(present)
			if err == nil && !found.spent(now, s.options.PurgeDelay) {
				err = errKept
			}
			return nil, err
		}}
		if _, err := s.catalog.Together(ctx, piece); err != nil && err != errKept {
			return err
		}
	}
	return nil
}
