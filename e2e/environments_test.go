package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// What belongs to another environment is never in a data plane's memory, nor on its disk: neither what a workspace
// keeps apart nor what tags do; also not while environments change, and after what was its own was taken away.
func TestEnvironmentsAreApart(t *testing.T) {
	t.Parallel()
	c, upstream := harness.New(t), harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	admin := cp.Admin()
	made := func(path string, body harness.Document) {
		t.Helper()
		admin.Do(201, http.MethodPost, path, body)
	}
	made("/workspaces", harness.Document{"name": "lab"})
	made("/environments", harness.Document{"name": "prod", "workspaces": []string{"default"}, "select_tags": []string{"prod"}})
	made("/environments", harness.Document{"name": "staging", "workspaces": []string{"default"}, "select_tags": []string{"staging"}})
	made("/environments", harness.Document{"name": "lab", "workspaces": []string{"lab"}})
	secrets := map[string]string{}
	for environment, workspace := range map[string]string{"prod": "", "staging": "", "lab": "/lab"} {
		secrets[environment] = "canary-secret-of-" + environment + "-5d02c1"
		tags := []string{environment}
		if environment == "lab" {
			tags = nil
		}
		prefix := "/" + environment
		made(workspace+"/services", harness.Document{"name": "s-" + environment, "url": upstream.URL, "tags": tags})
		made(workspace+"/services/s-"+environment+"/routes", harness.Document{"name": "open-" + environment, "paths": []string{prefix + "/open"}})
		made(workspace+"/services/s-"+environment+"/routes", harness.Document{"name": "token-" + environment, "paths": []string{prefix + "/token"}})
		made(workspace+"/routes/token-"+environment+"/plugins", harness.Document{"name": "jwt"})
		made(workspace+"/consumers", harness.Document{"username": "bob-" + environment, "tags": tags})
		made(workspace+"/consumers/bob-"+environment+"/jwt", harness.Document{"key": "bob-" + environment, "secret": secrets[environment]})
		made(workspace+"/routes/open-"+environment+"/plugins", harness.Document{
			"name": "request-transformer", "config": harness.Document{"add": harness.Document{"headers": []string{"x-of:" + secrets[environment] + "-sent"}}},
		})
	}
	c.Found(cp)
	gates := map[string]*harness.DataPlane{}
	for environment := range secrets {
		gates[environment] = c.Joined("edge-"+environment, environment, cp)
		gates[environment].Start()
	}
	apart := func(when string) {
		t.Helper()
		for environment, dp := range gates {
			if where := dp.Memory(secrets[environment]); where == "" {
				t.Errorf("%s: %s does not have its own secret in memory: the search finds nothing", when, environment)
			}
			for other, secret := range secrets {
				if other == environment {
					continue
				}
				if where := dp.Memory(secret); where != "" {
					t.Errorf("%s: the secret of %s is in the memory of a data plane of %s: %s", when, other, environment, where)
				}
				if where := harness.FindSecret(t, dp.Prefix, secret); where != "" {
					t.Errorf("%s: the secret of %s is on the disk of a data plane of %s: %s", when, other, environment, where)
				}
			}
		}
	}
	for environment, dp := range gates {
		dp.Await(200, "/"+environment+"/open")
		for other := range secrets {
			if answer := dp.MustGet("/" + other + "/open"); other != environment && answer.Status != 404 {
				t.Errorf("a data plane of %s answers for %s with %d", environment, other, answer.Status)
			}
		}
	}
	apart("at first")

	// What staging had moves to prod: the one loses it and the other gets it.
	admin.Do(200, http.MethodPatch, "/services/s-staging", harness.Document{"tags": []string{"prod"}})
	gates["prod"].Await(200, "/staging/open")
	gates["staging"].Await(404, "/staging/open")
	admin.Do(200, http.MethodPatch, "/services/s-staging", harness.Document{"tags": []string{"staging"}})
	gates["staging"].Await(200, "/staging/open")
	gates["prod"].Await(404, "/staging/open")

	// An environment that selects something else loses what it had, and only that.
	admin.Do(200, http.MethodPatch, "/environments/lab", harness.Document{"workspaces": []string{"default"}, "select_tags": []string{"staging"}})
	gates["lab"].Await(404, "/lab/open")
	gates["lab"].Await(200, "/staging/open")
	if answer := gates["prod"].MustGet("/prod/open"); answer.Status != 200 {
		t.Errorf("prod after another environment changed: %d", answer.Status)
	}
}

// A data plane is of the environment that its certificate names, and gets nothing where there is none of that name.
func TestEnvironmentThatIsNotThere(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	c.Found(cp)
	if output, err := c.TryCP("fleet", "invite", "--environment", "nowhere", "--admin-url", "http://"+cp.Listen); err == nil {
		t.Errorf("an invitation to an environment that is not there: %s", output)
	}
	admin := cp.Admin()
	admin.Do(201, http.MethodPost, "/environments", harness.Document{"name": "brief"})
	dp := c.Joined("edge", "brief", cp)
	dp.Start()
	answer, err := admin.Try(http.MethodDelete, "/environments/brief", nil)
	if err != nil || answer.Status < 400 {
		t.Errorf("an environment with a data plane was deleted: %d %s %v", answer.Status, answer.Body, err)
	}
	for _, name := range []string{"", "-x", "a/b", "a b", "über"} {
		answer, err := admin.Try(http.MethodPost, "/environments", harness.Document{"name": name})
		if err != nil || answer.Status != 400 {
			t.Errorf("an environment named %q: %d %s %v", name, answer.Status, answer.Body, err)
		}
	}
}

// waited runs `fleet wait` and says what it printed.
func waited(c *harness.Cluster, cp *harness.ControlPlane, environment string, args ...string) (string, error) {
	return c.TryCP(append([]string{"fleet", "wait", "--environment", environment, "--admin-url", "http://" + cp.Listen}, args...)...)
}

// `fleet wait` ends when enough data planes hold what is asked for, and names those that do not.
func TestFleetIsWaitedFor(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	c.Found(cp)
	admin := cp.Admin()
	admin.Do(201, http.MethodPost, "/environments", harness.Document{"name": "prod"})
	var all []*harness.DataPlane
	for i := range 3 {
		dp := c.Joined(fmt.Sprint("edge-", i), "prod", cp)
		dp.Start()
		all = append(all, dp)
	}
	admin.Do(201, http.MethodPost, "/services", harness.Document{"name": "s", "host": "example.com"})
	admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r", "paths": []string{"/r"}})
	if output, err := waited(c, cp, "prod", "--percent", "100", "--timeout", "60s"); err != nil {
		t.Errorf("all hold the newest: %v\n%s", err, output)
	}
	all[2].Stop()
	admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r2", "paths": []string{"/r2"}})
	if output, err := waited(c, cp, "prod", "--percent", "60", "--timeout", "60s"); err != nil {
		t.Errorf("two of three hold the newest: %v\n%s", err, output)
	}
	began := time.Now()
	output, err := waited(c, cp, "prod", "--percent", "95", "--timeout", "3s")
	if err == nil || time.Since(began) < 3*time.Second {
		t.Errorf("a third of them is away, and it waited %v: %s", time.Since(began), output)
	}
}
