package std

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// Options tunes a Server. The zero value is right for production.
type Options struct {
	MaxHeadBytes int           // default 32 KiB
	MaxFields    int           // default 128
	HeadTimeout  time.Duration // default 60 s
	IdleTimeout  time.Duration // default 60 s
	BodyTimeout  time.Duration // silence between two reads of a body; default 60 s
	MinBodyRate  int           // bytes of a body of known length, or of HTTP/1.1, a second, after a grace of BodyTimeout; default 240, below 0 none
	WriteTimeout time.Duration // silence between two writes; default 60 s
	MaxStreams   int           // concurrent HTTP/2 streams of a connection; default 128
	SayKeepAlive bool          // say "Connection: keep-alive" in HTTP/1.1 too, where it goes without saying
	Log          *slog.Logger  // the standard server's own complaints, as debug lines; default: nobody hears them
	Base         context.Context
}

func (o Options) withDefaults() Options {
	for _, d := range []*time.Duration{&o.HeadTimeout, &o.IdleTimeout, &o.BodyTimeout, &o.WriteTimeout} {
		if *d <= 0 {
			*d = 60 * time.Second
		}
	}
	if o.MaxHeadBytes <= 0 {
		o.MaxHeadBytes = 32 << 10
	}
	if o.MaxFields <= 0 {
		o.MaxFields = 128
	}
	if o.MinBodyRate == 0 {
		o.MinBodyRate = wire.MinBodyRate
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = 128
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Base == nil {
		o.Base = context.Background()
	}
	return o
}

// Server serves HTTP/1.1, HTTP/2 by ALPN and HTTP/2 with prior knowledge.
type Server struct {
	handler   exchange.Handler
	options   Options
	exchanges exchange.Pool
	blocks    wire.Blocks
	calls     sync.Pool // of *call
	watch     watch
	dates     dates
	tunnels   tunnels
	http      *http.Server
}

// New makes a Server and starts nothing.
func New(handler exchange.Handler, options Options) *Server {
	s := &Server{handler: handler, options: options.withDefaults()}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:                      http.HandlerFunc(s.serve),
		ReadHeaderTimeout:            s.options.HeadTimeout,
		IdleTimeout:                  s.options.IdleTimeout,
		MaxHeaderBytes:               s.options.MaxHeadBytes,
		Protocols:                    protocols,
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: s.options.MaxStreams, SendPingTimeout: s.options.IdleTimeout, WriteByteTimeout: s.options.WriteTimeout,
		},
		ErrorLog:    slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return s.options.Base },
		ConnContext: withConnection,
	}
	return s
}

// Serve accepts from l until it is closed. TLS connections come with their handshake done or not.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown lets requests in flight finish, tunnels too; when ctx ends first it closes what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
	}
	if cut := s.tunnels.wait(ctx); err == nil {
		err = cut
	}
	return err
}
