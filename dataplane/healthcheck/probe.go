package healthcheck

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// prober asks one address. An error explains an outcome that is a failure.
type prober interface {
	probe(ctx context.Context, m Member) (Outcome, error)
}

func newProber(a *Active) prober {
	switch a.Kind {
	case TCP:
		return tcpProber{}
	case GRPC, GRPCS:
		return &grpcProber{a}
	}
	return &httpProber{a}
}

// tcpProber wants a connection.
type tcpProber struct{}

func (tcpProber) probe(ctx context.Context, m Member) (Outcome, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", m.Addr.String())
	if err != nil {
		return Unreachable(), err
	}
	_ = conn.Close()
	return Alive(), nil
}

// httpProber wants a status, over a new connection each time: an address that takes no connections is not alive.
type httpProber struct{ *Active }

const maxProbeBody = 64 << 10

func (p *httpProber) probe(ctx context.Context, m Member) (Outcome, error) {
	transport := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, m.Addr.String())
		},
	}
	defer transport.CloseIdleConnections()
	target := url.URL{Scheme: "http", Host: p.authority(m), Path: "/"}
	if p.Kind == HTTPS {
		target.Scheme = "https"
		transport.TLSClientConfig = p.TLS(p.serverName(m))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return Unreachable(), err
	}
	if p.Path != "" {
		request.URL.Opaque = p.Path // as it is written
	}
	request.Header.Set("User-Agent", "keepgate-healthcheck")
	for _, field := range p.Header {
		if strings.EqualFold(field.Name, "Host") {
			request.Host = field.Value
			continue
		}
		request.Header.Add(field.Name, field.Value)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return Unreachable(), err
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxProbeBody) // the status is what counts
	return Responded(response.StatusCode), nil
}

// authority is what the address is asked as: what requests call it.
func (p *Active) authority(m Member) string {
	if p.Host != "" {
		return p.Host
	}
	standard := uint16(80)
	if p.Kind == HTTPS || p.Kind == GRPCS {
		standard = 443
	}
	if m.Addr.Port() == standard && !strings.Contains(m.Host, ":") {
		return m.Host
	}
	return net.JoinHostPort(m.Host, strconv.Itoa(int(m.Addr.Port())))
}

// serverName is the name that the server's certificate has to be for.
func (p *Active) serverName(m Member) string {
	name := p.SNI
	if name == "" {
		name = p.Host
	}
	if name == "" {
		return m.Host
	}
	if host, _, err := net.SplitHostPort(name); err == nil {
		return host
	}
	return name
}

// grpcProber asks the gRPC health service for the server as a whole (grpc.health.v1). A server that does not have
// that service has answered, which is all that can be wanted of it.
type grpcProber struct{ *Active }

func (p *grpcProber) probe(ctx context.Context, m Member) (Outcome, error) {
	options := []grpc.DialOption{
		grpc.WithDisableServiceConfig(), grpc.WithUserAgent("keepgate-healthcheck"),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}),
	}
	protection := insecure.NewCredentials()
	if p.Kind == GRPCS {
		protection = credentials.NewTLS(p.TLS(p.serverName(m))) // which is what it is called then
	} else {
		options = append(options, grpc.WithAuthority(p.authority(m)))
	}
	conn, err := grpc.NewClient("passthrough:///"+m.Addr.String(), append(options, grpc.WithTransportCredentials(protection))...)
	if err != nil {
		return Unreachable(), err
	}
	defer conn.Close()
	said, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	switch status.Code(err) {
	case codes.OK:
		if said.GetStatus() == healthv1.HealthCheckResponse_SERVING {
			return Alive(), nil
		}
		return Unwell(), errors.New("it says " + said.GetStatus().String())
	case codes.Unimplemented:
		return Alive(), nil
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return Unreachable(), err
	}
	return Unwell(), err
}
