package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/healthcheck"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/table"
)

// forward sends the request to the route's service, trying again as far as that is safe.
func (p *Proxy) forward(ex *exchange.Exchange, s *state, route *table.Route) {
	service := route.Service
	stripped := 0
	if route.StripPath {
		stripped = s.match.Matched(ex.Request.Path)
		if stripped > 0 && exchange.HidesDots(ex.Request.Path[stripped:]) {
			// "/foo" of "/foo../admin": what is left would climb out of the service's path.
			plugin.Refuse(ex, errBadRequest)
			return
		}
	}
	p.describe(ex, s, route, stripped)
	s.head = client.Head{
		Method: ex.Rewritten.Method, Target: target(ex, service.Path, stripped), Upgrade: ex.Request.Upgrade != "",
		WriteTimeout: service.WriteTimeout, ReadTimeout: service.ReadTimeout,
	}
	ex.UpstreamTarget = s.head.Target
	setCookie := service.Backends.Upstream().Aim(ex, &s.match, &s.tried)
	for try := 0; ; try++ {
		start := ex.Moment()
		if try > 0 || ex.Request.HasBody() { // then time has passed, or may have
			start = exchange.Now()
		}
		err := p.try(ex, s, route, start)
		if err == nil {
			if setCookie != "" {
				ex.Response.Header.Add("Set-Cookie", setCookie)
			}
			p.readAhead(ex, s, route)
			p.wrapBody(ex, s, route)
			return // Finish ends the try, after the last byte
		}
		if failure, ok := err.(*client.Error); ok && try < service.Retries && failure.Repeatable(ex) {
			continue
		}
		p.logFailure(ex, s, route, try, err)
		p.fail(ex, err)
		return
	}
}

// target is the upstream's request target.
func target(ex *exchange.Exchange, base string, stripped int) string {
	request, path := &ex.Request, ex.Rewritten.Path
	if path == "" {
		path = exchange.View(table.Join(ex.Bytes(len(base) + len(request.Path) + 1)[:0], base, request.Path, stripped))
	}
	b := exchange.AppendEscaped(ex.Bytes(3*len(path) + 1 + len(request.RawQuery))[:0], path)
	if request.HasQuery {
		b = append(b, '?')
		b = append(b, request.RawQuery...)
	}
	return exchange.View(b)
}

// hostFor is the Host that the upstream gets: a plugin's, the client's where the route says so, else the target's.
func hostFor(ex *exchange.Exchange, route *table.Route, target string) string {
	switch {
	case ex.Rewritten.Host != "":
		return ex.Rewritten.Host
	case route.PreserveHost && ex.Request.Host != "":
		return ex.Request.Host
	}
	return target
}

// try sends the request to the peer whose turn it is. It starts now.
func (p *Proxy) try(ex *exchange.Exchange, s *state, route *table.Route, start int64) error {
	ctx := contextOf(ex)
	ex.MarkAt(exchange.UpstreamStart, start)
	attempt := exchange.Try{Start: start}
	s.tried.At(start)
	peer, err := route.Service.Backends.Next(ctx, &s.tried)
	if attempt.Chosen = s.tried.Began(); err != nil {
		attempt.Chosen = exchange.Now()
		ex.Tries = append(ex.Tries, attempt)
		return err
	}
	attempt.Address = peer.AddrPort()
	s.peer = peer
	s.head.Host = hostFor(ex, route, peer.Authority)
	if route.VouchesHost && route.Service.TLS && s.head.Host == ex.Request.Host {
		s.head.ServerName = ex.Request.Hostname()
	}
	err = peer.RoundTrip(ctx, ex, &s.head, route.Service.ConnectTimeout)
	attempt.Status = ex.Response.Status
	ex.Tries = append(ex.Tries, attempt)
	s.tried.Report(outcome(ex, err))
	return err
}

// outcome is what a try says of its target.
func outcome(ex *exchange.Exchange, err error) healthcheck.Outcome {
	if err == nil {
		return healthcheck.Responded(ex.Response.Status)
	}
	failure, ok := err.(*client.Error)
	if !ok {
		return healthcheck.Nothing()
	}
	switch kind := failure.Kind; {
	case kind == client.ClientBody, kind == client.ClientGone, kind == client.BadRequest:
		return healthcheck.Nothing()
	case failure.Waiting && kind != client.Malformed: // a server that is tired of a slow client is well
		return healthcheck.Nothing()
	case kind == client.Connect && ex.Context != nil && ex.Context.Err() != nil:
		return healthcheck.Nothing()
	case kind == client.Timeout:
		return healthcheck.TimedOut()
	}
	if timedOut(failure.Err) {
		return healthcheck.TimedOut()
	}
	return healthcheck.Unreachable()
}

// logFailure tells the operator what the client is not told. The client's own doing is not worth a line.
func (p *Proxy) logFailure(ex *exchange.Exchange, s *state, route *table.Route, tries int, err error) {
	if failure, ok := errors.AsType[*client.Error](err); ok && (failure.Kind == client.ClientGone || failure.Kind == client.ClientBody) {
		return
	}
	address := ""
	if s.peer != nil {
		address = s.peer.Address()
	}
	p.options.Errors.Warn("no response from the upstream", "route", route.ID, "service", route.Service.ID, "upstream", address,
		"tries", tries+1, "request_id", strings.Clone(ex.ID()), "error", err)
}

// fail answers for an upstream that gave no response.
func (p *Proxy) fail(ex *exchange.Exchange, err error) {
	var failure *client.Error
	switch {
	case errors.Is(err, balancer.ErrName):
		plugin.Refuse(ex, errName)
	case errors.Is(err, balancer.ErrNoPeer):
		plugin.Refuse(ex, errNoPeer)
	case errors.As(err, &failure):
		p.failTrip(ex, failure)
	default:
		plugin.Refuse(ex, errBadGateway)
	}
}

func (p *Proxy) failTrip(ex *exchange.Exchange, failure *client.Error) {
	switch failure.Kind {
	case client.ClientGone:
		ex.Response.Close = true // nobody is there to be answered; Status stays 0
	case client.ClientBody:
		plugin.Refuse(ex, bodyRefusal(exchange.StatusOf(failure.Err)))
		ex.Response.Close = true
	case client.Timeout:
		plugin.Refuse(ex, errTimeout)
	case client.Connect:
		if timedOut(failure.Err) {
			plugin.Refuse(ex, errTimeout)
			return
		}
		plugin.Refuse(ex, errBadGateway)
	case client.BadRequest:
		plugin.Refuse(ex, errBadRequest)
	default:
		plugin.Refuse(ex, errBadGateway)
	}
}

// timedOut says whether connecting ended for want of time.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// wrapBody gives the response's body to the plugins that asked for it.
func (p *Proxy) wrapBody(ex *exchange.Exchange, s *state, route *table.Route) {
	r := &ex.Response
	if !route.Plan.WantsBodies() || r.Tunnel != nil {
		return
	}
	stream := r.Stream
	if stream == nil {
		stream = io.NopCloser(bytes.NewReader(r.Body))
		if ex.Request.Method != "HEAD" { // whose answer tells the length of another's
			r.ContentLength = int64(len(r.Body))
		}
	}
	r.Body, r.Stream = nil, route.Plan.Body(ex, s.table.Runtime(route), stream)
}
