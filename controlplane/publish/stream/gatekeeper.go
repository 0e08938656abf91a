package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// wipeTimeout bounds how long a data plane that is shut out may take to take that in before it is cut.
const wipeTimeout = 2 * time.Second

// Gatekeeper says who may link beyond what its certificate proves, and what to tell a data plane beside its
// configuration. Its errors may have a method Wipe() *enrolv1.SignedWipe: the data plane is sent that order as the last
// message before the link is refused or cut.
type Gatekeeper interface {
	// Admit is asked once for a new link.
	Admit(ctx context.Context, cs tls.ConnectionState, who identity.Identity) error
	// Watch returns when the data plane may no longer stay, with the reason, or when ctx ends.
	Watch(ctx context.Context, cs tls.ConnectionState, who identity.Identity) error
	// Orders returns what is to be said to a data plane that holds a trust of this sequence, and a channel that closes
	// when that may have changed. The last of each kind is not said again on the same link.
	Orders(cs tls.ConnectionState, who identity.Identity, trustSequence uint64) ([]*syncv1.Command, <-chan struct{})
}

// everybody is the Gatekeeper where certificates alone decide.
type everybody struct{}

func (everybody) Admit(context.Context, tls.ConnectionState, identity.Identity) error { return nil }

func (everybody) Watch(ctx context.Context, _ tls.ConnectionState, _ identity.Identity) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func (everybody) Orders(tls.ConnectionState, identity.Identity, uint64) ([]*syncv1.Command, <-chan struct{}) {
	return nil, nil
}

// wipeOf returns the order that an error carries, nil when it carries none.
func wipeOf(err error) *syncv1.StreamResponse {
	carrier, found := errors.AsType[interface {
		error
		Wipe() *enrolv1.SignedWipe
	}](err)
	if !found || carrier.Wipe() == nil {
		return nil
	}
	return commandOf(&syncv1.Command{Command: &syncv1.Command_Wipe{Wipe: carrier.Wipe()}})
}

func commandOf(c *syncv1.Command) *syncv1.StreamResponse {
	return &syncv1.StreamResponse{Message: &syncv1.StreamResponse_Command{Command: c}}
}

// shutOut has the data plane take an order in, if err carries one, and returns what ends the stream.
func shutOut(ctx context.Context, c conversation, err error) error {
	refused := status.Error(codes.PermissionDenied, err.Error())
	wipe := wipeOf(err)
	if wipe == nil {
		return refused
	}
	late := time.NewTimer(wipeTimeout)
	defer late.Stop()
	for _, message := range []*syncv1.StreamResponse{wipe, nil} { // nil is taken when the one before it was sent
		select {
		case c.sends <- message:
		case <-ctx.Done():
			return refused
		case <-late.C:
			return refused
		}
	}
	return refused
}

// order queues what the gatekeeper has to say and was not said on this link, and returns when to ask again.
func (l *link) order() <-chan struct{} {
	commands, changed := l.server.options.Gatekeeper.Orders(l.connection, l.who, l.trust)
	for _, c := range commands {
		kind := fmt.Sprintf("%T", c.Command)
		if !proto.Equal(l.told[kind], c) {
			l.told[kind] = c
			l.urgent = append(l.urgent, commandOf(c))
		}
	}
	return changed
}
