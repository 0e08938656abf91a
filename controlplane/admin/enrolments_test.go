package admin_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/enrolments"
	"github.com/keepgate/keepgate/controlplane/enrol"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	"github.com/keepgate/keepgate/controlplane/fleet"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// noAuthority certifies nobody; making a token asks no more of one than whether it could.
type noAuthority struct{ err error }

func (a noAuthority) Ready() error { return a.err }

func (noAuthority) Certify(identity.Identity, crypto.PublicKey, time.Duration) ([][]byte, *x509.Certificate, error) {
	return nil, nil, errors.New("nobody joins here")
}

func (noAuthority) Bundle() (*enrolv1.Trust, <-chan struct{}) { return nil, nil }

func enrolling(t *testing.T, authority noAuthority) (*env, *nodes.Registry) {
	t.Helper()
	e := newEnv(t)
	registry := nodes.New(e.catalog, e.store, nodes.Options{Organisation: "acme"})
	if err := registry.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	service := enrol.New(e.catalog, registry, authority, enrol.Options{
		Organisation: "acme", Root: func() (enrolment.Pin, error) { return enrolment.Pin{1}, nil },
	})
	e.deps.Rooms = append(e.deps.Rooms, enrolments.New(enrolments.Deps{
		Tokens: service, Registry: registry, Fleet: e.fleet, Addresses: func() []string { return []string{"cp-1:8005", "cp-2:8005"} },
	}))
	e.serve(admin.Options{Version: "0.1.0", Configuration: map[string]any{"database": "sqlite"}})
	return e, registry
}

func TestJoinTokensOverTheAPI(t *testing.T) {
	t.Parallel()
	e, _ := enrolling(t, noAuthority{})
	made := e.post("/clustering/join-tokens", `{"environment":"default","name":"edge-1","expires":"90m"}`)
	tree := made.tree(t)
	text, _ := tree["token"].(string)
	token, err := enrolment.ParseToken(text)
	if made.status != http.StatusCreated || err != nil || tree["id"] != token.ID || tree["state"] != "open" || made.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v (%v)", made.status, tree["state"], err)
	}
	if want := "keepgate-dp join --control-plane cp-1:8005,cp-2:8005 --token " + text; tree["command"] != want {
		t.Errorf("the command is %v", tree["command"])
	}
	if left := time.Until(time.Unix(int64(tree["expires_at"].(float64)), 0)); left < 80*time.Minute || left > 91*time.Minute {
		t.Errorf("it expires in %v", left)
	}
	byForm := e.post("/clustering/join-tokens", "environment=default&expires=60")
	if byForm.status != http.StatusCreated {
		t.Errorf("a form: %d %s", byForm.status, byForm.text)
	}
	secret := strings.Split(text, ".")[2]
	list := e.get("/clustering/join-tokens")
	if data := list.tree(t)["data"].([]any); len(data) != 2 || strings.Contains(list.text, secret) || strings.Contains(list.text, token.Hash()) {
		t.Errorf("listed: %s", list.text)
	}
	if a := e.do("DELETE", "/clustering/join-tokens/"+token.ID, "", ""); a.status != http.StatusNoContent {
		t.Errorf("withdrawn: %d %s", a.status, a.text)
	}
	if list := e.get("/clustering/join-tokens"); !strings.Contains(list.text, `"state":"withdrawn"`) {
		t.Errorf("listed: %s", list.text)
	}
	if strings.Contains(e.log.String(), secret) {
		t.Error("the log holds the token")
	}
	for body, status := range map[string]int{
		`{}`:                                     400,
		`{"environment":"none"}`:                 404,
		`{"environment":"a/b"}`:                  400,
		`{"environment":"default","expires":-1}`: 400,
		`{"environment":"default","expires":"9000h"}`: 400,
		`{"environment":"default","nmae":"edge-1"}`:   400,
		`{"environment":["default"]}`:                 400,
	} {
		if a := e.post("/clustering/join-tokens", body); a.status != status || strings.Contains(a.text, "kgj1") {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
	if a := e.do("POST", "/clustering/join-tokens", jsonType, `{"environment":"default"}`, "Origin", e.server.URL); a.status != http.StatusForbidden {
		t.Errorf("for a web page: %d %s", a.status, a.text)
	}
}

func TestInvitingSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	e, _ := enrolling(t, noAuthority{fault.Newf(fault.Unavailable, "authority.Ready", "cluster_trust", "keepgate-cp fleet authority create")})
	if a := e.post("/clustering/join-tokens", `{"environment":"default"}`); a.status != http.StatusServiceUnavailable || !strings.Contains(a.text, "fleet authority create") {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestRevokingOverTheAPI(t *testing.T) {
	t.Parallel()
	e, registry := enrolling(t, noAuthority{})
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	link := func(environment, name, id, serial string) {
		session := e.fleet.Join(fleet.Certificate{Organisation: "acme", Environment: environment, Name: name, Serial: serial, Issued: time.Now(), Expires: end}, fleet.Label{NodeID: id}, fleet.Held{})
		t.Cleanup(session.Leave)
	}
	const id = "9b2f8a53-4c2a-4d1a-9f11-000000000001"
	link("prod", "edge-1", id, "0a")
	link("test", "edge-1", "9b2f8a53-4c2a-4d1a-9f11-000000000002", "0b")
	link("prod", "edge-2", "9b2f8a53-4c2a-4d1a-9f11-000000000003", "0c")
	const moved = "9b2f8a53-4c2a-4d1a-9f11-000000000004" // it has joined anew, elsewhere
	link("prod", "edge-3", moved, "0d")
	link("test", "edge-3", moved, "0e")
	for path, want := range map[string]struct {
		body   string
		status int
		says   string
	}{
		moved:           {`{}`, 400, "prod/edge-3, test/edge-3"},
		"edge-1":        {`{}`, 400, "prod/edge-1, test/edge-1"},
		"edge-7":        {`{"environment":"prod"}`, 404, "--unseen"},
		"edge-8":        {`{"environment":"prod","unseen":true,"reason":"a\nb"}`, 400, "one line"},
		"edge-9":        {`{"environment":"prod","unseen":true}`, 200, `"state":"revoked"`},
		"prod%2Fedge-2": {`{"environment":"test"}`, 400, "not in the environment"},
		"test%2Fedge-2": {`{}`, 404, "the environment test never had a data plane of this name, but there is one in: prod; name prod/edge-2, or say environment=prod (--environment)"},
		"edge-2":        {`{"reasn":"x"}`, 400, "unknown field"},
	} {
		if a := e.post("/clustering/data-planes/"+path+"/revoke", want.body); a.status != want.status || !strings.Contains(a.text, want.says) {
			t.Errorf("%s %s: %d %s", path, want.body, a.status, a.text)
		}
	}
	for path, key := range map[string]string{id: "prod/edge-1", "test%2Fedge-1": "test/edge-1", "edge-2": "prod/edge-2"} {
		a := e.post("/clustering/data-planes/"+path+"/revoke", `{"reason":"stolen"}`)
		if tree := a.tree(t); a.status != http.StatusOK || tree["environment"].(string)+"/"+tree["name"].(string) != key {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	d, found := registry.Find("prod", "edge-1")
	if !found || len(d.Revoked) != 1 || d.Revoked[0].Serial != "0a" || d.Revoked[0].NotAfter != end.Unix() || d.Reason != "stolen" {
		t.Errorf("on record: %+v", d)
	}
	list := e.get("/clustering/enrolments?environment=prod")
	if data := list.tree(t)["data"].([]any); len(data) != 3 {
		t.Errorf("listed: %s", list.text)
	}
}
