package http2server

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// Options tunes a Server. The zero value is right for production.
type Options struct {
	// MaxLineBytes bounds :path; default 8 KiB (414 beyond).
	MaxLineBytes int
	// MaxHeadBytes bounds names and values of a header list; default 32 KiB, at most 64 KiB (431 beyond).
	MaxHeadBytes int
	// MaxFields bounds its fields; default 128 (431 beyond).
	MaxFields int
	// MaxStreams bounds the streams of a connection at a time; default 128.
	MaxStreams int
	// HeadTimeout bounds the time from the first byte of a frame, or of a header list, to its end; default 60 s.
	HeadTimeout time.Duration
	// BodyTimeout bounds the silence between two reads of a body; default 60 s (408). Calls of gRPC may be silent.
	BodyTimeout time.Duration
	// MinBodyRate is how many bytes of a body of known length must come a second, after a grace of BodyTimeout; default 240, below 0
	// none (408).
	MinBodyRate int
	// WriteTimeout bounds how long a client may take nothing of what it is sent; default 60 s.
	WriteTimeout time.Duration
	// IdleTimeout bounds the time without streams, and the silence of a client with streams before it is asked whether it lives;
	// default 60 s.
	IdleTimeout time.Duration
	// RestAfter is how long a connection is silent before it gives back what it can; default 2 s.
	RestAfter time.Duration
	// Panicked hears of a panic in the handler, with its stack. The stream is reset, the connection goes on. Default: nothing.
	Panicked func(value any, stack []byte)
	// Base is the context of all exchanges; default context.Background.
	Base context.Context
}

func (o Options) withDefaults() Options {
	for _, d := range []*time.Duration{&o.HeadTimeout, &o.BodyTimeout, &o.WriteTimeout, &o.IdleTimeout} {
		if *d <= 0 {
			*d = 60 * time.Second
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
	num(&o.MaxStreams, 128)
	o.MaxHeadBytes = min(o.MaxHeadBytes, wire.LargeBlock)
	if o.RestAfter <= 0 {
		o.RestAfter = 2 * time.Second
	}
	if o.MinBodyRate == 0 {
		o.MinBodyRate = wire.MinBodyRate
	}
	if o.Base == nil {
		o.Base = context.Background()
	}
	return o
}
