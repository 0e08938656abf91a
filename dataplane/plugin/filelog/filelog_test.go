package filelog_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/plugin/filelog"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/kvmlookup"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttransformer"
)

const shop = "services: [{name: shop, url: '{{origin}}', routes: [{name: r, paths: [/]}]}]\n"

// lines reads a log once it has so many lines.
func lines(t *testing.T, path string, want int) (records []map[string]any) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		content, err := os.ReadFile(path)
		if n := bytes.Count(content, []byte{'\n'}); n < want && time.Now().Before(until) {
			continue
		} else if n != want {
			t.Fatalf("%s has %d lines, want %d (%v)", path, n, want, err)
		}
		for line := range bytes.Lines(content) {
			var record map[string]any
			if err := json.Unmarshal(line, &record); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			records = append(records, record)
		}
		return records
	}
}

func TestOneObjectALine(t *testing.T) {
	t.Parallel()
	prefix := t.TempDir()
	g := plugintest.New(t, filelog.New(prefix, nil), keyauth.Kind{})
	g.Configure(shop + `
plugins: [{name: file-log, config: {path: requests.log}}, {name: key-auth, config: {key_names: [x-own]}}]
consumers: [{username: al, keyauth_credentials: [{key: s3cret-key}]}]
`)
	g.Get("/a?x-own=s3cret-key&b=1", "Authorization", "Bearer s3cret-key")
	path := filepath.Join(prefix, "requests.log")
	lines(t, path, 1) // a record comes after its response, so the next one's could be first
	g.Get("/denied")
	records := lines(t, path, 2)
	if about, err := os.Stat(path); err != nil || about.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", about.Mode(), err)
	}
	text, err := json.Marshal(records)
	if err != nil || bytes.Contains(text, []byte("s3cret")) {
		t.Errorf("%v %s", err, text)
	}
	consumer, _ := records[0]["consumer"].(map[string]any)
	service, _ := records[0]["service"].(map[string]any)
	if consumer["username"] != "al" || service["name"] != "shop" || service["host"] != "127.0.0.1" || records[0]["upstream_uri"] != "/a?x-own=REDACTED&b=1" {
		t.Errorf("first record %s", text)
	}
	if records[1]["source"] != "kong" || records[1]["consumer"] != nil {
		t.Errorf("second record %s", text)
	}
}

// A log that was moved away is found again: at once after SIGHUP, with the next record where reopen is set.
// What plugins put in for the upstream from maps and vaults is in no log, wherever they put it.
func TestSecretsForTheUpstreamAreInNoLog(t *testing.T) {
	t.Parallel()
	prefix := t.TempDir()
	g := plugintest.New(t, filelog.New(prefix, nil), kvmlookup.New(), requesttransformer.New())
	g.Refer("{vault://prod/api/key}", "s3cret")
	g.Configure(shop + `
key_value_maps: [{name: m, entries: [{key: k, value: s3cret}]}]
plugins:
- {name: file-log, config: {path: requests.log}}
- {name: kvm-lookup, config: {map: m, header: X-Looked, key_name: k}}
- name: request-transformer
  config:
    replace: {uri: "/of/{kvm://m/k}/x", headers: ["User-Agent:{kvm://m/k}"]}
    add: {headers: ["X-Added:a {vault://prod/api/key}", "X-Plain:seen"], querystring: ["added:{kvm://m/k}"]}
    append: {headers: ["X-Appended:{kvm://m/k}"]}
`)
	echo := g.Get("/", "User-Agent", "curl").Echo(t)
	if echo.URI != "/of/s3cret/x?added=s3cret" || echo.Header.Get("X-Looked") != "s3cret" || echo.Header.Get("X-Added") != "a s3cret" || echo.Header.Get("User-Agent") != "s3cret" {
		t.Fatalf("the upstream gets %+v", echo)
	}
	record := lines(t, filepath.Join(prefix, "requests.log"), 1)[0]
	text, err := json.Marshal(record)
	if err != nil || bytes.Contains(text, []byte("s3cret")) || record["upstream_uri"] != "REDACTED" || !bytes.Contains(text, []byte(`"x-plain":"seen"`)) {
		t.Errorf("%v %s", err, text)
	}
	if log := g.AccessLog(); log == "" || strings.Contains(log, "s3cret") {
		t.Errorf("the access log says %s", log)
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	for name, reopen := range map[string]string{"by a signal": "false", "each time": "true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := t.TempDir()
			kind := filelog.New(prefix, nil)
			g := plugintest.New(t, kind)
			g.Configure(shop + "plugins: [{name: file-log, config: {path: logs.log, reopen: " + reopen + "}}]\n")
			path := filepath.Join(prefix, "logs.log")
			for i := range 3 {
				g.Get("/")
				lines(t, path, 1)
				if err := os.Rename(path, path+strings.Repeat("x", i+1)); err != nil {
					t.Fatal(err)
				}
				if reopen == "false" {
					if err := kind.Reopen(); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// Everything is written when the gate has stopped.
func TestStopWritesTheRest(t *testing.T) {
	t.Parallel()
	prefix := t.TempDir()
	kind := filelog.New(prefix, nil)
	g := plugintest.New(t, kind)
	g.Configure(shop + "plugins: [{name: file-log, config: {path: a.log}}]\n")
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 25 {
				g.Get("/")
			}
		})
	}
	clients.Wait()
	g.Stop()
	if lines(t, filepath.Join(prefix, "a.log"), 100); kind.Dropped() != 0 {
		t.Errorf("dropped %d", kind.Dropped())
	}
}

// A file that cannot be written costs records, which are counted, and one line a minute; never a request.
func TestLossesAreCounted(t *testing.T) {
	t.Parallel()
	prefix, log := t.TempDir(), plugintest.NewLog()
	if err := os.WriteFile(filepath.Join(prefix, "key.log"), []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	const store = "node.json" // begins as a record does, and is none
	if err := os.WriteFile(filepath.Join(prefix, store), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	round := filepath.Join(t.TempDir(), "round")
	if err := os.Symlink(prefix, round); err != nil {
		t.Fatal(err)
	}
	kind := filelog.New(prefix, log.Logger())
	g := plugintest.New(t, kind)
	for _, path := range []string{"missing/x.log", "key.log", "/dev/full", filepath.Join(round, store), filepath.Join(round, "new")} {
		g.Configure(shop + "plugins: [{name: file-log, config: {path: " + path + "}}]\n")
		before := kind.Dropped()
		for range 3 {
			if reply := g.Get("/"); reply.Status != 200 {
				t.Errorf("%s: %d", path, reply.Status)
			}
		}
		for until := time.Now().Add(30 * time.Second); kind.Dropped() < before+3 && time.Now().Before(until); time.Sleep(time.Millisecond) {
		}
		if n := kind.Dropped() - before; n != 3 {
			t.Errorf("%s: %d dropped", path, n)
		}
	}
	g.Stop()
	if n := strings.Count(log.String(), "file-log lost records"); n != 5 {
		t.Errorf("%d complaints in %s", n, log.String())
	}
	if content, err := os.ReadFile(filepath.Join(prefix, "key.log")); err != nil || string(content) != "-----BEGIN" {
		t.Errorf("a key file became %q, %v", content, err)
	}
	if content, err := os.ReadFile(filepath.Join(prefix, store)); err != nil || string(content) != "{}" {
		t.Errorf("a store became %q, %v", content, err)
	}
}

// What a configuration may name.
func TestPaths(t *testing.T) {
	t.Parallel()
	prefix := t.TempDir()
	for path, ok := range map[string]bool{
		"x.log": true, "logs/x": true, "logs/deep/x": true, "/dev/stdout": true, "/var/log/x": true, prefix + "/x.log": true,
		"../x.log": false, "node.id": false, "store/journal": false, prefix + "/cluster.key": false, "logs/../node.id": false, prefix + "/logs/../peer/key": false, "logs": false,
	} {
		_, err := filelog.New(prefix, nil).New(plugintest.Config(t, "file-log", `{"path":"`+path+`"}`), plugintest.Env())
		if (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzNew(f *testing.F) {
	f.Add([]byte("\x0a\x05x.log\x10\x01"))
	f.Fuzz(func(t *testing.T, config []byte) { plugintest.TryNew(t, filelog.New("/prefix", nil), config) })
}
