package e2e_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// What clients hold open through a data plane that is shut out ends within seconds, on both sides of it, whatever speaks and whether the
// order comes by the link or a list of the operator's.
func TestStreamsOfARevokedDataPlane(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	c.Found(cp)
	lasting := newLasting(t)
	calls := newTestService(t)
	edges := map[*harness.DataPlane]func(){}
	ordered := func(name string, flags ...string) {
		dp := c.Joined(name, "default", cp)
		for i := 0; i < len(flags); i += 2 {
			dp.SetFlag(flags[i], flags[i+1])
		}
		edges[dp] = func() {
			c.CP("fleet", "revoke", name, "--environment", "default", "--reason", "stolen", "--admin-url", "http://"+cp.Listen)
		}
	}
	ordered("native")
	ordered("standard", "--proxy-http1-engine", "std", "--proxy-http2-engine", "std")
	edges[c.DataPlane("listed", cp)] = func() { c.CP("certs", "revoke", "listed", "--dir", c.Certs()) }
	cp.Admin().Push(fmt.Sprintf(`_format_version: "3.0"
services:
- {name: lasting, url: %q, read_timeout: 3600000, write_timeout: 3600000, routes: [{name: lasting, paths: [/l]}]}
- {name: calls, url: "grpc://%s", read_timeout: 3600000, routes: [{name: calls, protocols: [grpc, grpcs], hosts: [calls.example], paths: [/]}]}
`, lasting.url, calls.address))
	for dp, revoke := range edges {
		dp.SetFlag("--proxy-listen", dp.Proxy+" http2, "+dp.TLS+" http2 ssl")
		dp.Launch()
		dp.Await(200, "/l")
		read := make(chan struct{})
		ends := lasting.fill(t, dp, read)
		if want := lasting.open.Load(); want != int64(len(ends)-2) { // calls are another server's
			t.Fatalf("%s: %d streams are open at the upstream, of %d", dp.Name, want, len(ends)-2)
		}
		began := time.Now()
		revoke()
		dp.Await(503, "/l")
		stopped := time.Now()
		harness.Eventually(t, "the upstream being left", func() string {
			if n := lasting.open.Load(); n != 0 {
				return fmt.Sprintf("%d streams are open", n)
			}
			return ""
		})
		left := time.Now()
		close(read)
		for name, end := range ends {
			select {
			case <-end:
			case <-time.After(harness.Patience):
				t.Errorf("%s: %s goes on", dp.Name, name)
			}
		}
		t.Logf("%s: %d streams left the upstream %v after it served no more, which was %v after the order", dp.Name, len(ends),
			left.Sub(stopped).Round(time.Millisecond), stopped.Sub(began).Round(time.Millisecond))
		dp.Await(503, "/l")
	}
}

// lasting is a service whose responses do not end.
type lasting struct {
	url  string
	open atomic.Int64
}

func newLasting(t *testing.T) *lasting {
	l := &lasting{}
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	l.url = server.URL
	return l
}

func (l *lasting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if path == "/" {
		return
	}
	l.open.Add(1)
	defer l.open.Add(-1)
	switch path {
	case "/socket":
		echoSocket(w, r)
	case "/events":
		_, _ = io.WriteString(w, "data: first\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "/flood": // the client does not take it all
		for block := make([]byte, 1<<16); r.Context().Err() == nil; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	case "/upload":
		_, _ = io.Copy(io.Discard, r.Body)
	default: // no head ever
		<-r.Context().Done()
	}
}

// fill opens one of each through dp, and returns what tells their ends. What floods is not read before read says so.
func (l *lasting) fill(t *testing.T, dp *harness.DataPlane, read <-chan struct{}) map[string]<-chan struct{} {
	t.Helper()
	ends := map[string]<-chan struct{}{}
	begun := func(name string, run func(started func()) error) {
		t.Helper()
		at, started, end := l.open.Load(), make(chan struct{}), make(chan struct{})
		ends[name] = end
		go func() {
			defer close(end)
			_ = run(func() { close(started) })
		}()
		select {
		case <-started:
		case <-end:
			t.Fatalf("%s: %s did not begin", dp.Name, name)
		}
		if name[0] == 'g' {
			return
		}
		harness.Eventually(t, name+" at the upstream", func() string {
			if l.open.Load() == at {
				return "it is not there"
			}
			return ""
		})
	}
	for name, one := range map[string]*http.Client{"HTTP/1": visitor(t, false), "HTTP/2": visitor(t, true)} {
		for _, base := range []string{"http://" + dp.Proxy, "https://" + dp.TLS} {
			if name == "HTTP/2" && base[:5] == "http:" {
				continue
			}
			begun(name+" events by "+base, func(started func()) error { return listen(t.Context(), one, base+"/l/events", started) })
			begun(name+" flood by "+base, func(started func()) error {
				request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/l/flood", nil)
				response, err := one.Do(request)
				if err != nil {
					return err
				}
				defer response.Body.Close()
				started()
				<-read // so that everything before it is full
				_, err = io.Copy(io.Discard, response.Body)
				return err
			})
			begun(name+" wait by "+base, func(started func()) error {
				request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/l/wait", nil)
				started()
				response, err := one.Do(request)
				if err == nil {
					response.Body.Close()
				}
				return err
			})
			begun(name+" upload by "+base, func(started func()) error {
				reader, writer := io.Pipe()
				defer writer.Close()
				request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/l/upload", reader)
				go func() {
					_, err := writer.Write(make([]byte, 2<<20)) // more than waits in the gate
					started()
					for ; err == nil; _, err = writer.Write(make([]byte, 1)) { // the standard client looks up only when it sends
						time.Sleep(10 * time.Millisecond)
					}
				}()
				response, err := one.Do(request)
				reader.Close()
				if err == nil {
					response.Body.Close()
				}
				return err
			})
		}
	}
	for _, base := range []string{"ws://" + dp.Proxy, "wss://" + dp.TLS} {
		begun("socket "+base, func(started func()) error {
			connection, _, err := websocket.Dial(t.Context(), base+"/l/socket", &websocket.DialOptions{HTTPClient: visitor(t, false), Subprotocols: []string{"echo"}})
			if err != nil {
				return err
			}
			defer connection.CloseNow()
			started()
			_, _, err = connection.Read(t.Context())
			return err
		})
	}
	for name, overTLS := range map[string]bool{"grpc": false, "grpcs": true} {
		client := grpcClient(t, dp, overTLS, "calls.example")
		begun(name, func(started func()) error {
			stream, err := client.FullDuplexCall(t.Context())
			if err != nil {
				return err
			}
			if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: payload("x")}); err != nil {
				return err
			}
			if _, err := stream.Recv(); err != nil {
				return err
			}
			started()
			_, err = stream.Recv()
			return err
		})
	}
	return ends
}

// listen reads a response to its end, and tells of its first line.
func listen(ctx context.Context, client *http.Client, url string, started func()) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		return err
	}
	started()
	_, err = io.Copy(io.Discard, lines)
	return err
}

// visitor is a client that trusts whatever certificate it is shown: the gate's own by default.
func visitor(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetHTTP2(http2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
