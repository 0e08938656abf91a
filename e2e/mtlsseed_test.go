package e2e_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/textproto"
	"os/exec"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// The article on mutual TLS from the client to the gate and from the gate to an API, in its order: register the
// authority, ask every client for a certificate, be refused without one, pass with one, and show one to the API.
func TestKongsMutualTLSWalk(t *testing.T) {
	t.Parallel()
	c, upstream, keys := harness.New(t), harness.NewUpstream(t), newPKI(t)
	keys.authority("ca")
	keys.authority("other-ca")
	keys.issue("ca", "client", "/CN=unused", "email:hogehoge@example.com")
	keys.issue("other-ca", "stranger", "/CN=unused", "email:hogehoge@example.com")
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge", cp, "--header-names", "kong", "--log-level", "debug")
	dp.Launch()
	w := &mutualWalk{t: t, c: c, cp: cp, dp: dp, keys: keys}
	w.curl("curl -s localhost:8001/services -d name=httpbin -d url=" + upstream.URL + "/anything")
	w.curl("curl -s localhost:8001/services/httpbin/routes -d name=mtls -d 'paths[]=/mtls-auth'")
	dp.Await(200, "/mtls-auth")

	w.clientToGate()
	w.identifies(upstream)
	w.gateToAPI()
	c.NoSecretInLogs(keys.secret("client"), keys.secret("kong"), keys.secret("service"))
	nowhere(t, dp.Store(), keys.secret("service"))
}

type mutualWalk struct {
	t    *testing.T
	c    *harness.Cluster
	cp   *harness.ControlPlane
	dp   *harness.DataPlane
	keys *pki
}

func (w *mutualWalk) curl(line string) harness.Document {
	w.t.Helper()
	return curl(w.t, w.cp, strings.ReplaceAll(line, "@", "@"+w.keys.folder+"/"))
}

// ask sends the article's request through the TLS port with more of curl's flags.
func (w *mutualWalk) ask(flags ...string) harness.Answer {
	w.t.Helper()
	_, port, _ := strings.Cut(w.dp.TLS, ":")
	args := append([]string{"-s", "-i", "--http1.1", "https://localhost:" + port + "/mtls-auth", "-k"}, flags...)
	command := exec.CommandContext(w.t.Context(), "curl", args...)
	command.Dir = w.keys.folder
	output, err := command.Output()
	if err != nil {
		w.t.Fatalf("curl %s: %v", strings.Join(args, " "), err)
	}
	reader := bufio.NewReader(strings.NewReader(string(output)))
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		w.t.Fatalf("curl printed %q: %v", output, err)
	}
	_, body, _ := strings.Cut(string(output), "\r\n\r\n")
	return harness.Answer{Status: response.StatusCode, Header: response.Header, Body: body}
}

func (w *mutualWalk) awaits(status int, flags ...string) (answer harness.Answer) {
	w.t.Helper()
	harness.Eventually(w.t, fmt.Sprintf("%d with %v", status, flags), func() string {
		if answer = w.ask(flags...); answer.Status != status {
			return fmt.Sprintf("%d %s", answer.Status, answer.Body)
		}
		return ""
	})
	return answer
}

var withClient = []string{"--key", "client.key", "--cert", "client.crt"}

// clientToGate follows the first half up to the certificate that is believed.
func (w *mutualWalk) clientToGate() {
	authority := w.curl("curl -s localhost:8001/ca_certificates -F cert=@ca.crt")
	id, _ := authority["id"].(string)
	if digest, _ := authority["cert_digest"].(string); len(digest) != 64 || authority["cert"] != w.keys.read("ca.crt") || id == "" {
		w.t.Errorf("the authority is %v", authority)
	}
	plugin := w.curl("curl -s --request POST --url localhost:8001/plugins --header 'Content-Type: application/x-www-form-urlencoded' " +
		"--data name=mtls-auth --data config.ca_certificates=" + id)
	if plugin["enabled"] != true {
		w.t.Fatalf("the plugin is %v", plugin)
	}
	if body := w.awaits(401).Body; !strings.Contains(body, "No required TLS certificate was sent") {
		w.t.Errorf("without a certificate: %s", body)
	}
	if answer := w.dp.MustGet("/mtls-auth"); answer.Status != 401 {
		w.t.Errorf("in clear: %d %s", answer.Status, answer.Body)
	}
	if answer := w.ask("--key", "stranger.key", "--cert", "stranger.crt"); answer.Status != 401 ||
		!strings.Contains(answer.Body, "TLS certificate failed verification") {
		w.t.Errorf("by another authority: %d %s", answer.Status, answer.Body)
	}
	if answer := w.ask(withClient...); answer.Status != 401 {
		w.t.Errorf("a certificate of nobody: %d %s", answer.Status, answer.Body)
	}
}

// identifies follows the answer of the article, header by header.
func (w *mutualWalk) identifies(upstream *harness.Upstream) {
	bob := w.curl("curl -s localhost:8001/consumers -d username=hogehoge" + "%40example.com -d custom_id=hoge-1")
	upstream.Forget()
	answer := w.awaits(200, append(withClient, "-H", "X-Consumer-Username: mallory", "-H", "X-Client-Cert-Dn: CN=mallory")...)
	for name, want := range map[string]string{"Via": "1.1 kong/3.8.1", "Content-Type": "application/json", "Connection": "keep-alive"} {
		if got := answer.Header.Get(name); got != want {
			w.t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"X-Kong-Proxy-Latency", "X-Kong-Upstream-Latency", "X-Kong-Request-Id", "Content-Length", "Date"} {
		if textproto.TrimString(answer.Header.Get(name)) == "" {
			w.t.Errorf("no %s in %v", name, answer.Header)
		}
	}
	seen := harness.EchoOf(w.t, answer)
	id, _ := bob["id"].(string)
	for name, want := range map[string]string{
		"X-Consumer-Id": id, "X-Consumer-Username": "hogehoge@example.com", "X-Consumer-Custom-Id": "hoge-1",
		"X-Forwarded-Host": "localhost", "X-Forwarded-Path": "/mtls-auth", "X-Forwarded-Prefix": "/mtls-auth", "X-Forwarded-Proto": "https",
		"X-Kong-Request-Id": answer.Header.Get("X-Kong-Request-Id"), "X-Client-Cert-Dn": "",
	} {
		if got := strings.Join(seen.Header.Values(name), "|"); got != want {
			w.t.Errorf("the API was told %s: %q, want %q", name, got, want)
		}
	}
	if seen.URI != "/anything" {
		w.t.Errorf("the API was asked for %s", seen.URI)
	}
}

// gateToAPI follows the second half: the API asks for a certificate, the node has one, the service has another.
func (w *mutualWalk) gateToAPI() {
	w.keys.issue("ca", "api", "/CN=api.example", "DNS:api.example,IP:127.0.0.1")
	w.keys.issue("ca", "kong", "/CN=kong", "")
	w.keys.issue("ca", "service", "/CN=service", "")
	api := newIdentifyingAPI(w.t, w.keys, "api", "ca")
	w.curl("curl -s -X PATCH localhost:8001/services/httpbin -d url=" + api.url())
	w.awaits(502, withClient...) // its authority is not one that the node trusts
	authorities := w.curl("curl -s localhost:8001/ca_certificates")["data"].([]any)
	id := authorities[0].(harness.Document)["id"].(string)
	w.curl("curl -s -X PATCH localhost:8001/services/httpbin -d 'ca_certificates[]=" + id + "'")
	if answer := w.ask(withClient...); answer.Status == 200 {
		w.t.Errorf("without a certificate of the gate the API answered %s", answer.Body)
	}
	w.dp.Stop()
	w.dp.Env = []string{"KONG_CLIENT_SSL=on", "KONG_CLIENT_SSL_CERT=" + w.keys.file("kong.crt"), "KONG_CLIENT_SSL_CERT_KEY=" + w.keys.file("kong.key")}
	w.dp.Start()
	if answer := w.awaits(200, withClient...); answer.Body != "kong" {
		w.t.Errorf("node-wide: the API saw %q", answer.Body)
	}
	made := w.curl("curl -s localhost:8001/certificates -F cert=@service.crt -F key=@service.key")
	certificate, _ := made["id"].(string)
	w.curl("curl -s -X PATCH localhost:8001/services/httpbin -d client_certificate.id=" + certificate)
	harness.Eventually(w.t, "the service's own certificate", func() string {
		if answer := w.ask(withClient...); answer.Status != 200 || answer.Body != "service" {
			return fmt.Sprintf("%d %q", answer.Status, answer.Body)
		}
		return ""
	})
	w.curl("curl -s -X PATCH localhost:8001/services/httpbin -d client_certificate=")
	harness.Eventually(w.t, "the node's certificate again", func() string {
		if answer := w.ask(withClient...); answer.Status != 200 || answer.Body != "kong" {
			return fmt.Sprintf("%d %q", answer.Status, answer.Body)
		}
		return ""
	})
}

// identifyingAPI demands a certificate and answers with the common name that it saw on this very connection.
type identifyingAPI struct{ address string }

func newIdentifyingAPI(t *testing.T, keys *pki, pair string, authorities ...string) *identifyingAPI {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{keys.pair(pair)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: keys.pool(authorities...),
	})
	if err != nil {
		t.Fatal(err)
	}
	silent := slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server := &http.Server{ErrorLog: silent, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.TLS.PeerCertificates[0].Subject.CommonName) // the client may have gone
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return &identifyingAPI{listener.Addr().String()}
}

func (a *identifyingAPI) url() string { return "https://" + a.address + "/" }
