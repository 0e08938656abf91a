package std

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

var (
	errUnanswered = errors.New("the handler gave no response")
	errLength     = errors.New("the body has not the length it was announced with")
	errStatus     = errors.New("the handler gave an impossible status")
)

// respond writes ex's response. It returns false when the response must not look complete.
func (s *Server) respond(ex *exchange.Exchange, w http.ResponseWriter, r *http.Request, b *body) bool {
	resp := &ex.Response
	ex.Mark(exchange.ServeDone)
	defer func() {
		if resp.Stream != nil {
			_ = resp.Stream.Close()
			resp.Stream = nil
		}
	}()
	switch {
	case resp.Status == 0:
		ex.Sent.Err = errUnanswered
		return false
	case resp.Status == 101 && resp.Tunnel != nil:
		ex.Sent.Err = tunnel(ex, w)
		return true
	case resp.Status < 200 || resp.Status > 599:
		ex.Answer(500, "", nil)
		ex.Sent.Err = errStatus
	}
	resp.Close = resp.Close || !b.settled()
	s.head(ex, w, r)
	rc := b.rc
	_ = rc.SetWriteDeadline(time.Now().Add(s.options.WriteTimeout))
	w.WriteHeader(resp.Status)
	switch {
	case wire.Bodiless(r.Method, resp.Status):
		return true
	case resp.Stream == nil:
		n, err := w.Write(resp.Body)
		ex.Sent.BodyBytes = int64(n)
		return sent(ex, err)
	}
	return s.stream(ex, w, rc)
}

func sent(ex *exchange.Exchange, err error) bool {
	if err != nil {
		ex.Sent.Err, ex.Sent.ClientGone = err, true
	}
	return err == nil
}

// head moves the header into w's, framing from what is known.
func (s *Server) head(ex *exchange.Exchange, w http.ResponseWriter, r *http.Request) {
	resp, h := &ex.Response, w.Header()
	for name, value := range resp.Header.All() {
		if !wire.HopByHop(name) {
			key := http.CanonicalHeaderKey(strings.Clone(name))
			h[key] = append(h[key], strings.Clone(value)) // written after the exchange is given back
		}
	}
	if _, typed := h["Content-Type"]; !typed {
		h["Content-Type"] = nil // no guessing from the body
	}
	if resp.Upgrade != "" && r.ProtoMajor == 1 {
		h.Set("Upgrade", strings.Clone(resp.Upgrade))
		h.Set("Connection", "Upgrade")
	}
	if resp.Close && r.ProtoMajor == 1 || resp.GoAway && r.ProtoMajor == 2 { // the standard server makes a GOAWAY of it
		h.Add("Connection", "close")
	}
	n := resp.ContentLength
	switch {
	case resp.Status == 204 || resp.Status == 304 && (n <= 0 || r.ProtoMajor == 2): // some HTTP/2 clients, Go's own too, then wait for a body
		return
	case wire.Bodiless(r.Method, resp.Status):
	case resp.Stream == nil:
		n = int64(len(resp.Body))
	}
	if n >= 0 {
		h.Set("Content-Length", strconv.FormatInt(n, 10))
	}
}

// stream copies the body, every read at once.
func (s *Server) stream(ex *exchange.Exchange, w http.ResponseWriter, rc *http.ResponseController) bool {
	resp := &ex.Response
	if a, ok := resp.Stream.(exchange.Aborter); ok {
		ex.Client.Watch(a)
		defer ex.Client.Unwatch()
	}
	if err := rc.Flush(); !sent(ex, err) {
		return false
	}
	block := s.blocks.Large()
	defer s.blocks.Give(block)
	for {
		n, err := resp.Stream.Read(block.B)
		if n > 0 {
			_ = rc.SetWriteDeadline(time.Now().Add(s.options.WriteTimeout))
			wrote, writeErr := w.Write(block.B[:n])
			ex.Sent.BodyBytes += int64(wrote)
			if writeErr == nil {
				writeErr = rc.Flush()
			}
			if !sent(ex, writeErr) {
				return false
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			ex.Sent.Err = err
			return false
		}
	}
	if resp.ContentLength >= 0 && ex.Sent.BodyBytes != resp.ContentLength {
		ex.Sent.Err = errLength
		return false
	}
	for name, value := range resp.Trailer.All() {
		if !wire.HopByHop(name) {
			w.Header().Add(http.TrailerPrefix+name, strings.Clone(value))
		}
	}
	return true
}

// tunnel takes an HTTP/1.1 connection over from the standard server.
func tunnel(ex *exchange.Exchange, w http.ResponseWriter) error {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	out := wire.AppendField(wire.AppendStatusLine(nil, 101), "Upgrade", ex.Response.Upgrade)
	out = append(out, "Connection: Upgrade\r\n"...)
	for name, value := range ex.Response.Header.All() {
		if !wire.HopByHop(name) {
			out = wire.AppendField(out, name, value)
		}
	}
	if _, err := conn.Write(append(out, '\r', '\n')); err != nil {
		return err
	}
	early := make([]byte, buffered.Reader.Buffered())
	if _, err := io.ReadFull(buffered, early); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	return ex.Response.Tunnel.Run(conn, early)
}
