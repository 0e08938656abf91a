package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/keepgate/keepgate/e2e/harness"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
)

const (
	seedSize = 32     // of what API servers have wrapped
	burst    = 10_000 // unwraps when an API server starts
	atOnce   = 256    // of them
)

// wrapFigures measures what a KMS plugin waits for at the control plane, with the journal and without: one call after
// the other, and a start's burst of unwraps.
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
	conn, err := grpc.NewClient(cp.Cluster, grpc.WithTransportCredentials(grpccreds.Client(source, "", mtls.ControlPlane)))
	if err != nil {
		b.Fatalf("%v", err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return wrapv1.NewWrapServiceClient(conn)
}

func (b *bench) wrapping(client wrapv1.WrapServiceClient, name string, aim float64, note string) {
	ctx := context.Background()
	uid := func(i int) string { return fmt.Sprintf("6f9619ff-8b86-d011-b42d-%012d", i) }
	sealed, err := client.Wrap(ctx, &wrapv1.WrapRequest{Uid: uid(0), Plaintext: make([]byte, seedSize)})
	if err != nil {
		b.Fatalf("%v", err)
	}
	unwrap := func(i int) error {
		_, err := client.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: uid(i), KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext})
		return err
	}
	wrap := func(i int) error {
		_, err := client.Wrap(ctx, &wrapv1.WrapRequest{Uid: uid(i), Plaintext: make([]byte, seedSize)})
		return err
	}
	for _, act := range []struct {
		name string
		call func(i int) error
	}{{"wrap", wrap}, {"unwrap", unwrap}} {
		took := b.milliseconds(b.effort.wraps, act.call)
		b.report.add(figure{Name: act.name + " 32 B over mTLS, " + name + ", p50", Value: quantile(took, 0.5), Unit: "ms"})
		b.report.add(figure{Name: act.name + " 32 B over mTLS, " + name + ", p99", Value: quantile(took, 0.99), Unit: "ms", Aim: aim, Note: note})
	}
	var times []float64
	for range 3 {
		times = append(times, b.timed(func() { b.together(burst, atOnce, unwrap) }))
	}
	b.report.spread(figure{Name: "10,000 unwraps of a start, " + name, Unit: "s", Aim: 3, Note: fmt.Sprintf("%d at once, on one connection", atOnce)}, times)
}

// milliseconds is how long each of n calls took, one after the other.
func (b *bench) milliseconds(n int, call func(i int) error) (took []float64) {
	for i := range n + n/10 {
		begun := time.Now()
		if err := call(i); err != nil {
			b.Fatalf("%v", err)
		}
		if i >= n/10 { // the first ones warm up
			took = append(took, float64(time.Since(begun).Nanoseconds())/1e6)
		}
	}
	return took
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
