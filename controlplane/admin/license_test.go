package admin_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/license"
	"github.com/keepgate/keepgate/shared/secret"
)

// licenseText is a license that ends after a day. CANARY must show nowhere but in /licenses.
func licenseText(day string) string {
	return `{"license":{"version":1,"signature":"CANARY","payload":{"customer":"CANARY","license_key":"CANARY","license_expiration_date":"` + day + `"}}}`
}

func payload(text string) string {
	quoted, _ := json.Marshal(map[string]string{"payload": text})
	return string(quoted)
}

// licensed is an Admin API that knows its license.
func licensed(t *testing.T) (e *env, licenses *license.Licenses) {
	t.Helper()
	e = newEnv(t)
	licenses = license.New(e.catalog, license.Given{}, license.Options{})
	e.deps.License = licenses
	e.serve(admin.Options{Version: "0.1.0", Configuration: map[string]any{"database": "sqlite"}})
	return e, licenses
}

func TestLicenses(t *testing.T) {
	t.Parallel()
	e, licenses := licensed(t)
	if a := e.get("/licenses"); a.status != 200 || a.text != `{"data":[],"next":null}` {
		t.Errorf("none: %d %s", a.status, a.text)
	}
	one := e.made("/licenses", payload(licenseText("2999-01-31")))
	members := []string{}
	for name := range one {
		members = append(members, name)
	}
	slices.Sort(members)
	if !slices.Equal(members, []string{"created_at", "id", "payload", "updated_at"}) || one["payload"] != licenseText("2999-01-31") {
		t.Errorf("a license is shown as %v", one)
	}
	path := "/licenses/" + id(one)
	if a := e.get(path); a.status != 200 || id(a.tree(t)) != id(one) {
		t.Errorf("GET: %d %s", a.status, a.text)
	}
	if a := e.get("/default" + path); a.status != 200 {
		t.Errorf("below a workspace: %d %s", a.status, a.text)
	}
	if a := e.patch(path, payload(licenseText("2998-01-31"))); a.status != 200 || !strings.Contains(a.text, "2998-01-31") {
		t.Errorf("PATCH: %d %s", a.status, a.text)
	}
	const chosen = "5c2a6a5e-3a52-4a1f-8c4f-4f1e6c1c7d10"
	if a := e.put("/licenses/"+chosen, payload(licenseText("2997-01-31"))); a.status != 200 || id(a.tree(t)) != chosen {
		t.Errorf("PUT: %d %s", a.status, a.text)
	}
	if a := e.put("/licenses/mine", payload(licenseText("2997-01-31"))); a.status != 400 || a.tree(t)["code"] != 1.0 {
		t.Errorf("PUT under a name: %d %s", a.status, a.text)
	}
	if a := e.post("/licenses", "payload="+strings.ReplaceAll(licenseText("2996-01-31"), " ", "%20")); a.status != 201 {
		t.Errorf("as a form: %d %s", a.status, a.text)
	}
	columns, values, err := e.store.Raw(t.Context(), "licenses", chosen)
	if err != nil || !strings.HasPrefix(values[slices.Index(columns, "payload")], "$ke$1$") || strings.Contains(strings.Join(values, "\n"), "CANARY") {
		t.Errorf("it rests as %v %v: %v", columns, values, err)
	}
	licenses.Load(t.Context())
	about := e.get("/").tree(t)["license"].(map[string]any)
	if about["state"] != "active" || about["license_expiration_date"] == nil || about["reason"] != nil {
		t.Errorf("GET / says %v", about)
	}
	for range 2 {
		if a := e.do("DELETE", "/licenses/"+chosen, "", ""); a.status != 204 {
			t.Errorf("DELETE: %d %s", a.status, a.text)
		}
	}
	if strings.Contains(e.log.String(), "CANARY") {
		t.Error("the log holds a license")
	}
}

func TestWhatIsNoLicenseIsRefused(t *testing.T) {
	t.Parallel()
	e, _ := licensed(t)
	tests := map[string]struct{ body, says string }{
		"nothing":      {`{}`, "schema violation (payload: required field missing)"},
		"no text":      {`{"payload":{"license":{}}}`, "schema violation (payload: expected a string)"},
		"no JSON":      {payload("CANARY"), "schema violation (payload: not a license: the text is no JSON: it breaks off or goes wrong at byte 1)"},
		"something":    {payload(`{"a":"CANARY"}`), "schema violation (payload: not a license: the text has no license)"},
		"a wrong date": {payload(licenseText("CANARY")), "schema violation (payload: not a license: the text has a license.payload.license_expiration_date that is no date as 2030-01-31)"},
		"a tag":        {`{"tags":["x"],"payload":"` + `{}"}`, "2 schema violations (payload: not a license: the text has no license; tags: unknown field)"},
	}
	for name, test := range tests {
		a := e.post("/licenses", test.body)
		if a.status != 400 || a.tree(t)["message"] != test.says || strings.Contains(a.text, "CANARY") {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.text, test.says)
		}
	}
	if a := e.get("/licenses"); a.text != `{"data":[],"next":null}` {
		t.Errorf("something was kept: %s", a.text)
	}
}

// TestLicensesStayApart: neither files nor tags nor workspaces know them.
func TestLicensesStayApart(t *testing.T) {
	t.Parallel()
	e, licenses := licensed(t)
	e.made("/licenses", payload(licenseText("2020-01-31")))
	e.made("/services", "name=s&host=h")
	e.made("/consumers", "username=u")
	if a := e.get("/config"); a.status != 200 || strings.Contains(a.text, "CANARY") || strings.Contains(a.text, "licenses") {
		t.Errorf("a dump: %d %s", a.status, a.text)
	}
	file := "_format_version: '3.0'\nservices: [{name: s, host: h}]\n"
	if a := e.do("POST", "/config", yamlType, file); a.status/100 != 2 {
		t.Fatalf("POST /config: %d %s", a.status, a.text)
	}
	if a := e.get("/licenses"); !strings.Contains(a.text, "CANARY") {
		t.Errorf("a file took the license away: %s", a.text)
	}
	if a := e.do("POST", "/config", yamlType, file+"licenses: []\n"); a.status != 400 || !strings.Contains(a.text, "not supported in this file") {
		t.Errorf("a file with licenses: %d %s", a.status, a.text)
	}
	if a := e.get("/workspaces/default/meta"); a.status != 200 || strings.Contains(a.text, "licenses") {
		t.Errorf("meta: %d %s", a.status, a.text)
	}
	licenses.Load(t.Context())
	report := e.get("/license/report")
	tree := report.tree(t)
	if report.status != 200 || tree["services_count"] != 1.0 || tree["workspaces_count"] != 1.0 || tree["data_planes_count"] != 0.0 ||
		tree["license"].(map[string]any)["state"] != "expired" || strings.Contains(report.text, "CANARY") {
		t.Errorf("report: %d %s", report.status, report.text)
	}
	if a := e.get("/status"); !strings.Contains(a.text, `"state":"expired"`) || !strings.Contains(a.text, `"memory_protection":{"core_dumps"`) || strings.Contains(a.text, "CANARY") {
		t.Errorf("status: %s", a.text)
	}
	if a := e.post("/services", "name=t&host=h"); a.status != 201 {
		t.Errorf("an expired license stopped a write: %d %s", a.status, a.text)
	}
}

// TestALicenseWaitsForTheKeyring, and nothing else waits for the license.
func TestALicenseWaitsForTheKeyring(t *testing.T) {
	t.Parallel()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	recovery, err := cluster.LoadRecoveryKey(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	if err != nil {
		t.Fatal(err)
	}
	e := newEnvWith(t, cluster.New(recovery), admin.Options{})
	e.made("/licenses", payload(licenseText("2999-01-31")))
	e.forget(recovery)
	licenses := license.New(e.catalog, license.Given{}, license.Options{})
	licenses.Load(t.Context())
	if s := licenses.Status(); s.State != license.Pending || !strings.Contains(s.Reason, "key/") || strings.Contains(s.Reason, "CANARY") {
		t.Errorf("without the key: %+v", s)
	}
	if a := e.post("/services", "name=s&host=h"); a.status != 201 {
		t.Errorf("a write: %d %s", a.status, a.text)
	}
	given := license.New(e.catalog, license.Given{Data: secret.Take([]byte(licenseText("2998-01-31")))}, license.Options{})
	given.Load(t.Context())
	if s := given.Status(); s.State != license.Active || s.Source != "license_data" {
		t.Errorf("a node that is given one: %+v", s)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.ring.Recover(t.Context(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil); err != nil {
		t.Fatal(err)
	}
	licenses.Load(t.Context())
	if s := licenses.Status(); s.State != license.Active || s.Expires != "2999-01-31" {
		t.Errorf("with the key: %+v", s)
	}
}
