package nodes

import (
	"context"
	"time"
)

// Purge purges now.
func Purge(ctx context.Context, r *Registry) { r.purge(ctx, time.Now()) }
