package accesslog_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/accesslog"
	"github.com/keepgate/keepgate/dataplane/exchange"
)

type named struct{ id, name string }

func (n named) Identity() (id, name string) { return n.id, n.name }

// fill makes ex a finished exchange of the target.
func fill(ex *exchange.Exchange, target string) {
	r := &ex.Request
	r.ClientAddr = netip.MustParseAddr("192.0.2.7")
	r.Method, r.Scheme, r.Host, r.Target, r.Major, r.Minor = "GET", "http", "shop.test", target, 1, 1
	r.Header.Add("User-Agent", `cu"rl`)
	r.Header.Add("Referer", "https://x/?apikey=s3cret&q=1")
	ex.Start = time.Now()
	ex.Response.Status, ex.Response.Origin = 200, exchange.Upstream
	ex.Sent.BodyBytes, ex.Sent.HeadBytes = 1024, 100
	ex.Consumer = exchange.Consumer{ID: "c1", Username: "al ice", CredentialID: "k1"}
	ex.Route, ex.Service = named{"r1", "route"}, named{"s1", "service"}
	ex.Mark(exchange.UpstreamStart)
	ex.Mark(exchange.UpstreamHead)
	ex.Mark(exchange.Done)
}

func line(t testing.TB, format accesslog.Format, target string, change func(ex *exchange.Exchange)) string {
	t.Helper()
	var out bytes.Buffer
	log := accesslog.New(&out, format)
	var pool exchange.Pool
	ex := pool.Take()
	fill(ex, target)
	if change != nil {
		change(ex)
	}
	log.Write(ex, []string{"x-key"}, "10.0.0.1:80")
	log.Flush()
	return out.String()
}

func TestCommonLine(t *testing.T) {
	t.Parallel()
	got := line(t, accesslog.Common, "/a?b=c&x-key=s3cret&%41PIKEY=s3cret", nil)
	want := regexp.MustCompile(`^192\.0\.2\.7 - al ice \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /a\?b=c&x-key=REDACTED&%41PIKEY=REDACTED HTTP/1\.1" 200 1024 ` +
		`"https://x/\?apikey=REDACTED&q=1" "cu\\x22rl" request_id: "[0-9a-f]{32}"\n$`)
	if !want.MatchString(got) {
		t.Errorf("line %q", got)
	}
}

func TestJSONLine(t *testing.T) {
	t.Parallel()
	got := line(t, accesslog.JSON, "/a\"\xff\u00e9?x-key=s3cret", nil)
	var record map[string]any
	if err := json.Unmarshal([]byte(got), &record); err != nil || strings.Count(got, "\n") != 1 {
		t.Fatalf("%v in %q", err, got)
	}
	for name, want := range map[string]any{
		"client_ip": "192.0.2.7", "method": "GET", "target": "/a\"\ufffdé?x-key=REDACTED", "status": 200.0, "response_size": 1124.0,
		"source": "upstream", "upstream": "10.0.0.1:80", "user_agent": `cu"rl`, "host": "shop.test",
	} {
		if record[name] != want {
			t.Errorf("%s: %v, want %v", name, record[name], want)
		}
	}
	for _, part := range []string{`"route":{"id":"r1","name":"route"}`, `"consumer":{"id":"c1","username":"al ice"}`, `"credential":{"id":"k1"}`} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is missing in %s", part, got)
		}
	}
}

func TestClientThatLeft(t *testing.T) {
	t.Parallel()
	got := line(t, accesslog.Common, "/", func(ex *exchange.Exchange) { ex.Response.Status, ex.Sent.BodyBytes = 0, 0 })
	if !strings.Contains(got, `HTTP/1.1" 499 0 `) {
		t.Errorf("line %q", got)
	}
}

func TestReopenLosesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	log, err := accesslog.Open(path, accesslog.Common)
	if err != nil {
		t.Fatal(err)
	}
	var pool exchange.Pool
	ex := pool.Take()
	fill(ex, "/")
	for range 3 {
		for range 100 {
			log.Write(ex, nil, "")
		}
		if err := os.Rename(path, path+time.Now().Format(".150405.000000000")); err != nil {
			t.Fatal(err)
		}
		if err := log.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(content, []byte("\n"))
	}
	if lines != 300 || log.Dropped() != 0 {
		t.Errorf("%d lines in %d files, %d dropped", lines, len(files), log.Dropped())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, os.ErrInvalid }

func TestFullDiskDropsAndCounts(t *testing.T) {
	t.Parallel()
	log := accesslog.New(full{}, accesslog.Common)
	var pool exchange.Pool
	ex := pool.Take()
	fill(ex, "/")
	for range 5 {
		log.Write(ex, nil, "")
	}
	log.Flush()
	if log.Dropped() != 5 {
		t.Errorf("dropped %d", log.Dropped())
	}
}

// FuzzLine: whatever a client sends, a JSON line is one JSON object, a common line is one line, and neither
// shows the secret parameter's value.
func FuzzLine(f *testing.F) {
	f.Add("/a?x=1", "agent", "s3cret")
	f.Add("/\x00\"\\\n?x-key", "\xff\xfe", "a%26b")
	f.Add("/?&&x%2Dkey==", "", "secretsecret")
	f.Fuzz(func(t *testing.T, target, agent, secret string) {
		const marker = "Vq7Zw"
		target += "?x-key=" + marker + strings.Map(func(r rune) rune {
			if strings.ContainsRune("&=", r) {
				return -1
			}
			return r
		}, secret) + marker
		if strings.Contains(target[:strings.IndexByte(target, '?')+1], marker) || strings.Count(target, "?") > 1 {
			return
		}
		change := func(ex *exchange.Exchange) {
			ex.Request.Target = target
			ex.Request.Header.Set("User-Agent", agent)
			ex.Request.Header.Del("Referer")
		}
		common, object := line(t, accesslog.Common, "", change), line(t, accesslog.JSON, "", change)
		if strings.Count(common, "\n") != 1 || strings.Contains(common, marker) || strings.Contains(object, marker) {
			t.Fatalf("common %q, json %q", common, object)
		}
		if !json.Valid([]byte(object)) {
			t.Fatalf("not JSON: %q", object)
		}
	})
}

func TestWriteAllocatesNothing(t *testing.T) {
	for _, format := range []accesslog.Format{accesslog.Common, accesslog.JSON} {
		log := accesslog.New(&discard{}, format)
		var pool exchange.Pool
		ex := pool.Take()
		fill(ex, "/a?x-key=1")
		secret := []string{"x-key"}
		if n := testing.AllocsPerRun(1000, func() { log.Write(ex, secret, "10.0.0.1:80") }); n != 0 {
			t.Errorf("format %d allocates %v times", format, n)
		}
	}
}

type discard struct{}

func (*discard) Write(p []byte) (int, error) { return len(p), nil }

// HTTP/2 shows its version, and a gRPC call how it ended.
func TestCalls(t *testing.T) {
	t.Parallel()
	for where, set := range map[string]func(*exchange.Response){
		"header":  func(r *exchange.Response) { r.Header.Set("grpc-status", "14") },
		"trailer": func(r *exchange.Response) { r.Trailer.Set("Grpc-Status", "14") },
	} {
		var out bytes.Buffer
		log := accesslog.New(&out, accesslog.JSON)
		ex := new(exchange.Exchange)
		ex.Reset()
		ex.Request.Method, ex.Request.Target, ex.Request.Major = "POST", "/a.B/C", 2
		ex.Response.Status = 200
		set(&ex.Response)
		log.Write(ex, nil, "")
		log.Flush()
		if line := out.String(); !strings.Contains(line, `"version":"2.0"`) || !strings.Contains(line, `"grpc_status":"14"`) {
			t.Errorf("%s: %s", where, line)
		}
	}
}
