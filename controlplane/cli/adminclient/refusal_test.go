package adminclient_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
)

// TestAdvice calls real servers in ways that are usually wrong first, and wants the flag that mends each.
func TestAdvice(t *testing.T) {
	t.Parallel()
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"message":"Invalid credentials. Token or User credentials required"}`)
	})
	quiet := log.New(io.Discard, "", 0)
	plain, secure, mutual := httptest.NewUnstartedServer(refuse), httptest.NewUnstartedServer(refuse), httptest.NewUnstartedServer(refuse)
	for _, server := range []*httptest.Server{plain, secure, mutual} {
		server.Config.ErrorLog = quiet
		t.Cleanup(server.Close)
	}
	mutual.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	plain.Start()
	secure.StartTLS()
	mutual.StartTLS()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := write("ca.crt", "CERTIFICATE", secure.Certificate().Raw)
	key, err := x509.MarshalPKCS8PrivateKey(secure.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := write("own.key", "PRIVATE KEY", key)
	for name, test := range map[string]struct {
		options adminclient.Options
		want    string
	}{
		"nobody":                     {adminclient.Options{URL: "http://127.0.0.1:1"}, "start it (keepgate-cp start), or name another address by --admin-url"},
		"no token":                   {adminclient.Options{URL: plain.URL}, "--admin-token-file, or set $KEEPGATE_ADMIN_TOKEN"},
		"http where it is https":     {adminclient.Options{URL: strings.Replace(secure.URL, "https", "http", 1)}, "write https:// in --admin-url"},
		"https where it is http":     {adminclient.Options{URL: strings.Replace(plain.URL, "http", "https", 1)}, "write http:// in --admin-url"},
		"its authority is not known": {adminclient.Options{URL: secure.URL}, "name its authority by --admin-ca"},
		"certificate demanded":       {adminclient.Options{URL: mutual.URL, CAFile: authority}, "--admin-cert and --admin-cert-key"},
		"certificate not trusted": {
			adminclient.Options{URL: mutual.URL, CAFile: authority, CertFile: authority, KeyFile: keyFile}, "it refuses the one of --admin-cert",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := test.options.Open()
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Call(t.Context(), "GET", "/rbac/users", "", nil, nil); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\nwant %q", err, test.want)
			}
		})
	}
}
