package std

import (
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// serve is the standard server's handler.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	ex := s.exchanges.Take()
	ex.Start = time.Now()
	ex.Context = r.Context()
	watcher := &watcher{ctx: r.Context()}
	ex.Client = watcher
	body := &body{ex: ex, src: r, rc: http.NewResponseController(w), wait: s.options.BodyTimeout}
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		_ = body.rc.EnableFullDuplex() // else the first write of a response waits for the request's body
	}
	fault := s.fill(ex, r, body)
	if fault != nil {
		s.refuse(ex, fault.(wire.Fault))
	} else {
		s.handler.Serve(ex)
	}
	ok := s.respond(ex, w, r, body)
	ex.Sent.ReceivedBytes = body.read
	body.drain()
	ex.Mark(exchange.Done)
	if _, tell := s.handler.(exchange.Refuser); tell || fault == nil {
		s.handler.Finish(ex)
	}
	s.exchanges.Give(ex)
	if !ok {
		panic(http.ErrAbortHandler) // the only way to cut a response short
	}
}

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

// fill brings r into ex.Request, by the same rules as our own engine where the standard server leaves a choice.
func (s *Server) fill(ex *exchange.Exchange, r *http.Request, b *body) error {
	q := &ex.Request
	q.Remote, q.Local = parseAddr(r.RemoteAddr), localAddr(r)
	q.ClientAddr = q.Remote.Addr()
	q.Scheme, q.TLS = "http", r.TLS
	if r.TLS != nil {
		q.Scheme, q.Handshake = "https", policyOf(r.Context())
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
		q.Body = b
	}
	if err := s.fields(ex, r); err != nil {
		return err
	}
	if r.Host == "" && q.AtLeast(1, 1) {
		return wire.NoHost
	}
	// HTTP/2's :authority comes as r.Host; a Host beside it must not say otherwise, RFC 9113 §8.3.1.
	if hosts := r.Header["Host"]; len(hosts) > 1 || len(hosts) == 1 && !exchange.EqualFold(hosts[0], r.Host) {
		return wire.HostMismatch
	}
	return wire.ParseTarget(ex, []byte(r.RequestURI), ex.Join(r.Host), r.Host != "")
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

func parseAddr(text string) netip.AddrPort {
	a, _ := netip.ParseAddrPort(text)
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func localAddr(r *http.Request) netip.AddrPort {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return parseAddr(a.String())
	}
	return netip.AddrPort{}
}
