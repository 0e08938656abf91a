package auditcmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/cli/auditcmd"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "cp-1", "cp-2")
	p.act(p.nodes[0], "key/aaaaaaaa", "key/bbbbbbbb")
	p.act(p.nodes[1], "key/cccccccc")
	p.tick()
	out, err := p.verify("--crl", p.files.CRL)
	if err != nil || !strings.Contains(out, "node cp-1: 3 entries, held against 2 heads") || !strings.Contains(out, "nothing found in 2 chains") || strings.Contains(out, "note") {
		t.Fatalf("of a journal that nobody touched: %v\n%s", err, out)
	}
	p.act(p.nodes[0], "key/dddddddd") // newer than every head
	if out, err := p.verify(); err != nil {
		t.Fatalf("with an entry newer than the heads: %v\n%s", err, out)
	}
	p.tick()
	p.exec("DELETE FROM audit_entries WHERE node = 'cp-1' AND sequence > 2")
	for name, ask := range map[string][]string{
		"the node itself":    {"verify", "--admin-url", p.nodes[0].url},
		"its peer":           {"verify", "--admin", p.nodes[1].url, "--ca", p.files.CA},
		"a copy of its file": {"verify", "--admin", p.nodes[1].url, "--heads", p.nodes[0].path},
	} {
		out, err := p.run(ask...)
		if err == nil || !strings.Contains(out, "missing  node cp-1: the end of the chain is missing: a head says that it had 4 entries, and 2 are there") {
			t.Errorf("asking %s: %v\n%s", name, err, out)
		}
	}
	p.exec("DELETE FROM audit_entries WHERE node = 'cp-2'")
	out, err = p.verify("--json")
	var found struct{ Findings []audit.Finding }
	if jsonErr := json.Unmarshal([]byte(out), &found); err == nil || jsonErr != nil || len(found.Findings) != 2 || found.Findings[1].Kind != audit.Missing || found.Findings[1].Node != "cp-2" {
		t.Errorf("as JSON: %v, %v\n%s", err, jsonErr, out)
	}
}

// Somebody who has one node and the database cannot speak for the other nodes.
func TestVerifyChecksWhoSigned(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "cp-1", "cp-2")
	p.act(p.nodes[0], "key/aaaaaaaa")
	p.tick()
	other := mtlstest.NewCA(t, "other")
	_, files, _ := other.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Organisation: "acme", Name: "cp-1"}})
	if out, err := p.verify("--ca", files.CA); err == nil || !strings.Contains(out, "unverified  node cp-1: the head of entry 2 is not proved") {
		t.Errorf("with another CA: %v\n%s", err, out)
	} else if !strings.Contains(err.Error(), "not proved; after a change of CA give both") || strings.Contains(err.Error(), "not as it was written") {
		t.Errorf("with another CA: %v", err)
	}
	data, err := os.ReadFile(p.nodes[1].path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "heads")
	mtlstest.Write(t, copied, bytes.ReplaceAll(data, []byte("/cp-1"), []byte("/cp-2")))
	if out, err := p.verify("--heads", copied); err == nil || !strings.Contains(out, "was heard saying it") {
		t.Errorf("a head of another identity: %v\n%s", err, out)
	}
	mtlstest.Write(t, copied, bytes.ReplaceAll(data, []byte(`"sequence":2`), []byte(`"sequence":9`)))
	if out, err := p.verify("--heads", copied); err == nil || !strings.Contains(out, "the head of entry 9 is not proved") || strings.Contains(out, "missing") {
		t.Errorf("a head that was changed: %v\n%s", err, out)
	}
	mtlstest.Write(t, copied, bytes.ReplaceAll(data, []byte(cluster), []byte("another")))
	if out, err := p.run("verify", "--admin", p.nodes[0].url, "--heads", copied); err == nil || strings.Count(out, "in the database another") != 2 {
		t.Errorf("heads of another database: %v\n%s", err, out)
	}
	mtlstest.Write(t, copied, append([]byte("damaged\n"), data...))
	if out, err := p.verify("--heads", copied); err == nil || !strings.Contains(out, "line 1") {
		t.Errorf("a damaged file: %v\n%s", err, out)
	}
	for name, ask := range map[string][]string{
		"a CRL without a CA": {"verify", "--crl", p.files.CRL}, "a CA that is none": {"verify", "--ca", p.files.Key},
		"a file that is not there": {"verify", "--admin", p.nodes[0].url, "--heads", copied + "x"}, "nobody": {"verify", "--admin", "http://127.0.0.1:1"},
	} {
		if out, err := p.run(ask...); err == nil {
			t.Errorf("%s passes:\n%s", name, out)
		}
	}
}

func TestVerifyRefusesTwoDatabases(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "cp-1")
	p.tick()
	lies := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"cluster":"other\u001b[2J","node":"x","chains":[],"data":[]}`))
	}))
	t.Cleanup(lies.Close)
	if _, err := p.verify("--admin", lies.URL); err == nil || !strings.Contains(err.Error(), "ask nodes of one control plane") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("verify = %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "cp-1", "cp-2")
	p.act(p.nodes[0], "key/aaaaaaaa", "key/bbbbbbbb")
	p.act(p.nodes[1], "key/cccccccc")
	p.tick()
	p.exec("UPDATE audit_entries SET body = replace(body, 'key/bbbbbbbb', 'key/b" + "\\u001b[2J" + "') WHERE node = 'cp-1'")
	at := p.nodes[1].url
	tests := map[string]struct {
		ask    []string
		want   []string // in this order
		absent []string
	}{
		"all":           {nil, []string{"TIME", "key.activate  key/aaaaaaaa  force=0", "key/cccccccc"}, []string{"\x1b"}},
		"one node":      {[]string{"--node", "cp-2"}, []string{"audit.start", "127.0.0.1:4711 (loopback)  key.activate  key/cccccccc"}, []string{"cp-1"}},
		"some actions":  {[]string{"--action", "key"}, []string{"key/aaaaaaaa"}, []string{"audit.start"}},
		"one entry":     {[]string{"-n", "1", "--action", "key"}, []string{"key/cccccccc"}, []string{"key/aaaaaaaa"}},
		"as JSON lines": {[]string{"--json", "--node", "cp-2", "--action", "key"}, []string{`{"node":"cp-2","sequence":2,`, `"detail":{"force":"0"}`}, []string{"TIME"}},
	}
	for name, test := range tests {
		out, err := p.run(append([]string{"list", "--admin-url", at}, test.ask...)...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		rest := out
		for _, text := range test.want {
			_, after, found := strings.Cut(rest, text)
			if rest = after; !found {
				t.Errorf("%s: no %q in\n%s", name, text, out)
				break
			}
		}
		for _, text := range test.absent {
			if strings.Contains(out, text) {
				t.Errorf("%s: %q in\n%s", name, text, out)
			}
		}
	}
	if _, err := p.run("list", "--admin-url", at, "-n", "0"); err == nil {
		t.Error("no entries were asked for")
	}
}

// Following shows what comes, each once.
func TestFollow(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "cp-1")
	p.act(p.nodes[0], "key/aaaaaaaa")
	ctx, stop := context.WithCancel(t.Context())
	out := &until{text: "key/bbbbbbbb", found: stop, first: func() { p.act(p.nodes[0], "key/bbbbbbbb") }}
	command := auditcmd.Command()
	command.SetOut(out)
	command.SetArgs([]string{"list", "--follow", "--every", "10ms", "--admin-url", p.nodes[0].url})
	if err := command.ExecuteContext(ctx); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Count(text, "key/aaaaaaaa") != 1 || strings.Count(text, "key/bbbbbbbb") != 1 {
		t.Errorf("followed:\n%s", text)
	}
}

// until is an output that does something when it is first written to, and when a text was written.
type until struct {
	bytes.Buffer
	text         string
	first, found func()
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if u.first != nil {
		first := u.first
		u.first = nil
		first()
	}
	if strings.Contains(u.String(), u.text) {
		u.found()
	}
	return n, err
}
