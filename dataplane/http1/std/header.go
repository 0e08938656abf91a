package std

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// dates is the Date field of the current second, made once a second.
type dates struct{ now atomic.Pointer[date] }

type date struct {
	second int64
	values []string
}

func (d *dates) at(now time.Time) []string {
	second := now.Unix()
	if known := d.now.Load(); known != nil && known.second == second {
		return known.values
	}
	made := &date{second, []string{now.UTC().Format(http.TimeFormat)}}
	d.now.Store(made)
	return made.values
}

// inOneWrite is the longest body that the standard server sends together with the head, whose Content-Length it then knows.
const inOneWrite = 4 << 10

// head moves the header into w's, framing from what is known.
func (s *Server) head(ex *exchange.Exchange, w http.ResponseWriter, r *http.Request) {
	resp, h := &ex.Response, w.Header()
	copyHeader(h, &resp.Header, r.ProtoMajor == 2)
	if _, typed := h["Content-Type"]; !typed {
		h["Content-Type"] = nil // no guessing from the body
	}
	if _, dated := h["Date"]; !dated {
		h["Date"] = s.dates.at(ex.Start)
	}
	if resp.Upgrade != "" && r.ProtoMajor == 1 {
		h.Set("Upgrade", strings.Clone(resp.Upgrade))
		h.Set("Connection", "Upgrade")
	}
	if s.options.SayKeepAlive && r.ProtoMajor == 1 && r.ProtoMinor == 1 && resp.Upgrade == "" && !resp.Close {
		h.Set("Connection", "keep-alive") // the standard server makes "close" of it where it closes
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
		if n = int64(len(resp.Body)); r.ProtoMajor == 2 && n > 0 && n < inOneWrite {
			return
		}
	}
	if n >= 0 {
		h.Set("Content-Length", strconv.FormatInt(n, 10))
	}
}

// copyHeader copies what is written after the exchange was given back: into one piece of memory, not one for each field. In HTTP/2 names
// are written in lower case: the standard server would make each so, but for those that it looks for.
func copyHeader(h http.Header, from *exchange.Header, lower bool) {
	size := 0
	for i := range from.Len() {
		f := from.At(i)
		size += len(f.Name) + len(f.Value)
	}
	text := make([]byte, 0, size)
	values := make([]string, 0, from.Len())
	for i := range from.Len() {
		f := from.At(i)
		if wire.HopByHop(f.Name) {
			continue
		}
		var key string
		if lower && !looksFor(f.Name) {
			text = append(text, f.Name...)
			name := text[len(text)-len(f.Name):]
			exchange.Lower(name)
			key = exchange.View(name)
		} else if key = http.CanonicalHeaderKey(f.Name); key == f.Name { // then it is the exchange's own, not a copy
			text = append(text, f.Name...)
			key = exchange.View(text[len(text)-len(f.Name):])
		}
		text = append(text, f.Value...)
		value := exchange.View(text[len(text)-len(f.Value):])
		if before, again := h[key]; again {
			h[key] = append(before, value)
			continue
		}
		values = append(values, value)
		h[key] = values[len(values)-1 : len(values) : len(values)]
	}
}

// looksFor says whether the standard server looks for a field of that name in a response, by its canonical name.
func looksFor(name string) bool {
	switch len(name) {
	case 4:
		return exchange.EqualFold(name, "Date")
	case 7:
		return exchange.EqualFold(name, "Trailer")
	case 10:
		return exchange.EqualFold(name, "Connection")
	case 12:
		return exchange.EqualFold(name, "Content-Type")
	case 14:
		return exchange.EqualFold(name, "Content-Length")
	case 16:
		return exchange.EqualFold(name, "Content-Encoding")
	case 17:
		return exchange.EqualFold(name, "Transfer-Encoding")
	}
	return false
}
