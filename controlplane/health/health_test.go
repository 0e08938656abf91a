package health_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/health"
)

type node struct {
	down error
	why  string
}

func (n node) Head(context.Context) (uint64, error) { return 7, n.down }
func (n node) Seen() uint64                         { return 7 }
func (n node) Keyring() string                      { return n.why }
func (n node) Linked() int                          { return 3 }

func TestHandler(t *testing.T) {
	t.Parallel()
	down := node{down: errors.New("no route to host")}
	missing := node{why: "the keyring misses its active key"}
	tests := map[string]struct {
		node   node
		path   string
		status int
		says   string
	}{
		"status":                     {node{}, "/status", 200, `{"database":{"reachable":true}}`},
		"status without a database":  {down, "/status", 200, `{"database":{"reachable":false}}`},
		"ready":                      {node{}, "/status/ready", 200, `{"message":"ready"}`},
		"not ready: database":        {down, "/status/ready", 503, `{"message":"failed to connect to database"}`},
		"not ready: keyring":         {missing, "/status/ready", 503, `{"message":"the keyring misses its active key"}`},
		"metrics":                    {node{}, "/metrics", 200, "keepgate_data_planes_linked 3\n"},
		"metrics of a lost keyring":  {missing, "/metrics", 200, "keepgate_keyring_usable 0\n"},
		"metrics of a lost database": {down, "/metrics", 200, "keepgate_database_reachable 0\n"},
		"nothing else":               {node{}, "/services", 404, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			health.Handler(test.node, "1.2.3").ServeHTTP(w, httptest.NewRequest(http.MethodGet, test.path, nil))
			body, err := io.ReadAll(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if w.Code != test.status || !strings.Contains(string(body), test.says) {
				t.Errorf("GET %s = %d %s, want %d %s", test.path, w.Code, body, test.status, test.says)
			}
		})
	}
}
