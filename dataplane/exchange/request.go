package exchange

import (
	"crypto/tls"
	"io"
	"net/netip"
	"strings"
)

// Request is what the client asked. Engines fill it; plugins and the proxy may change Header, Path,
// RawQuery and Method, which is what the upstream then gets.
type Request struct {
	Peer
	// ClientAddr is the client as far as trusted proxies vouch for it. The engine sets the peer's address; the
	// proxy replaces it.
	ClientAddr netip.Addr

	Method string
	Scheme string // "http" or "https": how the client reached us
	// ForwardedScheme is how the client reached those in front of us, when a trusted one says so; the proxy sets it.
	ForwardedScheme string
	// Host is the lower-cased Host (or :authority) as sent, with its port if it had one, without a final
	// dot. Empty only with HTTP/1.0.
	Host string
	// Target is the request target as received (origin form, query included), for logs.
	Target string
	// Path is the normalised path: the one form that is matched, authorised and, through
	// [AppendEscaped], forwarded. See [Normalise].
	Path string
	// RawQuery is what follows the "?", as received; HasQuery tells "?" from nothing.
	RawQuery string
	HasQuery bool
	// Major and Minor are the HTTP version: 1.0, 1.1 or 2.0.
	Major, Minor uint8

	Header Header
	// ContentLength is the length of Body, or -1 when only its end tells (chunked, HTTP/2).
	ContentLength int64
	// Body is never nil. Its errors are those of this package; they stay.
	Body io.Reader
	// BodyLimit, when above 0, makes Body fail with ErrBodyTooLarge beyond so many bytes. It may be set
	// while Serve runs, before reading.
	BodyLimit int64
	// Trailer is filled when Body has returned io.EOF. Fields that mean something to framing, routing or
	// identity never are in it.
	Trailer Header

	// ExpectContinue says that the client waits for "100 Continue", which the engine sends at the first read of Body.
	ExpectContinue bool
	// WantsTrailers says that the client accepts trailers (TE: trailers).
	WantsTrailers bool
	// Upgrade is "websocket" when the client asks for it in due form (GET, no body, RFC 6455 §4.1), else "".
	// Tunnelling is up to Response.Tunnel; who ignores Upgrade serves a plain request.
	Upgrade string

	// TLS describes the client's connection, nil when it is in clear. Shared by all requests of the
	// connection: read only.
	TLS *tls.ConnectionState
	// Handshake names the policy on clients' certificates that the connection was made under: equal for equal policies, ""
	// when none was asked for. See dataplane/table.Handshake.
	Handshake string
}

// Hostname is Host without port and without the brackets of an IPv6 address.
func (r *Request) Hostname() string {
	host, _ := SplitHost(r.Host)
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// Port is the port in Host, or "".
func (r *Request) Port() string {
	_, port := SplitHost(r.Host)
	return port
}

// SchemeOfClient is how the client set out, as far as trusted proxies vouch for it.
func (r *Request) SchemeOfClient() string {
	if r.ForwardedScheme != "" {
		return r.ForwardedScheme
	}
	return r.Scheme
}

// SNI is the server name of the client's TLS handshake, or "".
func (r *Request) SNI() string {
	if r.TLS == nil {
		return ""
	}
	return r.TLS.ServerName
}

// AtLeast says whether the request's version is major.minor or later.
func (r *Request) AtLeast(major, minor uint8) bool {
	return r.Major > major || r.Major == major && r.Minor >= minor
}

// HasBody says whether there may be bytes in Body.
func (r *Request) HasBody() bool { return r.ContentLength != 0 }

// SplitHost cuts "host:port"; brackets stay on an IPv6 address.
func SplitHost(hostport string) (host, port string) {
	i := strings.LastIndexByte(hostport, ':')
	if i < 0 || strings.IndexByte(hostport[i:], ']') >= 0 {
		return hostport, ""
	}
	return hostport[:i], hostport[i+1:]
}

func (r *Request) reset() {
	header, trailer := r.Header, r.Trailer
	header.Reset()
	trailer.Reset()
	*r = Request{Header: header, Trailer: trailer, Body: NoBody}
}

// Response is what the client gets.
type Response struct {
	// Status is 0 until somebody answered.
	Status int
	Header Header

	// Body is the whole body when Stream is nil.
	Body []byte
	// Stream is the body as it comes. The engine closes it. Its ContentLength is -1 when unknown.
	Stream io.ReadCloser
	// ContentLength describes Stream; with Body it is ignored, save in answers to HEAD and in 304, where it is what a
	// GET would have had, or -1.
	ContentLength int64
	// OpenEnded says that nothing but the end of the upstream's connection ends Stream: nobody can tell whether it came whole.
	OpenEnded bool
	// Trailer is sent after a Stream of unknown length. It may be filled until Stream returns io.EOF.
	Trailer Header

	// Origin says who made the response.
	Origin Origin
	// Tunnel, with Status 101, takes the connection over after the head was written.
	Tunnel Tunnel
	// Upgrade, when set, is sent as the Upgrade field with "Connection: Upgrade" (426, RFC 9110 §15.5.22; 101).
	Upgrade string
	// Close asks the engine to close the client's connection after the response. Over HTTP/2, where others may share it, it
	// means nothing.
	Close bool
	// GoAway asks for no further requests on the client's HTTP/2 connection; those under way are served (RFC 9113 §6.8).
	GoAway bool
}

// Origin is who made a response.
type Origin uint8

const (
	Nobody   Origin = iota // no response yet
	Gateway                // the gateway itself: a plugin, an error
	Upstream               // an upstream
)

// Tunnel carries bytes both ways after "101 Switching Protocols". early holds what the client sent
// already. Run returns when both directions are done; the engine closes the client's end. A tunnel that is not run
// is closed: by the engine when the head could not be written, or by whoever answers otherwise.
type Tunnel interface {
	Run(client io.ReadWriteCloser, early []byte) error
	Close() error
}

func (r *Response) reset() {
	if r.Stream != nil {
		_ = r.Stream.Close()
	}
	if r.Tunnel != nil {
		_ = r.Tunnel.Close()
	}
	header, trailer := r.Header, r.Trailer
	header.Reset()
	trailer.Reset()
	*r = Response{Header: header, Trailer: trailer}
}

// Answered says whether there is a response.
func (ex *Exchange) Answered() bool { return ex.Response.Status != 0 }

// Answer makes the gateway's own response. What an upstream had said is dropped and closed; headers that plugins
// had set on a response of the gateway stay, but for the content's. body is not copied and must live until Finish;
// an empty contentType sends none.
func (ex *Exchange) Answer(status int, contentType string, body []byte) {
	r := &ex.Response
	if r.Origin == Upstream {
		r.reset()
	}
	if r.Stream != nil {
		_ = r.Stream.Close()
		r.Stream = nil
	}
	r.Trailer.Reset()
	r.Tunnel = nil
	r.Status, r.Origin = status, Gateway
	r.Body, r.ContentLength = body, int64(len(body))
	r.Header.Del("Content-Encoding")
	if contentType == "" {
		r.Header.Del("Content-Type")
		return
	}
	r.Header.Set("Content-Type", contentType)
}
