package nodes

import (
	"context"
	"time"
)

// Purge purges now.
func Purge(ctx context.Context, r *Registry) { r.purge(ctx, time.Now()) }

// Known counts the identities that are remembered.
func Known(r *Registry) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.nodes)
}
