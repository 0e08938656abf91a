package grpccreds

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
	"github.com/keepgate/keepgate/shared/nowait"
)

// A stranger can fail handshakes as fast as the network goes; the log follows at this pace.
const (
	refusalsPerSecond = 5
	refusalBurst      = 50
)

// How long and how much a refused client is listened to, so that the reason reaches it.
const (
	lingerTime  = 250 * time.Millisecond
	lingerBytes = 64 << 10
)

const protocol = "h2"

var (
	errNoHTTP2  = errors.New("the client did not offer HTTP/2 (ALPN h2)")
	errNoClient = errors.New("credentials of a server cannot dial")
)

// Server returns the credentials of a gRPC server that accepts the given roles. A nil log discards.
func Server(source *mtls.Source, log *slog.Logger, allow ...identity.Role) credentials.TransportCredentials {
	return Joinable(source, log, nil, allow...)
}

// Joinable is Server, which also hands over to join the connections of nodes that have no certificate yet: those that
// offer mtls.JoinProtocol and nothing else. They get no further, whatever they say. join owns the connection and is
// waited for.
func Joinable(source *mtls.Source, log *slog.Logger, join func(net.Conn), allow ...identity.Role) credentials.TransportCredentials {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	config := source.Server(allow...)
	current := config.GetConfigForClient
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if join != nil && slices.Equal(hello.SupportedProtos, []string{mtls.JoinProtocol}) {
			return source.JoinConfig(), nil
		}
		now, err := current(hello)
		if err == nil {
			now.NextProtos = []string{protocol}
		}
		return now, err
	}
	return &server{source, config, join, log, rate.NewLimiter(refusalsPerSecond, refusalBurst), new(atomic.Int64)}
}

type server struct {
	source   *mtls.Source
	config   *tls.Config
	join     func(net.Conn) // nil: nobody can join
	log      *slog.Logger
	pace     *rate.Limiter
	silenced *atomic.Int64 // refusals not logged since the last one that was
}

// ServerHandshake logs what it refuses.
func (s *server) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn := tls.Server(nowait.Wrap(raw), s.config)
	err := conn.Handshake()
	state := conn.ConnectionState()
	if err == nil && s.join != nil && state.NegotiatedProtocol == mtls.JoinProtocol {
		s.join(conn)
		return nil, nil, credentials.ErrConnDispatched
	}
	if err == nil && state.NegotiatedProtocol != protocol {
		err = errNoHTTP2
	}
	var who identity.Identity
	if err == nil {
		who, err = s.source.PeerOf(state)
	}
	if errors.Is(err, io.EOF) && state.Version == 0 { // no hello: somebody looked whether this listens
		s.log.Debug("a connection to the cluster listener ended before its first word", "remote", raw.RemoteAddr().String())
		_ = conn.Close()
		return nil, nil, err
	}
	if err != nil {
		s.refused(raw.RemoteAddr(), s.source.Explain(err, state))
		linger(raw)
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, peerInfo{credentials.TLSInfo{
		State:          state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, who}, nil
}

// linger lets the client read the alert. A client of TLS 1.3 is already sending when it is refused, and
// closing a socket with unread bytes resets the connection, which throws the alert away.
func linger(raw net.Conn) {
	half, ok := raw.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || raw.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, raw, lingerBytes) // whatever ends it, the connection is closed next
}

func (s *server) refused(remote net.Addr, refusal *verdict.Refusal) {
	if !s.pace.Allow() {
		s.silenced.Add(1)
		return
	}
	attrs := []any{"remote", remote.String(), "reason", string(refusal.Reason), "detail", refusal.Detail, "subject", refusal.Subject}
	if silenced := s.silenced.Swap(0); silenced > 0 {
		attrs = append(attrs, "not_logged", silenced)
	}
	s.log.Warn("cluster connection refused", attrs...)
}

// ClientHandshake refuses: these credentials only listen.
func (*server) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errNoClient
}

// Info describes the protocol.
func (*server) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone returns a copy that shares the pace of the log.
func (s *server) Clone() credentials.TransportCredentials {
	clone := *s
	return &clone
}

// OverrideServerName does nothing: a server has no name to expect.
func (*server) OverrideServerName(string) error { return nil }
