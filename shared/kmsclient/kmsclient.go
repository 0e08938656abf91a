// Package kmsclient speaks with a Kubernetes KMS plugin over its UNIX socket, as an API server does: version 2
// (k8s.io/kms/apis/v2) and version 1 (v1beta1 on the wire).
//
// It makes calls and judges answers: what breaks the rules of the protocol is an error here and never reaches the
// caller. It keeps no key material, caches nothing and polls nothing; controlplane/keyring/kms does for version 2,
// controlplane/encryption/kmsv1 for version 1. In particular it does not compare the key_id of Encrypt with that of
// Status: whoever holds both does.
//
// A call waits for the plugin for as long as its own timeout and no longer. A plugin that comes back is found by the
// next call at the latest a second later; one that hangs is dialled anew after each call that it let time out, since
// another process may have taken over its socket.
//
// Errors are fault.Error with the subject "kms/<name>": Unavailable for whatever the plugin does or leaves undone,
// Invalid for what the caller asks, Corrupt for a wrapped key that breaks the limits of the protocol. They tell the
// remedy, quote the plugin shortened, and hold no material.
package kmsclient

import (
	"log/slog"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// DefaultTimeout bounds a call when nobody says otherwise; the plugins' own advice is 100 ms.
const DefaultTimeout = 3 * time.Second

// Options says which plugin, and how it is called. Name and Endpoint are required.
type Options struct {
	Name     string        // of the provider, for errors
	Endpoint string        // as CheckEndpoint takes it
	Timeout  time.Duration // of each call; default DefaultTimeout
	Log      *slog.Logger  // default: discard

	// Observe hears of every call: its gRPC method ("/v2.KeyManagementService/Status"), the name of the gRPC code
	// that it ended with ("OK"), and how long it took. An answer that breaks a rule ended with OK.
	Observe func(method, code string, took time.Duration)

	// Connected hears of every connection to the socket, before a call is made on it: whoever listens there now may be
	// somebody else than before. It must not block.
	Connected func()
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Name == "":
		return o, fault.Newf(fault.Invalid, "kmsclient.New", "", "a KMS provider without a name")
	case o.Timeout < 0:
		return o, fault.Newf(fault.Invalid, "kmsclient.New", "kms/"+o.Name, "timeout %v: it must be longer than nothing", o.Timeout)
	case o.Timeout == 0:
		o.Timeout = DefaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(string, string, time.Duration) {}
	}
	if o.Connected == nil {
		o.Connected = func() {}
	}
	return o, nil
}
