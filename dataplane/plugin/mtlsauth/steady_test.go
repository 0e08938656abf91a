package mtlsauth_test

import (
	"crypto/tls"
	"crypto/x509"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/mtlsauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/pkitest"
)

// direct is an instance without a gate around it.
type direct struct {
	instance plugin.Accesser
	on       plugin.Runtime
	pool     exchange.Pool
}

func newDirect(t testing.TB, kind *mtlsauth.Kind, config *pluginv1.MtlsAuth, authorities ...*pkitest.Authority) *direct {
	t.Helper()
	ids := []string{firstID, secondID, thirdID}
	config.CaCertificates = &configv1.StringArray{Values: ids[:len(authorities)]}
	if config.ConsumerBy == nil {
		config.ConsumerBy = &configv1.StringArray{Values: []string{"username"}}
	}
	data, err := proto.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	made, err := kind.New(data, plugintest.Env())
	if err != nil {
		t.Fatal(err)
	}
	consumers := plugin.NewConsumers([]*plugin.Consumer{{ID: "1", Username: "alice"}, {ID: "2", Username: "bob"}})
	entities := func(table string) iter.Seq2[string, proto.Message] {
		return func(yield func(string, proto.Message) bool) {
			for i, a := range authorities {
				if table == "ca_certificates" && !yield(ids[i], &configv1.CaCertificate{Cert: new(a.PEM())}) {
					return
				}
			}
		}
	}
	store := kind.Store(entities, consumers, func(table, id, _, reason string) { t.Errorf("%s %s: %s", table, id, reason) })
	return &direct{instance: made.(plugin.Accesser), on: plugin.NewRuntime(consumers, []any{store})}
}

// admits says whether a connection's client is let in at this time.
func (d *direct) admits(state *tls.ConnectionState, at time.Time) bool {
	ex := d.pool.Take()
	defer d.pool.Give(ex)
	ex.NeedSlots(d.on.Slots)
	ex.Request.TLS, ex.Start = state, at
	d.instance.Access(ex, &d.on)
	return !ex.Answered() && ex.Consumer.ID == "1"
}

func connected(p pkitest.Pair) *tls.ConnectionState {
	return &tls.ConnectionState{PeerCertificates: p.Sent()}
}

func TestAVerdictEndsWithItsCertificates(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		root, between, leaf time.Duration // lifetimes
		ttl                 float64
		ends                time.Duration
	}{
		"the leaf's time":         {24 * time.Hour, 24 * time.Hour, time.Minute, 3600, time.Minute},
		"the intermediate's time": {24 * time.Hour, 2 * time.Minute, time.Hour, 3600, 2 * time.Minute},
		"the anchor's time":       {3 * time.Minute, time.Hour, time.Hour, 86400, 3 * time.Minute},
		"nothing remembered":      {24 * time.Hour, 24 * time.Hour, time.Minute, 0, time.Minute},
		"a time below nothing":    {24 * time.Hour, 24 * time.Hour, time.Minute, -5, time.Minute},
		"for ever":                {24 * time.Hour, 24 * time.Hour, time.Minute, 1e300, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				lasting := func(d time.Duration) pkitest.Edit {
					return func(c *x509.Certificate) { c.NotAfter = time.Now().Add(d) }
				}
				root := pkitest.Root(t, "root", lasting(test.root))
				alice := connected(root.Below("between", lasting(test.between)).Issue("alice", lasting(test.leaf)))
				d := newDirect(t, mtlsauth.New(nil), &pluginv1.MtlsAuth{CacheTtl: &test.ttl}, root)
				for from := time.Now(); ; time.Sleep(time.Second) {
					admitted, gone := d.admits(alice, time.Now()), time.Since(from)
					if admitted != (gone <= test.ends) && admitted != (gone < test.ends) {
						t.Fatalf("after %v: let in is %v", gone, admitted)
					}
					if gone > test.ends+time.Minute {
						return
					}
				}
			})
		})
	}
}

// What is refused for its time is let in when the time has come, be it remembered or not.
func TestARefusalEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		root := pkitest.Root(t, "root")
		alice := connected(root.Issue("alice", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(5 * time.Second) }))
		d := newDirect(t, mtlsauth.New(nil), &pluginv1.MtlsAuth{CacheTtl: new(3600.0)}, root)
		if d.admits(alice, time.Now()) {
			t.Error("let in before its time")
		}
		time.Sleep(20 * time.Second)
		if !d.admits(alice, time.Now()) {
			t.Error("kept out after its time has come")
		}
		if d.admits(alice, time.Now().Add(-time.Minute)) {
			t.Error("let in by a verdict on a later time")
		}
	})
}

func TestTheSteadyStateAllocatesNothing(t *testing.T) {
	root := pkitest.Root(t, "root")
	responder := pkitest.NewResponder(root)
	server := responder.Serve()
	between := root.Below("between", pkitest.At(server.URL+"/crl", ""))
	alice := connected(between.Issue("alice", pkitest.At(strings.Replace(server.URL, "http", "ldap", 1), "")))
	for name, config := range map[string]*pluginv1.MtlsAuth{
		"by name":        {},
		"without lookup": {SkipConsumerLookup: new(true)},
		"unrevoked":      {RevocationCheckMode: new("SKIP")},
		"default":        {ConsumerBy: &configv1.StringArray{}, DefaultConsumer: new("alice")},
	} {
		d := newDirect(t, mtlsauth.New(nil), config, root)
		ex := d.pool.Take()
		once := func() {
			ex.Reset()
			ex.NeedSlots(d.on.Slots)
			ex.Request.TLS, ex.Start = alice, time.Now()
			d.instance.Access(ex, &d.on)
			if ex.Answered() {
				t.Error("refused")
			}
		}
		once()
		if got := testing.AllocsPerRun(500, once); got != 0 {
			t.Errorf("%s: %v allocations a request", name, got)
		}
	}
}

func BenchmarkAccess(b *testing.B) {
	root := pkitest.Root(b, "root")
	d := newDirect(b, mtlsauth.New(nil), &pluginv1.MtlsAuth{}, root)
	alice := connected(root.Below("between").Issue("alice"))
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if !d.admits(alice, now) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkFirst is what a chain costs that was not seen before.
func BenchmarkFirst(b *testing.B) {
	root := pkitest.Root(b, "root")
	d := newDirect(b, mtlsauth.New(nil), &pluginv1.MtlsAuth{CacheTtl: new(0.0)}, root)
	alice := connected(root.Below("between").Issue("alice"))
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if !d.admits(alice, now) {
			b.Fatal("refused")
		}
	}
}
