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

	"github.com/keepgate/keepgate/shared/mtls/privatekey"
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
		nats.DisconnectErrHandler(func(c *nats.Conn, err error) { b.ended(c, err) }),
		nats.ReconnectErrHandler(func(c *nats.Conn, err error) { b.lost(c, err) }),
		nats.ErrorHandler(func(c *nats.Conn, s *nats.Subscription, err error) { b.erred(c, s, err) }),
	}
}

// external checks the settings of an external NATS. Without a file to log in with, login is nil.
func external(config Config) (options []nats.Option, login *login, err error) {
	for _, address := range config.URLs {
		if err := checkURL(address); err != nil {
			return nil, nil, err
		}
	}
	if config.CACert != "" {
		options = append(options, nats.RootCAs(config.CACert)) // read anew at each connection
	}
	if (config.Cert == "") != (config.Key == "") {
		return nil, nil, errors.New("nats_cert and nats_cert_key go together: set both or none")
	}
	if config.Cert != "" {
		if _, err := privatekey.Read(config.Key); err != nil {
			return nil, nil, fmt.Errorf("nats_cert_key: %w", err)
		}
		options = append(options, nats.ClientCert(config.Cert, config.Key))
	}
	if login, err = loginOf(config); err != nil || login == nil {
		return options, nil, err
	}
	option, err := login.option()
	return append(options, option), login, err
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

// connect begins to connect to the external servers, and goes on in the background when none answers.
func (b *Bus) connect(config Config) error {
	options, login, err := external(config)
	if err != nil {
		return err
	}
	b.login = login
	if login != nil && login.notice != "" {
		b.log.Warn(login.setting + ": " + login.notice)
	}
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
	if b.conn, err = nats.Connect(strings.Join(config.URLs, ","), options...); err == nil && login != nil {
		login.conn.Store(b.conn)
	}
	return err
}

func isLoopback(hostport string) bool {
	host := (&url.URL{Host: hostport}).Hostname() // an IPv6 address without its brackets
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
