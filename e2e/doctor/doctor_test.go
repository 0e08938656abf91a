// Package doctor_test makes the usual mistakes against real servers and asks doctor for the one line that mends each.
package doctor_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/app"
	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/e2e/pgtest"
	"github.com/keepgate/keepgate/e2e/ports"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const password = "correct-horse-battery"

// bench is a server, and everything right on both sides; a mistake changes one thing.
type bench struct {
	server   *pgtest.Server
	database string
	dir      string // this test's files

	root, middle, other *mtlstest.CA
	cluster             *mtlstest.CA
}

// mistake is one thing done wrong.
type mistake struct {
	name string
	// server's side; zero values are right
	chain func(b *bench) []byte // server.crt
	plain bool                  // ssl = off
	rules string
	key   []byte // of chain, set with it
	// ours
	set map[string]string
	// wanted
	step       string
	fact, mend string // a part, and the whole
}

func (b *bench) file(t *testing.T, name string, data []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// serverLeaf is a certificate for a PostgreSQL server.
func serverLeaf(leaf mtlstest.Leaf) mtlstest.Leaf {
	leaf.URIs = []string{}
	if leaf.DNS == nil {
		leaf.DNS = []string{"localhost"}
	}
	leaf.Identity.Name = leaf.DNS[0]
	leaf.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.NotAfter = orElse(leaf.NotAfter, time.Now().Add(100*24*time.Hour))
	return leaf
}

func clientLeaf(name string, notAfter time.Time) mtlstest.Leaf {
	return mtlstest.Leaf{
		URIs: []string{}, Identity: identity.Identity{Name: name}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotAfter: orElse(notAfter, time.Now().Add(100*24*time.Hour)),
	}
}

func orElse(t, otherwise time.Time) time.Time {
	if t.IsZero() {
		return otherwise
	}
	return t
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{server: pgtest.Own(t, pgtest.Options{TCP: true}), dir: t.TempDir()}
	b.root = mtlstest.NewCA(t, "root")
	b.middle = b.root.Intermediate(t, "middle")
	b.other, b.cluster = mtlstest.NewCA(t, "other"), mtlstest.NewCA(t, "cluster")
	dsn := b.server.Database(t)
	parsed, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	b.database = parsed.Database
	for _, statement := range []string{
		"CREATE ROLE kong LOGIN PASSWORD '" + password + "'", "CREATE ROLE limited LOGIN PASSWORD '" + password + "'",
		"CREATE ROLE asleep NOLOGIN", "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0",
		"ALTER DATABASE " + b.database + " OWNER TO kong",
	} {
		if err := b.server.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// install gives the server its side.
func (b *bench) install(t *testing.T, chain, key []byte, plain bool, rules string) {
	t.Helper()
	conf := "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\nssl_ca_file = 'ca.crt'\n"
	if plain {
		conf = "ssl = off\n"
	}
	for _, file := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{
		{"server.crt", chain, 0o644},
		{"server.key", key, 0o600},
		{"ca.crt", b.root.PEM, 0o644}, // the root alone: a server sends what else is in there
		{pgtest.Included, []byte(conf), 0o644},
		{"pg_hba.conf", []byte("local all keepgate trust\n" + rules + "\n"), 0o640},
	} {
		if err := b.server.Install(file.name, file.data, file.mode); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := b.server.Reload(ctx); err != nil {
		t.Fatal(err)
	}
}

// right are settings without fault.
func (b *bench) right(t *testing.T) map[string]string {
	t.Helper()
	node := b.cluster.Issue(t, mtlstest.Leaf{
		Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp-1"}, DNS: []string{"cp.example"}, NotAfter: time.Now().Add(100 * 24 * time.Hour),
	})
	client := b.middle.Issue(t, clientLeaf("kong", time.Time{}))
	return map[string]string{
		"database": "postgres", "prefix": filepath.Join(b.dir, "prefix"), "keyring_enabled": "on", "nats_cluster_listen": "off",
		"admin_listen": "127.0.0.1:0", "status_listen": "off", "cluster_listen": "127.0.0.1:0",
		"cluster_cert": b.file(t, "cp.crt", node.CertPEM, 0o644), "cluster_cert_key": b.file(t, "cp.key", node.KeyPEM, 0o600),
		"cluster_ca_cert": b.file(t, "cluster-ca.crt", b.cluster.PEM, 0o644),
		"cluster_crl":     b.file(t, "cluster.crl", b.cluster.CRL(t, 1, time.Now().Add(time.Hour)), 0o644),
		"pg_host":         "localhost", "pg_port": fmt.Sprint(b.server.Port()), "pg_user": "kong", "pg_password": password, "pg_database": b.database,
		"pg_timeout": "20000", "ssl_trusted_certificate": b.file(t, "root.crt", b.root.PEM, 0o644), "ssl_verify_depth": "1",
		"pg_ssl_cert":     b.file(t, "client.crt", append(append([]byte{}, client.CertPEM...), b.middle.PEM...), 0o644),
		"pg_ssl_cert_key": b.file(t, "client.key", client.KeyPEM, 0o600),
	}
}

// examine asks doctor; overrides with an empty value take a setting out.
func (b *bench) examine(t *testing.T, overrides map[string]string) []finding.Finding {
	t.Helper()
	lines := b.right(t)
	for key, value := range overrides {
		lines[key] = value
	}
	var text strings.Builder
	for key, value := range lines {
		if value != "" {
			fmt.Fprintf(&text, "%s = %s\n", key, value)
		}
	}
	var s cpsettings.ControlPlane
	if _, err := settings.Load(&s, settings.Sources{File: b.file(t, "keepgate.conf", []byte(text.String()), 0o600)}); err != nil {
		t.Fatal(err)
	}
	return app.Doctor(t.Context(), s)
}

const scram = "hostssl all all 127.0.0.1/32 scram-sha-256\nhostssl all all ::1/128 scram-sha-256"

// TestMistakes makes each mistake alone; the lines of the table are the documentation's.
func TestMistakes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	right := b.middle.Issue(t, serverLeaf(mtlstest.Leaf{}))
	whole := append(append([]byte{}, right.CertPEM...), b.middle.PEM...)
	b.install(t, whole, right.KeyPEM, false, scram)
	findings := b.examine(t, nil)
	if n := finding.Count(findings, finding.Wrong); n != 0 {
		t.Fatalf("nothing is wrong, and doctor says:\n%s", show(findings))
	}
	t.Logf("without a mistake:\n%s", show(findings))

	var report strings.Builder
	table := tabwriter.NewWriter(&report, 0, 0, 2, ' ', 0)
	for _, m := range mistakes(t, b) {
		chain, key, rules := whole, right.KeyPEM, m.rules
		if m.chain != nil {
			chain = m.chain(b)
		}
		if m.key != nil {
			key = m.key
		}
		if rules == "" {
			rules = scram
		}
		b.install(t, chain, key, m.plain, rules)
		findings := b.examine(t, m.set)
		var wrong []finding.Finding
		for _, one := range findings {
			if one.Verdict == finding.Wrong {
				wrong = append(wrong, one)
			}
		}
		if len(wrong) != 1 {
			t.Errorf("%s: %d things are wrong, want one:\n%s", m.name, len(wrong), show(findings))
			continue
		}
		one := wrong[0]
		if one.Step != m.step || !strings.Contains(one.Fact, m.fact) || one.Mend != m.mend {
			t.Errorf("%s:\n got %s: %s\n  → %s\nwant %s: %s\n  → %s", m.name, one.Step, one.Fact, one.Mend, m.step, m.fact, m.mend)
		}
		if text := show(findings); strings.Contains(text, password) || strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("%s: a secret is shown:\n%s", m.name, text)
		}
		fmt.Fprintf(table, "%s\t%s\t→ %s\n", m.name, one.Step, one.Mend)
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", report.String())
}

func show(findings []finding.Finding) string {
	var text strings.Builder
	for _, one := range findings {
		fmt.Fprintf(&text, "%-8s %s: %s: %s → %s\n", one.Verdict, one.Area, one.Step, one.Fact, one.Mend)
	}
	return text.String()
}

func closedPort(t *testing.T) string {
	t.Helper()
	port, err := ports.Claim()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(port)
}

func anyPort(t *testing.T) (address string) {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket.Addr().String()
}
