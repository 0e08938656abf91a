package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	metaSole   = "control_plane_node"
	soleLasts  = 15 * time.Second // after its last renewal a node counts as gone
	soleRenews = 5 * time.Second
)

// soleStore is the database as the sole node's row is kept in it.
type soleStore interface {
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
}

// sole makes this the only control plane node of its database. In this version nodes do not share a keyring yet, so
// a second one could put a key of its own in the place of the first one's.
type sole struct {
	store soleStore
	log   *slog.Logger
	mine  soleRow
	text  string // mine, as it is stored
}

// soleRow says which node has the database and until when that holds without a renewal.
type soleRow struct {
	ID    string `json:"id"`
	Host  string `json:"host"`
	Until int64  `json:"until"` // Unix seconds
}

// take waits for a node that may have crashed, and refuses to go on beside one that runs.
func (s *sole) take(ctx context.Context) error {
	deadline := time.Now().Add(soleLasts + 2*time.Second)
	told := false
	for {
		holder, old, err := s.read(ctx)
		if err != nil {
			return err
		}
		if old == nil || holder.ID == s.mine.ID || holder.Until <= time.Now().Unix() {
			err := s.write(ctx, old)
			if fault.KindOf(err) != fault.Conflict {
				return err
			}
			continue
		}
		if time.Now().After(deadline) {
			return fault.Newf(fault.Conflict, "app.Run", "database", "control plane node %s on %s is using it; this version runs one "+
				"control plane node on a database, since nodes do not share their keyring yet", holder.ID, holder.Host)
		}
		if !told {
			s.log.Warn("another control plane node has the database; waiting for it to end", "node", holder.ID, "host", holder.Host)
		}
		told = true
		if !pause(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// Run renews until ctx ends, and then leaves. Losing the database to another node ends this one.
func (s *sole) Run(ctx context.Context) error {
	for pause(ctx, soleRenews) {
		old := s.text
		if err := s.write(ctx, &old); fault.KindOf(err) == fault.Conflict {
			return fmt.Errorf("another control plane node has taken the database: %w", err)
		} else if err != nil && ctx.Err() == nil {
			s.log.Warn("this node's hold on the database was not renewed", "error", err)
		}
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	old := s.text
	s.mine.Until = 0
	if err := s.swap(leaving, &old); err != nil {
		s.log.Warn("the next control plane node has to wait a moment", "error", err)
	}
	return ctx.Err()
}

func (s *sole) read(ctx context.Context) (holder soleRow, text *string, err error) {
	value, found, err := s.store.Meta(ctx, metaSole)
	if err != nil || !found {
		return soleRow{}, nil, err
	}
	if err := json.Unmarshal([]byte(value), &holder); err != nil {
		return soleRow{}, nil, fmt.Errorf("reading which control plane node has the database: %w", err)
	}
	return holder, &value, nil
}

func (s *sole) write(ctx context.Context, old *string) error {
	s.mine.Until = time.Now().Add(soleLasts).Unix()
	return s.swap(ctx, old)
}

func (s *sole) swap(ctx context.Context, old *string) error {
	text, err := json.Marshal(s.mine)
	if err != nil {
		return err
	}
	if err := s.store.SwapMeta(ctx, metaSole, old, string(text)); err != nil {
		return err
	}
	s.text = string(text)
	return nil
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
