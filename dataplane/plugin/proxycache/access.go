package proxycache

import (
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// passing is what is known of a request from access to log.
type passing struct {
	status string
	key    string // as it is shown; "" when the request has none
	names  names  // of its response
	began  uint64
	keeps  bool // the response is wanted
	strict bool // the request has an Authorization
	record recorder
}

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	p, _ := i.shared.passings.Get().(*passing)
	*p = passing{status: statusBypass}
	ex.SetSlot(i.slot, p)
	if !i.asks(ex) {
		return
	}
	wants := readControl(&ex.Request.Header)
	p.strict = ex.Request.Header.Has("Authorization")
	if i.control && (wants.noStore || wants.noCache) {
		return
	}
	p.began, p.status = i.shared.cache.Began(), statusMiss
	p.names = i.name(ex, ex.Request.Method)
	if ex.Request.Method == "HEAD" && slices.Contains(i.methods, "GET") {
		if get := i.name(ex, "GET"); i.serve(ex, p, get, &wants) {
			return
		}
	}
	if i.serve(ex, p, p.names, &wants) {
		return
	}
	i.shared.cache.Missed()
	p.key = keyText(ex, &p.names.key)
	p.keeps = !wants.noStore // RFC 9111 §5.2.1.5; what is there may be used
	if i.control && wants.onlyIfCached {
		p.keeps = false
		ex.Answer(504, "", nil) // RFC 9111 §5.2.1.7
	}
}

// asks says whether a request may be answered from the cache at all. What a body says is in no key; neither is who proved to be somebody
// that no consumer stands for.
func (i *instance) asks(ex *exchange.Exchange) bool {
	r := &ex.Request
	switch {
	case !slices.Contains(i.methods, r.Method), r.HasBody(), r.Upgrade != "", r.ExpectContinue:
		return false
	case ex.Rewritten.Method != "" && ex.Rewritten.Method != r.Method:
		return false
	}
	return ex.Consumer.ID != "" || !ex.Consumer.Authenticated()
}

// serve answers with what is kept by a name, if it is there and of use.
func (i *instance) serve(ex *exchange.Exchange, p *passing, of names, wants *control) bool {
	now := ex.Start.Unix()
	k, found := i.find(ex, of.name, now)
	if found && k.varies() {
		var headers []string
		for f := k.fields; f.count > 0; {
			one, _, _ := f.next()
			headers = append(headers, one)
		}
		k, found = i.find(ex, i.variant(of.name, &ex.Request.Header, headers), now)
		found = found && !k.varies()
	}
	if !found || k.key != of.key {
		return false
	}
	if !i.fresh(&k, now, wants) {
		p.status = statusRefresh
		return false
	}
	p.status, p.key = statusHit, keyText(ex, &of.key)
	i.answer(ex, &k, now)
	return true
}

func (i *instance) find(ex *exchange.Exchange, name cachestore.Name, now int64) (k kept, found bool) {
	value, _ := i.shared.cache.Find(&name, i.disk, now, ex)
	if value == nil {
		return k, false
	}
	k, err := decode(value)
	return k, err == nil
}

// backwards is how far a clock may be set back before what is kept seems to come from the future and is not used.
const backwards = 60

// fresh says whether a kept response may be used. Without cache_control only cache_ttl counts, as in Kong; with it, what the response and
// the request say (RFC 9111 §4.2).
func (i *instance) fresh(k *kept, now int64, wants *control) bool {
	resident := now - k.stored
	if resident < -backwards {
		return false
	}
	resident = max(0, resident)
	if !i.control {
		return resident <= i.ttl
	}
	age := k.age + resident
	switch {
	case wants.maxAge >= 0 && age > wants.maxAge, wants.minFresh >= 0 && k.lifetime-age < wants.minFresh:
		return false
	case age < k.lifetime:
		return true
	}
	return wants.maxStale >= 0 && age-k.lifetime <= wants.maxStale && k.flags&flagStrict == 0
}

// answer gives a kept response. To who has it already it only says so (RFC 9111 §4.3.2).
func (i *instance) answer(ex *exchange.Exchange, k *kept, now int64) {
	status, body := k.status, k.body
	unchanged := k.status == 200 && (ex.Request.Method == "GET" || ex.Request.Method == "HEAD") && matches(ex.Request.Header.Get("If-None-Match"), k)
	if unchanged {
		status, body = 304, nil
	}
	ex.Answer(status, "", body)
	r := &ex.Response
	if k.flags&flagHEAD != 0 {
		r.ContentLength = k.length
	}
	if unchanged {
		r.ContentLength = -1
	}
	for f := k.fields; f.count > 0; {
		name, value, _ := f.next()
		if unchanged && (len(name) > 8 && exchange.EqualFold(name[:8], "Content-") && !exchange.EqualFold(name, "Content-Location")) {
			continue
		}
		r.Header.AddParsed(name, value)
	}
	if i.age {
		r.Header.SetParsed("Age", number(ex, max(0, now-k.stored)+k.age))
	}
}

// matches compares If-None-Match with the response's tag, weakly (RFC 9110 §13.1.2).
func matches(asked string, k *kept) bool {
	if asked == "" {
		return false
	}
	tag := ""
	for f := k.fields; f.count > 0; {
		if name, value, _ := f.next(); exchange.EqualFold(name, "ETag") {
			tag = strings.TrimPrefix(value, "W/")
		}
	}
	if tag == "" {
		return false
	}
	for one := range strings.SplitSeq(asked, ",") {
		one = strings.Trim(one, " \t")
		if one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}

// number writes a number into the arena.
func number(ex *exchange.Exchange, n int64) string {
	return exchange.View(strconv.AppendInt(ex.Bytes(20)[:0], n, 10))
}

// Response implements plugin.Responder.
func (i *instance) Response(ex *exchange.Exchange, _ *plugin.Runtime) {
	p, ok := ex.Slot(i.slot).(*passing)
	if !ok {
		return // answered before our turn
	}
	i.settle(ex, p)
	header := &ex.Response.Header
	if i.tellsStatus {
		header.SetParsed("X-Cache-Status", p.status)
	}
	if i.tellsKey && p.key != "" {
		header.SetParsed("X-Cache-Key", p.key)
	}
}

// Log implements plugin.Logger: the exchange is over.
func (i *instance) Log(ex *exchange.Exchange, _ *plugin.Runtime) {
	p, ok := ex.Slot(i.slot).(*passing)
	if !ok {
		return
	}
	ex.SetSlot(i.slot, nil)
	p.record.release()
	*p = passing{}
	i.shared.passings.Put(p)
}
