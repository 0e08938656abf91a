package http1

import (
	"context"
	"net"
	"time"

	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// Options tunes a Server. The zero value is right for production.
type Options struct {
	// MaxLineBytes bounds the request line; default 8 KiB (414 beyond).
	MaxLineBytes int
	// MaxHeadBytes bounds the whole head; default 32 KiB, at most 64 KiB (431 beyond).
	MaxHeadBytes int
	// MaxFields bounds the header lines; default 128 (431 beyond).
	MaxFields int
	// HeadTimeout bounds the time from the first byte of a head to its end; default 60 s (408).
	HeadTimeout time.Duration
	// BodyTimeout bounds the silence between two reads of a body; default 60 s (408).
	BodyTimeout time.Duration
	// MinBodyRate is how many bytes of a body must come a second, after a grace of BodyTimeout; default 240, below 0 none (408).
	MinBodyRate int
	// WriteTimeout bounds how long a write may make no progress; default 60 s.
	WriteTimeout time.Duration
	// IdleTimeout bounds the silence between two requests; default 60 s.
	IdleTimeout time.Duration
	// MaxRequests closes a connection after so many requests; default 0, no bound.
	MaxRequests int
	// SayKeepAlive says "Connection: keep-alive" in HTTP/1.1 too, where it goes without saying, as nginx does.
	SayKeepAlive bool
	// DrainBytes is how much of an unread body is read away to keep a connection; default 64 KiB.
	DrainBytes int64
	// WatchAfter is how long a handler waits before the client is watched for leaving; default 100 ms.
	WatchAfter time.Duration
	// RestAfter is how long a connection is silent, at least, before it gives back what it can; default 2 s.
	RestAfter time.Duration
	// Preface takes over a connection that opens with the HTTP/2 preface in clear; default: 505.
	Preface func(net.Conn)
	// Panicked hears of a panic in the handler, with its stack. The connection is closed, the process goes
	// on: one request must not take the others down. Default: nothing.
	Panicked func(value any, stack []byte)
	// Base is the context of all exchanges; default context.Background.
	Base context.Context
}

func (o Options) withDefaults() Options {
	def := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	num := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	num(&o.MaxLineBytes, 8<<10)
	num(&o.MaxHeadBytes, 32<<10)
	num(&o.MaxFields, 128)
	o.MaxHeadBytes = min(o.MaxHeadBytes, wire.LargeBlock)
	o.MaxLineBytes = min(o.MaxLineBytes, o.MaxHeadBytes)
	def(&o.HeadTimeout, 60*time.Second)
	def(&o.BodyTimeout, 60*time.Second)
	def(&o.WriteTimeout, 60*time.Second)
	def(&o.IdleTimeout, 60*time.Second)
	def(&o.WatchAfter, 100*time.Millisecond)
	def(&o.RestAfter, 2*time.Second)
	if o.MinBodyRate == 0 {
		o.MinBodyRate = wire.MinBodyRate
	}
	if o.DrainBytes <= 0 {
		o.DrainBytes = 64 << 10
	}
	if o.Base == nil {
		o.Base = context.Background()
	}
	return o
}
