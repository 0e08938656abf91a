package bus_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/peer/bus"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// oneWrong wants exactly one thing to be wrong.
func oneWrong(t *testing.T, findings []finding.Finding, step, mend string) {
	t.Helper()
	var wrong []finding.Finding
	for _, one := range findings {
		if one.Verdict == finding.Wrong {
			wrong = append(wrong, one)
		}
	}
	if step == "" && len(wrong) == 0 {
		return
	}
	if len(wrong) != 1 || wrong[0].Step != step || !strings.Contains(wrong[0].Mend, mend) {
		t.Errorf("wrong are %+v, want %s → …%s…", wrong, step, mend)
	}
}

func TestExamineExternal(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "nats"), mtlstest.NewCA(t, "other")
	known, user := seed(t)
	stranger, _ := seed(t)
	tlsOnly := startNATS(t, natsOptions(t, ca, user))
	plain := startNATS(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		mtlstest.Write(t, path, data)
		return path
	}
	client, foreign := ca.Issue(t, mtlstest.Leaf{}), other.Issue(t, mtlstest.Leaf{})
	good := bus.Config{
		URLs: []string{tlsOnly.url()}, CACert: write("ca.crt", ca.PEM), Cert: write("c.crt", client.CertPEM), Key: write("c.key", client.KeyPEM), NKeyFile: known,
	}
	foreignCert, foreignKey, otherCA := write("f.crt", foreign.CertPEM), write("f.key", foreign.KeyPEM), write("o.crt", other.PEM)
	open := write("open.key", client.KeyPEM)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := closed.Addr().String()
	_ = closed.Close()
	for name, test := range map[string]struct {
		change     func(*bus.Config)
		step, mend string
	}{
		"nothing":                 {func(*bus.Config) {}, "", ""},
		"an unknown login":        {func(c *bus.Config) { c.NKeyFile = stranger }, "login", "add this user"},
		"another authority":       {func(c *bus.Config) { c.CACert = otherCA }, "TLS", "set nats_ca_cert"},
		"an unknown certificate":  {func(c *bus.Config) { c.Cert, c.Key = foreignCert, foreignKey }, "login", "certificate"},
		"an open key":             {func(c *bus.Config) { c.Key = open }, "key", "chmod 600 " + open},
		"a server without TLS":    {func(c *bus.Config) { c.URLs = []string{strings.Replace(plain.ClientURL(), "nats://", "tls://", 1)} }, "TLS", "give the server a tls block"},
		"a closed port":           {func(c *bus.Config) { c.URLs = []string{"tls://" + silent} }, "TCP", "start the server there"},
		"a name that is unknown":  {func(c *bus.Config) { c.URLs = []string{"tls://nosuch.invalid:4222"} }, "DNS", "mend nats_url"},
		"a name it is not for":    {func(c *bus.Config) { c.URLs = []string{fmt.Sprintf("tls://127.0.0.2:%d", tlsOnly.options.Port)} }, "", ""},
		"a login beside another":  {func(c *bus.Config) { c.CredentialsFile = known }, "settings", "mend that setting"},
		"neither login nor TLS":   {func(c *bus.Config) { *c = bus.Config{URLs: []string{plain.ClientURL()}} }, "", ""},
		"certificate without key": {func(c *bus.Config) { c.Key = "" }, "key", "set nats_cert_key"},
		"key without certificate": {func(c *bus.Config) { c.Cert = "" }, "certificate", "set nats_cert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := good
			test.change(&config)
			findings := bus.Examine(t.Context(), config)
			switch name {
			case "a name it is not for": // nobody listens there: which step that is depends on the system
				if finding.Count(findings, finding.Wrong) != 1 {
					t.Errorf("%+v", findings)
				}
			default:
				oneWrong(t, findings, test.step, test.mend)
			}
		})
	}
}

// hangsUp is the address of a server that hears a client's first words in TLS and closes.
func hangsUp(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			var header [5]byte // of a TLS record: its last two are the length (RFC 8446 section 5.1)
			if _, err := io.ReadFull(conn, header[:]); err == nil {
				_, _ = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint16(header[3:])))
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func TestExamineRoutes(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "ca"), mtlstest.NewCA(t, "other")
	node := start(t, ca, leaf("one"))
	for name, test := range map[string]struct {
		ca         *mtlstest.CA
		address    string
		step, mend string
	}{
		"a node of ours":    {ca, node.RouteAddress(), "", ""},
		"another authority": {other, node.RouteAddress(), "TLS", "certificates of role control-plane from one authority"},
		"another program":   {ca, hangsUp(t), "TLS", "nats_cluster_listen of the other node"},
		"nobody there":      {ca, "127.0.0.1:1", "TCP", "start the server there"},
	} {
		source, _, _ := test.ca.Source(t, leaf("two"))
		findings := bus.Examine(t.Context(), bus.Config{Embedded: &bus.Embedded{Routes: []string{test.address}, Source: source}})
		t.Log(name)
		oneWrong(t, findings, test.step, test.mend)
	}
}
