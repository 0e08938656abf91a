package admin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/reencryption"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
)

// reencrypting adds the re-encryption's part of the API, with a node that works. While held it does nothing.
func (e *env) reencrypting() (release func()) {
	e.t.Helper()
	cipher, err := e.cipher(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	job := reencrypt.New(e.store, e.catalog, cipher, "a", reencrypt.Options{Batch: 1, Save: time.Millisecond, Poll: time.Millisecond})
	ctx, stop := context.WithCancel(context.WithoutCancel(e.t.Context()))
	begin, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-begin:
			_ = job.Run(ctx) // it ends with ctx alone
		case <-ctx.Done():
		}
	}()
	e.t.Cleanup(func() {
		stop()
		<-ended
	})
	e.deps.Rooms = append(e.deps.Rooms, reencryption.New(job, e.catalog.Workspace))
	e.serve(admin.Options{})
	return func() { close(begin) }
}

func TestReencryption(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	release := e.reencrypting()
	e.made("/consumers", "username=bob")
	for i := range 30 {
		e.made("/consumers/bob/key-auth", fmt.Sprintf("key=k%d", i))
	}
	e.made("/workspaces", "name=team")
	id, _, err := e.ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.ring.Activate(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	const path = "/keyring/reencrypt"
	for what, step := range map[string]struct {
		method, path, body string
		status             int
	}{
		"nothing to show":      {"GET", path, "", 404},
		"nothing to pause":     {"POST", path + "/pause", "", 404},
		"an unknown field":     {"POST", path, `{"tabel":"plugins"}`, 400},
		"an unknown table":     {"POST", path, "table=nope", 400},
		"no secrets in it":     {"POST", path, "table=services", 400},
		"an unknown workspace": {"POST", path, "workspace=nope", 404},
		"an unknown aim":       {"POST", path, `{"to":"clear"}`, 400},
		"undeclared plaintext": {"POST", path, `{"to":"plaintext"}`, 400},
		"a rate in words":      {"POST", path, "rate=fast", 400},
		"half a row":           {"POST", path, `{"rate":0.5}`, 400},
		"a negative rate":      {"POST", path, `{"rate":-1}`, 400},
		"a table of numbers":   {"POST", path, `{"table":7}`, 400},
		"no object":            {"POST", path, `{"`, 400},
		"no rate":              {"PATCH", path, `{}`, 400},
		"a table in the query": {"POST", path + "?table=plugins", "", 400},
	} {
		if a := e.do(step.method, step.path, bodyType(step.body), step.body); a.status != step.status || a.tree(t)["message"] == "" {
			t.Errorf("%s: %d %s, want %d", what, a.status, a.text, step.status)
		}
	}
	if a := e.do("POST", path, "text/yaml", "a: b"); a.status != 415 {
		t.Errorf("YAML: %d", a.status)
	}
	parts := "--b\r\nContent-Disposition: form-data; name=\"table\"\r\n\r\nnope\r\n--b"
	for body, says := range map[string]string{parts + "--\r\n": "no table of that name", parts: "form"} { // curl -F, and one that breaks off
		if a := e.do("POST", path, "multipart/form-data; boundary=b", body); a.status != 400 || !strings.Contains(a.text, says) {
			t.Errorf("a multipart form: %d %s, want 400 and %q", a.status, a.text, says)
		}
	}
	started := e.do("POST", path, jsonType, `{"table":"keyauth_credentials","workspace":"default","rate":1000,"to":null}`)
	if tree := started.tree(t); started.status != 202 || tree["state"] != "running" || tree["rate"] != 1000.0 || tree["table"] != "keyauth_credentials" || tree["workspace"] == "" {
		t.Fatalf("start: %d %s", started.status, started.text)
	}
	for _, step := range []struct {
		method, path, body string
		status             int
		state              string
	}{
		{"POST", path, "", 409, ""},
		{"POST", path + "/resume", "", 409, ""},
		{"POST", path + "/pause", "", 200, "paused"},
		{"POST", "/team" + path, "", 409, ""},
		{"PATCH", path, "rate=7", 200, "paused"},
		{"PATCH", path, `{"rate":0}`, 200, "paused"},
		{"POST", path + "/resume", "", 200, "running"},
		{"POST", path + "/cancel", "", 200, "cancelled"},
		{"POST", path + "/cancel", "", 409, ""},
		{"PATCH", path, "rate=7", 409, ""},
		{"POST", path, "", 202, "running"},
	} {
		a := e.do(step.method, step.path, bodyType(step.body), step.body)
		if state, _ := a.tree(t)["state"].(string); a.status != step.status || state != step.state {
			t.Fatalf("%s %s %s: %d %s, want %d %q", step.method, step.path, step.body, a.status, a.text, step.status, step.state)
		}
	}
	release()
	e.awaitReencrypted(31) // the credentials and the environment
	if a := e.do("POST", "/team"+path, "", ""); a.status != 202 || a.tree(t)["workspace"] == nil {
		t.Errorf("of a workspace: %d %s", a.status, a.text)
	}
	e.awaitReencrypted(0)
}

// awaitReencrypted waits for the end of the job, which wrote some rows and proves it.
func (e *env) awaitReencrypted(rows float64) {
	e.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		tree := e.get("/keyring/reencrypt").tree(e.t)
		if tree["state"] == "done" {
			proof, _ := tree["proof"].(map[string]any)
			if tree["resealed"] != rows || tree["percent"] != 100.0 || proof == nil || len(proof["keys"].([]any)) != 2 {
				e.t.Errorf("done: %v", tree)
			}
			return
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("never done: %v", tree)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestReencryptionWithoutAKeyring(t *testing.T) {
	t.Parallel()
	e := newEnvWith(t, nil, admin.Options{})
	e.deps.Rooms = append(e.deps.Rooms, reencryption.New(nil, e.catalog.Workspace))
	e.serve(admin.Options{})
	for _, method := range []string{"GET", "POST", "PATCH"} {
		if a := e.do(method, "/keyring/reencrypt", "", ""); a.status != 400 {
			t.Errorf("%s: %d %s", method, a.status, a.text)
		}
	}
}
