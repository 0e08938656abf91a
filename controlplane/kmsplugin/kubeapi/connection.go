package kubeapi

//lint:file-ignore SA1019 version 1 of the protocol is deprecated, and still spoken by API servers that have to be moved away from it

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/stats"
	v1 "k8s.io/kms/apis/v1beta1"
	v2 "k8s.io/kms/apis/v2"
)

// connection is one API server's connection and the key that it was told of.
type connection struct {
	mu   sync.Mutex
	said string // guarded by mu; the key_id that Status named last; "" before it was asked
}

type connectionKey struct{}

// saidHolds is how long what Status named on one connection counts on one that has not asked yet: that of an API server
// whose connection broke between Status and Encrypt.
const saidHolds = 10 * time.Second

// say notes that Status names a key to whoever asks.
func (a *API) say(ctx context.Context, id string) {
	if c, ok := ctx.Value(connectionKey{}).(*connection); ok {
		c.mu.Lock()
		c.said = id
		c.mu.Unlock()
	}
	a.mu.Lock()
	a.said, a.saidAt = id, time.Now()
	a.mu.Unlock()
}

// named is the key to encrypt under: that which Status named last on this connection, else just now on any, else the
// current one.
func (a *API) named(ctx context.Context) string {
	if c, ok := ctx.Value(connectionKey{}).(*connection); ok {
		c.mu.Lock()
		said := c.said
		c.mu.Unlock()
		if said != "" {
			return said
		}
	}
	a.mu.Lock()
	said, saidAt := a.said, a.saidAt
	a.mu.Unlock()
	if said != "" && time.Since(saidAt) < saidHolds {
		return said
	}
	return a.kek.Verdict().Current.ID
}

// cleaner marks connections, and clears secrets in answers once they were sent. What gRPC copied into its own buffers
// meanwhile it cannot reach.
type cleaner struct{}

func (cleaner) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}

func (cleaner) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (cleaner) HandleConn(context.Context, stats.ConnStats) {}

func (cleaner) HandleRPC(_ context.Context, event stats.RPCStats) {
	if sent, ok := event.(*stats.OutPayload); ok {
		wipe(sent.Payload)
	}
}

func wipe(message any) {
	switch m := message.(type) {
	case *v2.EncryptRequest:
		clear(m.Plaintext)
	case *v2.DecryptResponse:
		clear(m.Plaintext)
	case *v1.EncryptRequest:
		clear(m.Plain)
	case *v1.DecryptResponse:
		clear(m.Plain)
	}
}
