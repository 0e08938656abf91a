package plugintest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Request is what a client sends. The zero value is GET / over HTTP/1.1.
type Request struct {
	Engine  Engine
	Method  string   // default GET
	Target  string   // default /
	Host    string   // default the gate's address
	Headers []string // names and values by turns
	Body    string
}

func (r Request) withDefaults() Request {
	if r.Method == "" {
		r.Method = "GET"
	}
	if r.Target == "" {
		r.Target = "/"
	}
	return r
}

// Reply is what the client got.
type Reply struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	Body    string
}

// URL is where an engine listens, for clients of the test's own.
func (g *Gate) URL(e Engine) string { return g.urls[e] }

// Get sends a GET; pairs are names and values of headers.
func (g *Gate) Get(target string, pairs ...string) Reply {
	g.t.Helper()
	return g.Do(Request{Target: target, Headers: pairs})
}

// Do sends a request and reads the whole reply. It is safe for concurrent use.
func (g *Gate) Do(r Request) Reply {
	g.t.Helper()
	transport := transportFor(r.Engine)
	defer transport.CloseIdleConnections()
	return g.send(transport, r)
}

// send reports what fails and returns, so that it can be called from other goroutines.
func (g *Gate) send(transport *http.Transport, r Request) Reply {
	r = r.withDefaults()
	var body io.Reader
	if r.Body != "" {
		body = strings.NewReader(r.Body)
	}
	request, err := http.NewRequestWithContext(g.t.Context(), r.Method, g.urls[r.Engine]+r.Target, body)
	if err != nil {
		g.t.Error(err)
		return Reply{}
	}
	request.Host = r.Host
	for i := 0; i+1 < len(r.Headers); i += 2 {
		if strings.EqualFold(r.Headers[i], "Host") {
			request.Host = r.Headers[i+1]
			continue
		}
		request.Header.Add(r.Headers[i], r.Headers[i+1])
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		g.t.Errorf("%s %s: %v", r.Method, r.Target, err)
		return Reply{}
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Errorf("%s %s: reading the body: %v", r.Method, r.Target, err)
	}
	return Reply{response.StatusCode, response.Header, response.Trailer, string(content)}
}

func transportFor(e Engine) *http.Transport {
	transport := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	if e == HTTP2 {
		transport.Protocols.SetUnencryptedHTTP2(true)
	} else {
		transport.Protocols.SetHTTP1(true)
	}
	return transport
}

// Echo is what the origin got.
type Echo struct {
	Method, URI, Host string
	Header            http.Header
	Body              string
}

// Echo reads the reply as the origin's. It fails the test when it is another's.
func (r Reply) Echo(t testing.TB) Echo {
	t.Helper()
	var e Echo
	if err := json.Unmarshal([]byte(r.Body), &e); err != nil || e.Method == "" {
		t.Fatalf("%d, not the origin's answer: %q", r.Status, r.Body)
	}
	return e
}
