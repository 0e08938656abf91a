package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/accesslog"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/listener"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/proxy"
	"github.com/keepgate/keepgate/dataplane/status"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/version"
)

// front is everything that clients and operators connect to.
type front struct {
	plane    *plane
	instance *process.Instance
	sockets  *listener.Listener
	engine   *http1.Server
	counted  *counted
	log      *accesslog.Log // nil when it is off
	errors   *logFile       // nil when it is off
	operator []net.Listener
	fallback *fallback
}

// front opens all sockets, so that a taken port shows before anything runs.
func (p *plane) front(instance *process.Instance) (*front, error) {
	f := &front{plane: p, instance: instance}
	next, err := p.handler(f)
	if err != nil {
		return nil, err
	}
	handler := &counted{Proxy: next}
	f.counted = handler
	if err := p.checkProxyProtocol(); err != nil {
		return nil, err
	}
	if f.fallback, err = newFallback(p.settings, p.log); err != nil {
		return nil, err
	}
	f.sockets = listener.New(p.settings.Proxy.Listen, f.listening())
	f.engines(handler)
	for _, at := range p.settings.StatusListen {
		l, err := net.Listen("tcp", at.Address)
		if err != nil {
			return nil, notOpened("status_listen", err)
		}
		f.operator = append(f.operator, l)
	}
	if err := f.sockets.Open(context.Background()); err != nil {
		return nil, notOpened("proxy_listen", err)
	}
	return f, nil
}

// handler makes the proxy over the current table.
func (p *plane) handler(f *front) (*proxy.Proxy, error) {
	s := p.settings.Proxy
	names, err := proxy.ParseNames(s.HeaderNames)
	if err != nil {
		return nil, err
	}
	headers, err := proxy.ParseHeaders(s.Headers)
	if err != nil {
		return nil, err
	}
	failures, err := p.errorLog(f)
	if err != nil {
		return nil, err
	}
	options := proxy.Options{
		Names: names, Headers: headers, Version: version.Text, TrustedIPs: s.TrustedIPs.Ranges, RealIPHeader: s.RealIPHeader,
		RealIPDeep: s.RealIPRecursive, PortMaps: s.PortMaps,
		MaxBody: int64(s.MaxBody), ErrorType: s.ErrorDefaultType, DebugHeader: s.AllowDebugHeader, Errors: failures,
	}
	if s.AccessLog != "off" {
		if f.log, err = accesslog.Open(s.AccessLog, accesslog.Common); err != nil {
			return nil, fmt.Errorf("proxy_access_log: %w", err)
		}
		options.Log = f.log
	}
	return proxy.New(p.tables, options), nil
}

// Run serves until ctx ends.
func (f *front) Run(ctx context.Context) error {
	operator := &http.Server{
		Handler: status.Handler(node{f}, f.plane.metrics, status.NewUpstreams(f.plane.tables, f.plane.entities, f.plane.nodeID)), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(f.plane.log.Handler(), slog.LevelInfo),
	}
	parts := []lifecycle.Part{
		{Name: "listeners", Run: f.sockets.Run},
		{Name: "reload", Run: f.reload},
		{Name: "memory", Run: giveBack},
		{Name: "end of streams", Run: f.sever},
		{Name: "status", Run: func(ctx context.Context) error {
			<-ctx.Done()
			return errors.Join(operator.Close(), ctx.Err())
		}},
	}
	if f.log != nil {
		parts = append(parts, lifecycle.Part{Name: "access log", Run: f.log.Run})
	}
	for _, l := range f.operator {
		parts = append(parts, lifecycle.Part{Name: "status listener", Run: func(ctx context.Context) error {
			if err := operator.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return ctx.Err()
		}})
	}
	for _, addr := range f.sockets.Addrs() {
		f.plane.notice("serving clients", "address", addr.String())
	}
	if err := f.instance.Ready(); err != nil {
		return fmt.Errorf("saying that this node serves: %w", err)
	}
	return lifecycle.Run(ctx, parts...)
}

// reload answers SIGHUP: certificates are read again and logs reopened. Sockets and everything else need a restart.
func (f *front) reload(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.instance.Reloads():
		}
		f.plane.reread()
		f.plane.askKeys()
		f.fallback.reload(f.plane.log)
		if err := f.plane.pools.Reload(); err != nil {
			f.plane.log.Error("the certificate for upstreams on disk is not usable; going on with the one in use", "error", err)
		}
		if f.log != nil {
			if err := f.log.Reopen(); err != nil {
				f.plane.log.Error("the access log was not reopened", "error", err)
			}
		}
		if f.errors != nil {
			if err := f.errors.Reopen(); err != nil {
				f.plane.log.Error("the error log was not reopened", "error", err)
			}
		}
		for _, kind := range f.plane.kinds {
			if reopener, ok := kind.(plugin.Reopener); ok {
				if err := reopener.Reopen(); err != nil {
					f.plane.log.Error("files of a plugin were not reopened", "plugin", kind.Name(), "error", err)
				}
			}
		}
		f.plane.log.Info("reloaded")
	}
}

// counted counts requests of all engines.
type counted struct {
	*proxy.Proxy
	requests atomic.Int64
}

func (c *counted) Serve(ex *exchange.Exchange) {
	c.requests.Add(1)
	c.Proxy.Serve(ex)
}

// node is what the status port says of this data plane.
type node struct{ front *front }

func (n node) Ready() string {
	if n.Cluster().Wiped != nil {
		return "this data plane was shut out of its cluster"
	}
	if _, holds := n.front.plane.applier.Held(); !holds {
		return "no configuration available (empty configuration present)"
	}
	return ""
}

func (n node) Sealing() status.Sealing { return n.front.plane.sealing() }

func (n node) Cluster() enrol.Status { return n.front.plane.standing() }

func (n node) ConfigurationHash() string {
	state, holds := n.front.plane.applier.Held()
	if !holds {
		return ""
	}
	hash := state.Set.Hash()
	return hex.EncodeToString(hash[:])
}

func (n node) Connections() (accepted, open, active int64) {
	o, a := n.front.engine.Connections()
	return n.front.sockets.Accepted(), int64(o), int64(a)
}

func (n node) Requests() int64 { return n.front.counted.requests.Load() }
