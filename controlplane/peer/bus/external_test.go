package bus_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/keepgate/keepgate/controlplane/peer/bus"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// external is a NATS server that somebody else runs: TLS with client certificates, and nkeys.
type external struct {
	*server.Server
	options *server.Options
}

func (n *external) url() string { return fmt.Sprintf("tls://127.0.0.1:%d", n.options.Port) }

func startNATS(t *testing.T, options *server.Options) *external {
	t.Helper()
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return &external{s, options}
}

func natsOptions(t *testing.T, ca *mtlstest.CA, users ...string) *server.Options {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	options := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, TLS: true, TLSVerify: true, TLSTimeout: patience.Seconds(),
		TLSConfig: &tls.Config{Certificates: serving(t, ca, net.IPv4(127, 0, 0, 1)), ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert},
	}
	for _, user := range users {
		options.Nkeys = append(options.Nkeys, &server.NkeyUser{Nkey: user})
	}
	return options
}

// serving is a certificate of a server.
func serving(t *testing.T, ca *mtlstest.CA, address net.IP) []tls.Certificate {
	t.Helper()
	pair := ca.Issue(t, mtlstest.Leaf{
		URIs: []string{}, DNS: []string{"localhost"}, IPs: []net.IP{address},
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{certificate}
}

// seed makes a file with the seed of a new user.
func seed(t *testing.T) (path, user string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	text, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if user, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "seed.nk")
	mtlstest.Write(t, path, text)
	return path, user
}

// client is a node that uses an external NATS.
func client(t *testing.T, ca *mtlstest.CA, name, seedFile string, urls ...string) *node {
	t.Helper()
	source, files, _ := ca.Source(t, leaf(name))
	n := &node{source: source, files: files, log: &journal{}}
	b, err := bus.Open(t.Context(), bus.Config{
		Cluster: cluster, Node: name, Log: n.log.logger(), URLs: urls,
		CACert: files.CA, Cert: files.Cert, Key: files.Key, NKeyFile: seedFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.run(t, b)
	return n
}

func TestExternal(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	file, user := seed(t)
	theirs := startNATS(t, natsOptions(t, ca, user))
	one, two := client(t, ca, "cp-1", file, "tls://127.0.0.1:1", theirs.url()), client(t, ca, "cp-2", file, theirs.url())
	hears(t, one, two)
	hears(t, two, one)
	if s := one.Status(); s.Embedded || !s.Connected || !strings.Contains(s.Server, "127.0.0.1") || one.RouteAddress() != "" {
		t.Errorf("Status = %+v", s)
	}
	one.SetRoutes([]string{"127.0.0.1:1"}) // not ours to set

	theirs.Shutdown()
	theirs.WaitForShutdown()
	await(t, "the loss is noticed", func() bool { return !one.Connected() && !two.Connected() })
	begun := time.Now()
	for range 1000 {
		if err := one.Publish("keepgate.test", make([]byte, 1000)); fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("Publish without a connection = %v", err)
		}
	}
	if took := time.Since(begun); took > patience/3 {
		t.Errorf("1000 messages that are lost took %v", took)
	}
	startNATS(t, theirs.options)
	hears(t, one, two)
	if text := one.log.String(); strings.Count(text, "no connection to NATS") > 2 || !strings.Contains(text, "connected to NATS") {
		t.Errorf("log = %s", text)
	}
}

func TestExternalThatIsAwayAtStart(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	file, user := seed(t)
	theirs := startNATS(t, natsOptions(t, ca, user))
	theirs.Shutdown()
	theirs.WaitForShutdown()
	one, two := client(t, ca, "cp-1", file, theirs.url()), client(t, ca, "cp-2", file, theirs.url())
	if one.Connected() {
		t.Fatal("connected to nothing")
	}
	await(t, "that NATS is away is logged", func() bool { return strings.Contains(one.log.String(), "no server of nats_url answers") })
	if one.Status().Problem == "" {
		t.Error("Status knows no problem")
	}
	startNATS(t, theirs.options)
	hears(t, one, two)
}

func TestExternalThatRefuses(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "other")
	_, user := seed(t)
	theirs := startNATS(t, natsOptions(t, ca, user))
	wrong, _ := seed(t)
	plain := startNATS(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	tests := map[string]struct {
		ca   *mtlstest.CA
		url  string
		seed string
		says string
	}{
		"a wrong nkey":             {ca, theirs.url(), wrong, "nats_nkey_file: the server does not know user U"},
		"another CA":               {other, theirs.url(), wrong, "certificate signed by unknown authority"},
		"a server that has no TLS": {ca, plain.url(), "", "speaks no TLS"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := client(t, test.ca, "cp-1", test.seed, test.url)
			await(t, "the reason is logged", func() bool { return strings.Contains(n.log.String(), test.says) })
			if s := n.Status(); s.Connected || !strings.Contains(s.Problem, test.says) {
				t.Errorf("Status = %+v", s)
			}
		})
	}
}

// TestExternalThatForbidsSubjects: the connection stands, so that nothing else would tell.
func TestExternalThatForbidsSubjects(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	file, user := seed(t)
	options := natsOptions(t, ca, user)
	options.Nkeys[0].Permissions = &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{"other.>"}}, Subscribe: &server.SubjectPermission{Allow: []string{"other.>"}},
	}
	theirs := startNATS(t, options)
	for name, act := range map[string]func(n *node) error{
		"publishing": func(n *node) error { return n.Publish("keepgate.test", nil) },
		"subscribing": func(n *node) error {
			_, err := n.Subscribe("keepgate.test", func([]byte) {})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := client(t, ca, "cp-1", file, theirs.url())
			await(t, "the connection", n.Connected)
			if err := act(n); err != nil {
				t.Fatal(err)
			}
			await(t, "the refusal is logged", func() bool { return strings.Contains(n.log.String(), "NATS refuses a subject") })
			if s := n.Status(); !s.Connected || !strings.Contains(s.Problem, "keepgate.>") {
				t.Errorf("Status = %+v", s)
			}
		})
	}
}

func TestExternalSettings(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	_, files, _ := ca.Source(t, leaf("cp-1"))
	good, _ := seed(t)
	open, _ := seed(t)
	if err := os.Chmod(open, 0o604); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "open.key")
	data, err := os.ReadFile(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, data, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		config bus.Config
		says   string
	}{
		"seed open to others":        {bus.Config{NKeyFile: open}, "chmod 600"},
		"no seed":                    {bus.Config{NKeyFile: files.CA}, "SU"},
		"no such seed":               {bus.Config{NKeyFile: "/nowhere"}, "no such file"},
		"credentials open to others": {bus.Config{CredentialsFile: open}, "chmod 600"},
		"no credentials":             {bus.Config{CredentialsFile: good}, "no JWT"},
		"both":                       {bus.Config{CredentialsFile: good, NKeyFile: good}, "exclude each other"},
		"a certificate alone":        {bus.Config{Cert: files.Cert}, "nats_cert_key"},
		"key open to others":         {bus.Config{Cert: files.Cert, Key: key}, "chmod 600"},
		"no CA":                      {bus.Config{CACert: "/nowhere"}, "no such file"},
		"no URL":                     {bus.Config{URLs: []string{"::"}}, "form"},
		"another scheme":             {bus.Config{URLs: []string{"http://x"}}, "form"},
		"a login in the URL":         {bus.Config{URLs: []string{"nats://me:secret@x"}}, "server x is given with a login"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.config.URLs == nil {
				test.config.URLs = []string{"nats://127.0.0.1:1"}
			}
			b, err := bus.Open(t.Context(), test.config)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Open = %v, want %q", err, test.says)
			}
			if err == nil {
				b.Close()
			}
			data, _ := os.ReadFile(test.config.NKeyFile)
			if err != nil && len(data) > 40 && strings.Contains(err.Error(), string(data[:40])) {
				t.Error("the error shows the seed")
			}
		})
	}
}
