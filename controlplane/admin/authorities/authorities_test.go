package authorities_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin/authorities"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/shared/fault"
)

// asked is an authority that notes what it is asked for, and refuses when told to.
type asked struct {
	calls []string
	err   error
}

func (a *asked) note(format string, args ...any) error {
	a.calls = append(a.calls, fmt.Sprintf(format, args...))
	return a.err
}

func (a *asked) Status(context.Context) (authority.Status, error) {
	return authority.Status{Sequence: 7, Notices: []string{}, Authorities: []authority.RootStatus{{Fingerprint: "ab"}}, Edges: []authority.EdgeStatus{}}, nil
}

func (a *asked) Trust(_ context.Context, found []*x509.Certificate, lists []*x509.RevocationList) error {
	return a.note("trust %d %d", len(found), len(lists))
}

func (a *asked) Request(_ context.Context, by *x509.Certificate, force bool) (authority.Request, error) {
	return authority.Request{Name: "edge-1", PEM: []byte("csr")}, a.note("request %s %t", by.Subject.CommonName, force)
}

func (a *asked) Install(_ context.Context, chain []*x509.Certificate, force bool) error {
	return a.note("install %d %t", len(chain), force)
}

func (a *asked) Retire(_ context.Context, fingerprint string, force bool) error {
	return a.note("retire %s %t", fingerprint, force)
}

func (a *asked) End(context.Context) error { return a.note("end") }

// serve is the room alone.
func serve(t *testing.T, room *authorities.API) func(method, path, contentType, body string) (int, string) {
	t.Helper()
	return serveTo(t, room, true)
}

// serveTo is serve to callers who may have what is revealed nowhere else, or to others.
func serveTo(t *testing.T, room *authorities.API, privileged bool) func(method, path, contentType, body string) (int, string) {
	t.Helper()
	table := rest.NewTable()
	room.Mount(table)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := rest.Answer{Status: http.StatusNotFound}
		if m, found := table.Find(r.URL.EscapedPath()); found && m.Handler(r.Method) != nil {
			request := rest.NewRequest(w, r, m)
			request.Privileged = privileged
			var err error
			if answer, err = m.Handler(r.Method)(request); err != nil {
				answer, _ = rest.Of(err)
			}
		}
		w.WriteHeader(answer.Status)
		_, _ = w.Write(answer.Body)
	}))
	t.Cleanup(server.Close)
	return func(method, path, contentType, body string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if contentType != "" {
			request.Header.Set("Content-Type", contentType)
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var text bytes.Buffer
		if _, err := text.ReadFrom(response.Body); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, text.String()
	}
}

// papers are a CA's certificate and list, as PEM.
func papers(t *testing.T) (certificate, list, key string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	ca, err := certs.Create(dir, "acme", certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ca.Close() })
	found, err := certs.ReadFile(certs.PathsIn(dir).CRL)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", ca.Certificate().Raw), encode("X509 CRL", found[0].(*x509.RevocationList).Raw), encode("PRIVATE KEY", []byte("CANARY"))
}

func object(t *testing.T, members map[string]any) string {
	t.Helper()
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCalls(t *testing.T) {
	t.Parallel()
	certificate, list, _ := papers(t)
	var parts bytes.Buffer
	writer := multipart.NewWriter(&parts)
	if err := errors.Join(writer.WriteField("certificate", certificate), writer.WriteField("force", "on"), writer.Close()); err != nil {
		t.Fatal(err)
	}
	const json, form = "application/json", "application/x-www-form-urlencoded"
	tests := map[string]struct {
		path, kind, body string
		want             string
		says             string
	}{
		"trust":            {"", json, object(t, map[string]any{"certificates": certificate + certificate, "lists": list}), "trust 2 1", `"sequence":7`},
		"trust by a form":  {"", form, url.Values{"certificates": {certificate}}.Encode(), "trust 1 0", `"sequence":7`},
		"request":          {"/request", json, object(t, map[string]any{"certificate": certificate}), "request Keepgate cluster CA false", `"request":"csr"`},
		"forced, by parts": {"/request", writer.FormDataContentType(), parts.String(), "request Keepgate cluster CA true", `"name":"edge-1"`},
		"install":          {"/install", json, object(t, map[string]any{"certificates": certificate, "force": true}), "install 1 true", `"sequence":7`},
		"retire":           {"/abcdef01/retire", "", "", "retire abcdef01 false", `"sequence":7`},
		"end":              {"/end", "", "", "end", `"sequence":7`},
		"retire by force":  {"/abcdef01/retire", form, "force=yes", "retire abcdef01 true", `"sequence":7`},
	}
	for name, test := range tests {
		a := &asked{}
		status, text := serve(t, authorities.New(a, ""))("POST", "/clustering/authorities"+test.path, test.kind, test.body)
		if status != 200 || len(a.calls) != 1 || a.calls[0] != test.want || !strings.Contains(text, test.says) {
			t.Errorf("%s: %d %s, asked for %q", name, status, text, a.calls)
		}
	}
	if status, text := serve(t, authorities.New(&asked{}, ""))("GET", "/clustering/authorities", "", ""); status != 200 || !strings.Contains(text, `"edge_authorities":[]`) {
		t.Errorf("%d %s", status, text)
	}
}

// Whoever may have an authority believed can make control planes of his own: that is for the callers who may have secrets.
func TestOthersChangeNothing(t *testing.T) {
	t.Parallel()
	certificate, _, _ := papers(t)
	for path, body := range map[string]string{
		"":                 object(t, map[string]any{"certificates": certificate}),
		"/request":         object(t, map[string]any{"certificate": certificate}),
		"/install":         object(t, map[string]any{"certificates": certificate}),
		"/abcdef01/retire": "{}",
		"/end":             "{}",
	} {
		a := &asked{}
		status, text := serveTo(t, authorities.New(a, ""), false)("POST", "/clustering/authorities"+path, "application/json", body)
		if status != 403 || len(a.calls) > 0 {
			t.Errorf("%q: %d %s, asked for %q", path, status, text, a.calls)
		}
	}
	if status, text := serveTo(t, authorities.New(&asked{}, ""), false)("GET", "/clustering/authorities", "", ""); status != 200 {
		t.Errorf("whom the planes believe is no secret: %d %s", status, text)
	}
}

func TestRefusedCalls(t *testing.T) {
	t.Parallel()
	certificate, list, key := papers(t)
	const json = "application/json"
	tests := map[string]struct {
		path, body string
		status     int
		says       string
	}{
		"no certificate":         {"", `{}`, 400, "certificates: required field missing"},
		"nothing in PEM":         {"", `{"certificates":"CANARY"}`, 400, "nothing in PEM form"},
		"a list as one":          {"", object(t, map[string]any{"certificates": list}), 400, "of the kind CERTIFICATE"},
		"a key as one":           {"/install", object(t, map[string]any{"certificates": key}), 400, "of the kind CERTIFICATE"},
		"a certificate as list":  {"", object(t, map[string]any{"certificates": certificate, "lists": certificate}), 400, "of the kind X509 CRL"},
		"a broken one":           {"/request", object(t, map[string]any{"certificate": strings.Replace(key, "PRIVATE KEY", "CERTIFICATE", 2)}), 400, "cannot be read"},
		"too many":               {"", object(t, map[string]any{"certificates": strings.Repeat(certificate, 40)}), 400, "at most 32"},
		"a misspelt word":        {"/abcdef01/retire", `{"forced":true}`, 400, "unknown field"},
		"force that is neither":  {"/abcdef01/retire", `{"force":"perhaps"}`, 400, "force: expected a boolean"},
		"a list of words":        {"/abcdef01/retire", `{"force":[true]}`, 400, "expected a string, a number or a boolean"},
		"no JSON":                {"", `{`, 400, ""},
		"a body without an end":  {"", `{"certificates":"` + strings.Repeat("x", 3<<20) + `"}`, 413, "too large"},
		"what is not there":      {"/elsewhere", `{}`, 404, ""},
		"a refusal of authority": {"/install", object(t, map[string]any{"certificates": certificate}), 409, "a test wants it so"},
	}
	for name, test := range tests {
		a := &asked{}
		if test.status == 409 {
			a.err = fault.Newf(fault.Conflict, "test", "authority", "a test wants it so")
		}
		status, text := serve(t, authorities.New(a, ""))("POST", "/clustering/authorities"+test.path, json, test.body)
		if status != test.status || !strings.Contains(text, test.says) || strings.Contains(text, "CANARY") {
			t.Errorf("%s: %d %.200s", name, status, text)
		}
		if test.status != 409 && len(a.calls) > 0 {
			t.Errorf("%s: asked for %q", name, a.calls)
		}
	}
	none := serve(t, authorities.New(nil, "set cluster_cert"))
	for _, path := range []string{"", "/request", "/install", "/abcdef01/retire", "/end"} {
		if status, text := none("POST", "/clustering/authorities"+path, json, "{}"); status != 400 || !strings.Contains(text, "set cluster_cert") {
			t.Errorf("where there are none, %s: %d %s", path, status, text)
		}
	}
}
