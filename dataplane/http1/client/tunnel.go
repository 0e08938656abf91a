package client

import (
	"io"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// tunnel is a connection that has switched protocols.
type tunnel struct{ c *Conn }

func (c *Conn) becomeTunnel(ex *exchange.Exchange) {
	r := &ex.Response
	r.Origin, r.Status, r.Upgrade = exchange.Upstream, 101, ex.Request.Upgrade
	r.Tunnel = tunnel{c}
	_ = c.nc.SetDeadline(time.Time{})
}

// Close implements [exchange.Tunnel].
func (t tunnel) Close() error {
	t.c.finish(false)
	return nil
}

// Run implements [exchange.Tunnel]. The end of either direction ends both, as the protocols that use it say goodbye inside.
func (t tunnel) Run(client io.ReadWriteCloser, early []byte) error {
	c := t.c
	defer c.finish(false)
	if _, err := client.Write(c.in.Buffered()); err != nil {
		return err
	}
	if _, err := c.nc.Write(early); err != nil {
		return err
	}
	up := make(chan error, 1)
	go func() {
		_, err := io.Copy(c.nc, client)
		_ = c.nc.Close()
		up <- err
	}()
	_, err := io.Copy(client, c.nc)
	_ = client.Close()
	<-up
	return err
}
