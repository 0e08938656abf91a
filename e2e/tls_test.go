package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// The TLS port serves the certificate that belongs to the server name, at once after a change, and a self-signed
// one where none does; HTTP/1.1 and HTTP/2 get the same answers.
func TestTLSByServerName(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	upstream := harness.NewUpstream(t)
	exact, wild := newPair(t, "gate.example"), newPair(t, "*.wild.example")
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge-1", cp)
	dp.Launch()
	file := func(first, second pair) string {
		return fmt.Sprintf(`_format_version: "3.0"
services:
- {name: s, url: %q, routes: [{name: r, paths: [/]}]}
certificates:
- cert: |
      %s
  key: |
      %s
  snis: [{name: gate.example}]
- cert: |
      %s
  key: |
      %s
  snis: [{name: "*.wild.example"}]
`, upstream.URL, indented(first.cert), indented(first.key), indented(second.cert), indented(second.key))
	}
	cp.Admin().Push(file(exact, wild))
	dp.Await(200, "/")
	for name, trusted := range map[string]pair{"gate.example": exact, "a.wild.example": wild} {
		for _, version := range []int{1, 2} {
			answer, proto, err := overTLS(dp, name, trusted, version)
			if err != nil || answer.Status != 200 || proto != version {
				t.Errorf("%s by HTTP/%d: %d by HTTP/%d, %v", name, version, answer.Status, proto, err)
				continue
			}
			if seen := harness.EchoOf(t, answer); seen.Header.Get("X-Forwarded-Proto") != "https" {
				t.Errorf("%s: the upstream was told %v", name, seen.Header)
			}
		}
	}
	if cert := shownCert(t, dp, "elsewhere.example"); cert.Subject.CommonName == "gate.example" || strings.Contains(cert.Subject.CommonName, "wild") {
		t.Errorf("a stranger's name is shown the certificate of %q", cert.Subject.CommonName)
	}
	if _, _, err := overTLS(dp, "gate.example", wild, 1); err == nil {
		t.Error("the client trusts anyone: this test proves nothing")
	}
	renewed := newPair(t, "gate.example")
	cp.Admin().Push(file(renewed, wild))
	harness.Eventually(t, "the renewed certificate", func() string {
		if _, _, err := overTLS(dp, "gate.example", renewed, 1); err != nil {
			return err.Error()
		}
		return ""
	})
	c.NoSecretInLogs(exact.canary(), wild.canary(), renewed.canary())
	nowhere(t, dp.Store(), exact.canary(), renewed.canary())
}

// overTLS asks for / by a server name, trusting one certificate alone.
func overTLS(dp *harness.DataPlane, name string, trusted pair, version int) (answer harness.Answer, proto int, err error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(trusted.cert))
	config := &tls.Config{RootCAs: pool, ServerName: name}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(version == 1)
	protocols.SetHTTP2(version == 2)
	transport := &http.Transport{TLSClientConfig: config, Protocols: protocols}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest(http.MethodGet, "https://"+dp.TLS+"/", http.NoBody)
	if err != nil {
		return answer, 0, err
	}
	request.Host = name
	by := &http.Client{Transport: protoOf{transport, &proto}, Timeout: harness.Patience}
	answer, err = harness.Send(by, request)
	return answer, proto, err
}

// protoOf remembers by which version of HTTP an answer came.
type protoOf struct {
	next  http.RoundTripper
	major *int
}

func (p protoOf) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := p.next.RoundTrip(request)
	if err == nil {
		*p.major = response.ProtoMajor
	}
	return response, err
}

func shownCert(t *testing.T, dp *harness.DataPlane, name string) *x509.Certificate {
	t.Helper()
	connection, err := tls.Dial("tcp", dp.TLS, &tls.Config{InsecureSkipVerify: true, ServerName: name}) // only to look
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0]
}
