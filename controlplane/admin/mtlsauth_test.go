package admin_test

import (
	"bytes"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const absentID = "0c0a7f2e-7a0f-4d07-9f0e-3f9d2a7b1c55"

// uploaded sends a file as "curl -F cert=@ca.crt" does.
func (e *env) uploaded(path, field, content string) map[string]any {
	e.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile(field, "ca.crt")
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := part.Write([]byte(content)); err != nil {
		e.t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		e.t.Fatal(err)
	}
	a := e.do("POST", path, form.FormDataContentType(), body.String())
	if a.status != 201 {
		e.t.Fatalf("POST %s: %d %s", path, a.status, a.text)
	}
	return a.tree(e.t)
}

// The walk of the tutorial: a CA certificate, then the plugin for everything.
func TestMTLSAuthIsSetUpWithTwoCalls(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	_, _, ca := testCertificate(t)
	authority := e.uploaded("/ca_certificates", "cert", ca)
	if digest, _ := authority["cert_digest"].(string); len(digest) != 64 || authority["cert"] != ca {
		t.Errorf("the CA certificate is shown as %v", authority)
	}
	plugin := e.made("/plugins", "name=mtls-auth&config.ca_certificates="+id(authority))
	want := map[string]any{
		"anonymous": nil, "consumer_by": []any{"username", "custom_id"}, "ca_certificates": []any{id(authority)}, "cache_ttl": 60.0,
		"skip_consumer_lookup": false, "allow_partial_chain": false, "authenticated_group_by": "CN", "revocation_check_mode": "IGNORE_CA_ERROR",
		"http_timeout": 30000.0, "cert_cache_ttl": 60000.0, "send_ca_dn": false, "default_consumer": nil,
		"http_proxy_host": nil, "http_proxy_port": nil, "https_proxy_host": nil, "https_proxy_port": nil,
	}
	if diff := cmp.Diff(want, plugin["config"]); diff != "" {
		t.Errorf("the plugin's configuration (-want +got):\n%s", diff)
	}
	for body, says := range map[string]string{
		`{"name":"mtls-auth"}`:                                                                                        "config.ca_certificates: required field missing",
		`{"name":"mtls-auth","config":{"ca_certificates":[]}}`:                                                        "config.ca_certificates: length must be at least 1",
		`{"name":"mtls-auth","config":{"ca_certificates":["x"]}}`:                                                     "config.ca_certificates.1: expected a valid UUID",
		`{"name":"mtls-auth","config":{"ca_certificates":["` + id(authority) + `"],"cache_ttl":null}}`:                "config.cache_ttl: required field missing",
		`{"name":"mtls-auth","config":{"ca_certificates":["` + id(authority) + `"],"http_proxy_host":"p"}}`:           "all or none of these fields must be set: 'http_proxy_host', 'http_proxy_port'",
		`{"name":"mtls-auth","config":{"ca_certificates":["` + id(authority) + `"],"revocation_check_mode":"MAYBE"}}`: "expected one of: SKIP, IGNORE_CA_ERROR, STRICT",
	} {
		if a := e.post("/plugins", body); a.status != 400 || !strings.Contains(a.text, says) {
			t.Errorf("%s: %d %s, want %q", body, a.status, a.text, says)
		}
	}
}

func TestNamedCACertificatesExistAndStay(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	_, _, ca := testCertificate(t)
	authority := id(e.made("/ca_certificates", `{"cert":`+quote(t, ca)+`}`))
	e.made("/consumers", "username=alice")

	for path, body := range map[string]string{
		"/plugins":  `{"name":"mtls-auth","config":{"ca_certificates":["` + authority + `","` + absentID + `"]}}`,
		"/services": `{"host":"h","protocol":"https","ca_certificates":["` + absentID + `"]}`,
	} {
		field := map[string]string{"/plugins": "config.ca_certificates", "/services": "ca_certificates"}[path]
		a := e.post(path, body)
		if a.status != 400 || a.tree(t)["message"] != "schema violation ("+field+": no such CA certificate: "+absentID+")" {
			t.Errorf("POST %s: %d %s", path, a.status, a.text)
		}
	}

	plugin := id(e.made("/plugins", `{"name":"mtls-auth","config":{"ca_certificates":["`+authority+`"]}}`))
	if a := e.patch("/plugins/"+plugin, `{"config":{"ca_certificates":["`+absentID+`"]}}`); a.status != 400 {
		t.Errorf("PATCH to what does not exist: %d %s", a.status, a.text)
	}
	service := id(e.made("/services", `{"host":"h","protocol":"https","ca_certificates":["`+authority+`"]}`))
	credential := id(e.made("/consumers/alice/mtls-auth", "subject_name=alice@example.com&ca_certificate.id="+authority))
	refused := func(code float64, message string) {
		t.Helper()
		a := e.do("DELETE", "/ca_certificates/"+authority, "", "")
		if got := a.tree(t); a.status != 400 || got["code"] != code || got["message"] != message {
			t.Errorf("DELETE: %d %s, want %v %s", a.status, a.text, code, message)
		}
	}
	gone := func(path string) {
		t.Helper()
		if a := e.do("DELETE", path, "", ""); a.status != 204 {
			t.Errorf("DELETE %s: %d %s", path, a.status, a.text)
		}
	}
	refused(19, "ca certificate "+authority+" is still referenced by services (id = "+service+")")
	gone("/services/" + service)
	refused(19, "ca certificate "+authority+" is still referenced by plugins (id = "+plugin+")")
	gone("/plugins/" + plugin)
	refused(4, "an existing 'mtls_auth_credentials' entity references this 'ca_certificates' entity")
	gone("/mtls-auths/" + credential)
	gone("/ca_certificates/" + authority)
}

func TestMTLSCredentials(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	_, _, ca := testCertificate(t)
	authority := id(e.made("/ca_certificates", `{"cert":`+quote(t, ca)+`}`))
	alice := id(e.made("/consumers", "username=alice"))
	e.made("/consumers", "username=bob")

	made := e.made("/consumers/alice/mtls-auth", "subject_name=alice@example.com")
	want := map[string]any{
		"id": id(made), "created_at": made["created_at"], "tags": nil, "consumer": map[string]any{"id": alice},
		"subject_name": "alice@example.com", "ca_certificate": nil,
	}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("the credential (-want +got):\n%s", diff)
	}
	pinned := e.made("/consumers/bob/mtls-auth", `{"subject_name":"alice@example.com","ca_certificate":{"id":"`+authority+`"}}`)
	for path, body := range map[string]string{
		"/consumers/bob/mtls-auth":   "subject_name=alice@example.com",
		"/consumers/alice/mtls-auth": "subject_name=alice@example.com&ca_certificate.id=" + authority,
	} {
		if a := e.post(path, body); a.status != 409 || a.tree(t)["code"] != 5.0 {
			t.Errorf("POST %s %s: %d %s, want the subject to be taken", path, body, a.status, a.text)
		}
	}
	for path, status := range map[string]int{
		"/mtls-auths":                                200,
		"/mtls-auths/" + id(pinned):                  200,
		"/mtls-auths/" + id(pinned) + "/consumer":    200,
		"/consumers/bob/mtls-auth/" + id(pinned):     200,
		"/consumers/alice/mtls-auth/" + id(pinned):   404,
		"/consumers/nobody/mtls-auth":                404,
		"/consumers/alice/mtls-auth/" + absentID:     404,
		"/ca_certificates/" + authority + "/nothing": 404,
	} {
		if a := e.get(path); a.status != status {
			t.Errorf("GET %s: %d %s, want %d", path, a.status, a.text, status)
		}
	}
	if got := len(e.get("/mtls-auths").tree(t)["data"].([]any)); got != 2 {
		t.Errorf("%d credentials are listed, want 2", got)
	}
	if a := e.post("/consumers/alice/mtls-auth", "subject_name=x&ca_certificate.id="+absentID); a.status != 400 || a.tree(t)["code"] != 4.0 {
		t.Errorf("an authority that does not exist: %d %s", a.status, a.text)
	}
	if a := e.post("/consumers/alice/mtls-auth", ""); a.status != 400 || !strings.Contains(a.text, "subject_name: required field missing") {
		t.Errorf("no subject name: %d %s", a.status, a.text)
	}
	if a := e.patch("/consumers/alice/mtls-auth/"+id(made), "subject_name=spiffe://a/b"); a.status != 200 || a.tree(t)["subject_name"] != "spiffe://a/b" {
		t.Errorf("PATCH: %d %s", a.status, a.text)
	}
	if a := e.do("DELETE", "/consumers/alice", "", ""); a.status != 204 {
		t.Errorf("DELETE: %d %s", a.status, a.text)
	}
	if a := e.get("/mtls-auths/" + id(made)); a.status != 404 {
		t.Errorf("the credential outlived its consumer: %d %s", a.status, a.text)
	}
}
