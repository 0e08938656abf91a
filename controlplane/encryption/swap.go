package encryption

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// Swap puts other chains in force. The index key is sealed for them first, so that what they leave of it opens; then
// they take effect at once. A Swap that fails leaves everything in force as it was.
func (c *Cipher) Swap(ctx context.Context, chains Chains) error {
	c.swapping.Lock()
	defer c.swapping.Unlock()
	err := c.prepare(ctx, &chains)
	if err == nil {
		c.chains.Store(&chains)
	}
	c.next.Store(nil)
	// What only the other chains need of the index key goes. Where it cannot go now, it does with the next change of a ring.
	_ = c.syncIndex(context.WithoutCancel(ctx), nil)
	return err
}

// prepare has the index key sealed for chains that are not in force yet. Nothing was done where they cannot write.
func (c *Cipher) prepare(ctx context.Context, chains *Chains) error {
	for _, chain := range chains.all() {
		if _, err := chain.writer().Mark(); err != nil {
			return err
		}
	}
	c.next.Store(chains)
	if err := c.syncIndex(ctx, c.admits(ctx, *chains)); err != nil {
		return err
	}
	if err := c.carried(ctx, chains); err != nil {
		return err
	}
	return c.follow(ctx, chains)
}

// carried refuses chains that would leave no copy of the index key that they read: a provider may fail to make one when
// it is needed, whatever it said before.
func (c *Cipher) carried(ctx context.Context, chains *Chains) error {
	text, found, err := c.store.Meta(ctx, metaIndex)
	if err != nil || !found {
		return err
	}
	record, err := parseIndex(text)
	if err != nil || record.Clear != "" || chains.all().clear() {
		return err
	}
	providers := chains.all().providers()
	for _, copied := range record.Sealed {
		if !retired(providers, copied) {
			return nil
		}
	}
	return fault.Newf(fault.Unavailable, "encryption.Swap", metaIndex, "no provider of the new chains has sealed the index key, without which unique "+
		"secrets are neither found nor written: try again when they can write")
}

// follow has the rings say when they have new keys.
func (c *Cipher) follow(ctx context.Context, chains *Chains) error {
	for _, p := range chains.all().providers() {
		if ring, ok := p.(*ringProvider); ok {
			if err := ring.keys.Follow(ctx, func(ctx context.Context) error { return c.syncIndex(ctx, nil) }); err != nil {
				return err
			}
		}
	}
	return nil
}

const lostAgain = 5 * time.Second

// Run looks again for what opens the index key while that is lost, since not every provider says when it has come back.
func (c *Cipher) Run(ctx context.Context) error {
	ticks := time.NewTicker(lostAgain)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
		if !c.index.Load().known() {
			_ = c.syncIndex(ctx, nil) // who needs it hears why it is lost
		}
	}
}
