package pgtls_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

// cell is one way to set both ends up, and what comes of it.
type cell struct {
	name    string
	server  side
	trust   string // files of the server's tree behind "system"; "": the system's authorities alone
	client  string // a certificate of the server's tree, joined by +; "": none
	lines   string // further settings, which override the usual ones
	refused string // what the error says; "": it connects
	warned  string // what the status says then
}

// usual are the settings of a kong.conf, quotes and Kong's names included.
func (c cell) usual(t *testing.T, port int, database string) string {
	lines := map[string]string{
		"pg_host": dbhost, "pg_port": fmt.Sprint(port), "pg_user": "kong", "pg_database": database, "pg_timeout": "20000",
		"pg_ssl": "on", "pg_ssl_required": "on", "pg_ssl_verify": "on", "pg_ssl_version": "tlsv1_2", "lua_ssl_verify_depth": "1",
		"lua_ssl_trusted_certificate": "system",
	}
	if c.trust != "" {
		lines["lua_ssl_trusted_certificate"] = "system," + c.server.tree.join(t, c.trust)
	}
	if c.client != "" {
		first, _, _ := strings.Cut(c.client, "+")
		lines["pg_ssl_cert"] = "'" + c.server.tree.join(t, c.client) + "'"
		lines["pg_ssl_cert_key"] = "'" + c.server.tree.path(strings.TrimSuffix(first, ".crt")+".key") + "'"
	}
	for line := range strings.SplitSeq(c.lines, "\n") {
		if key, value, found := strings.Cut(line, "="); found {
			lines[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	var text strings.Builder
	for key, value := range lines {
		fmt.Fprintf(&text, "%s = %s\n", key, value)
	}
	return text.String()
}

// TestMatrix tries every cell against one server, which reads its files again for each.
func TestMatrix(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, pgtest.Options{TCP: true})
	trees := trees{deep: grow(t, "intermediate", "more"), flat: grow(t, "direct"), self: grow(t, "selfsigned")}
	dsn := server.Database(t)
	setUp(t, dsn)
	parsed, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	var report strings.Builder
	table := tabwriter.NewWriter(&report, 0, 0, 2, ' ', 0)
	for _, c := range append(right(trees), wrong(t, trees)...) {
		c.server.install(t, server)
		c.lines = strings.ReplaceAll(c.lines, "SOCKET", server.Socket())
		config := configured(t, c.usual(t, server.Port(), parsed.Database))
		result, problem := c.try(t, config)
		fmt.Fprintf(table, "%s\t%s\t%s\n", map[bool]string{true: "as told", false: "WRONG"}[problem == ""], c.name, result)
		if problem != "" {
			t.Errorf("%s: %s", c.name, problem)
		}
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", report.String())
}

func setUp(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `CREATE ROLE kong LOGIN PASSWORD 'correct '' horse'; CREATE ROLE "limited" LOGIN`); err != nil {
		t.Fatal(err)
	}
}

// try connects and says what came of it, and what is wrong with that.
func (c cell) try(t *testing.T, config postgres.Config) (result, problem string) {
	t.Helper()
	store, err := postgres.Open(t.Context(), config)
	if err != nil {
		result = "refused: " + brief(err)
		if c.refused == "" || !strings.Contains(err.Error(), c.refused) {
			problem = fmt.Sprintf("refused, want %q: %v", c.refused, err)
		}
		if strings.Contains(err.Error(), "horse") {
			problem = "the password is in the error"
		}
		return result, problem
	}
	defer store.Close()
	result = "connected"
	warnings := strings.Join(store.Warnings(), "; ")
	switch {
	case strings.Contains(warnings, noSAN):
		result += " by common name, and warns of it"
	case warnings != "":
		result += ", warns: " + warnings
	}
	switch {
	case c.refused != "":
		problem = fmt.Sprintf("connected, want a refusal with %q", c.refused)
	case c.warned == "" && warnings != "", !strings.Contains(warnings, c.warned):
		problem = fmt.Sprintf("warns %q, want %q", warnings, c.warned)
	}
	return result, problem
}

// brief is an error without whom it was about and how often it was tried.
func brief(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if _, after, found := strings.Cut(text, "): "); found {
		text = after
	}
	return strings.TrimPrefix(text, "dial error: ")
}

type trees struct{ deep, flat, self tree }

const noSAN = "has no subjectAltName, so its common name counts"

// right are the ways that work: every tree, every login, chains sent or not.
func right(f trees) (cells []cell) {
	type login struct{ rules, client, lines string }
	password := "pg_password = correct ' horse"
	for _, of := range []struct {
		name    string
		server  side
		trust   string
		clients []string
	}{
		{"intermediate, chain sent", side{tree: f.deep, cert: "server.crt+intermediate.crt"}, "root.crt", []string{"client.crt", "client.crt+intermediate.crt"}},
		// OpenSSL sends what it finds in ssl_ca_file where ssl_cert_file holds one certificate alone.
		{"intermediate, chain sent from ssl_ca_file", side{tree: f.deep, cert: "server.crt"}, "root.crt", []string{"client.crt"}},
		{"intermediate, leaf sent", side{tree: f.deep, cert: "server.crt", ca: "root.crt"}, "chain.crt", []string{"client.crt+intermediate.crt"}},
		{"intermediate, both know the root alone", side{tree: f.deep, cert: "server.crt+intermediate.crt", ca: "root.crt"}, "root.crt", []string{"client.crt+intermediate.crt"}},
		{"no intermediate", side{tree: f.flat, cert: "server.crt"}, "root.crt", []string{"client.crt"}},
		{"self-signed", side{tree: f.self, cert: "server.crt"}, "trusted.crt", []string{"client.crt"}},
	} {
		for _, client := range of.clients {
			for _, how := range []login{
				{"cert", client, ""},
				{"trust-verify-full", client, ""},
				{"scram-verify-full", client, password},
				{"scram-verify-ca", client, password},
				{"hostssl all all all trust clientcert=verify-ca", client, ""},
				{"scram", "", password},
			} {
				for _, version := range []string{"tlsv1_2", "tlsv1_3"} {
					c := cell{server: of.server, trust: of.trust, client: how.client, lines: how.lines + "\npg_ssl_version = " + version, warned: noSAN}
					c.server.rules = how.rules
					if version == "tlsv1_2" {
						c.server.extra = "ssl_max_protocol_version = 'TLSv1.2'"
					}
					c.name = fmt.Sprintf("%s; %s; %s; %s", of.name, how.rules, or(how.client, "no certificate"), version)
					cells = append(cells, c)
				}
			}
		}
	}
	san := side{tree: f.deep, cert: "server-san.crt+intermediate.crt", rules: "cert-map"}
	return append(
		cells,
		cell{name: "names in the certificate, mapped client", server: san, trust: "root.crt", client: "client-map.crt"},
		cell{name: "a list of the server's authorities", server: san, trust: "root.crt", client: "client-map.crt", lines: "pg_ssl_crl_file = " + f.deep.path("crl.pem")},
		cell{name: "the server's own list", server: side{tree: f.deep, cert: "server-san.crt+intermediate.crt", rules: "cert", crl: "crl.pem"}, trust: "root.crt", client: "client.crt"},
		cell{name: "an intermediate that is trusted for itself, depth 0", server: san, trust: "intermediate.crt", client: "client-map.crt", lines: "lua_ssl_verify_depth = 0"},
		cell{name: "by address", server: san, trust: "root.crt", client: "client-map.crt", lines: "pg_host = 127.0.0.1"},
	)
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// wrong are the ways that do not work, or only with a warning.
func wrong(t *testing.T, f trees) []cell {
	good := side{tree: f.deep, cert: "server-san.crt+intermediate.crt", rules: "cert"}
	with := func(change func(*side)) side {
		s := good
		change(&s)
		return s
	}
	scram := with(func(s *side) { s.rules = "scram" })
	plain := side{tree: f.deep, rules: "host all all all scram-sha-256"}
	key := func(mode os.FileMode) string {
		path := f.deep.path(fmt.Sprintf("key-%o", mode))
		if err := os.WriteFile(path, f.deep.read(t, "client.key"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return "pg_ssl_cert_key = " + path
	}
	password := "pg_password = correct ' horse"
	cells := []cell{
		{name: "an authority that is not ours", server: good, trust: "stranger.crt", client: "client.crt", refused: `issued by nobody who is trusted (the chain ends at issuer "root.yourdomain.com"): x509: certificate signed by unknown authority; add its authority to ssl_trusted_certificate`},
		{name: "no authority but the system's", server: good, client: "client.crt", refused: "add its authority to ssl_trusted_certificate"},
		{name: "the server's intermediate is missing", server: with(func(s *side) { s.cert, s.ca = "server-san.crt", "root.crt" }), trust: "root.crt", client: "client.crt", refused: `the chain ends at issuer "intermediate.yourdomain.com"`},
		{name: "another host's name", server: good, trust: "root.crt", client: "client.crt", lines: "pg_host = localhost", refused: `is for "dbhost.yourdomain.com", "127.0.0.1" and not for "localhost"; pg_host has to be a name of the certificate`},
		{name: "another common name", server: with(func(s *side) { s.cert = "server-othercn.crt+intermediate.crt" }), trust: "root.crt", client: "client.crt", refused: `is for "other.yourdomain.com" (its common name; it has no subjectAltName) and not for "dbhost.yourdomain.com"`},
		{name: "the right common name beside another name", server: with(func(s *side) { s.cert = "server-othersan.crt+intermediate.crt" }), trust: "root.crt", client: "client.crt", refused: `is for "other.yourdomain.com" and not for "dbhost.yourdomain.com"`},
		{name: "an expired server", server: with(func(s *side) { s.cert = "server-expired.crt+intermediate.crt" }), trust: "root.crt", client: "client.crt", refused: "the server's certificate is valid from 2020-01-01T00:00:00Z to 2021-01-01T00:00:00Z"},
		{name: "a revoked server", server: with(func(s *side) { s.cert = "server-revoked.crt+intermediate.crt" }), trust: "root.crt", client: "client.crt", lines: "pg_ssl_crl_file = " + f.deep.path("crl.pem"), refused: `the certificate "CN=dbhost.yourdomain.com" (serial`},
		{name: "an authority without a list", server: good, trust: "root.crt", client: "client.crt", lines: "pg_ssl_crl_file = " + f.deep.path("crl-intermediate.pem"), refused: `pg_ssl_crl_file has no list of "CN=root.yourdomain.com"`},
		{name: "a list of version 1", server: good, trust: "root.crt", client: "client.crt", lines: "pg_ssl_crl_file = " + f.deep.path("crl-v1.pem"), refused: "a list is of version 1"},
		{name: "a list out of date", server: good, trust: "root.crt", client: "client.crt", lines: "pg_ssl_crl_file = " + f.deep.path("crl-old.pem"), refused: "is out of date since 2020-02-01T00:00:00Z"},
		{name: "depth 0, intermediate sent", server: good, trust: "root.crt", client: "client.crt", lines: "lua_ssl_verify_depth = 0", refused: "has 1 intermediate certificates and ssl_verify_depth allows 0"},
		{name: "depth 0, intermediate trusted too", server: good, trust: "chain.crt", client: "client.crt", lines: "lua_ssl_verify_depth = 0", refused: "has 1 intermediate certificates and ssl_verify_depth allows 0"},
		{name: "TLS 1.3 asked of a server with 1.2", server: with(func(s *side) { s.extra = "ssl_max_protocol_version = 'TLSv1.2'" }), trust: "root.crt", client: "client.crt", lines: "pg_ssl_version = tlsv1_3", refused: "no TLS version in common"},
		{name: "a server with 1.3 alone", server: with(func(s *side) { s.extra = "ssl_min_protocol_version = 'TLSv1.3'" }), trust: "root.crt", client: "client.crt"},
		{name: "no client certificate", server: good, trust: "root.crt", refused: "the server demands a client certificate: set pg_ssl_cert and pg_ssl_cert_key"},
		{name: "no client certificate beside a password", server: with(func(s *side) { s.rules = "scram-verify-full" }), trust: "root.crt", lines: password, refused: "the server demands a client certificate"},
		{name: "somebody else's client certificate", server: good, trust: "root.crt", client: "client-eve.crt", refused: "the common name of pg_ssl_cert has to be pg_user"},
		{name: "somebody else's, verify-full", server: with(func(s *side) { s.rules = "trust-verify-full" }), trust: "root.crt", client: "client-eve.crt", refused: "the common name of pg_ssl_cert has to be pg_user"},
		{name: "somebody else's, verify-full beside a password", server: with(func(s *side) { s.rules = "scram-verify-full" }), trust: "root.crt", client: "client-eve.crt", lines: password, refused: "pg_ssl_cert"},
		{name: "somebody else's, verify-ca", server: with(func(s *side) { s.rules = "scram-verify-ca" }), trust: "root.crt", client: "client-eve.crt", lines: password},
		{name: "a common name that the map lacks", server: with(func(s *side) { s.rules = "cert-map" }), trust: "root.crt", client: "client-eve.crt", refused: "pg_ident.conf"},
		{name: "an expired client", server: good, trust: "root.crt", client: "client-expired.crt", refused: "the certificate in pg_ssl_cert has expired"},
		{name: "a revoked client", server: with(func(s *side) { s.crl = "crl.pem" }), trust: "root.crt", client: "client-revoked.crt", refused: "the certificate in pg_ssl_cert was revoked"},
		{name: "a client of a strange authority", server: good, trust: "root.crt", client: "client-stranger.crt", refused: "the server does not know who issued pg_ssl_cert"},
		{name: "a client of another authority of the same name", server: good, trust: "root.crt", client: "client.crt", lines: "pg_ssl_cert = " + f.flat.path("client.crt") + "\npg_ssl_cert_key = " + f.flat.path("client.key"), refused: "has an authority of the name that issued pg_ssl_cert, with another key"},
		{name: "the client's intermediate is missing", server: with(func(s *side) { s.ca = "root.crt" }), trust: "root.crt", client: "client.crt", refused: "whatever stands between the two"},
		{name: "a key of mode 0600", server: good, trust: "root.crt", client: "client.crt", lines: key(0o600)},
		{name: "a key of mode 0644", server: good, trust: "root.crt", client: "client.crt", lines: key(0o644), refused: "(mode 0644): chmod 600"},
		{name: "a certificate and another one's key", server: good, trust: "root.crt", client: "client.crt", lines: "pg_ssl_cert_key = " + f.deep.path("client-eve.key"), refused: "private key does not match public key"},
		{name: "no such file", server: good, trust: "root.crt", client: "client.crt", lines: "pg_ssl_cert_key = /no/client.key", refused: "pg_ssl_cert_key: open /no/client.key"},
		{name: "TLS required of a plain server", server: plain, trust: "root.crt", lines: password, refused: "the server offers no TLS: set ssl = on in its postgresql.conf"},
		{name: "TLS if there is any, of a plain server", server: plain, trust: "root.crt", lines: password + "\npg_ssl_required = off", warned: "offers no TLS: everything goes to it in clear"},
		{name: "TLS if there is any, verified, of a server that is not ours", server: scram, trust: "stranger.crt", lines: password + "\npg_ssl_required = off", refused: "issued by nobody who is trusted"},
		{name: "TLS if there is any", server: scram, trust: "root.crt", lines: password + "\npg_ssl_required = off"},
		{name: "unverified", server: scram, lines: password + "\npg_ssl_verify = off", warned: "pg_ssl_verify = off: whoever answers"},
		{name: "off", server: plain, lines: password + "\npg_ssl = off\npg_ssl_required = off\npg_ssl_verify = off", warned: "in clear"},
		{name: "off, where TLS is demanded", server: scram, lines: password + "\npg_ssl = off\npg_ssl_required = off\npg_ssl_verify = off", refused: "set pg_ssl = on"},
		{name: "a wrong password", server: scram, trust: "root.crt", lines: "pg_password = wrong horse", refused: "mend pg_password"},
		{name: "a role that is not there", server: with(func(s *side) { s.rules = "hostssl all all all trust" }), trust: "root.crt", lines: "pg_user = nobody", refused: "the role of pg_user is not there"},
		{name: "a database that is not there", server: scram, trust: "root.crt", lines: password + "\npg_database = absent", refused: "the database of pg_database is not there"},
		{name: "no rule for us", server: with(func(s *side) { s.rules = "hostssl all keepgate all scram-sha-256" }), trust: "root.crt", lines: password, refused: "pg_hba.conf has no line for this role"},
		{name: "a name that does not resolve", server: scram, trust: "root.crt", lines: password + "\npg_host = absent.example", refused: "looking up the address"},
		{name: "a UNIX socket, without a rule", server: with(func(s *side) { s.rules = "hostssl all all all scram-sha-256" }), trust: "root.crt", lines: "pg_host = SOCKET", refused: "has no line of type local"},
		{name: "a UNIX socket", server: with(func(s *side) { s.rules = "local all all trust" }), trust: "root.crt", lines: "pg_host = SOCKET"},
	}
	if os.Geteuid() == 0 { // nobody else can make a file of root's
		cells = append(cells, cell{name: "a key of root's and mode 0640", server: good, trust: "root.crt", client: "client.crt", lines: key(0o640)})
	}
	return cells
}
