package examine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/doctor/papers"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
)

// inside are the steps once the server is reached.
func (h *host) inside(needs ...string) []finding.Step {
	if h.of != nil {
		return h.copied(needs...)
	}
	return []finding.Step{
		{Name: "login", Needs: needs, Do: h.login},
		{Name: "server", Needs: []string{"login"}, Do: h.server},
		{Name: "privileges", Needs: []string{"login"}, Do: h.privileges},
		{Name: "schema", Needs: []string{"login", "privileges"}, Do: h.migrations},
		{Name: "replication", Needs: []string{"login"}, Do: h.replication},
	}
}

// alone is how this host would be reached if there were no other.
func (h *host) alone() postgres.Config {
	config := h.config
	config.Server.Hosts, config.Server.Target, config.Server.Warn = []dial.Host{h.at}, dial.Any, nil
	config.Server.Timeout, config.PoolSize, config.Replica = config.Timeout, 2, nil
	return config
}

func (h *host) login(ctx context.Context) finding.Result {
	config := h.alone()
	dialer, err := dial.New(config.Server)
	if err != nil {
		return finding.Bad(err.Error(), "mend that setting as it says")
	}
	settings, err := pgx.ParseConfig("host=127.0.0.1 port=5432 user=x database=x password=x sslmode=disable target_session_attrs=any")
	if err != nil {
		return finding.Bad("reading the environment's PG* variables: "+err.Error(), "unset them")
	}
	settings.User, settings.Database = config.User, config.Database
	settings.RuntimeParams = map[string]string{"application_name": "keepgate-cp doctor"}
	settings.DefaultQueryExecMode = pgx.QueryExecModeExec
	ctx, cancel := context.WithTimeout(ctx, config.Timeout)
	defer cancel()
	if err = dialer.Prepare(ctx, settings); err == nil {
		h.conn, err = pgx.ConnectConfig(ctx, settings)
	}
	if err != nil {
		return h.refused(ctx, err)
	}
	h.reached = true
	by := "no password was asked for"
	if h.password() {
		by = "with a password, if the server asks for one"
	}
	if h.asked && len(h.files.pair.Chain()) > 0 {
		by += ", and our certificate"
	}
	return finding.Fine("role %s in database %s; %s", config.User, config.Database, by)
}

// password says whether one is set.
func (h *host) password() bool {
	return h.config.Server.Password.Len() > 0 || h.config.Server.PasswordFile != ""
}

// otherName is whom our certificate names, where that is not the role that logs in.
func (h *host) otherName() string {
	if chain := h.files.pair.Chain(); h.asked && len(chain) > 0 && chain[0].Subject.CommonName != h.config.User {
		return papers.Name(chain[0])
	}
	return ""
}

// refused says why the server let nobody in.
func (h *host) refused(ctx context.Context, err error) finding.Result {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		if alert := h.alert(ctx); alert != nil && dial.Advice(err) == "" {
			err = alert
		}
		text := err.Error()
		if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok && connect.Unwrap() != nil {
			text = connect.Unwrap().Error()
		}
		if mend := dial.Advice(err); mend != "" {
			return finding.Bad(text, mend)
		}
		if fact, mend, found := strings.Cut(text, "; "); found {
			return finding.Bad(fact, mend)
		}
		return finding.Bad(text, "see the server's log")
	}
	role, database := pgx.Identifier{h.config.User}.Sanitize(), pgx.Identifier{h.config.Database}.Sanitize()
	fact := "the server says: " + refusal.Message
	switch {
	case refusal.Code == "3D000":
		return finding.Bad(fact, "CREATE DATABASE "+database+" OWNER "+role+", or mend pg_database")
	case refusal.Code == "28000" && strings.Contains(refusal.Message, "does not exist"):
		return finding.Bad(fact, "CREATE ROLE "+role+" LOGIN, with a password where one is asked for, or mend pg_user")
	case refusal.Code == "28000" && strings.Contains(refusal.Message, "not permitted to log in"):
		return finding.Bad(fact, "ALTER ROLE "+role+" LOGIN, or mend pg_user")
	case refusal.Code == "28P01" && !h.password():
		return finding.Bad(fact, "the server asks for a password and none is set: write it into a file of mode 0600 and set pg_password_file")
	case refusal.Code == "28P01" && h.otherName() != "":
		return finding.Bad(fact, fmt.Sprintf("the common name of pg_ssl_cert is %s, and under clientcert=verify-full it has to be pg_user (%.100q); else mend pg_password or its file", h.otherName(), h.config.User))
	case refusal.Code == "42501":
		return finding.Bad(fact, "GRANT CONNECT ON DATABASE "+database+" TO "+role)
	}
	if mend := dial.Advice(err); mend != "" {
		return finding.Bad(fact, mend)
	}
	return finding.Bad(fact, "see the server's log")
}

func (h *host) ask(ctx context.Context, query string, into []any, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	return h.conn.QueryRow(ctx, query, args...).Scan(into...)
}

func lost(err error) finding.Result {
	return finding.Bad("the question was not answered: "+err.Error(), "see the server's log")
}

func (h *host) server(ctx context.Context) finding.Result {
	var version string
	var standby, readOnly bool
	err := h.ask(ctx, "SELECT current_setting('server_version'), pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool", []any{&version, &standby, &readOnly})
	if err != nil {
		return lost(err)
	}
	kind, target := "a primary", h.config.Server.Target
	if standby {
		kind = "a standby"
	}
	if readOnly {
		kind += " that takes no writes (default_transaction_read_only)"
	}
	fact := fmt.Sprintf("PostgreSQL %s, %s", version, kind)
	h.suited = target == dial.Any || target == "" || !standby && (target == dial.Primary || !readOnly)
	if !h.suited && !h.several {
		return finding.Bad(fact+", and pg_target_session_attrs = "+string(target), "set pg_host to the primary")
	}
	return finding.Fine("%s", fact)
}

// privileges looks for what a start, the migrations and each write need.
func (h *host) privileges(ctx context.Context) finding.Result {
	role, database := pgx.Identifier{h.config.User}.Sanitize(), pgx.Identifier{h.config.Database}.Sanitize()
	var current *string
	var create bool
	if err := h.ask(ctx, "SELECT current_schema(), has_database_privilege(current_database(), 'CREATE')", []any{&current, &create}); err != nil {
		return lost(err)
	}
	switch h.schema = h.config.Schema; {
	case h.schema != "":
	case current == nil:
		return finding.Bad("the search_path of this role leads to no schema", "set pg_schema = keepgate, and GRANT CREATE ON DATABASE "+database+" TO "+role)
	default:
		h.schema = *current
	}
	name := pgx.Identifier{h.schema}.Sanitize()
	var exists, use, make bool
	err := h.ask(ctx, "SELECT count(*) > 0, coalesce(bool_or(has_schema_privilege(oid, 'USAGE')), false), coalesce(bool_or(has_schema_privilege(oid, 'CREATE')), false) FROM pg_namespace WHERE nspname = $1",
		[]any{&exists, &use, &make}, h.schema)
	switch {
	case err != nil:
		return lost(err)
	case !exists && !create:
		return finding.Bad("there is no schema "+h.schema+", and this role may not make one", "CREATE SCHEMA "+name+" AUTHORIZATION "+role+" (as a superuser, in that database)")
	case !exists:
		return finding.Fine("may make schema %s", h.schema)
	case !use || !make:
		return finding.Bad("role "+h.config.User+" may not make tables in schema "+h.schema, "GRANT USAGE, CREATE ON SCHEMA "+name+" TO "+role+" (as a superuser, in that database)")
	}
	return h.tables(ctx, name, role)
}

// tables looks at those that are there.
func (h *host) tables(ctx context.Context, schema, role string) finding.Result {
	var known []string
	for _, table := range layout.Derive().Tables() {
		known = append(known, table.Name)
	}
	var there int
	var closed []string
	err := h.ask(ctx, `SELECT count(*), coalesce(array_agg(relname::text ORDER BY relname) FILTER (WHERE NOT (has_table_privilege(oid, 'SELECT')
		AND has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))), '{}')
		FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r' AND relname = ANY($2)`, []any{&there, &closed}, schema, known)
	if err != nil {
		return lost(err)
	}
	if len(closed) > 0 {
		return finding.Bad(fmt.Sprintf("role %s may not read and write %d tables of schema %s (%s)", h.config.User, len(closed), h.schema, strings.Join(closed[:min(3, len(closed))], ", ")),
			"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "+schema+" TO "+role)
	}
	return finding.Fine("may make tables in schema %s, and use the %d there", h.schema, there)
}

func (h *host) migrations(ctx context.Context) finding.Result {
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	store, err := postgres.Open(ctx, h.alone())
	if err != nil {
		return finding.Bad(err.Error(), "use the newest keepgate-cp: a newer one may have migrated this database")
	}
	defer func() { _ = store.Close() }() // only read from
	schema, err := store.Status(ctx)
	switch {
	case err != nil:
		return finding.Bad(err.Error(), "see the server's log")
	case schema.Current():
		return finding.Fine("version %d, nothing to migrate", schema.Stored)
	case schema.First():
		return finding.Fine("empty; the first start makes version %d", schema.Known)
	}
	return finding.Bad(fmt.Sprintf("version %d, and this program needs %d (%s)", schema.Stored, schema.Known, strings.Join(schema.Pending, ", ")), "keepgate-cp migrate up")
}

// replication tells what a failover would lose. Who may not see the standbys sees at least whether there are any.
func (h *host) replication(ctx context.Context) finding.Result {
	var standby bool
	var standbys int
	var names string
	err := h.ask(ctx, "SELECT pg_is_in_recovery(), (SELECT count(*) FROM pg_stat_replication), current_setting('synchronous_standby_names')", []any{&standby, &standbys, &names})
	switch {
	case err != nil:
		return lost(err)
	case standby:
		return finding.Fine("a standby itself")
	case names != "":
		return finding.Fine("%d standbys; writes wait for: %s", standbys, names)
	case standbys > 0 || h.several:
		return finding.Beware(fmt.Sprintf("%d standbys, and writes wait for none: a failover may lose what was acknowledged last", standbys),
			"set synchronous_standby_names in the server's postgresql.conf")
	}
	return finding.Fine("no standbys")
}
