package e2e_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// tunnels is a forward proxy that takes CONNECT from whoever knows the password, and counts.
type tunnels struct{ opened, refused atomic.Int64 }

func (p *tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
	if r.Method != http.MethodConnect || user != "edge" || password != "canary/of:the@proxy" {
		p.refused.Add(1)
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	target, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer target.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	p.opened.Add(1)
	if _, err := io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() { _, _ = io.Copy(target, buffered); _ = target.Close() }() // ends with the client
	_, _ = io.Copy(client, target)
}

// A data plane that reaches its control plane through a proxy alone: it joins, links and gets its configuration there, and
// its password is in no log.
func TestThroughAForwardProxy(t *testing.T) {
	t.Parallel()
	c, upstream := harness.New(t), harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	cp.Admin().Do(201, http.MethodPost, "/services", harness.Document{"name": "s", "url": upstream.URL})
	cp.Admin().Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r", "paths": []string{"/r"}})
	c.Found(cp)
	proxy := &tunnels{}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	_, address, _ := strings.Cut(server.URL, "://")
	secret := filepath.Join(c.Folder, "proxy")
	write := func(password string) {
		if err := os.WriteFile(secret, []byte("http://edge:"+password+"@"+address+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := []string{"--cluster-use-proxy", "on", "--proxy-server-file", secret}
	dp := c.DataPlaneWith("edge-1", cp, flags...)
	join := append([]string{"join", "--prefix", dp.Prefix, "--control-plane", cp.Cluster, "--token", c.Invite(cp, "default", "--name", "edge-1")}, flags...)
	write("wrong")
	if output, err := c.TryDP(join...); err == nil || !strings.Contains(output+err.Error(), "does not accept the user and password of proxy_server (407)") {
		t.Errorf("with a wrong password: %s %v", output, err)
	}
	write("canary%2Fof%3Athe%40proxy")
	c.DP(join...)
	if proxy.opened.Load() != 1 || proxy.refused.Load() == 0 {
		t.Errorf("%d tunnels to join, %d refused", proxy.opened.Load(), proxy.refused.Load())
	}
	dp.Start()
	dp.Await(200, "/r")
	if proxy.opened.Load() != 2 {
		t.Errorf("%d tunnels to join and to link", proxy.opened.Load())
	}
	cp.Stop()
	cp.Start()
	cp.Admin().Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r2", "paths": []string{"/r2"}})
	dp.Await(200, "/r2")
	c.NoSecretInLogs("canary/of:the@proxy", "canary%2Fof%3Athe%40proxy")
}
