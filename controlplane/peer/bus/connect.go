package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/secretfile"
)

const (
	connectTimeout = 2 * time.Second
	writeTimeout   = 2 * time.Second
	pingInterval   = 2 * time.Second
	maxPingsOut    = 2
)

// general are the options of every connection.
func (b *Bus) general(config Config) []nats.Option {
	return []nats.Option{
		nats.Name("keepgate-cp " + config.Node), nats.NoEcho(),
		nats.Timeout(connectTimeout), nats.FlusherTimeout(writeTimeout),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(maxPingsOut),
		nats.MaxReconnects(-1), nats.ReconnectWait(time.Second), nats.ReconnectJitter(time.Second, time.Second),
		nats.ReconnectBufSize(-1), // what is said without a connection is lost, not saved up
		nats.IgnoreAuthErrorAbort(),
		nats.ConnectHandler(func(c *nats.Conn) { b.connected(c) }),
		nats.ReconnectHandler(func(c *nats.Conn) { b.connected(c) }),
		nats.DisconnectErrHandler(func(c *nats.Conn, err error) { b.lost(c, err) }),
		nats.ReconnectErrHandler(func(c *nats.Conn, err error) { b.lost(c, err) }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) { b.erred(s, err) }),
	}
}

// external checks the settings of an external NATS.
func external(config Config) (options []nats.Option, err error) {
	for _, address := range config.URLs {
		if err := checkURL(address); err != nil {
			return nil, err
		}
	}
	if config.CACert != "" {
		options = append(options, nats.RootCAs(config.CACert)) // read anew at each connection
	}
	if (config.Cert == "") != (config.Key == "") {
		return nil, errors.New("nats_cert and nats_cert_key go together: set both or none")
	}
	if config.Cert != "" {
		if _, err := mtls.ReadKey(config.Key); err != nil {
			return nil, fmt.Errorf("nats_cert_key: %w", err)
		}
		options = append(options, nats.ClientCert(config.Cert, config.Key))
	}
	if config.NKeyFile != "" && config.CredentialsFile != "" {
		return nil, errors.New("nats_nkey_file and nats_credentials_file exclude each other")
	}
	if config.NKeyFile != "" {
		option, err := nkey(config.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nats_nkey_file: %w", err)
		}
		options = append(options, option)
	}
	if config.CredentialsFile != "" {
		if err := checkCredentials(config.CredentialsFile); err != nil {
			return nil, fmt.Errorf("nats_credentials_file: %w", err)
		}
		options = append(options, nats.UserCredentials(config.CredentialsFile))
	}
	return options, nil
}

func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "nats" && u.Scheme != "tls") || strings.Contains(address, ",") {
		return errors.New("a server is not of the form nats://host:port or tls://host:port")
	}
	if u.User != nil {
		return fmt.Errorf("server %s is given with a login: put that into nats_nkey_file or nats_credentials_file", u.Host)
	}
	return nil
}

// maxSecretFile bounds what is read as a seed or as credentials, in bytes.
const maxSecretFile = 64 << 10

func nkey(path string) (nats.Option, error) {
	data, err := secretfile.Read(path, maxSecretFile)
	clear(data)
	if err != nil {
		return nil, err
	}
	option, err := nats.NkeyOptionFromSeed(path)
	if err != nil {
		return nil, fmt.Errorf("%s holds no nkey seed of a user (it begins with SU)", path)
	}
	return option, nil
}

func checkCredentials(path string) error {
	data, err := secretfile.Read(path, maxSecretFile)
	if err != nil {
		return err
	}
	defer clear(data)
	if token, err := nkeys.ParseDecoratedJWT(data); err != nil || strings.Count(token, ".") != 2 {
		return fmt.Errorf("%s holds no JWT", path)
	}
	pair, err := nkeys.ParseDecoratedUserNKey(data)
	if err != nil {
		return fmt.Errorf("%s holds no nkey seed of a user", path)
	}
	pair.Wipe()
	return nil
}

// connect begins to connect to the external servers, and goes on in the background when none answers.
func (b *Bus) connect(config Config, options []nats.Option) (err error) {
	for _, address := range config.URLs {
		if rest, plain := strings.CutPrefix(address, "nats://"); plain && len(options) == 0 && !isLoopback(rest) {
			b.log.Warn("the connection to NATS is neither encrypted nor authenticated: its messages are, but whoever reaches it can "+
				"see when nodes talk and keep them from it; use tls:// and nats_nkey_file or nats_cert", "server", rest)
		}
	}
	options = append(b.general(config), options...)
	options = append(options, nats.RetryOnFailedConnect(true))
	b.mu.Lock()
	b.problem = "not connected yet"
	b.mu.Unlock()
	b.conn, err = nats.Connect(strings.Join(config.URLs, ","), options...)
	return err
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// connectInProcess connects to the embedded server. A refused in-process connection can hang, so it is
// not waited for longer than a start may take; closing the server then ends it.
func (b *Bus) connectInProcess(ctx context.Context, config Config) error {
	type result struct {
		conn *nats.Conn
		err  error
	}
	done := make(chan result, 1)
	options := append(b.general(config), nats.InProcessServer(b.embedded.server), b.embedded.login())
	go func() {
		conn, err := nats.Connect("", options...)
		done <- result{conn, err}
	}()
	select {
	case r := <-done:
		b.conn = r.conn
		return r.err
	case <-ctx.Done():
		b.embedded.close()
		<-done
		return context.Cause(ctx)
	case <-time.After(startTimeout):
		b.embedded.close()
		<-done
		return errors.New("the embedded NATS server does not answer")
	}
}

func (b *Bus) connected(c *nats.Conn) {
	b.mu.Lock()
	b.problem = ""
	b.mu.Unlock()
	if b.embedded == nil {
		b.log.Info("connected to NATS", "server", c.ConnectedUrlRedacted())
	}
}

// lost logs once why there is no connection; trying again fails for the same reason for long.
func (b *Bus) lost(c *nats.Conn, err error) {
	if c.IsClosed() {
		return
	}
	problem := explain(err)
	b.mu.Lock()
	told := b.problem == problem
	b.problem = problem
	b.mu.Unlock()
	if !told {
		b.log.Warn("no connection to NATS: nodes hear of changes by polling the database and cannot give each other keys; "+
			"this node goes on trying", "reason", problem)
	}
}

func explain(err error) string {
	switch {
	case err == nil:
		return "the connection was closed"
	case errors.Is(err, nats.ErrNoServers):
		return "no server of nats_url answers"
	case errors.Is(err, nats.ErrAuthorization):
		return "the server does not know this login: see nats_nkey_file, nats_credentials_file or nats_cert, and the server's list of users"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return err.Error() + ": nats_credentials_file needs new credentials"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server speaks no TLS, which nats_ca_cert or nats_cert ask for"
	}
	return err.Error()
}

// erred hears of what goes wrong on a connection that stands.
func (b *Bus) erred(s *nats.Subscription, err error) {
	if s != nil && errors.Is(err, nats.ErrSlowConsumer) {
		if b.overrun.due(s.Subject) {
			b.log.Warn("more messages than this node can take: some were dropped", "subject", s.Subject)
		}
		return
	}
	if errors.Is(err, nats.ErrPermissionViolation) {
		b.mu.Lock()
		b.problem = "the server does not let this login publish and subscribe under keepgate.>: " + err.Error()
		b.mu.Unlock()
		if b.overrun.due(err.Error()) {
			b.log.Warn("NATS refuses a subject: nodes hear of changes by polling the database and may not be able to give each other keys; "+
				"let this login publish and subscribe under keepgate.>", "reason", err)
		}
		return
	}
	b.log.Debug("NATS", "err", err)
}
