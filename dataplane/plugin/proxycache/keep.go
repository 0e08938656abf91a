package proxycache

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// Body implements plugin.Bodier. It decides by what the upstream said, before other plugins change it: on a hit they do so again.
func (i *instance) Body(ex *exchange.Exchange, _ *plugin.Runtime, stream io.ReadCloser) io.ReadCloser {
	p, ok := ex.Slot(i.slot).(*passing)
	if !ok || !p.keeps {
		return stream
	}
	r := &ex.Response
	says := readControl(&r.Header)
	if !i.keepable(ex, p, &says) {
		p.status, p.keeps = statusBypass, false
		return stream
	}
	names, ok := varying(r)
	if !ok {
		p.status, p.keeps = statusBypass, false
		return stream
	}
	rec := &p.record
	*rec = recorder{i: i, ex: ex, p: p, inner: stream, expected: r.ContentLength, names: names}
	if !rec.begin(i.head(ex, p, &says)) {
		p.keeps = false
		return stream
	}
	switch {
	case ex.Request.Method == "HEAD":
		rec.whole = true
		return stream
	case r.Stream == nil: // all of it is here
		rec.whole = rec.add(r.Body)
		if rec.inline = r.Body; rec.inline == nil {
			rec.inline = []byte{}
		}
		return stream
	}
	return rec
}

// keepable says whether a shared cache may keep a response, whatever is configured, and whether it is one that is wanted.
func (i *instance) keepable(ex *exchange.Exchange, p *passing, says *control) bool {
	r := &ex.Response
	switch {
	case r.Origin != exchange.Upstream, r.Tunnel != nil, r.OpenEnded, r.ContentLength > i.shared.maxEntry:
		return false
	case r.Status < 200, ofThisRequest(r.Status), r.Header.Has("Content-Range"), !slices.Contains(i.statuses, int64(r.Status)):
		return false
	case says.noStore, says.private, says.noCache, r.Header.Has("Set-Cookie"):
		return false
	case p.strict && !says.public && !says.mustRevalidate: // RFC 9111 §3.5
		return false
	case i.control && says.lifetime(&r.Header, time.Now()) <= initialAge(ex, time.Now()):
		return false
	}
	return i.wantsType(r.Header.Get("Content-Type"))
}

func (i *instance) wantsType(text string) bool {
	of := parseMedia(text)
	if of.kind == "text" && of.sub == "event-stream" || of.kind == "application" && strings.HasPrefix(of.sub, "grpc") {
		return false // they are no whole
	}
	return slices.ContainsFunc(i.types, func(m media) bool { return m.covers(of) })
}

// varying lists the headers of the request that the response differs by, in lower case and order; not ok when it differs by what no
// request says, or by what the gateway itself tells upstreams.
func varying(r *exchange.Response) (names []string, ok bool) {
	for value := range r.Header.Values("Vary") {
		for one := range strings.SplitSeq(value, ",") {
			one = strings.ToLower(strings.Trim(one, " \t"))
			switch {
			case one == "":
				continue
			case !exchange.ValidName(one), one == "*", strings.HasPrefix(one, "x-forwarded"), one == "x-real-ip", one == "via", one == "forwarded",
				strings.HasSuffix(one, "-request-id"):
				return nil, false
			}
			names = append(names, one)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// ofThisRequest says whether a status answers what only this request has asked for: a part, or under a condition.
func ofThisRequest(status int) bool {
	return status == 206 || status == 304 || status == 412 || status == 416
}

// initialAge is how old a response is when it comes (RFC 9111 §4.2.3): by its own word and the time that it took, or by its date.
func initialAge(ex *exchange.Exchange, now time.Time) int64 {
	header, age, apparent := &ex.Response.Header, int64(0), int64(0)
	if text, found := header.Lookup("Age"); found {
		age = seconds(text, -1)
	}
	if said, ok := date(header.Get("Date")); ok {
		apparent = now.Unix() - said.Unix()
	}
	return min(max(age+max(0, now.Unix()-ex.Start.Unix()), apparent), forever)
}

// head is all of a kept response before its body.
func (i *instance) head(ex *exchange.Exchange, p *passing, says *control) []byte {
	r, now := &ex.Response, time.Now()
	k := kept{status: r.Status, stored: now.Unix(), age: initialAge(ex, now), lifetime: i.ttl, length: -1, key: p.names.key}
	if i.control {
		k.lifetime = says.lifetime(&r.Header, now)
	}
	if says.mustRevalidate {
		k.flags |= flagStrict
	}
	if ex.Request.Method == "HEAD" {
		k.flags |= flagHEAD
		k.length = r.ContentLength
	}
	size := max(0, min(r.ContentLength, 64<<10))
	return k.appendHead(make([]byte, 0, 512+size), func(yield func(name, value string) bool) {
		dated := false
		for name, value := range r.Header.All() {
			dated = dated || exchange.EqualFold(name, "Date")
			if keepsField(name) && !yield(name, value) {
				return
			}
		}
		if !dated { // RFC 9110 §6.6.1
			yield("Date", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"))
		}
	})
}

// keepsField leaves out what is one exchange's, or a cache's own (RFC 9111 §3.1).
func keepsField(name string) bool {
	for _, other := range [...]string{
		"Age", "X-Cache-Status", "X-Cache-Key", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Connection", "Keep-Alive",
		"Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length",
	} {
		if exchange.EqualFold(name, other) {
			return false
		}
	}
	return len(name) < 1<<16
}

// settle decides in the response phase what body is kept: what came, or what a plugin has put in its place.
func (i *instance) settle(ex *exchange.Exchange, p *passing) {
	r, rec := &ex.Response, &p.record
	if !p.keeps || rec.i == nil {
		return
	}
	switch {
	case r.Origin != exchange.Upstream: // an error took its place
		p.keeps = false
		rec.release()
		return
	case r.Stream == rec.stream() && rec.inline == nil: // it is still to come, or on its way
		rec.ready = true
	case r.Stream == rec.inner && rec.inline != nil: // nobody wanted to see it: one write again carries it with the head
		r.Body, r.Stream, r.ContentLength = rec.inline, nil, int64(len(rec.inline))
	case r.Stream != nil && ex.Request.Method != "HEAD": // another's, that a hit would lack
		p.keeps = false
		rec.release()
		return
	case ex.Request.Method != "HEAD":
		rec.whole = rec.replace(r.Body)
	}
	rec.finish()
}

// storedUntil is after when a response is of no use.
func (i *instance) storedUntil(k *kept) int64 {
	if i.storageTTL > 0 {
		return k.stored + i.storageTTL
	}
	return k.stored + max(1, k.lifetime)
}

// keep puts a whole response into the cache.
func (i *instance) keep(ex *exchange.Exchange, p *passing, value []byte, names []string) {
	k, err := decode(value)
	if err != nil {
		return
	}
	e := cachestore.Entry{
		Name: p.names.name, Labels: cachestore.LabelsOf(i.workspace, i.id, p.key), Value: value, Expires: i.storedUntil(&k), Began: p.began,
	}
	if len(names) > 0 {
		varies := kept{flags: flagVaries, key: p.names.key}
		marker := e
		marker.Value = varies.appendHead(nil, func(yield func(name, value string) bool) {
			for _, one := range names {
				yield(one, "")
			}
		})
		i.shared.cache.Keep(&marker, i.disk)
		e.Name = i.variant(p.names.name, &ex.Request.Header, names)
	}
	i.shared.cache.Keep(&e, i.disk)
}
