package app

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/dataplane/apply"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/secrets"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/secretref"
)

// slowly refers to a secret and takes a second to compile.
type slowly struct {
	secrets *secrets.Secrets
	times   int
}

func (c *slowly) Compile(configset.Set) (install func(), quarantined []*syncv1.Quarantined) {
	c.times++
	var none iter.Seq2[string, *configv1.Vault] = func(func(string, *configv1.Vault) bool) {}
	c.secrets.Begin(none)
	_, _ = c.secrets.Resolve("default", secretref.Reference{Scheme: secretref.Vault, Place: "env", Secret: "a"}) // noted
	c.secrets.Settle()
	time.Sleep(time.Second)
	c.secrets.End()
	return func() {}, nil
}

// A secret that is another one whenever it is looked at leaves this node time for all else.
func TestASecretThatChangesAllTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looked := 0
		p := &plane{log: slog.New(slog.DiscardHandler)}
		p.secrets = secrets.New(secrets.Options{EnvPrefix: "GATE_", TTL: 10 * time.Millisecond, Environ: func(string) (string, bool) {
			looked++
			return fmt.Sprint(looked), true
		}})
		compiler := &slowly{secrets: p.secrets}
		p.applier = apply.New(compiler, unkept{})
		p.applier.Start(apply.State{Epoch: 1, Version: 1})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = lifecycle.Run(ctx, p.referred()...) })
		time.Sleep(100 * time.Second)
		stop()
		running.Wait()
		if compiler.times < 15 || compiler.times > 30 {
			t.Errorf("compiled for %d of 100 seconds", compiler.times)
		}
	})
}

// Clients of a node that was shut out send their keys on: its log goes on hiding them.
func TestLogsOfANodeThatIsShutOut(t *testing.T) {
	t.Parallel()
	p := &plane{tables: table.NewHolder(), pools: upstream.NewPools(&wire.Blocks{}, client.Options{}), log: slog.New(slog.DiscardHandler), disk: enrol.Disk{}}
	p.settings.Store.Folder = filepath.Join(t.TempDir(), "store")
	p.belonging.shut = make(chan struct{})
	p.applier = apply.New(&slowly{}, unkept{})
	served := &table.Table{}
	served.Plugins.Complete([]string{"apikey"})
	p.tables.Swap(served)
	if err := (holdings{p}).Erase(enrol.Wiped{}); err != nil {
		t.Fatal(err)
	}
	if is := p.tables.Current(); is.Shut == nil || !slices.Equal(is.Plugins.SecretParameters(), []string{"apikey"}) {
		t.Errorf("shut: %v, hidden: %v", is.Shut != nil, is.Plugins.SecretParameters())
	}
}
