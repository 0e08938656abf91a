package plugin_test

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/plugin/cors"
	"github.com/keepgate/keepgate/dataplane/plugin/filelog"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

// Plugins that are there for all routes see how requests end that match none, and take no other part in them; those of one
// route or consumer see nothing.
func TestRequestsWithoutARoute(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	logs := filelog.New(folder, slog.New(slog.NewTextHandler(t.Output(), nil)))
	g := plugintest.New(t, logs, cors.Kind{}, keyauth.Kind{})
	const shop = "services: [{name: shop, url: '{{origin}}', routes: [{name: r, paths: [/r]}]}]\n"
	g.Configure(shop + `
plugins:
- {name: file-log, config: {path: all.log}}
- {name: cors, config: {origins: ["https://shop.test"]}}
- {name: key-auth}
`)
	for _, engine := range plugintest.Engines() {
		reply := g.Do(plugintest.Request{Engine: engine, Target: "/none"})
		if reply.Status != 404 || reply.Header.Get("Access-Control-Allow-Origin") != "https://shop.test" {
			t.Errorf("engine %q: %d %v", engine, reply.Status, reply.Header)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL(plugintest.HTTP1), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /\x00 HTTP/1.1\r\n\r\n")); err != nil { // the engine refuses it
		t.Fatal(err)
	}
	records := func(name string, want int) string {
		t.Helper()
		for until := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			text, err := os.ReadFile(filepath.Join(folder, name))
			if n := bytes.Count(text, []byte{'\n'}); n == want {
				return string(text)
			} else if time.Now().After(until) {
				t.Fatalf("%d records in %s, want %d; %d were dropped, %v; at hand are:\n%s", n, name, want, logs.Dropped(), err, text)
			}
		}
	}
	text := records("all.log", 3)
	for _, part := range []string{`"uri":"/none"`, `"status":404`, `"status":400`, `"source":"kong"`} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is missing in %s", part, text)
		}
	}
	g.Configure(shop + "plugins: [{name: file-log, route: r, config: {path: one.log}}]\n")
	g.Get("/none")
	g.Get("/r")
	if text := records("one.log", 1); !strings.Contains(text, `"uri":"/r"`) {
		t.Errorf("logged %s", text)
	}
}
