package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// witness is an origin that notes every whole request, in one spelling, by the conversation that it belongs to.
type witness struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // guarded by mu
	bad  []string // guarded by mu: identity that no plugin gave
}

func newWitness(t testing.TB) *witness {
	w := &witness{}
	w.Server = httptest.NewUnstartedServer(w)
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.Start()
	t.Cleanup(w.Close)
	return w
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	target := r.RequestURI
	if _, rest, absolute := strings.Cut(target, "://"); absolute && target[0] != '/' {
		target = rest[max(0, strings.IndexAny(rest, "/?")):]
	}
	path, query, has := strings.Cut(target, "?")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	normal, err := exchange.Normalise(nil, path)
	if err != nil {
		normal = []byte(path)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, fmt.Sprintf("%s %s %v%s %q", r.Method, normal, has, query, body))
	for _, fields := range []http.Header{r.Header, r.Trailer} {
		for name := range fields {
			if loose := strings.ReplaceAll(strings.ToLower(name), "_", "-"); strings.HasPrefix(loose, "x-consumer") || name != "Content-Length" && loose == "content-length" {
				w.bad = append(w.bad, name)
			}
		}
	}
	rw.WriteHeader(http.StatusOK)
}

func (w *witness) take() (seen, bad []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, bad = w.seen, w.bad
	w.seen, w.bad = nil, nil
	return seen, bad
}

// way leads to a witness.
type way struct {
	addr string
	*witness
}

// say sends raw and returns how many answers were good. It waits for the end of the connection, or for silence where a server waits
// for more of a request.
func (w way) say(t testing.TB, raw string, silence time.Duration) (good int) {
	t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go io.WriteString(conn, raw)
	r := bufio.NewReader(conn)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(silence))
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			return good
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return good
		}
		if response.StatusCode == 200 {
			good++
		}
	}
}

// startNginx proxies to the witness with nginx, where there is one. It passes requests on as it read them.
func startNginx(t testing.TB, to *witness) (addr string, ok bool) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program = "/usr/sbin/nginx"; !exists(program) {
			return "", false
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	conf := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log /dev/null;
events {}
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen %[2]s; location / { proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection ""; proxy_pass http://%[3]s; } }
}`, dir, addr, to.Listener.Addr())
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	process := exec.Command(program, "-p", dir, "-c", file, "-e", "/dev/null")
	if err := process.Start(); err != nil {
		return "", false
	}
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	for range 600 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return addr, true
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("nginx does not answer")
	return "", false
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// TestDifferential sends raw bytes to the gateway, to Go's server and, where there is one, to nginx. What reached the origin through the
// gateway is what the others read, or it was refused.
func TestDifferential(t *testing.T) {
	t.Parallel()
	direct := newWitness(t)
	others := map[string]way{"Go": {direct.Listener.Addr().String(), direct}}
	behind := newWitness(t)
	if addr, ok := startNginx(t, behind); ok {
		others["nginx"] = way{addr, behind}
	}
	gates := map[engine]way{}
	for _, on := range []engine{native, standard} {
		w := newWitness(t)
		o := &origin{Server: w.Server, host: "127.0.0.1", port: int64(w.Listener.Addr().(*net.TCPAddr).Port)}
		g := newGatewayOn(t, on, proxy.Options{}, o.service("s"), route("r", "s", func(m *configv1.Route) {
			m.Paths, m.StripPath, m.PreserveHost = array("/"), new(false), new(true)
		}))
		gates[on] = way{strings.TrimPrefix(g.url, "http://"), w}
	}
	var cases []http1test.Hostile
	for _, file := range []string{"hostile.txt", "ambiguous.txt"} {
		cases = append(cases, http1test.ReadHostile(t, filepath.Join("..", "http1", "testdata", file))...)
	}
	for _, c := range cases { // one after another: the witnesses are shared
		var found []string
		for _, silence := range []time.Duration{200 * time.Millisecond, 3 * time.Second, 15 * time.Second} { // a slow machine is no fault
			if found = differences(t, c, others, gates, silence); len(found) == 0 {
				break
			}
		}
		for _, what := range found {
			t.Errorf("%s, %s", c.Name, what)
		}
	}
}

// differences says what of a case reached the origin in another way than others read it.
func differences(t *testing.T, c http1test.Hostile, others map[string]way, gates map[engine]way, silence time.Duration) (found []string) {
	note := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	raw := c.Raw + "GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	read := map[string][]string{}
	for name, other := range others {
		other.say(t, raw, silence)
		read[name], _ = other.take()
	}
	for on, gate := range gates {
		good := gate.say(t, raw, silence)
		we, bad := gate.take()
		if len(bad) > 0 {
			note("%s: the origin was told %v", on, bad)
		}
		if good != len(we) {
			note("%s: %d answers to %d requests", on, good, len(we))
		}
		if on == native && (c.Status == 200) != (len(we) > 0) {
			note("%s: %q", on, we)
		}
		if strings.Contains(c.Name, "empty line") {
			read["the standard"] = we // RFC 9112 §2.2; not all forgive it
		}
		longest := 0
		for name, they := range read {
			longest = max(longest, len(they))
			if on == standard && name == "nginx" {
				continue // it has its own mind about what Go's server takes
			}
			if n := min(len(we), len(they)); !slices.Equal(we[:n], they[:n]) {
				note("%s: the origin got\n%q\nand %s reads\n%q", on, we, name, they)
			}
		}
		if len(we) > longest {
			note("%s: the origin got\n%q\nwhich is more than others read: %q", on, we, read)
		}
	}
	return found
}
