package health_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/health"
)

// dependent is a node with KMS plugins.
type dependent struct {
	node
	plugins health.Plugins
}

func (d dependent) Plugins() health.Plugins { return d.plugins }

func TestChecks(t *testing.T) {
	t.Parallel()
	well := func(context.Context) error { return nil }
	hangs := func(context.Context) error {
		return errors.New("failed to perform status section, error: deadline exceeded")
	}
	type checks = []func(context.Context) error
	all := func(mayBe bool, list checks) dependent {
		return dependent{plugins: health.Plugins{Checks: list, MayBe: mayBe}}
	}
	each := func(list checks) dependent { return dependent{plugins: health.Plugins{Checks: list, Each: true}} }
	lost := node{why: "the keyring misses its active key"}
	tests := map[string]struct {
		node   health.Node
		path   string
		status int
		body   string // whole; "" does not matter
	}{
		"well":                          {node{}, "/healthz", 200, "ok"},
		"each of what is well":          {node{}, "/readyz?verbose", 200, "[+]ping ok\n[+]database ok\n[+]keyring ok\nreadyz check passed\n"},
		"a keyring is lost":             {lost, "/readyz", 500, "[+]ping ok\n[+]database ok\n[-]keyring failed: reason withheld\nreadyz check failed\n"},
		"why":                           {lost, "/readyz/keyring", 500, "internal server error: keyring: the keyring misses its active key\n"},
		"but it lives":                  {lost, "/livez", 200, "ok"},
		"no host in the database's":     {node{down: errors.New("dial db1.internal")}, "/healthz/database", 500, "internal server error: database: failed to connect to database\n"},
		"a database is no life":         {node{down: errors.New("x")}, "/livez?verbose", 200, "[+]ping ok\nlivez check passed\n"},
		"no plugin, no reload":          {all(false, nil), "/healthz/kms-providers", 404, ""},
		"no plugin, with reload":        {all(true, nil), "/healthz/kms-providers", 200, "ok"},
		"one path for all":              {all(false, checks{well, well}), "/healthz/kms-providers", 200, "ok"},
		"none of its own then":          {all(false, checks{well}), "/healthz/kms-provider-0", 404, ""},
		"a plugin of several is ill":    {all(false, checks{well, hangs}), "/healthz/kms-providers", 500, "internal server error: kms-provider-1: failed to perform status section, error: deadline exceeded\n"},
		"all of several are ill":        {all(true, checks{hangs, hangs}), "/readyz/kms-providers", 500, "internal server error: kms-provider-0: failed to perform status section, error: deadline exceeded, kms-provider-1: failed to perform status section, error: deadline exceeded\n"},
		"an ill plugin makes not ready": {all(false, checks{hangs}), "/readyz", 500, "[+]ping ok\n[+]database ok\n[+]keyring ok\n[-]kms-providers failed: reason withheld\nreadyz check failed\n"},
		"and not dead":                  {all(false, checks{hangs}), "/livez", 200, "ok"},
		"never below livez":             {all(false, checks{well}), "/livez/kms-providers", 404, ""},
		"left out":                      {all(false, checks{hangs}), "/healthz?exclude=kms-providers", 200, "ok"},
		"left out, and shown":           {all(false, checks{hangs}), "/readyz?exclude=kms-providers&verbose=1", 200, "[+]ping ok\n[+]database ok\n[+]keyring ok\n[+]kms-providers excluded: ok\nreadyz check passed\n"},
		"each by its path":              {each(checks{well, hangs}), "/healthz/kms-provider-1", 500, "internal server error: kms-provider-1: failed to perform status section, error: deadline exceeded\n"},
		"each by its path, well":        {each(checks{well, hangs}), "/healthz/kms-provider-0", 200, "ok"},
		"no path for all then":          {each(checks{well}), "/healthz/kms-providers", 404, ""},
		"no more paths than plugins":    {each(checks{well}), "/healthz/kms-provider-1", 404, ""},
		"nothing else":                  {node{}, "/healthz/etcd", 404, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			health.Handler(test.node, "1.2.3").ServeHTTP(w, httptest.NewRequest(http.MethodGet, test.path, nil))
			if body := w.Body.String(); w.Code != test.status || test.body != "" && body != test.body {
				t.Errorf("GET %s = %d %q, want %d %q", test.path, w.Code, body, test.status, test.body)
			}
		})
	}
}

func TestMemo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, ill := 0, error(nil)
		memo := health.NewMemo(func(ctx context.Context) error {
			asked++
			time.Sleep(time.Second)
			if ctx.Err() != nil {
				t.Error("the first caller left, and with it the question")
			}
			return ill
		})
		probe := func() error { // ten at once
			var wg sync.WaitGroup
			errs := make([]error, 10)
			for i := range errs {
				wg.Go(func() { errs[i] = memo.Err(t.Context()) })
			}
			wg.Wait()
			return errors.Join(errs...)
		}
		want := func(count int, why string) {
			t.Helper()
			if err := probe(); (err == nil) != (ill == nil) || asked != count {
				t.Fatalf("%s: %v after %d questions, want %d", why, err, asked, count)
			}
		}
		want(1, "at once")
		time.Sleep(19 * time.Second)
		want(1, "while a good answer counts")
		time.Sleep(2 * time.Second)
		ill = errors.New("ill")
		want(2, "after that")
		time.Sleep(2 * time.Second)
		want(2, "while a bad answer counts")
		time.Sleep(2 * time.Second)
		ill = nil
		want(3, "after that")

		time.Sleep(time.Minute)
		leaving, leave := context.WithCancelCause(t.Context())
		go func() { _ = memo.Err(leaving) }()
		synctest.Wait()
		left := errors.New("left")
		leave(left)
		if err := memo.Err(leaving); !errors.Is(err, left) {
			t.Errorf("who left was answered %v", err)
		}
		want(4, "and the question went on")
	})
}
