package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

func TestStickyCookie(t *testing.T) {
	t.Parallel()
	origins := []*origin{newOrigin(t), newOrigin(t), newOrigin(t)}
	g := newGateway(t, proxy.Options{}, balanced(func(u *configv1.Upstream) {
		u.Algorithm, u.HashOn, u.HashOnCookie, u.HashOnCookiePath = new("consistent-hashing"), new("cookie"), new("sticky"), new("/r")
	}, origins[0].Listener.Addr().String(), origins[1].Listener.Addr().String(), origins[2].Listener.Addr().String())...)
	seen := map[string]bool{}
	for range 20 {
		first := g.do(t, "GET", "/r", "")
		given, attributes, _ := strings.Cut(first.header.Get("Set-Cookie"), ";")
		if !strings.HasPrefix(given, "sticky=") || attributes != " Path=/r" {
			t.Fatalf("Set-Cookie: %q", first.header.Get("Set-Cookie"))
		}
		seen[first.header.Get("X-Origin")] = true
		for range 3 {
			again := g.do(t, "GET", "/r", "", "Cookie", "a=b; "+given)
			if again.header.Get("X-Origin") != first.header.Get("X-Origin") || again.header.Get("Set-Cookie") != "" {
				t.Fatalf("with the cookie of %s, %s answers and sets %q", first.header.Get("X-Origin"), again.header.Get("X-Origin"), again.header.Get("Set-Cookie"))
			}
		}
	}
	if len(seen) < 2 {
		t.Errorf("20 clients went to %v", seen)
	}
}

func TestHashOnCapture(t *testing.T) {
	t.Parallel()
	origins := []*origin{newOrigin(t), newOrigin(t), newOrigin(t)}
	list := balanced(func(u *configv1.Upstream) {
		u.Algorithm, u.HashOn, u.HashOnUriCapture = new("consistent-hashing"), new("uri_capture"), new("id")
	}, origins[0].Listener.Addr().String(), origins[1].Listener.Addr().String(), origins[2].Listener.Addr().String())
	list[len(list)-1] = route("r", "s", func(m *configv1.Route) { m.Paths = array(`~/u/(?P<id>[0-9]+)/`) })
	g := newGateway(t, proxy.Options{}, list...)
	seen := map[string]bool{}
	for id := range 12 {
		a, b := g.do(t, "GET", fmt.Sprintf("/u/%d/a", id), ""), g.do(t, "GET", fmt.Sprintf("/u/%d/b?c", id), "")
		if a.status != 200 || a.header.Get("X-Origin") != b.header.Get("X-Origin") {
			t.Fatalf("%d: %d from %s, then %d from %s", id, a.status, a.header.Get("X-Origin"), b.status, b.header.Get("X-Origin"))
		}
		seen[a.header.Get("X-Origin")] = true
	}
	if len(seen) < 2 {
		t.Errorf("12 ids went to %v", seen)
	}
}
