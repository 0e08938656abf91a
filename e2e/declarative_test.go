package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// A file with any fault names it by line and field and changes nothing, wherever the fault stands.
func TestBadFileChangesNothing(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	admin := cp.Admin()
	admin.Push(probeFile(1))
	before := dump(t, admin)
	const good = "_format_version: '3.0'\nconsumers:\n- {username: new-one}\n"
	tests := map[string]struct{ file, says string }{
		"no YAML":            {"_format_version: '3.0'\nconsumers: [\n", "cannot parse"},
		"an unknown field":   {good + "- {username: b, colour: red}\n", "colour"},
		"a wrong type":       {good + "services:\n- {name: s, url: 'http://a', retries: many}\n", "retries"},
		"a bad value":        {good + "services:\n- {name: s, host: a, protocol: gopher}\n", "protocol"},
		"a dangling name":    {good + "plugins:\n- {name: key-auth, service: nowhere}\n", "nowhere"},
		"a name twice":       {good + "- {username: new-one}\n", "new-one"},
		"another format":     {"_format_version: '9.9'\n", "_format_version"},
		"an unknown plugin":  {good + "plugins:\n- {name: telepathy}\n", "telepathy"},
		"a plugin's setting": {good + "plugins:\n- {name: key-auth, config: {key_nmaes: [x]}}\n", "key_nmaes"},
		"nothing at all":     {"_format_version: '3.0'\n", "allow_empty"},
	}
	for name, test := range tests {
		answer, err := admin.TryPush(test.file)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status != 400 || !strings.Contains(answer.Body, test.says) {
			t.Errorf("%s: %d %s, want 400 saying %q", name, answer.Status, answer.Body, test.says)
		}
		file := filepath.Join(t.TempDir(), "file.yaml")
		if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.TryCP("config", "push", file, "--admin-url", "http://"+cp.Listen); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s, by the command line: %v", name, err)
		}
	}
	if after := dump(t, admin); after != before {
		t.Errorf("the configuration was\n%s\nand is\n%s", before, after)
	}
}

// dump is the whole configuration as a declarative file.
func dump(t *testing.T, admin *harness.Admin) string {
	t.Helper()
	answer, err := admin.Try(http.MethodGet, "/config", nil)
	if err != nil || answer.Status != 200 || !strings.Contains(answer.Body, "user-199") {
		t.Fatalf("GET /config: %d %.300s, %v", answer.Status, answer.Body, err)
	}
	return answer.Body
}

// What the command line pushes it also shows, checks and writes out again, and pushing it twice changes nothing.
func TestConfigCommands(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	upstream, pair := harness.NewUpstream(t), newPair(t, "gate.example")
	cp := c.ControlPlane("cp")
	cp.Start()
	folder, at := t.TempDir(), "http://"+cp.Listen
	file, dump := filepath.Join(folder, "in.yaml"), filepath.Join(folder, "out.yaml")
	if err := os.WriteFile(file, []byte(mainFile(upstream.URL, pair)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.CP("config", "validate", file)
	c.CP("config", "push", "--dry-run", file, "--admin-url", at)
	if list := cp.Admin().Do(200, http.MethodGet, "/services", nil); len(list["data"].([]any)) != 0 {
		t.Error("a dry run wrote something")
	}
	c.CP("config", "push", file, "--admin-url", at)
	c.CP("config", "diff", "--exit-code", file, "--admin-url", at)
	c.CP("config", "dump", "-o", dump, "--admin-url", at)
	c.CP("config", "diff", "--exit-code", dump, "--admin-url", at)
	text, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), passwordCanary) {
		t.Error("the dump holds a password")
	}
	second := c.ControlPlane("second")
	second.Start()
	c.CP("config", "push", dump, "--admin-url", "http://"+second.Listen)
	dp := c.DataPlane("edge-1", second)
	dp.Launch()
	guards(t, dp, upstream)
	c.NoSecretInLogs(keyCanary, passwordCanary, pair.canary())
}
