// Package mtlsauth is the plugin mtls-auth: it asks for a client certificate and says whose it is.
//
// What counts is the certificate that the client proved to hold on this very connection, never a header. Handshakes
// only ask for certificates; whom they convince is decided here, for each instance on its own (verify.go), and
// remembered for a short time (cache.go). Whether an issuer has taken a certificate back is dataplane/revocation's, and is
// looked up for every request, as are credentials and consumers (store.go).
package mtlsauth

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/revocation"
)

const (
	name     = "mtls-auth"
	priority = 1600
)

// Kind is the plugin.
type Kind struct {
	room *revocation.Room
	log  *refusals
}

// New makes the plugin. Log hears why clients were refused; nil: nobody does.
func New(log *slog.Logger) *Kind {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Kind{
		room: revocation.New(revocation.Options{Log: log}),
		log:  &refusals{log: log, limit: rate.NewLimiter(refusalsPerSecond, refusalsAtOnce)},
	}
}

// Name implements plugin.Kind.
func (*Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (*Kind) Priority() int { return priority }

// Run implements plugin.Runner: it fetches what tells whether certificates are revoked.
func (k *Kind) Run(ctx context.Context) error { return k.room.Run(ctx) }

// Defaults of fields that may be null, and the bounds of durations.
const (
	defaultHTTPTimeout = 30 * time.Second
	defaultRefresh     = time.Minute
	longest            = 24 * time.Hour
)

// New implements plugin.Kind.
func (k *Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.MtlsAuth
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	i := &instance{
		kind: k, id: env.ID, store: env.Store, authorities: c.GetCaCertificates().GetValues(), anonymous: c.GetAnonymous(),
		fallback: c.GetDefaultConsumer(), skipLookup: c.GetSkipConsumerLookup(), partial: c.GetAllowPartialChain(),
		names: c.GetSendCaDn(), lifetime: within(c.GetCacheTtl(), time.Second, 0),
		settings: revocation.Settings{
			Timeout:    within(orDefault(c.HttpTimeout, defaultHTTPTimeout), time.Millisecond, time.Millisecond),
			Refresh:    within(orDefault(c.CertCacheTtl, defaultRefresh), time.Millisecond, 0),
			HTTPProxy:  hostPort(c.GetHttpProxyHost(), c.GetHttpProxyPort()),
			HTTPSProxy: hostPort(c.GetHttpsProxyHost(), c.GetHttpsProxyPort()),
		},
	}
	if c.CacheTtl == nil {
		i.lifetime = time.Minute
	}
	if len(i.authorities) == 0 {
		return nil, errors.New("ca_certificates is empty")
	}
	for _, by := range c.GetConsumerBy().GetValues() {
		switch by {
		case "username":
			i.consumerBy = append(i.consumerBy, username)
		case "custom_id":
			i.consumerBy = append(i.consumerBy, customID)
		default:
			return nil, errors.New("consumer_by has an unknown value")
		}
	}
	var err error
	if i.mode, err = modeOf(c.RevocationCheckMode); err != nil {
		return nil, err
	}
	switch by := c.GetAuthenticatedGroupBy(); {
	case c.AuthenticatedGroupBy == nil || by == "CN":
	case by == "DN":
		i.groupByDN = true
	default:
		return nil, errors.New("authenticated_group_by has an unknown value")
	}
	return i, nil
}

func modeOf(text *string) (revocation.Mode, error) {
	if text == nil {
		return revocation.IgnoreErrors, nil
	}
	switch *text {
	case "SKIP":
		return revocation.Skip, nil
	case "IGNORE_CA_ERROR":
		return revocation.IgnoreErrors, nil
	case "STRICT":
		return revocation.Strict, nil
	}
	return 0, errors.New("revocation_check_mode has an unknown value")
}

// orDefault is in milliseconds.
func orDefault(v *float64, otherwise time.Duration) float64 {
	if v == nil {
		return float64(otherwise / time.Millisecond)
	}
	return *v
}

// within makes a duration of any number that a file may hold.
func within(n float64, unit, least time.Duration) time.Duration {
	switch {
	case math.IsNaN(n) || n*float64(unit) < float64(least):
		return least
	case n*float64(unit) > float64(longest):
		return longest
	}
	return time.Duration(n * float64(unit))
}

func hostPort(host string, port int64) string {
	if host == "" {
		return ""
	}
	return net.JoinHostPort(host, strconv.FormatInt(port, 10))
}

// instance is one configuration.
type instance struct {
	kind        *Kind
	id          string
	store       int
	authorities []string // ids of CA certificates
	anonymous   string
	fallback    string // default_consumer
	consumerBy  []naming
	skipLookup  bool
	partial     bool
	groupByDN   bool
	names       bool
	mode        revocation.Mode
	lifetime    time.Duration // of a verdict on a chain
	settings    revocation.Settings

	present atomic.Pointer[trust] // made of the store that was asked last
}

// ClientCertificates implements plugin.Certifier.
func (i *instance) ClientCertificates() plugin.ClientCertificates {
	return plugin.ClientCertificates{Authorities: i.authorities, Names: i.names}
}
