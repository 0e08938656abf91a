package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// A secret inside a plugin's configuration is sealed in the row, comes back in clear from the Admin API, and does its
// work at the data plane, where it is sealed again.
func TestPluginSecretsAreSealed(t *testing.T) {
	t.Parallel()
	const canary = "canary-of-a-log-server"
	c, db, upstream := harness.New(t), postgresDatabase(t), harness.NewUpstream(t)
	records := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		body, _ := io.ReadAll(r.Body) // a part of it proves nothing, and is no record
		if password == canary && r.Header.Get("X-Token") == canary {
			records <- string(body)
		}
	}))
	defer receiver.Close()
	cp := c.ControlPlane("cp", db.flags...)
	cp.Start()
	dp := c.DataPlane("edge", cp)
	dp.Launch()
	endpoint := "http://gate:" + canary + "@" + strings.TrimPrefix(receiver.URL, "http://") + "/records"
	cp.Admin().Push(fmt.Sprintf(`_format_version: "3.0"
services: [{name: s, url: %q, routes: [{name: r, paths: [/]}]}]
`, upstream.URL))
	plugin := cp.Admin().Do(201, http.MethodPost, "/services/s/plugins", map[string]any{
		"name": "http-log", "config": map[string]any{"http_endpoint": endpoint, "headers": map[string]any{"X-Token": canary}},
	})
	dp.Await(200, "/")
	row := strings.Join(db.column(t, cp, "select body from plugins where id = '"+plugin["id"].(string)+"'"), "\n")
	if strings.Contains(row, canary) || strings.Count(row, "$ke$1$-") != 2 {
		t.Errorf("the row holds %s", strings.ReplaceAll(row, canary, "THE SECRET"))
	}
	shown := cp.Admin().Do(200, http.MethodGet, "/plugins/"+plugin["id"].(string), nil)["config"].(harness.Document)
	if shown["http_endpoint"] != endpoint || shown["headers"].(harness.Document)["X-Token"] != canary {
		t.Error("the Admin API shows another endpoint or header than was written")
	}
	harness.Eventually(t, "a record", func() string {
		if answer := dp.MustGet("/things?x=1"); answer.Status != 200 {
			return fmt.Sprintf("%d %s", answer.Status, answer.Body)
		}
		select {
		case record := <-records:
			if !strings.Contains(record, `"uri":"/things?x=1"`) && !strings.Contains(record, `\/things?x=1`) {
				return record
			}
			return ""
		default:
			return "none"
		}
	})
	c.NoSecretInLogs(canary)
	nowhere(t, dp.Store(), canary)
}
