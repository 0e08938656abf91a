// Package backend asks the control plane to wrap and unwrap, whichever of its nodes answers.
//
// Calls go to the node that answered last; the first one, and the next after a failure, are drawn. A node that is away,
// silent, cannot serve, or does not admit this plugin, which is a matter of its own files, is left for another within the
// same call: all three calls may be made twice without harm. What a node refuses for good (an unknown key, a ciphertext that
// is not this key's) is not asked of another, since all nodes serve from one database.
//
// It knows nothing of Kubernetes and judges no key; see controlplane/kmsplugin/kek.
package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

// Endpoint is one node of the control plane. Address is host:port.
type Endpoint struct {
	Address     string
	Credentials credentials.TransportCredentials
}

// Options tunes a Backend. The zero value is right for production, but for what it says of identity and trust.
type Options struct {
	Timeout time.Duration // of a call over all nodes; default 2.5 s: an API server waits for 3 s
	Log     *slog.Logger  // default: discard

	// Identity names the certificate in use; connections of another one are replaced at the next Describe. Default: never.
	Identity func() string
	// Believe says at each Describe whether the node at the other end may still be one: a connection outlives the
	// revocation of who serves it. Default: yes.
	Believe func(tls.ConnectionState) error
	// Observe hears of every attempt. Default: nobody does.
	Observe func(address, method string, code codes.Code, took time.Duration)
}

// Backend is the control plane. It is safe for concurrent use.
type Backend struct {
	nodes     []*node
	options   Options
	preferred atomic.Pointer[node] // answered last; nil before anyone did
}

// New makes a Backend over at least one node, and dials nobody yet.
func New(endpoints []Endpoint, options Options) *Backend {
	if options.Timeout <= 0 {
		options.Timeout = 2500 * time.Millisecond
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Identity == nil {
		options.Identity = func() string { return "" }
	}
	if options.Believe == nil {
		options.Believe = func(tls.ConnectionState) error { return nil }
	}
	if options.Observe == nil {
		options.Observe = func(string, string, codes.Code, time.Duration) {}
	}
	b := &Backend{options: options}
	for _, endpoint := range endpoints {
		b.nodes = append(b.nodes, &node{Endpoint: endpoint})
	}
	return b
}

// Node is the address of the node that answered last; "" before any did.
func (b *Backend) Node() string {
	if n := b.preferred.Load(); n != nil {
		return n.Address
	}
	return ""
}

// Describe asks which keys there are.
func (b *Backend) Describe(ctx context.Context) (answer *wrapv1.DescribeResponse, err error) {
	err = b.call(ctx, "Describe", func(ctx context.Context, n *node) error {
		answer, err = n.describe(ctx, b.options)
		return err
	})
	return answer, err
}

// Wrap wraps a secret.
func (b *Backend) Wrap(ctx context.Context, request *wrapv1.WrapRequest) (answer *wrapv1.WrapResponse, err error) {
	err = b.call(ctx, "Wrap", func(ctx context.Context, n *node) error {
		return n.use(b.options.Identity(), func(c grpc.ClientConnInterface) error {
			answer, err = wrapv1.NewWrapServiceClient(c).Wrap(ctx, request)
			return err
		})
	})
	return answer, err
}

// Unwrap unwraps what Wrap gave.
func (b *Backend) Unwrap(ctx context.Context, request *wrapv1.UnwrapRequest) (answer *wrapv1.UnwrapResponse, err error) {
	err = b.call(ctx, "Unwrap", func(ctx context.Context, n *node) error {
		return n.use(b.options.Identity(), func(c grpc.ClientConnInterface) error {
			answer, err = wrapv1.NewWrapServiceClient(c).Unwrap(ctx, request)
			return err
		})
	})
	return answer, err
}

// Close ends all connections and the calls on them.
func (b *Backend) Close() {
	for _, n := range b.nodes {
		n.close()
	}
}

// call asks one node after the other until one answers or refuses for good. Each gets an equal share of the time that is
// left, so that one that hangs does not cost the others their turn.
func (b *Backend) call(ctx context.Context, method string, ask func(context.Context, *node) error) error {
	began := time.Now()
	end := began.Add(b.options.Timeout)
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(end) {
		end = sooner
	}
	order := b.order()
	var failures []string
	var denied error // by every node so far
	for i, n := range order {
		share := end.Sub(began) / time.Duration(len(order)-i)
		own, stop := context.WithDeadline(ctx, began.Add(share))
		err := ask(own, n)
		stop()
		code := status.Code(err)
		ended := time.Now()
		b.options.Observe(n.Address, method, code, ended.Sub(began))
		if err == nil || isFinal(code) {
			b.prefer(n)
			return refusal(method, err)
		}
		failures = append(failures, n.Address+": "+words(err))
		if code == codes.PermissionDenied && (i == 0 || denied != nil) {
			denied = err
		} else {
			denied = nil
		}
		if ctx.Err() != nil || !ended.Before(end) {
			break
		}
		began = ended
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.New(fault.Unavailable, "backend."+method, "", context.Cause(ctx))
	}
	if denied != nil {
		return refusal(method, denied)
	}
	return fault.Newf(fault.Unavailable, "backend."+method, "", "no node of the control plane serves: %s", strings.Join(failures, "; "))
}

// order is the preferred node and then the others, drawn.
func (b *Backend) order() []*node {
	list := slices.Clone(b.nodes)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if first := b.preferred.Load(); first != nil {
		i := slices.Index(list, first)
		list[0], list[i] = list[i], list[0]
	}
	return list
}

func (b *Backend) prefer(n *node) {
	before := b.preferred.Swap(n)
	if before != n && len(b.nodes) > 1 {
		b.options.Log.Info("the control plane is asked at another node", "node", n.Address)
	}
}

// isFinal reports whether another node would answer the same.
func isFinal(code codes.Code) bool {
	switch code {
	case codes.NotFound, codes.FailedPrecondition, codes.InvalidArgument:
		return true
	}
	return false
}

func refusal(method string, err error) error {
	if err == nil {
		return nil
	}
	kind := fault.Unavailable
	switch status.Code(err) {
	case codes.NotFound:
		kind = fault.NotFound
	case codes.FailedPrecondition:
		kind = fault.Conflict
	case codes.InvalidArgument:
		kind = fault.Invalid
	case codes.PermissionDenied:
		kind = fault.Denied
	}
	return fault.New(kind, "backend."+method, "", errors.New(words(err)))
}

// maxWords is how much of a node's own words is repeated.
const maxWords = 300

func words(err error) string {
	said := status.Convert(err)
	text := said.Message()
	if len(text) > maxWords {
		text = text[:maxWords] + "…"
	}
	switch said.Code() {
	case codes.DeadlineExceeded:
		return "it did not answer in time"
	case codes.Unimplemented:
		return "this node wraps nothing for Kubernetes: it is older, or not yet serving"
	}
	return fmt.Sprintf("%s (%v)", text, said.Code())
}
