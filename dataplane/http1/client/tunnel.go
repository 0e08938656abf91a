package client

import (
	"io"
	"sync/atomic"
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

// Run implements [exchange.Tunnel]. The end of either direction ends both, as the protocols that use it say goodbye inside;
// so does silence in both for as long as the upstream may take to answer, as in nginx.
func (t tunnel) Run(client io.ReadWriteCloser, early []byte) error {
	c := t.c
	defer c.finish(false)
	if _, err := client.Write(c.in.Buffered()); err != nil {
		return err
	}
	if _, err := c.nc.Write(early); err != nil {
		return err
	}
	period := time.Duration(c.readWait) / 2
	var moved atomic.Int64
	end := func() { _, _ = c.nc.Close(), client.Close() } // both: the other direction may wait in a write
	up := make(chan error, 1)
	go func() {
		err := pump(c.nc, client, period, &moved)
		end()
		up <- err
	}()
	err := pump(client, c.nc, period, &moved)
	end()
	<-up
	return err
}

// pump copies from src to dst until one of them ends, or nothing has moved in the whole tunnel for two periods.
func pump(dst io.Writer, src io.Reader, period time.Duration, moved *atomic.Int64) error {
	timed, ok := src.(interface{ SetReadDeadline(t time.Time) error })
	for silent := 0; ; {
		before := moved.Load()
		if ok {
			_ = timed.SetReadDeadline(time.Now().Add(period))
		}
		n, err := io.Copy(dst, src)
		moved.Add(n)
		if err == nil || !isTimeout(err) {
			return err
		}
		if silent++; moved.Load() != before {
			silent = 0
		}
		if silent == 2 {
			return err
		}
	}
}
