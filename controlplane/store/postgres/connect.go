package postgres

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keepgate/keepgate/shared/serverchain"
)

// maxConnectionAge makes connections go round: to a server that came back after a failover, and to new
// certificates.
const maxConnectionAge = 30 * time.Minute

func (c Config) prefix() string {
	if c.Schema == "" {
		return ""
	}
	return c.Schema + "."
}

// pool makes the pool's settings. pgx reads PG* variables and password files for what it is not told, so
// everything is told here or cleared after.
func (c Config) pool() (*pgxpool.Config, error) {
	settings, err := pgxpool.ParseConfig("host=127.0.0.1 port=5432 user=x database=x password=x sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, fmt.Errorf("reading the environment's PG* variables: %w", err)
	}
	conn := settings.ConnConfig
	conn.Host, conn.Port, conn.User, conn.Database = cmp.Or(c.Host, "127.0.0.1"), uint16(cmp.Or(c.Port, defaultPort)), c.User, c.Database
	conn.Password = "" // set for each connection, so that it does not stay in the settings
	conn.RuntimeParams = map[string]string{"application_name": "keepgate-cp"}
	conn.ConnectTimeout = cmp.Or(c.Timeout, defaultTimeout)
	conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn.StatementCacheCapacity, conn.DescriptionCacheCapacity = 0, 0
	if err := c.secure(conn); err != nil {
		return nil, err
	}
	settings.MaxConns = int32(cmp.Or(c.PoolSize, defaultPoolSize))
	settings.MaxConnLifetime, settings.MaxConnLifetimeJitter = maxConnectionAge, maxConnectionAge/10
	settings.BeforeConnect = func(_ context.Context, config *pgx.ConnConfig) error {
		c.Password.Reveal(func(data []byte) { config.Password = string(data) })
		return nil
	}
	return settings, nil
}

// secure sets up TLS. Without SSLRequired and SSLVerify it is opportunistic, as pg_ssl=on is in Kong: who
// can change packets can turn it off.
func (c Config) secure(conn *pgx.ConnConfig) error {
	conn.TLSConfig, conn.Fallbacks = nil, nil
	must := c.SSLRequired || c.SSLVerify
	switch {
	case !c.SSL && must:
		return errors.New("TLS is required or to be verified, but not switched on")
	case !c.SSL:
		return nil
	case strings.HasPrefix(conn.Host, "/") && must:
		return errors.New("PostgreSQL has no TLS on UNIX sockets: give a host name, or do not require TLS")
	case strings.HasPrefix(conn.Host, "/"):
		return nil
	}
	config := &tls.Config{MinVersion: max(c.MinVersion, tls.VersionTLS12), ServerName: conn.Host}
	config.InsecureSkipVerify = true // serverchain does it, where it is asked for
	if c.SSLVerify {
		roots, err := c.authorities()
		if err != nil {
			return err
		}
		host := conn.Host // and not the state's, which is empty for an address
		demand := serverchain.Demand{Host: host, Roots: roots, Depth: c.Depth, DepthName: "ssl_verify_depth"}
		config.VerifyConnection = func(state tls.ConnectionState) error { return serverchain.Verify(state.PeerCertificates, demand) }
	}
	if c.Cert != "" || c.Key != "" {
		if _, err := tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
			return fmt.Errorf("reading the client certificate: %w", err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.Cert, c.Key) // again, since files are renewed
			return &pair, err
		}
	}
	conn.TLSConfig = config
	if !must {
		conn.Fallbacks = []*pgconn.FallbackConfig{{Host: conn.Host, Port: conn.Port}}
	}
	return nil
}

// authorities are whom the server's certificate is verified against.
func (c Config) authorities() (pool *x509.CertPool, err error) {
	pool = x509.NewCertPool()
	if len(c.Trusted) == 0 || slices.Contains(c.Trusted, "system") {
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("reading the system's authorities: %w", err)
		}
	}
	for _, path := range c.Trusted {
		if path == "system" {
			continue
		}
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("there is no certificate in %s", path)
		}
	}
	return pool, nil
}
