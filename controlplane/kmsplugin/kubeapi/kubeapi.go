// Package kubeapi is what an API server sees: Kubernetes' KMS API version 2, and version 1 (v1beta1) where it is switched on.
//
// The API server throws away what is encrypted under another key_id than Status said, so both agree for each connection:
// Encrypt wraps under the key that Status named on it last, however often the KEK was rotated in between. Status answers
// from memory. Decrypt takes only what names a key of the KEK, and no annotations, since none are ever given out; that the
// control plane itself wrapped it is proven by the ciphertext, which is bound to the KEK and the key.
//
// While a short trouble lasts Status tells it as healthz. When nothing can be promised any more it fails, because a text
// alone lets an API server go on writing (kubernetes/kubernetes#138950).
//
// What version 1 stores has no key_id beside it, so the key's name is inside of the cipher:
//
//	version   1 byte   0x01
//	length    2 bytes  of the key_id, big-endian
//	key_id
//	ciphertext         as the control plane gave it
package kubeapi

//lint:file-ignore SA1019 version 1 of the protocol is deprecated, and still spoken by API servers that have to be moved away from it

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/kms/apis/v1beta1"
	v2 "k8s.io/kms/apis/v2"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
)

// ControlPlane wraps and unwraps. Its errors are of package fault.
type ControlPlane interface {
	Wrap(ctx context.Context, request *wrapv1.WrapRequest) (*wrapv1.WrapResponse, error)
	Unwrap(ctx context.Context, request *wrapv1.UnwrapRequest) (*wrapv1.UnwrapResponse, error)
}

// KEK is what is known of the keys; *kek.Follower says what each method promises.
type KEK interface {
	Verdict() kek.Verdict
	Knows(ctx context.Context, id string) (bool, error)
	Used(id string)
	Works(id string)
	Doubt()
}

// Options tunes an API. The zero value is right for production.
type Options struct {
	V1  bool         // serve version 1 too
	Log *slog.Logger // default: discard
	// Observe hears of every call: "v2" or "v1", its method, how it ended, and how long it took. Default: nobody does.
	Observe func(version, method string, code codes.Code, took time.Duration)
}

// API serves the calls of API servers.
type API struct {
	cp      ControlPlane
	kek     KEK
	options Options
	flights flights
	pace    rate.Sometimes // of the log: who may dial can fail as fast as it likes

	mu     sync.Mutex
	said   string    // guarded by mu; the key_id that Status named last, on whichever connection
	saidAt time.Time // guarded by mu
}

// New makes an API and starts nothing.
func New(cp ControlPlane, keys KEK, options Options) *API {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Observe == nil {
		options.Observe = func(string, string, codes.Code, time.Duration) {}
	}
	return &API{cp: cp, kek: keys, options: options, flights: flights{lanes: map[flightKey]*lane{}}, pace: rate.Sometimes{First: 20, Interval: time.Second}}
}

// maxRequest is what the protocol's limits come to: 32 KiB of annotations, and 64 KiB of a cipher of version 1.
const maxRequest = 128 << 10

// workers keep their stacks from one call to the next: a new goroutine's grows several times on the way to the control
// plane. What comes beyond them gets goroutines of its own.
const workers = 16

// Server makes a gRPC server of the API, with windows of fixed size: to measure what they ought to be gRPC answers every
// message with a ping. The socket decides who may dial it.
func (a *API) Server() *grpc.Server {
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequest), grpc.ConnectionTimeout(10*time.Second),
		grpc.StatsHandler(cleaner{}), grpc.UnaryInterceptor(a.observe),
		grpc.NumStreamWorkers(workers), grpc.StaticStreamWindowSize(maxRequest), grpc.StaticConnWindowSize(8*maxRequest),
	)
	v2.RegisterKeyManagementServiceServer(server, &second{api: a})
	if a.options.V1 {
		v1.RegisterKeyManagementServiceServer(server, &first{api: a})
	}
	return server
}

// observe counts a call and says what went wrong; secrets are in neither, and are cleared where the request holds them.
func (a *API) observe(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	defer wipe(request)
	began := time.Now()
	answer, err := handle(ctx, request)
	version, method := split(info.FullMethod)
	a.options.Observe(version, method, status.Code(err), time.Since(began))
	if err != nil && method != "Status" { // that is told when it changes
		a.pace.Do(func() {
			a.options.Log.Warn("a call of the API server failed", "version", version, "method", method, "uid", uidOf(request), "error", err)
		})
	}
	return answer, err
}

func split(fullMethod string) (version, method string) {
	version = "v2"
	if len(fullMethod) > 3 && fullMethod[:3] == "/v1" {
		version = "v1"
	}
	for i := len(fullMethod) - 1; i >= 0; i-- {
		if fullMethod[i] == '/' {
			return version, fullMethod[i+1:]
		}
	}
	return version, fullMethod
}

func uidOf(request any) string {
	if named, ok := request.(interface{ GetUid() string }); ok {
		return named.GetUid()
	}
	return ""
}
