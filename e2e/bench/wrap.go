package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	v2 "k8s.io/kms/apis/v2"

	"github.com/keepgate/keepgate/e2e/harness"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const (
	seedSize = 32     // of what API servers have wrapped
	burst    = 10_000 // unwraps when an API server starts
	atOnce   = 256    // of them
)

// wrapFigures measures what a KMS plugin waits for at the control plane, and an API server at the plugin's socket, with the
// journal and without: one call after the other, and a start's burst of unwraps.
func wrapFigures(b *bench) {
	for _, audit := range []string{"on", "off"} {
		c := harness.New(b)
		cp := c.ControlPlane("cp", "--kms-audit="+audit)
		cp.Start()
		cp.Admin().Do(http.StatusCreated, http.MethodPost, "/kms/keys", map[string]any{"name": "bench"})
		aim, note := 5.0, "each in the journal, on disk, before it is answered"
		if audit == "off" {
			aim, note = 1, "kms_audit = off"
		}
		b.wrapping(b.wrapClient(c, cp), "kms_audit "+audit, aim, note)
		plugin := c.KMS("bench.2", []*harness.ControlPlane{cp})
		plugin.Start()
		b.encrypting(plugin, "kms_audit "+audit, aim, note)
		plugin.Stop()
		cp.Stop()
	}
}

// wrapClient is a KMS plugin, as the control plane sees one.
func (b *bench) wrapClient(c *harness.Cluster, cp *harness.ControlPlane) wrapv1.WrapServiceClient {
	c.CP("certs", "issue", "bench.1", "--role", "kms", "--dir", c.Certs())
	source, err := mtls.Open(mtls.Files{Cert: c.Cert("bench.1.crt"), Key: c.Cert("bench.1.key"), CA: c.Cert("ca.crt"), CRL: c.Cert("crl.pem")})
	if err != nil {
		b.Fatalf("%v", err)
	}
	conn, err := grpc.NewClient(cp.Cluster, grpc.WithTransportCredentials(grpccreds.Client(source, "", identity.ControlPlane)))
	if err != nil {
		b.Fatalf("%v", err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return wrapv1.NewWrapServiceClient(conn)
}

// encrypting asks a plugin as an API server does.
func (b *bench) encrypting(plugin *harness.KMS, name string, aim float64, note string) {
	conn, err := grpc.NewClient(plugin.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatalf("%v", err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	ctx, api := context.Background(), v2.NewKeyManagementServiceClient(conn)
	harness.Eventually(b, "the plugin's status", func() string {
		if _, err := api.Status(ctx, &v2.StatusRequest{}); err != nil {
			return err.Error()
		}
		return ""
	})
	sealed := make([]*v2.EncryptResponse, 16) // a start asks for the seeds of several servers and restarts
	encrypt := func(i int) (err error) {
		sealed[i%len(sealed)], err = api.Encrypt(ctx, &v2.EncryptRequest{Uid: uidOf(i), Plaintext: make([]byte, seedSize)})
		return err
	}
	decrypt := func(i int) error {
		one := sealed[i%len(sealed)]
		_, err := api.Decrypt(ctx, &v2.DecryptRequest{Uid: uidOf(i), KeyId: one.KeyId, Ciphertext: one.Ciphertext})
		return err
	}
	b.oneByOne("over the socket, "+name, aim, note, []act{{"Encrypt", encrypt}, {"Decrypt", decrypt}})
	b.atStart("Decrypts", name+", over the socket", decrypt)
}

// act is a call to be measured.
type act struct {
	name string
	call func(i int) error
}

func uidOf(i int) string { return fmt.Sprintf("6f9619ff-8b86-d011-b42d-%012d", i) }

func (b *bench) oneByOne(where string, aim float64, note string, acts []act) {
	for _, act := range acts {
		took, quiet := b.milliseconds(b.effort.wraps, act.call)
		b.report.add(figure{Name: act.name + " 32 B " + where + ", p50", Value: quantile(took, 0.5), Unit: "ms"})
		b.report.add(figure{Name: act.name + " 32 B " + where + ", p99", Value: quantile(took, 0.99), Unit: "ms", Aim: aim, Note: note + "; " + quiet})
	}
}

func (b *bench) atStart(what, where string, call func(i int) error) {
	var times []float64
	for range 3 {
		times = append(times, b.timed(func() { b.together(burst, atOnce, call) }))
	}
	b.report.spread(figure{Name: "10,000 " + what + " of a start, " + where, Unit: "s", Aim: 3, Note: fmt.Sprintf("%d at once, on one connection", atOnce)}, times)
}

func (b *bench) wrapping(client wrapv1.WrapServiceClient, name string, aim float64, note string) {
	ctx := context.Background()
	sealed, err := client.Wrap(ctx, &wrapv1.WrapRequest{Uid: uidOf(0), Plaintext: make([]byte, seedSize)})
	if err != nil {
		b.Fatalf("%v", err)
	}
	unwrap := func(i int) error {
		_, err := client.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: uidOf(i), KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext})
		return err
	}
	wrap := func(i int) error {
		_, err := client.Wrap(ctx, &wrapv1.WrapRequest{Uid: uidOf(i), Plaintext: make([]byte, seedSize)})
		return err
	}
	b.oneByOne("over mTLS, "+name, aim, note, []act{{"wrap", wrap}, {"unwrap", unwrap}})
	b.atStart("unwraps", name, unwrap)
}

// callsARound is how many calls are kept or left out together, for what else the machine did.
const callsARound = 500

// milliseconds is how long each of n calls took, one after the other, and how quiet it was: rounds in which others took much of the
// machine are left out and made up for, up to three times as many.
func (b *bench) milliseconds(n int, call func(i int) error) (took []float64, quiet string) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // what measures is to rest meanwhile
	var all []float64
	rounds, kept := 0, 0
	for ; len(took) < n && len(all) < 4*n; rounds++ {
		runtime.GC()
		from := len(all)
		others := b.others(func() {
			for i := range callsARound {
				begun := time.Now()
				if err := call(i); err != nil {
					b.Fatalf("%v", err)
				}
				all = append(all, float64(time.Since(begun).Nanoseconds())/1e6)
			}
		})
		if rounds == 0 { // it warms up
			all = nil
			continue
		}
		if others < othersAtMost {
			took, kept = append(took, all[from:]...), kept+1
		}
	}
	if kept < 4 {
		return all, fmt.Sprintf("all %d rounds, as others took part of the machine in nearly each", rounds-1)
	}
	return took, fmt.Sprintf("%d rounds of %d, in which others took less than %.0f %% of the machine", kept, rounds-1, 100*othersAtMost)
}

// together makes n calls, several at once.
func (b *bench) together(n, atOnce int, call func(i int) error) {
	next, failed := make(chan int), make(chan error, atOnce)
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for i := range next {
				if err := call(i); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	select {
	case err := <-failed:
		b.Fatalf("%v", err)
	default:
	}
}
