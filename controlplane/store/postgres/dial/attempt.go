package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// attempt is one connection on its way, over all hosts that are tried for it.
type attempt struct {
	dialer    *Dialer
	material  *material
	tlsConfig *tls.Config

	mu   sync.Mutex // pgx dials the next host while it still asks the one before to stop
	last string     // guarded by mu; "name:port" or the folder that was dialled last
}

func (a *attempt) host() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

func (a *attempt) reached(host string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = host
}

// dial reaches one address and negotiates TLS there. address is as [Dialer.lookup] has written it, or, for a request to cancel, one that
// was reached before.
func (a *attempt) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network == "unix" {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			a.reached(address[:strings.LastIndex(address, "/")])
		}
		return conn, err
	}
	name, rest, named := cutName(address)
	if !named {
		name, rest = hostOf(a.host()), address
	}
	conn, err := (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, network, rest)
	if err != nil {
		return nil, err
	}
	if named {
		a.reached(net.JoinHostPort(name, portOf(rest)))
	}
	if !a.dialer.options.TLS {
		return conn, nil
	}
	secured, err := a.secure(ctx, conn, name)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// cutName undoes [Dialer.lookup]: "db.example/10.0.0.1:5432", or "[db.example/::1]:5432" for an address with colons.
func cutName(address string) (name, rest string, named bool) {
	open := ""
	if strings.HasPrefix(address, "[") {
		open = "["
	}
	name, rest, named = strings.Cut(strings.TrimPrefix(address, open), nameEnd)
	return name, open + rest, named
}

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return port
}

// sslRequest asks a server for TLS before anything else is said (PostgreSQL documentation, 55.2.9 SSL Session Encryption).
const sslRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"

// secure negotiates TLS, or finds that the server has none.
func (a *attempt) secure(ctx context.Context, conn net.Conn, name string) (net.Conn, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(a.dialer.options.Timeout)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, sslRequest); err != nil {
		return nil, fmt.Errorf("asking for TLS: %w", err)
	}
	// One byte and no more: what came with it unasked would be read as TLS, and fail.
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, fmt.Errorf("awaiting an answer about TLS: %w", err)
	}
	offered := answer[0] == 'S'
	a.dialer.warnings.set(name, kindClear, nil)
	switch {
	case !offered && answer[0] != 'N':
		return nil, errors.New("asked for TLS, it answers what no PostgreSQL server does: is this the right port?")
	case !offered && !a.dialer.options.Optional:
		return nil, errNoTLS
	case !offered:
		a.dialer.warnings.set(name, kindClear, fmt.Errorf("the PostgreSQL server %s offers no TLS: everything goes to it in clear (pg_ssl_required = off)", name))
	default:
		secured := tls.Client(&heard{Conn: conn}, a.configFor(name))
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, explainHandshake(err, a.dialer.options)
		}
		conn = secured
	}
	return conn, conn.SetDeadline(time.Time{})
}

// heard is a connection of which the first write that finds it closed says nothing, so that what the server said before it closed is
// still read: with TLS 1.3 the alert about our certificate comes after our side of the handshake (RFC 8446 §4.4.2.4), and whoever writes
// first would report a broken pipe in its place.
type heard struct {
	net.Conn
	closed bool
}

func (h *heard) Write(p []byte) (int, error) {
	n, err := h.Conn.Write(p)
	if !h.closed && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
		h.closed = true
		return len(p), nil
	}
	return n, err
}

var errNoTLS = errors.New("the server offers no TLS: set ssl = on in its postgresql.conf; " +
	"only for development, pg_ssl = off goes in clear")
