package examine

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
)

// Replica looks at every host that lists are to be read from, and at whether it has the database of pg_host.
func Replica(ctx context.Context, name string, primary, replica postgres.Config) []finding.Finding {
	findings := look(ctx, name, replica, &primary)
	own := strings.NewReplacer("pg_host", "pg_ro_host", "pg_port", "pg_ro_port", "pg_user", "pg_ro_user", "pg_password", "pg_ro_password",
		"pg_database", "pg_ro_database", "pg_schema", "pg_ro_schema", "pg_ssl_required", "pg_ro_ssl_required",
		"pg_ssl_verify", "pg_ro_ssl_verify", "pg_ssl_version", "pg_ro_ssl_version", primaryHost, "pg_host")
	for i := range findings {
		findings[i].Fact, findings[i].Mend = own.Replace(findings[i].Fact), own.Replace(findings[i].Mend)
	}
	return findings
}

// primaryHost is how pg_host is written here, where names become those of the replica's settings.
const primaryHost = "<pg" + "_host>"

// copied are the steps once a server is reached that lists are read from.
func (h *host) copied(needs ...string) []finding.Step {
	return []finding.Step{
		{Name: "login", Needs: needs, Do: h.login},
		{Name: "server", Needs: []string{"login"}, Do: h.server},
		{Name: "privileges", Needs: []string{"login"}, Do: h.mayRead},
		{Name: "copy", Needs: []string{"login", "privileges"}, Do: h.isCopy},
	}
}

// mayRead looks at the tables that are there.
func (h *host) mayRead(ctx context.Context) finding.Result {
	role := pgx.Identifier{h.config.User}.Sanitize()
	if h.schema = h.config.Schema; h.schema == "" {
		var current *string
		if err := h.ask(ctx, "SELECT current_schema()", []any{&current}); err != nil {
			return lost(err)
		}
		if current == nil {
			return finding.Bad("the search_path of this role leads to no schema", "set pg_schema to that of "+primaryHost)
		}
		h.schema = *current
	}
	known := []string{"revision", "meta"}
	for _, table := range layout.Derive().Tables() {
		known = append(known, table.Name)
	}
	var use bool
	var closed []string
	err := h.ask(ctx, `SELECT coalesce(bool_or(has_schema_privilege(n.oid, 'USAGE')), true),
		coalesce(array_agg(c.relname::text ORDER BY c.relname) FILTER (WHERE NOT has_table_privilege(c.oid, 'SELECT')), '{}')
		FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind = 'r' AND c.relname = ANY($2) WHERE n.nspname = $1`,
		[]any{&use, &closed}, h.schema, known)
	name := pgx.Identifier{h.schema}.Sanitize()
	switch {
	case err != nil:
		return lost(err)
	case !use:
		return finding.Bad("role "+h.config.User+" may not use schema "+h.schema, "GRANT USAGE ON SCHEMA "+name+" TO "+role+" (on the primary)")
	case len(closed) > 0:
		return finding.Bad(fmt.Sprintf("role %s may not read %d tables of schema %s (%s)", h.config.User, len(closed), h.schema, strings.Join(closed[:min(3, len(closed))], ", ")),
			"GRANT SELECT ON ALL TABLES IN SCHEMA "+name+" TO "+role+" (on the primary)")
	}
	return finding.Fine("may read schema %s", h.schema)
}

// isCopy asks both servers who they are and how far.
func (h *host) isCopy(ctx context.Context) finding.Result {
	ctx, cancel := context.WithTimeout(ctx, 2*h.config.Timeout)
	defer cancel()
	primary := *h.of
	primary.Replica, primary.PoolSize, primary.Server.Warn = nil, 2, nil
	id, number, err := identify(ctx, primary)
	if err != nil {
		return finding.Because(primaryHost)
	}
	theirs, reached, err := identify(ctx, h.alone())
	mend := "set pg_host and pg_database to a standby of " + primaryHost
	switch {
	case id == "":
		return finding.Fine("%s has no database yet: the first start makes it", primaryHost)
	case err != nil:
		return finding.Bad("it does not have what "+primaryHost+" has: "+err.Error(), mend)
	case theirs != id:
		return finding.Bad("it has another database than "+primaryHost, mend)
	}
	var standby bool
	if err := h.ask(ctx, "SELECT pg_is_in_recovery()", []any{&standby}); err != nil {
		return lost(err)
	}
	switch {
	case !standby:
		return finding.Beware("it is a primary itself, so it relieves nobody", mend)
	case reached < number:
		return finding.Beware(fmt.Sprintf("at change %d of %d; until it has caught up, %s answers", reached, number, primaryHost), "see its log, if that lasts")
	}
	return finding.Fine("a standby of %s, at change %d of %d", primaryHost, reached, number)
}

// identify tells which database a server has, "" before a first start, and how far it is.
func identify(ctx context.Context, config postgres.Config) (id string, number uint64, err error) {
	store, err := postgres.Open(ctx, config)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = store.Close() }() // only read from
	schema, err := store.Status(ctx)
	if err != nil || schema.First() {
		return "", 0, err
	}
	if id, _, err = store.Meta(ctx, record.MetaDatabase); err == nil {
		number, err = store.Head(ctx)
	}
	return id, number, err
}
