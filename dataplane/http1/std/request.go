package std

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

func (s *Server) refuse(ex *exchange.Exchange, fault wire.Fault) {
	ex.Response.Header.Reset()
	if refuser, ok := s.handler.(exchange.Refuser); ok {
		refuser.Refuse(ex, fault.Status(), fault.Error())
	}
	if !ex.Answered() {
		ex.Answer(fault.Status(), "text/plain; charset=utf-8", []byte(fault.Error()+"\n"))
	}
	ex.Response.Close = true
}

// fill brings the request into ex.Request, by the same rules as our own engine where the standard server leaves a choice.
func (c *call) fill() error {
	ex, r := c.ex, c.r
	q := &ex.Request
	of := c.of
	q.Peer, q.ClientAddr = of.peer, of.peer.Remote.Addr()
	q.Scheme, q.TLS = "http", r.TLS
	if r.TLS != nil {
		q.Scheme, q.Handshake = "https", of.policy
	}
	q.Method, q.Major, q.Minor = r.Method, uint8(r.ProtoMajor), uint8(r.ProtoMinor)
	if r.Method == http.MethodConnect {
		return wire.MethodNotServed
	}
	if q.Major == 1 && q.Minor > 1 {
		return wire.UnknownVersion
	}
	q.ContentLength = r.ContentLength
	if r.Body == nil || r.Body == http.NoBody {
		q.ContentLength = 0
	}
	if q.ContentLength != 0 {
		c.body = &body{ex: ex, on: c.watch, wait: c.server.options.BodyTimeout, r: r, w: c.w}
		switch {
		case q.Major == 1 || q.ContentLength > 0: // who streams over HTTP/2 may wait for the other side
			c.body.pace.Begin(c.server.options.BodyTimeout, c.server.options.MinBodyRate)
		case isGRPC(r.Header): // and a call may be open for hours without a word; the connection's pings find dead clients
			c.body.wait = 0
		}
		q.Body = c.body
	}
	if err := c.server.fields(ex, r); err != nil {
		return err
	}
	if r.Host == "" && q.AtLeast(1, 1) {
		return wire.NoHost
	}
	// HTTP/2's :authority comes as r.Host; a Host beside it must not say otherwise, RFC 9113 §8.3.1.
	if hosts := r.Header["Host"]; len(hosts) > 1 || len(hosts) == 1 && !exchange.EqualFold(hosts[0], r.Host) {
		return wire.HostMismatch
	}
	if lengths := r.Header["Content-Length"]; q.Major == 2 && len(lengths) > 0 {
		// The standard server takes the first of several, and what is no number for 0.
		if len(lengths) > 1 {
			return wire.TwoLengths
		}
		if _, err := strconv.ParseUint(lengths[0], 10, 63); err != nil {
			return wire.BadLength
		}
	}
	target := ex.Bytes(len(r.RequestURI))
	copy(target, r.RequestURI)
	return wire.ParseTarget(ex, target, ex.Join(r.Host), r.Host != "")
}

// fields copies the end-to-end fields.
func (s *Server) fields(ex *exchange.Exchange, r *http.Request) error {
	q := &ex.Request
	for name, values := range r.Header {
		if wire.HopByHop(name) {
			continue
		}
		for _, value := range values {
			q.Header.AddParsed(name, value)
		}
		if q.Header.Len() > s.options.MaxFields {
			return wire.TooManyFields
		}
	}
	upgrade := false
	for _, list := range r.Header["Connection"] {
		for list != "" {
			var name string
			name, list = wire.CutToken(list)
			switch {
			case exchange.EqualFold(name, "upgrade"):
				upgrade = true
			case exchange.EqualFold(name, "close"):
				ex.Response.Close = true
			default:
				q.Header.Del(name)
			}
		}
	}
	for _, list := range r.Header["Te"] {
		q.WantsTrailers = q.WantsTrailers || wire.HasToken(list, "trailers")
	}
	if protocols := r.Header["Upgrade"]; upgrade && len(protocols) == 1 {
		wire.NoteUpgrade(q, protocols[0])
	}
	switch expect := r.Header["Expect"]; {
	case len(expect) == 1 && exchange.EqualFold(expect[0], "100-continue"):
		q.ExpectContinue = q.ContentLength != 0
	case len(expect) > 0:
		return wire.UnknownExpectation
	}
	return nil
}

func isGRPC(h http.Header) bool {
	types := h["Content-Type"]
	return len(types) == 1 && strings.HasPrefix(types[0], "application/grpc")
}
