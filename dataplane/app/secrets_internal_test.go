package app

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/apply"
	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/plugin/all"
	"github.com/keepgate/keepgate/dataplane/secrets"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/pkitest"
)

// unkept keeps states nowhere.
type unkept struct{}

func (unkept) Replace(apply.State) error                 { return nil }
func (unkept) Append(apply.State, configset.Delta) error { return nil }

// A certificate that is replaced where a reference leads to is served without an update: the version stays, and so do upstreams.
func TestASecretThatChangesIsServed(t *testing.T) {
	t.Parallel()
	folder, authority := t.TempDir(), pkitest.Root(t, "authority")
	put := func(name string) []byte {
		t.Helper()
		pair := authority.Issue(name)
		private, err := x509.MarshalPKCS8PrivateKey(pair.TLS().PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
		for file, data := range map[string][]byte{"cert": []byte(pair.PEM()), "key": key} {
			if err := os.WriteFile(filepath.Join(folder, file+".new"), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range []string{"key", "cert"} {
			if err := os.Rename(filepath.Join(folder, file+".new"), filepath.Join(folder, file)); err != nil {
				t.Fatal(err)
			}
		}
		return pair.TLS().Certificate[0]
	}
	first := put("one.test")
	pools := upstream.NewPools(&wire.Blocks{}, client.Options{})
	p := &plane{tables: table.NewHolder(), pools: pools, log: slog.New(slog.DiscardHandler)}
	p.secrets = secrets.New(secrets.Options{Folder: folder, TTL: 20 * time.Millisecond})
	compiler := compile.New(all.Kinds(all.Options{}), balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})}, pools, compile.Options{Vaults: p.secrets})
	p.applier = apply.New(&tableCompiler{compiler: compiler, tables: p.tables, pools: pools, log: p.log}, unkept{})
	set := configset.Set{}
	for kind, m := range map[string]proto.Message{
		"certificates": &configv1.Certificate{Cert: new("{vault://file/cert}"), Key: new("{vault://file/key}")},
		"snis":         &configv1.Sni{Name: new("one.test"), Certificate: &configv1.Ref{Id: "x"}},
		"upstreams":    &configv1.Upstream{Name: new("up.test")},
		"services":     &configv1.Service{Name: new("s"), Protocol: new("http"), Host: new("up.test"), Port: new(int64(80))},
	} {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		set = set.Put(configset.Entry{Kind: kind, ID: "x", Body: body})
	}
	p.applier.Start(apply.State{Epoch: 1, Version: 7, Set: set})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = lifecycle.Run(ctx, p.referred()...) })
	defer running.Wait()
	defer stop()
	serves := func(want []byte) {
		t.Helper()
		for until := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if list := p.tables.Current().Certificates.Lookup("one.test"); len(list) == 1 && string(list[0].Certificate[0]) == string(want) {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("the certificate is not served; quarantined %v", len(p.applier.Quarantined()))
			}
		}
	}
	serves(first)
	before := p.tables.Current().Upstreams[0].Upstream
	serves(put("one.test"))
	if held, _ := p.applier.Held(); held.Version != 7 || p.tables.Current().Upstreams[0].Upstream != before {
		t.Errorf("version %d, or an upstream that was made anew", held.Version)
	}
	p.forgetSecrets()
	if list := p.secrets.Status(); len(list) != 0 {
		t.Errorf("after all was forgotten there is %+v", list)
	}
}
