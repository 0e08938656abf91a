package keyring

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const barrierPoll = 200 * time.Millisecond

func (m Member) holds(id string) bool { return slices.Contains(m.Holds, id) }

// others are the nodes that live, without this one, for which pick says yes.
func (r *Ring) others(ctx context.Context, pick func(Member) bool) (picked []Member, err error) {
	if r.options.Members == nil {
		return nil, nil
	}
	live, err := r.options.Members.Live(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking which nodes live: %w", err)
	}
	for _, m := range live {
		if m.Node != r.options.Node && pick(m) {
			picked = append(picked, m)
		}
	}
	return picked, nil
}

// await waits until lacking says no of every other node, and names those that are left when patience
// ends. Nodes are asked through the database: whoever can silence messages between nodes can neither pass
// the barrier nor make a node that lives look dead. r.mu is not held.
func (r *Ring) await(ctx context.Context, patience time.Duration, op, id, what, advice string, lacking func(Member) bool) error {
	for start := time.Now(); ; {
		left, err := r.others(ctx, lacking)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if time.Since(start) >= patience {
			return fault.Newf(fault.Unavailable, op, subject(id), "%s: %s; %s", what, names(left), advice)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(barrierPoll):
		}
	}
}

// unreferenced refuses a key that something is sealed under.
func (r *Ring) unreferenced(ctx context.Context, op, id string) error {
	if r.options.References == nil {
		return fault.Newf(fault.Conflict, op, subject(id), "nobody counts what is sealed under it")
	}
	counts, err := r.options.References(ctx, id)
	if err != nil {
		return fmt.Errorf("counting what is sealed under key %s: %w", id, err)
	}
	if total := Total(counts); total > 0 {
		return fault.Newf(fault.Conflict, op, subject(id), "%d rows hold values that only this key opens: %s; run keepgate-cp keyring reencrypt first", total, listed(counts))
	}
	return nil
}

func listed(counts []record.SealedCount) string {
	rows := map[string]int{}
	tables := []string{}
	for _, count := range counts {
		if _, ok := rows[count.Table]; !ok {
			tables = append(tables, count.Table)
		}
		rows[count.Table] += count.Rows
	}
	slices.Sort(tables)
	for i, table := range tables {
		tables[i] = fmt.Sprintf("%s %d", table, rows[table])
	}
	return strings.Join(tables, ", ")
}
