package kms

import (
	"context"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
)

// Examine asks the plugin how it is and lets it wrap and unwrap bytes that are nobody's key. setting is where its
// endpoint stands. It changes nothing.
func (k *Keeper) Examine(ctx context.Context, setting string) []finding.Finding {
	return finding.Run(ctx, "KMS plugin "+k.options.Endpoint, []finding.Step{
		{Name: "status", Do: func(ctx context.Context) finding.Result {
			k.ask(ctx, 0)
			o := k.seen.Load()
			if o.err != nil || o.good.IsZero() {
				return finding.Bad(cause(o.err), "start the plugin that serves this socket, give this user access to it, or correct "+setting)
			}
			return finding.Fine("ok, key_id %s", hashOf(o.keyID))
		}},
		{Name: "encryption", Needs: []string{"status"}, Do: func(ctx context.Context) finding.Result {
			began := time.Now()
			k.try(ctx)
			if err := k.seen.Load().wrap; err != nil {
				return finding.Bad(cause(err), "see the plugin's own log; correct or replace it, or what it keeps its key in")
			}
			return finding.Fine("it gives back what it has encrypted (%s)", fmt.Sprint(time.Since(began).Round(time.Millisecond)))
		}},
	})
}
