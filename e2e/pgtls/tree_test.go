// Package pgtls_test connects the control plane's store to real PostgreSQL servers over TLS, with certificates made by the usual openssl
// commands and the configuration files of deploy/postgres.
package pgtls_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/app"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/pgtest"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

func TestMain(m *testing.M) {
	pgtest.Main(m, harness.Discard, func() { _ = os.RemoveAll(nursery().folder) })
}

// dbhost is whom the certificates of the scripts are for. It means this machine.
const dbhost = "dbhost.yourdomain.com"

func resolve(_ context.Context, name string) ([]string, error) {
	if name == dbhost || name == "localhost" {
		return []string{"127.0.0.1"}, nil
	}
	return nil, fmt.Errorf("%s is unknown here", name)
}

// tree is a folder of certificates and keys.
type tree string

// nursery keeps what was grown: keys take long to make.
var nursery = sync.OnceValue(func() *grown {
	folder, err := os.MkdirTemp("", "pgtls-")
	if err != nil {
		panic(err)
	}
	return &grown{folder: folder}
})

type grown struct {
	folder string
	mu     sync.Mutex // holds while scripts run
}

// grow runs scripts of testdata, one after the other, or copies what they have made before.
func grow(t *testing.T, scripts ...string) tree {
	t.Helper()
	shared := nursery()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	folder := filepath.Join(shared.folder, strings.Join(scripts, "+"))
	if err := os.Mkdir(folder, 0o755); err == nil {
		for _, script := range scripts {
			run(t, folder, script)
		}
	} else if !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	own := t.TempDir()
	if err := os.CopyFS(own, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(own, "*.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if err := os.Chmod(key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tree(own)
}

func run(t *testing.T, folder, script string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", script+".sh"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("sh", "-e", path)
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, output)
	}
}

func (f tree) path(name string) string { return filepath.Join(string(f), name) }

// read joins files of the tree, "client.crt+intermediate.crt".
func (f tree) read(t *testing.T, names string) (data []byte) {
	t.Helper()
	for name := range strings.SplitSeq(names, "+") {
		part, err := os.ReadFile(f.path(name))
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, part...)
	}
	return data
}

// join writes several files of the tree into one, for who reads a path.
func (f tree) join(t *testing.T, names string) (path string) {
	t.Helper()
	if !strings.Contains(names, "+") {
		return f.path(names)
	}
	path = f.path(strings.ReplaceAll(names, "+", "-with-"))
	if err := os.WriteFile(path, f.read(t, names), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func fragment(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../deploy/postgres", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// side is what the server is given.
type side struct {
	tree  tree
	cert  string // files of the tree, joined by +; "": a server without TLS
	key   string // default: that of cert
	ca    string // default chain.crt
	crl   string // ssl_crl_file
	rules string // a file of deploy/postgres/hba, without its ending, or lines
	extra string // further lines of postgresql.conf
}

// install gives a running server its files and lets it read them.
func (s side) install(t *testing.T, server *pgtest.Server) {
	t.Helper()
	put := func(name string, data []byte, mode os.FileMode) {
		t.Helper()
		if err := server.Install(name, data, mode); err != nil {
			t.Fatal(err)
		}
	}
	conf := "ssl = off\n"
	if s.cert != "" {
		conf = fragment(t, "postgresql.conf")
		first, _, _ := strings.Cut(s.cert, "+")
		key := s.key
		if key == "" {
			key = strings.TrimSuffix(first, ".crt") + ".key"
		}
		ca := s.ca
		if ca == "" {
			ca = "chain.crt"
		}
		put("server.crt", s.tree.read(t, s.cert), 0o644)
		put("server.key", s.tree.read(t, key), 0o600)
		put("chain.crt", s.tree.read(t, ca), 0o644)
	}
	if s.crl != "" {
		put("crl.pem", s.tree.read(t, s.crl), 0o644)
		conf += fragment(t, "postgresql-crl.conf")
	}
	rules := s.rules
	if !strings.Contains(rules, " ") {
		rules = fragment(t, "hba/"+rules+".conf")
	}
	put(pgtest.Included, []byte(conf+s.extra+"\n"), 0o644)
	put("pg_hba.conf", []byte("local all keepgate trust\nlocal replication keepgate trust\n"+rules+"\n"), 0o640)
	put("pg_ident.conf", []byte(fragment(t, "pg_ident.conf")), 0o640)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := server.Reload(ctx); err != nil {
		t.Fatal(err)
	}
}

// configured reads settings as an operator would write them into a kong.conf.
func configured(t *testing.T, lines string) postgres.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kong.conf")
	if err := os.WriteFile(path, []byte("database = postgres\n"+lines), 0o600); err != nil {
		t.Fatal(err)
	}
	var s cpsettings.ControlPlane
	if _, err := settings.Load(&s, settings.Sources{File: path}); err != nil {
		t.Fatal(err)
	}
	config, err := app.Postgres(s.Database.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	config.Server.Resolve = resolve
	return config
}
