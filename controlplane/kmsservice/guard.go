package kmsservice

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Guard says whether the peer of a connection may still stay; *mtls.Source is one.
type Guard interface {
	Check(cs tls.ConnectionState, allow ...identity.Role) error
	// Changed returns a channel that is closed when what Check says may have changed.
	Changed() <-chan struct{}
}

const (
	// checkedFor is how long a check holds, if nothing changes. Verifying a chain costs more than unwrapping.
	checkedFor = time.Second
	mostKept   = 1024 // connections
)

// checks remembers who was just checked.
type checks struct {
	guard Guard

	mu   sync.Mutex
	kept map[*x509.Certificate]checked // by the leaf, which each handshake parses anew; guarded by mu
}

type checked struct {
	changed <-chan struct{}
	until   time.Time
}

// check is the guard's, unless it said the same of this connection a moment ago.
func (c *checks) check(cs tls.ConnectionState) error {
	now, leaf := time.Now(), cs.PeerCertificates[0] // there is one: its identity was read
	c.mu.Lock()
	was, found := c.kept[leaf]
	c.mu.Unlock()
	if found && now.Before(was.until) && now.Before(leaf.NotAfter) {
		select {
		case <-was.changed:
		default:
			return nil
		}
	}
	changed := c.guard.Changed()
	if err := c.guard.Check(cs, identity.KMS); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= mostKept {
		clear(c.kept) // those that are there are checked again
	}
	c.kept[leaf] = checked{changed, now.Add(checkedFor)}
	return nil
}
