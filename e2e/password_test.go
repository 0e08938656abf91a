package e2e_test

import (
	"encoding/base64"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// A password is verified once and then remembered; guessing is slowed down, and never lets the rest starve.
func TestPasswords(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	upstream := harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge-1", cp)
	dp.Launch()
	cp.Admin().Push(fmt.Sprintf(`_format_version: "3.0"
services:
- {name: echo, url: %q, routes: [{name: all, paths: [/]}], plugins: [{name: basic-auth, config: {hide_credentials: true}}]}
consumers:
- {username: alice, basicauth_credentials: [{username: alice, password: %s}]}
`, upstream.URL, passwordCanary))
	right := []string{"Authorization", basic("alice", passwordCanary)}
	seen := harness.EchoOf(t, dp.Await(200, "/", right...))
	if seen.Header.Get("Authorization") != "" || seen.Header.Get("X-Consumer-Username") != "alice" {
		t.Errorf("the upstream saw %v", seen.Header)
	}
	for what, given := range map[string]string{
		"a wrong password": basic("alice", passwordCanary+"x"), "an unknown user": basic("mallory", passwordCanary),
		"no password": basic("alice", ""), "no base64": "Basic !", "another scheme": "Bearer x",
	} {
		if answer := dp.MustGet("/", "Authorization", given); answer.Status != 401 {
			t.Errorf("%s: %d %s", what, answer.Status, answer.Body)
		}
	}
	statuses := guess(t, dp, 60)
	if statuses[401] == 0 || statuses[429] == 0 || statuses[401]+statuses[429] != 60 {
		t.Errorf("60 guesses at once were answered %v; want some 401, the rest 429", statuses)
	}
	if answer := dp.MustGet("/", right...); answer.Status != 200 {
		t.Errorf("after the guesses, the right password: %d", answer.Status)
	}
	c.NoSecretInLogs(passwordCanary)
}

// guess sends wrong passwords, all at once.
func guess(t *testing.T, dp *harness.DataPlane, n int) map[int]int {
	t.Helper()
	statuses := map[int]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			answer, err := harness.Get("http://"+dp.Proxy+"/", "Authorization", basic("alice", fmt.Sprint("guess ", i, time.Now())))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			statuses[answer.Status]++
		})
	}
	wg.Wait()
	return statuses
}
