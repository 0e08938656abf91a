package app

import (
	"context"
	"time"
)

// severAfter is what requests under way have to end by themselves when this node is shut out.
const severAfter = time.Second

// sever ends what clients hold open when this node is shut out of its cluster: WebSockets, calls of gRPC, downloads. They
// were let in by what this node may not use any more, and would else run to an end of their own. What leads on to an upstream
// ends with them. Who comes after that is answered 503, and stays.
func (f *front) sever(ctx context.Context) error {
	if f.plane.belonging.wiped != nil {
		<-ctx.Done() // nobody was let in
		return ctx.Err()
	}
	select {
	case <-f.plane.belonging.shut:
	case <-ctx.Done():
		return ctx.Err()
	}
	sever := f.sockets.Present()
	select {
	case <-time.After(severAfter):
	case <-ctx.Done():
		return ctx.Err()
	}
	f.plane.log.Error("this node was shut out of its cluster: connections that clients had open are ended", "connections", sever())
	<-ctx.Done()
	return ctx.Err()
}
