package proxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// every is each way by which a client can come.
func every() []engine {
	return []engine{native, nativeTLS, standard, standardTLS, http2, http2TLS}
}

// versatile answers as its path says.
func versatile(t *testing.T) (o *origin, came, left chan struct{}) {
	t.Helper()
	o = newOrigin(t)
	came, left = make(chan struct{}, 100), make(chan struct{}, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		p := make([]byte, 64<<10)
		for {
			n, err := r.Body.Read(p)
			if _, failed := w.Write(p[:n]); failed != nil || rc.Flush() != nil || err != nil {
				break
			}
		}
		w.Header().Set(http.TrailerPrefix+"X-Sum", "seen "+r.Trailer.Get("X-Sum"))
		w.Header().Set(http.TrailerPrefix+"X-Consumer-Id", r.Trailer.Get("X-Consumer-Id"))
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"x"`)
		var code int
		_, _ = fmt.Sscan(r.PathValue("code"), &code)
		if w.WriteHeader(code); code == 200 {
			_, _ = io.WriteString(w, "a body of some length")
		}
	})
	mux.HandleFunc("/hold", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		left <- struct{}{}
	})
	mux.HandleFunc("/wait", func(_ http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, " ", r.RequestURI) })
	o.Config.Handler = mux
	return o, came, left
}

// visit is one cell of the matrix.
type visit struct {
	*testing.T
	base   string
	client *http.Client
	came   chan struct{} // a request for /wait is there
	left   chan struct{} // and its client is not
	ctx    context.Context
}

func (v *visit) ask(method, path string, body io.Reader, change ...func(*http.Request)) *http.Response {
	v.Helper()
	request, err := http.NewRequestWithContext(v.ctx, method, v.base+path, body)
	if err != nil {
		v.Fatal(err)
	}
	for _, f := range change {
		f(request)
	}
	response, err := v.client.Do(request)
	if err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// TestProtocols does with every kind of client what HTTP allows.
func TestProtocols(t *testing.T) {
	t.Parallel()
	for _, on := range every() {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			o, came, left := versatile(t)
			g := newGatewayOn(t, on, proxy.Options{}, o.service("s"), route("r", "s"),
				route("live", "s", func(m *configv1.Route) { m.RequestBuffering, m.ResponseBuffering = new(false), new(false) }))
			transport := on.transport()
			transport.ExpectContinueTimeout = 30 * time.Second
			t.Cleanup(transport.CloseIdleConnections)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			t.Cleanup(cancel)
			for name, test := range map[string]func(*visit){
				"streams both ways": liveStreams, "trailers both ways": trailers, "100-continue": continues, "an early answer": early,
				"no body": bodiless, "large bodies": large, "a client that leaves": leaves, "an upstream that breaks off": breaksOff,
			} {
				t.Run(name, func(t *testing.T) {
					test(&visit{t, g.url, &http.Client{Transport: transport}, came, left, ctx})
				})
			}
		})
	}
}

func liveStreams(v *visit) {
	reader, writer := io.Pipe()
	response := v.ask("POST", "/live/echo", reader)
	p := make([]byte, 100)
	for i := range 5 {
		word := fmt.Sprint("word ", i)
		_, _ = io.WriteString(writer, word)
		if _, err := io.ReadFull(response.Body, p[:len(word)]); err != nil || string(p[:len(word)]) != word {
			v.Fatalf("%q, %v", p[:len(word)], err)
		}
	}
	_ = writer.Close()
	if rest, err := io.ReadAll(response.Body); err != nil || len(rest) > 0 {
		v.Fatalf("%q, %v", rest, err)
	}
}

func trailers(v *visit) {
	for _, path := range []string{"/r/echo", "/live/echo"} { // a body that is held must not lose them
		response := v.ask("POST", path, io.MultiReader(strings.NewReader("body")), func(r *http.Request) {
			r.Trailer = http.Header{"X-Sum": {"42"}, "X-Consumer-Id": {"forged"}}
			r.Header.Set("TE", "trailers")
		})
		body, err := io.ReadAll(response.Body)
		if err != nil || string(body) != "body" || response.Trailer.Get("X-Sum") != "seen 42" || response.Trailer.Get("X-Consumer-Id") != "" {
			v.Errorf("%s: %q, %v, trailers %v", path, body, err, response.Trailer)
		}
	}
}

func continues(v *visit) {
	response := v.ask("POST", "/r/echo", strings.NewReader("late body"), func(r *http.Request) { r.Header.Set("Expect", "100-continue") })
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "late body" {
		v.Errorf("%q, %v", body, err)
	}
}

func early(v *visit) {
	reader, writer := io.Pipe() // more never comes, as the client waits
	defer writer.Close()
	for try := 0; ; try++ {
		request, err := http.NewRequestWithContext(v.ctx, "POST", v.base+"/live/early", io.MultiReader(io.LimitReader(zeros{}, 100<<10), reader))
		if err != nil {
			v.Fatal(err)
		}
		response, err := v.client.Do(request)
		if try < 5 && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) {
			continue // it wrote for longer than the gateway reads on, and then the standard library's client gives the answer up
		}
		if err != nil {
			v.Fatal(err)
		}
		v.Cleanup(func() { _ = response.Body.Close() }) // after the request's: over HTTP/2 it waits for that
		if response.StatusCode != http.StatusRequestEntityTooLarge {
			v.Errorf("%d", response.StatusCode)
		}
		return
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func bodiless(v *visit) {
	for _, test := range []struct {
		method, path string
		status       int
		length       int64
	}{{"HEAD", "/r/status/200", 200, 21}, {"GET", "/r/status/204", 204, 0}, {"GET", "/r/status/304", 304, 0}, {"HEAD", "/r/status/304", 304, 0}, {"HEAD", "/r/none", 404, -1}, {"GET", "/r/status/404", 404, 0}} {
		response := v.ask(test.method, test.path, nil)
		body, err := io.ReadAll(response.Body)
		if test.path == "/r/none" {
			test.status, test.length = 200, int64(len(response.Header.Get("Content-Length"))) // its length depends on the port
			response.ContentLength = test.length
		}
		if err != nil || len(body) > 0 || response.StatusCode != test.status || test.length > 0 && response.ContentLength != test.length {
			v.Errorf("%s %s: %d, %q, length %d, %v", test.method, test.path, response.StatusCode, body, response.ContentLength, err)
		}
	}
}

func large(v *visit) {
	for _, size := range []int{60_000, 900_000, 2 << 20} {
		sent := bytes.Repeat([]byte("0123456789abcdef!"), size/17)
		for path, body := range map[string]io.Reader{"/r/echo": bytes.NewReader(sent), "/live/echo": io.MultiReader(bytes.NewReader(sent))} {
			response := v.ask("PUT", path, body)
			got := sha256.New()
			if n, err := io.Copy(got, response.Body); err != nil || fmt.Sprintf("%x", got.Sum(nil)) != fmt.Sprintf("%x", sha256.Sum256(sent)) {
				v.Errorf("%s: %d bytes of %d, %v", path, n, len(sent), err)
			}
		}
	}
}

func leaves(v *visit) {
	for _, path := range []string{"/r/hold", "/r/wait", "/live/hold"} {
		ctx, cancel := context.WithCancel(v.ctx)
		request, _ := http.NewRequestWithContext(ctx, "GET", v.base+path, nil)
		if strings.HasSuffix(path, "wait") {
			go func() { <-v.came; cancel() }()
		}
		response, err := v.client.Do(request)
		if err == nil {
			cancel()
			_ = response.Body.Close()
		}
		cancel()
		select {
		case <-v.left:
		case <-v.ctx.Done():
			v.Fatalf("%s: the upstream was never told", path)
		}
	}
}

func breaksOff(v *visit) {
	response := v.ask("GET", "/r/cut", nil)
	if body, err := io.ReadAll(response.Body); err == nil {
		v.Errorf("%q, as if it were whole", body)
	}
}

// TestRouteSwitches tries what a route may say about hosts, paths and https, with every kind of client.
func TestRouteSwitches(t *testing.T) {
	t.Parallel()
	for _, on := range every() {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			o, _, _ := versatile(t)
			list := []entity{
				o.service("s", func(m *configv1.Service) { m.Path = new("/base") }),
				route("plain", "s"),
				route("keep", "s", func(m *configv1.Route) { m.StripPath, m.PreserveHost = new(false), new(true) }),
				route("v1", "s", func(m *configv1.Route) { m.PathHandling = new("v1") }),
			}
			codes := []int32{426, 301, 302, 307, 308}
			for _, code := range codes {
				list = append(list, route(fmt.Sprint("https", code), "s", func(m *configv1.Route) {
					m.Protocols, m.HttpsRedirectStatusCode = set("https"), new(int64(code))
				}))
			}
			g := newGatewayOn(t, on, proxy.Options{}, list...)
			own := strings.TrimPrefix(o.URL, "http://")
			for path, want := range map[string]string{
				"/plain/x?y": own + " /base/x?y", "/keep/x": "gate.test /base/keep/x", "/v1/x": own + " /base/x", "/v1": own + " /base", "/plain/": own + " /base/",
			} {
				if got := g.do(t, "GET", path, "", "Host", "gate.test"); got.body != want {
					t.Errorf("%s: %q, want %q", path, got.body, want)
				}
			}
			for _, code := range codes {
				got := g.do(t, "GET", fmt.Sprint("/https", code, "/x?y=z"), "", "Host", "gate.test:8000")
				want, location, upgrade := int(code), fmt.Sprint("https://gate.test/https", code, "/x?y=z"), ""
				if code == 426 {
					location, upgrade = "", "TLS/1.2, HTTP/1.1"
				}
				if on == http2 {
					upgrade = "" // RFC 9113 §8.6
				}
				if on.secure() {
					want, location, upgrade = 200, "", ""
				}
				if got.status != want || got.header.Get("Location") != location || got.header.Get("Upgrade") != upgrade {
					t.Errorf("%d: %d, %v", code, got.status, got.header)
				}
			}
		})
	}
}
