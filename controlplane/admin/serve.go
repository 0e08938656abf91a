package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/guard"
	"github.com/keepgate/keepgate/controlplane/admin/node"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/lifecycle"
)

const (
	headerTimeout  = 10 * time.Second
	requestTimeout = 2 * time.Minute // reading a request and answering it; a push sets its own
	idleTimeout    = time.Minute
	maxHeaderBytes = 64 << 10
	drainTime      = 5 * time.Second
)

// Endpoint is one socket on which the API is served.
type Endpoint struct {
	Listener net.Listener
	TLS      *tls.Config // nil: in clear
	HTTP2    bool        // offered by ALPN with TLS
}

// Serve answers on all endpoints until ctx ends, then lets requests end for a moment. It closes the listeners.
//
// It refuses a listener that other machines can reach, whatever its name resolved to.
func (s *Server) Serve(ctx context.Context, endpoints ...Endpoint) error {
	defer s.node.Close()
	parts := make([]lifecycle.Part, 0, len(endpoints))
	for _, endpoint := range endpoints {
		at := guard.Listener{Address: endpoint.Listener.Addr().String(), TLS: endpoint.TLS != nil}
		if err := guard.CheckListen([]guard.Listener{at}, s.deps.Access != nil); err != nil {
			for _, e := range endpoints {
				err = errors.Join(err, e.Listener.Close())
			}
			return err
		}
		parts = append(parts, lifecycle.Part{
			Name: "admin " + endpoint.Listener.Addr().String(),
			Run:  func(ctx context.Context) error { return s.serve(ctx, endpoint) },
		})
	}
	if len(parts) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	return lifecycle.Run(ctx, parts...)
}

func (s *Server) serve(ctx context.Context, endpoint Endpoint) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ConnState: s.counts.connection,
		ErrorLog:                     slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelDebug),
		DisableGeneralOptionsHandler: true,
	}
	listener, scheme := endpoint.Listener, "http"
	if endpoint.TLS != nil {
		config := endpoint.TLS.Clone()
		config.NextProtos = []string{"http/1.1"}
		if endpoint.HTTP2 {
			config.NextProtos = []string{"h2", "http/1.1"}
		}
		server.TLSConfig, scheme = config, "https"
		if config.VerifyConnection != nil {
			server.Handler = s.believing(config.VerifyConnection)
		}
	}
	s.deps.Log.InfoContext(ctx, "Admin API", "address", scheme+"://"+listener.Addr().String())
	var drained sync.WaitGroup
	drained.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer drained.Done()
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if server.Shutdown(patience) != nil {
			_ = server.Close() // what still runs is cut
		}
	})
	var err error
	if endpoint.TLS != nil {
		err = server.ServeTLS(listener, "", "")
	} else {
		err = server.Serve(listener)
	}
	if stop() {
		drained.Done()
	}
	drained.Wait()
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("serving: %w", errors.Join(err, server.Close()))
}

// believing asks at each request whether the client is one that its connection would be made with now: connections outlive the
// revocation of their certificate, and the authority that vouched for it.
func (s *Server) believing(check func(tls.ConnectionState) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || check(*r.TLS) == nil {
			s.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close")
		s.write(w, r, rest.Message(http.StatusForbidden, "the certificate of this connection is not believed any more"), time.Now())
	})
}

// counts is what the listeners saw.
type counts struct {
	begun              time.Time
	accepted, requests atomic.Uint64
	active, serving    atomic.Int64
	answered           atomic.Int64 // when the last answer was given, since begun
}

// Idle says how long no request was being answered, 0 while one is: background work gives way to them.
func (s *Server) Idle() time.Duration {
	if s.counts.serving.Load() > 0 {
		return 0
	}
	return max(1, time.Since(s.counts.begun)-time.Duration(s.counts.answered.Load()))
}

func (c *counts) serve() (done func()) {
	c.requests.Add(1)
	c.serving.Add(1)
	return func() {
		c.answered.Store(int64(time.Since(c.begun)))
		c.serving.Add(-1)
	}
}

func (c *counts) connection(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.accepted.Add(1)
		c.active.Add(1)
	case http.StateClosed, http.StateHijacked:
		c.active.Add(-1)
	}
}

func (c *counts) read() node.Connections {
	return node.Connections{Accepted: c.accepted.Load(), Active: uint64(max(0, c.active.Load())), Requests: c.requests.Load()}
}
