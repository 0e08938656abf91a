package postgres

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
)

// maxConnectionAge makes connections go round, so that load finds its way to servers that came back.
const maxConnectionAge = 30 * time.Minute

func (c Config) prefix() string {
	if c.Schema == "" {
		return ""
	}
	return c.Schema + "."
}

func (c Config) withDefaults() Config {
	c.Timeout, c.PoolSize, c.Idle = cmp.Or(c.Timeout, defaultTimeout), cmp.Or(c.PoolSize, defaultPoolSize), cmp.Or(c.Idle, defaultIdle)
	c.Server.Timeout, c.Server.Target = c.Timeout, cmp.Or(c.Server.Target, dial.Any)
	c.Server.Hosts = append([]dial.Host{}, c.Server.Hosts...)
	for i, host := range c.Server.Hosts {
		c.Server.Hosts[i].Port = cmp.Or(host.Port, defaultPort)
	}
	return c
}

// connect makes the pool, which connects to nobody yet. pgx reads PG* variables and password files for what it is not told, so
// everything is told here or cleared after.
func (c Config) connect(ctx context.Context) (*pgxpool.Pool, *dial.Dialer, error) {
	dialer, err := dial.New(c.Server)
	if err != nil {
		return nil, nil, err
	}
	settings, err := pgxpool.ParseConfig("host=127.0.0.1 port=5432 user=x database=x password=x sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, nil, fmt.Errorf("reading the environment's PG* variables: %w", err)
	}
	conn := settings.ConnConfig
	conn.User, conn.Database, conn.Password = c.User, c.Database, "" // set for each connection, so that it does not stay in the settings
	conn.RuntimeParams = map[string]string{"application_name": "keepgate-cp"}
	conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn.StatementCacheCapacity, conn.DescriptionCacheCapacity = 0, 0
	settings.MaxConns = int32(c.PoolSize)
	settings.MaxConnLifetime, settings.MaxConnLifetimeJitter, settings.MaxConnIdleTime = maxConnectionAge, maxConnectionAge/10, c.Idle
	settings.PingTimeout = c.Timeout / 5 // of connections that were idle: a server that is gone must not cost the whole of a statement's time
	settings.BeforeConnect = dialer.Prepare
	var pool *pgxpool.Pool
	settings.PrepareConn = func(_ context.Context, conn *pgx.Conn) (bool, error) {
		fresh := dialer.Fresh(conn.PgConn())
		if !fresh {
			pool.Reset() // the others too: those that are at work end when they have done it
		}
		return fresh, nil
	}
	pool, err = pgxpool.NewWithConfig(ctx, settings)
	return pool, dialer, err
}
