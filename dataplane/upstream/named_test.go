package upstream_test

import (
	"crypto/tls"
	"fmt"
	"runtime"
	"testing"

	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// Names that clients bring along have pools of their own, and no more than there is room for.
func TestClientsNames(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	origin := serve(t, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return named(t, root, hello.ServerName).tls(), nil
	}})
	pools := newPools(t, client.Options{})
	p := pools.Pool(addrOf(origin), link(&upstream.Security{ServerName: "a.test", Or: "127.0.0.1", Verify: true, Roots: pool(root)}))
	for i := range 200 {
		name := fmt.Sprintf("n%d.test", i%150)
		if a := ask(p, client.Head{Host: name, ServerName: name}); a.err != nil || a.body != "nobody as "+name {
			t.Fatalf("answer = %+v", a)
		}
	}
	if a := ask(p, client.Head{}); a.body != "nobody as a.test" {
		t.Errorf("answer = %+v", a)
	}
	if idle, _ := pools.Counts(); idle > 65 {
		t.Errorf("%d idle connections", idle)
	}
	runtime.KeepAlive(p)
}

// Services that share a pool share its siblings too, whoever of them came first and has gone since.
func TestClientsNamesOutliveAService(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	origin := serve(t, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return named(t, root, hello.ServerName).tls(), nil
	}})
	pools := newPools(t, client.Options{})
	first := upstream.Link{Owner: "first", Security: &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root)}}
	second := first
	second.Owner = "second"
	p := pools.Pool(addrOf(origin), first)
	idles := func(want int) {
		t.Helper()
		if a := ask(p, client.Head{Host: "b.test", ServerName: "b.test"}); a.err != nil || a.body != "nobody as b.test" {
			t.Fatalf("answer = %+v", a)
		}
		if idle, _ := pools.Counts(); idle != want {
			t.Errorf("%d idle connections, want %d", idle, want)
		}
	}
	pools.Follow(upstream.Leads{"first": first})
	idles(1)
	_ = pools.Pool(addrOf(origin), second)
	pools.Follow(upstream.Leads{"second": second})
	idles(1)
	pools.Follow(upstream.Leads{})
	idles(0)
	runtime.KeepAlive(p)
}
