package logrecord_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"iter"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/logrecord"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

type named struct{ id, name string }

func (n named) Identity() (id, name string) { return n.id, n.name }

// finished makes a finished exchange of the target.
func finished(target string) *exchange.Exchange {
	var pool exchange.Pool
	ex := pool.Take()
	r := &ex.Request
	r.Local = netip.MustParseAddrPort("192.0.2.1:8443")
	r.ClientAddr = netip.MustParseAddr("192.0.2.7")
	r.Method, r.Scheme, r.Host, r.Target, r.Major, r.Minor = "GET", "https", "shop.test", target, 1, 1
	r.Path, r.RawQuery, r.HasQuery = strings.Cut(target, "?")
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	ex.Start = time.Now().Add(-5 * time.Millisecond)
	ex.Sent = exchange.Sent{HeadBytes: 100, BodyBytes: 1000, RequestBytes: 40, ReceivedBytes: 2}
	ex.Response.Status, ex.Response.Origin = 200, exchange.Upstream
	ex.Consumer = exchange.Consumer{ID: "c1", Username: "al", CredentialID: "k1", CredentialKind: "key-auth"}
	ex.Route, ex.Service = named{"r1", "route"}, named{"s1", "service"}
	ex.Tries = append(ex.Tries,
		exchange.Try{Start: exchange.Now(), Chosen: exchange.Now()},
		exchange.Try{Address: netip.MustParseAddrPort("10.0.0.1:80"), Start: exchange.Now(), Chosen: exchange.Now(), Status: 200})
	ex.UpstreamTarget = "/up" + target
	for _, m := range []exchange.Mark{exchange.UpstreamStart, exchange.UpstreamHead, exchange.ServeDone, exchange.Done} {
		ex.Mark(m)
	}
	return ex
}

func tables(list map[string]map[string]proto.Message) func(string) iter.Seq2[string, proto.Message] {
	return func(table string) iter.Seq2[string, proto.Message] {
		return func(yield func(string, proto.Message) bool) {
			for id, message := range list[table] {
				if !yield(id, message) {
					return
				}
			}
		}
	}
}

func store(t testing.TB) *logrecord.Entities {
	t.Helper()
	made := logrecord.NewDescriber("file-log").Store(tables(map[string]map[string]proto.Message{
		"plugins":   {"p": &configv1.Plugin{Name: new("file-log")}},
		"routes":    {"r1": &configv1.Route{Id: new("r1"), Name: new("route"), CreatedAt: new(int64(7))}},
		"services":  {"s1": &configv1.Service{Id: new("s1"), Name: new("service"), Host: new("up.test"), Port: new(int64(80))}},
		"consumers": {"c1": &configv1.Consumer{Id: new("c1"), Username: new("al")}},
	}), nil, nil)
	return made.(*logrecord.Entities)
}

func read(t testing.TB, text []byte) map[string]any {
	t.Helper()
	var record map[string]any
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return record
}

func TestRecord(t *testing.T) {
	t.Parallel()
	ex := finished("/a%20b?x=1&y=%41+b&x=2&flag&api%6Bey=s3cret")
	r := &ex.Request
	r.Header.Add("User-Agent", `cu"rl`)
	r.Header.Add("Accept", "a/b")
	r.Header.Add("ACCEPT", "c/d")
	r.Header.Add("Authorization", "Bearer s3cret")
	r.Header.Add("Referer", "https://x/?x-own=s3cret&q=1")
	r.Header.Add("X-Own", "s3cret")
	ex.Response.Header.Add("Set-Cookie", "s3cret")
	ex.Response.Header.Add("Location", "https://x/y?token=s3cret#access_token=s3cret")
	text := logrecord.Append(nil, ex, store(t), []string{"x-own"})
	if bytes.Contains(text, []byte("s3cret")) {
		t.Errorf("shows a secret: %s", text)
	}
	got := read(t, text)
	tries := got["tries"].([]any)
	for _, try := range tries {
		for name, v := range try.(map[string]any) {
			if strings.HasPrefix(name, "balancer_start") && v.(float64) < float64(time.Now().Add(-time.Hour).UnixMilli()) {
				t.Errorf("%s is %v", name, v)
			}
			if strings.HasPrefix(name, "balancer_") {
				delete(try.(map[string]any), name)
			}
		}
	}
	if at := int64(got["started_at"].(float64)); at != ex.Start.UnixMilli() {
		t.Errorf("started_at is %d", at)
	}
	latencies := got["latencies"].(map[string]any)
	if len(latencies) != 4 || latencies["request"].(float64) < 5 || latencies["proxy"].(float64) != 0 {
		t.Errorf("latencies: %v", latencies)
	}
	delete(got, "started_at")
	delete(got, "latencies")
	want := read(t, []byte(`{
		"request":{"id":"`+ex.ID()+`","uri":"/a%20b?x=1&y=%41+b&x=2&flag&api%6Bey=REDACTED",
			"url":"https://shop.test:8443/a%20b?x=1&y=%41+b&x=2&flag&api%6Bey=REDACTED",
			"querystring":{"x":["1","2"],"y":"A b","flag":true,"apikey":"REDACTED"},"method":"GET","size":42,
			"headers":{"host":"shop.test","user-agent":"cu\"rl","accept":["a/b","c/d"],"authorization":"REDACTED","referer":"https://x/?x-own=REDACTED&q=1","x-own":"REDACTED"},
			"tls":{"version":"TLSv1.3","cipher":"TLS_AES_128_GCM_SHA256","client_verify":"NONE"}},
		"upstream_uri":"/up/a%20b?x=1&y=%41+b&x=2&flag&api%6Bey=REDACTED","upstream_status":"200",
		"response":{"status":200,"headers":{"set-cookie":"REDACTED","location":"https://x/y?token=REDACTED#REDACTED"},"size":1100},
		"tries":[{"state":"failed"},{"ip":"10.0.0.1","port":80,"code":200}],
		"authenticated_entity":{"id":"k1"},"consumer":{"id":"c1","username":"al"},
		"route":{"id":"r1","name":"route","created_at":7},"service":{"id":"s1","name":"service","host":"up.test","port":80},
		"client_ip":"192.0.2.7","source":"upstream","workspace":"default","workspace_name":"default"}`))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// An answer of the gate's own has no upstream, and one that nothing matched no route.
func TestRecordOfTheGatesOwn(t *testing.T) {
	t.Parallel()
	ex := finished("/")
	ex.Response.Status, ex.Response.Origin = 404, exchange.Gateway
	ex.Tries, ex.UpstreamTarget, ex.Route, ex.Service, ex.Consumer = nil, "", nil, nil, exchange.Consumer{}
	ex.Request.TLS = nil
	got := read(t, logrecord.Append(nil, ex, nil, nil))
	for _, absent := range []string{"upstream_uri", "upstream_status", "route", "service", "consumer", "authenticated_entity"} {
		if got[absent] != nil {
			t.Errorf("%s: %v", absent, got[absent])
		}
	}
	if got["source"] != "kong" || got["latencies"].(map[string]any)["proxy"] != -1.0 || len(got["tries"].([]any)) != 0 {
		t.Errorf("record %v", got)
	}
}

// What a Describer made is kept while the entities are the same, and nothing is made for a plugin that nobody uses.
func TestDescriber(t *testing.T) {
	t.Parallel()
	d := logrecord.NewDescriber("http-log")
	list := map[string]map[string]proto.Message{"plugins": {"p": &configv1.Plugin{Name: new("file-log")}}}
	if made := d.Store(tables(list), nil, nil).(*logrecord.Entities); made != nil {
		t.Errorf("made %v for a plugin that is not used", made)
	}
	list["plugins"]["q"] = &configv1.Plugin{Name: new("http-log")}
	list["services"] = map[string]proto.Message{"s1": &configv1.Service{Id: new("s1"), Host: new("one")}}
	ex := finished("/")
	host := func(known any) any {
		service, _ := read(t, logrecord.Append(nil, ex, known.(*logrecord.Entities), nil))["service"].(map[string]any)
		return service["host"]
	}
	first := d.Store(tables(list), nil, nil)
	list["services"]["s1"] = &configv1.Service{Id: new("s1"), Host: new("two")}
	second := d.Store(tables(list), nil, nil)
	if host(first) != "one" || host(second) != "two" || host(first) != "one" {
		t.Errorf("hosts %v, %v", host(first), host(second))
	}
}

// FuzzRecord: whatever a client and an upstream send, a record is one JSON object of one line without the secrets.
func FuzzRecord(f *testing.F) {
	f.Add("/a?x=1&x=%zz&&=&x", "agent", "\xff\xfe", "name")
	f.Add("/\x00\"\\\n?\u2028=%00", "", "a#b?key=c", "A\"b")
	f.Fuzz(func(t *testing.T, target, agent, value, name string) {
		const marker = "Vq7Zw"
		if strings.Contains(target+agent+value+name, marker) {
			return
		}
		ex := finished(target)
		ex.Request.Header.AddParsed("User-Agent", agent)
		ex.Request.Header.AddParsed(name, value)
		ex.Request.Header.AddParsed("Authorization", marker)
		ex.Request.RawQuery += "&x-key=" + marker
		ex.Response.Header.AddParsed("Location", value)
		text := logrecord.Append(nil, ex, nil, []string{"x-key"})
		if bytes.ContainsAny(text, "\n\r") || bytes.Contains(text, []byte(marker)) {
			t.Fatalf("record %q", text)
		}
		var record struct {
			Request struct {
				URI     string
				Headers map[string]any
			}
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		if err := decoder.Decode(&record); err != nil || decoder.More() {
			t.Fatalf("%v in %q", err, text)
		}
		if want := strings.ToValidUTF8(agent, "\ufffd"); record.Request.Headers["user-agent"] != nil && !strings.EqualFold(name, "user-agent") && !strings.Contains(agent, "?") {
			if got := record.Request.Headers["user-agent"].(string); strings.ReplaceAll(got, "\ufffd", "") != strings.ReplaceAll(want, "\ufffd", "") {
				t.Fatalf("agent %q shown as %q", agent, got)
			}
		}
	})
}

func TestAppendAllocatesNothing(t *testing.T) {
	ex := finished("/a?x=%41&y=2")
	ex.Request.Header.Add("User-Agent", "curl")
	known, secret := store(t), []string{"apikey"}
	buffer := make([]byte, 0, 8<<10)
	logrecord.Append(buffer, ex, known, secret)
	if n := testing.AllocsPerRun(20, func() { logrecord.Append(buffer, ex, known, secret) }); n != 0 {
		t.Errorf("a record allocates %v times", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	ex := finished("/a?x=1&y=2")
	ex.Request.Header.Add("User-Agent", "curl")
	known, secret := store(b), []string{"apikey"}
	buffer := make([]byte, 0, 8<<10)
	b.ReportAllocs()
	for b.Loop() {
		logrecord.Append(buffer, ex, known, secret)
	}
}
