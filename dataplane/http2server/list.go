package http2server

import (
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// list is a request's header list while it is read, RFC 9113 §8.2 and §8.3.
type list struct {
	ex                        *exchange.Exchange
	options                   *Options
	method, scheme, authority string
	path                      []byte
	has                       uint8 // pseudo-header fields
	bytes, fields             int
	fault                     wire.Fault
	malformed                 bool
	ordinary                  bool // a field that is no pseudo-header has come
	host                      string
	hosts, lengths, cookies   int
	length                    int64
}

const (
	hasMethod uint8 = 1 << iota
	hasScheme
	hasAuthority
	hasPath
)

func (l *list) begin(ex *exchange.Exchange, options *Options) {
	*l = list{ex: ex, options: options, length: -1}
}

// rest lets go of what a list referred to.
func (l *list) rest() { *l = list{} }

// keep puts s into the exchange's arena.
func (l *list) keep(s string) string {
	b := l.ex.Bytes(len(s))
	copy(b, s)
	return exchange.View(b)
}

// field takes one field of the list.
func (l *list) field(name, value string, fixed bool) {
	if l.malformed || l.fault != 0 {
		return
	}
	l.bytes += len(name) + len(value) + len(": \r\n")
	switch {
	case l.bytes > l.options.MaxHeadBytes:
		l.fault = wire.HeadTooLarge
		return
	case name != "" && name[0] == ':':
		l.malformed = l.ordinary || !l.pseudo(name, value)
		return
	}
	l.ordinary = true
	if l.fields++; l.fields > l.options.MaxFields {
		l.fault = wire.TooManyFields
		return
	}
	if !fixed && !validName(name) || !validValue(value) {
		l.malformed = true
		return
	}
	if l.special(name, value) {
		return
	}
	if !fixed {
		name = l.keep(name)
	}
	l.ex.Request.Header.AddParsed(name, l.keep(value))
}

// pseudo takes a pseudo-header field and says whether it may be there.
func (l *list) pseudo(name, value string) bool {
	before := l.has
	switch name {
	case ":method":
		l.has |= hasMethod
		l.method = l.keep(value)
	case ":scheme":
		l.has |= hasScheme
		l.scheme = l.keep(value)
	case ":authority":
		l.has |= hasAuthority
		l.authority = l.keep(value)
	case ":path":
		l.has |= hasPath
		l.path = l.ex.Bytes(len(value))
		copy(l.path, value)
	}
	return l.has != before && validValue(value)
}

// special takes fields that do not go on as they are. It returns false for all others.
func (l *list) special(name, value string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		l.malformed = true // RFC 9113 §8.2.2
	case "te":
		l.malformed = value != "trailers" || l.ex.Request.WantsTrailers
		l.ex.Request.WantsTrailers = true
	case "host":
		l.hosts++
		l.host = l.keep(value)
	case "content-length":
		l.lengths++
		l.length = parseLength(value)
		l.malformed = l.lengths > 1 || l.length < 0
	case "expect":
		if !exchange.EqualFold(value, "100-continue") {
			l.fault = wire.UnknownExpectation
		}
		l.ex.Request.ExpectContinue = true
	case "cookie":
		l.cookies++
		return false
	case "trailer", "http2-settings":
	default:
		return false
	}
	return true
}

// parseLength is -1 for what is no number of at most 18 digits.
func parseLength(value string) int64 {
	if value == "" || len(value) > 18 {
		return -1
	}
	n := int64(0)
	for i := range len(value) {
		d := value[i] - '0'
		if d > 9 {
			return -1
		}
		n = n*10 + int64(d)
	}
	return n
}

// request completes ex.Request. end says that no body follows. It is malformed when ok is false.
func (l *list) request(end bool) (fault wire.Fault, ok bool) {
	r := &l.ex.Request
	if l.malformed || l.has&hasMethod != 0 && !exchange.ValidName(l.method) {
		return 0, false
	}
	r.Method = l.method
	if l.fault != 0 {
		r.ContentLength = -1
		if end {
			r.ContentLength = 0
		}
		return l.fault, true
	}
	if l.method == "CONNECT" { // RFC 9113 §8.5
		return wire.MethodNotServed, l.has == hasMethod|hasAuthority
	}
	const needed = hasMethod | hasScheme | hasPath
	switch {
	case l.has&needed != needed, l.scheme != "http" && l.scheme != "https":
		return 0, false
	case len(l.path) == 0, l.path[0] != '/' && (string(l.path) != "*" || l.method != "OPTIONS"):
		return 0, false
	case end && l.length > 0:
		return 0, false
	}
	if r.ContentLength = l.length; end {
		r.ContentLength = 0
	}
	r.ExpectContinue = r.ExpectContinue && r.ContentLength != 0
	if l.cookies > 1 {
		l.joinCookies()
	}
	return l.target(), true
}

// target settles target and host by the rules of HTTP/1.1; a Host beside :authority must not say otherwise, RFC 9113 §8.3.1.
func (l *list) target() wire.Fault {
	host, named := l.authority, l.has&hasAuthority != 0
	switch {
	case len(l.path) > l.options.MaxLineBytes:
		return wire.TargetTooLong
	case l.hosts > 1:
		return wire.TwoHosts
	case named && l.hosts == 1 && !exchange.EqualFold(l.host, host):
		return wire.HostMismatch
	case !named && l.hosts == 0:
		return wire.NoHost
	case !named:
		host = l.host
	}
	if err := wire.ParseTarget(l.ex, l.path, host, true); err != nil {
		return err.(wire.Fault)
	}
	return 0
}

// joinCookies makes one field of several, RFC 9113 §8.2.3.
func (l *list) joinCookies() {
	h := &l.ex.Request.Header
	size := 0
	for value := range h.Values("cookie") {
		size += len(value) + len("; ")
	}
	b := l.ex.Bytes(size)[:0]
	for value := range h.Values("cookie") {
		if len(b) > 0 {
			b = append(b, "; "...)
		}
		b = append(b, value...)
	}
	h.SetParsed("cookie", exchange.View(b))
}

// nameBytes are those of a token but for capitals, RFC 9113 §8.2.1.
var nameBytes = func() (t [256]bool) {
	for i := range t {
		t[i] = (i < 'A' || i > 'Z') && exchange.ValidName(string([]byte{byte(i)}))
	}
	return t
}()

func validName(name string) bool {
	for i := range len(name) {
		if !nameBytes[name[i]] {
			return false
		}
	}
	return name != ""
}

// validValue says whether a value may be one: no blanks around it, RFC 9113 §8.2.1.
func validValue(value string) bool {
	if value == "" {
		return true
	}
	first, last := value[0], value[len(value)-1]
	return first != ' ' && first != '\t' && last != ' ' && last != '\t' && exchange.ValidValue(value)
}
