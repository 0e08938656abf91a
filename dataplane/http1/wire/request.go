package wire

import (
	"bytes"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// ParseRequest parses a whole head, as the scanner delimited it, into ex.Request. The head must lie in ex's
// arena: names and values become views of it. ex.Request.Scheme must be set.
func ParseRequest(ex *exchange.Exchange, head []byte, c *Connection) error {
	*c = Connection{Length: -1}
	r := &ex.Request
	line, rest := cutLine(head)
	target, err := requestLine(r, line)
	if err != nil {
		return err
	}
	for len(rest) > 2 {
		line, rest = cutLine(rest)
		name, value, err := cutField(line)
		if err != nil {
			return err
		}
		hop, err := c.hop(name, value)
		if err != nil {
			return err
		}
		if !hop {
			r.Header.AddParsed(name, value)
		}
	}
	if err := c.settle(&r.Header); err != nil {
		return err
	}
	if err := c.requestFraming(r); err != nil {
		return err
	}
	return ParseTarget(ex, target, c.host, c.hosts == 1)
}

// requestLine parses "method SP target SP version", RFC 9112 §3, one space each.
func requestLine(r *exchange.Request, line []byte) (target []byte, err error) {
	sp1 := bytes.IndexByte(line, ' ')
	sp2 := bytes.LastIndexByte(line, ' ')
	if sp1 <= 0 || sp1 == sp2 {
		return nil, BadRequestLine
	}
	r.Method = exchange.View(line[:sp1])
	if !exchange.ValidName(r.Method) {
		return nil, BadMethod
	}
	version := exchange.View(line[sp2+1:])
	switch version {
	case "HTTP/1.1":
		r.Major, r.Minor = 1, 1
	case "HTTP/1.0":
		r.Major, r.Minor = 1, 0
	default:
		if len(version) == 8 && strings.HasPrefix(version, "HTTP/") && digit(version[5]) && version[6] == '.' && digit(version[7]) {
			return nil, UnknownVersion
		}
		return nil, BadVersion
	}
	if r.Method == "CONNECT" {
		return nil, MethodNotServed
	}
	return line[sp1+1 : sp2], nil
}

// validTarget says whether a target holds only bytes that have one reading.
func validTarget(target []byte) bool {
	for _, b := range target {
		if b <= ' ' || b == 0x7F || b == '#' {
			return false
		}
	}
	return len(target) > 0
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// requestFraming decides how the body is delimited, RFC 9112 §6.3, and what an old client may not send.
func (c *Connection) requestFraming(r *exchange.Request) error {
	old := r.Minor == 0
	switch {
	case c.Chunked && old:
		return EncodingInOld
	case c.hosts > 1:
		return TwoHosts
	case c.hosts == 0 && !old:
		return NoHost
	}
	switch {
	case c.Chunked:
		r.ContentLength = -1
	case c.Length > 0:
		r.ContentLength = c.Length
	default:
		r.ContentLength = 0
	}
	r.WantsTrailers = c.Trailers
	r.ExpectContinue = c.Expect && !old && r.ContentLength != 0
	if c.Upgrade && c.upgrades == 1 {
		NoteUpgrade(r, c.Protocol)
	}
	return nil
}

// NoteUpgrade sets r.Upgrade when protocol is one that a request in due form may ask for, RFC 6455 §4.1.
func NoteUpgrade(r *exchange.Request, protocol string) {
	if exchange.EqualFold(protocol, "websocket") && r.Major == 1 && r.Minor == 1 && r.Method == "GET" && r.ContentLength == 0 &&
		r.Header.Count("Sec-WebSocket-Key") == 1 && r.Header.Get("Sec-WebSocket-Version") == "13" {
		r.Upgrade = "websocket"
	}
}

// ParseTarget splits the target and settles the host, RFC 9112 §3.2. Only origin form and, when it names
// the same host, absolute form are served; "*" and authority form are not. Both arguments lie in ex's arena.
func ParseTarget(ex *exchange.Exchange, target []byte, hostField string, hasHost bool) error {
	r := &ex.Request
	if !validTarget(target) {
		return BadTarget
	}
	if hasHost {
		host, ok := lowerHost(hostField)
		if !ok {
			return BadHost
		}
		r.Host = host
	}
	if target[0] != '/' {
		authority, rest, ok := cutAbsolute(target, r.Scheme)
		if !ok {
			return BadTarget
		}
		host, ok := lowerHost(exchange.View(authority))
		if !ok {
			return BadHost
		}
		if hasHost && host != r.Host {
			return HostMismatch
		}
		r.Host = host
		switch {
		case len(rest) == 0:
			target = []byte("/")
		case rest[0] == '?':
			target = append(ex.Bytes(len(rest) + 1)[:0], '/')
			target = append(target, rest...)
		default:
			target = rest
		}
	}
	r.Target = exchange.View(target)
	path := r.Target
	path, r.RawQuery, r.HasQuery = strings.Cut(path, "?")
	if plainPath(path) {
		r.Path = path
		return nil
	}
	normal, err := exchange.Normalise(ex.Bytes(3 * len(path))[:0], path)
	if err != nil {
		return BadTarget
	}
	r.Path = exchange.View(normal)
	return nil
}

// plainPath says whether path is normal as it stands: what nearly all requests have.
func plainPath(path string) bool {
	last := byte(0)
	for i := range len(path) {
		b := path[i]
		if plainBytes[b] {
			last = b
			continue
		}
		if b != '/' && b != '.' || last == '/' {
			return false
		}
		last = b
	}
	return true
}

var plainBytes = func() (t [256]bool) {
	for c := range t {
		t[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_' || c == '~'
	}
	return t
}()

// cutAbsolute cuts "http://authority/rest". The scheme must be the connection's.
func cutAbsolute(target []byte, scheme string) (authority, rest []byte, ok bool) {
	n := len(scheme)
	if len(target) < n+3 || !exchange.EqualFold(exchange.View(target[:n]), scheme) || string(target[n:n+3]) != "://" {
		return nil, nil, false
	}
	rest = target[n+3:]
	if end := bytes.IndexAny(rest, "/?"); end >= 0 {
		return rest[:end], rest[end:], true
	}
	return rest, nil, true
}
