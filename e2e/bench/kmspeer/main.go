//go:build ignore

// Command kmspeer measures how long k8s.io/apiserver's own KMS v2 transformer takes for a value of 1 KiB whose seed is
// cached, its choice by prefix included, and prints it as `go test -bench` does. The section kms of e2e/bench runs it in turns with our own code.
//
// Its modules are those of .tools/kmspeer.mod and not the project's, hence the build constraint: `make peers` builds it
// by the name of its file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/metrics"
	"k8s.io/kms/pkg/service"
)

// plugin is asked for one seed and never again: what it does with it is not measured.
type plugin struct{}

func (plugin) Status(context.Context) (*service.StatusResponse, error) {
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: "key-1"}, nil
}

func (plugin) Encrypt(_ context.Context, _ string, data []byte) (*service.EncryptResponse, error) {
	return &service.EncryptResponse{Ciphertext: append(data, make([]byte, 40)...), KeyID: "key-1", Annotations: map[string][]byte{
		"round.kmsplugin.keepgate.test": []byte("1"),
	}}, nil
}

func (plugin) Decrypt(_ context.Context, _ string, r *service.DecryptRequest) ([]byte, error) {
	return r.Ciphertext[:len(r.Ciphertext)-40], nil
}

func main() {
	testing.Init()
	flag.Parse()
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "kmspeer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	metrics.RegisterMetrics() // as an API server does; without them nothing is counted
	value.RegisterMetrics()
	sealer, wrapped, cacheKey, err := kmsv2.GenerateTransformer(ctx, "uid", plugin{}, true)
	if err != nil {
		return err
	}
	state := kmsv2.State{
		Transformer: sealer, EncryptedObjectKeyID: wrapped.KeyID, EncryptedObjectEncryptedDEKSource: wrapped.EncryptedDEKSource,
		EncryptedObjectAnnotations: wrapped.Annotations, EncryptedObjectEncryptedDEKSourceType: wrapped.EncryptedDEKSourceType,
		UID: "uid", ExpirationTimestamp: time.Now().Add(24 * time.Hour), CacheKey: cacheKey, KMSProviderName: "prov",
	}
	// As an EncryptionConfiguration with this provider alone makes it: what is stored begins with the prefix.
	transformer := value.NewPrefixTransformers(errors.New("no matching prefix found"), value.PrefixTransformer{
		Prefix:      []byte("k8s:enc:kms:v2:prov:"),
		Transformer: kmsv2.NewEnvelopeTransformer(plugin{}, "prov", func() (kmsv2.State, error) { return state, nil }, "server"),
	})
	place, plaintext := value.DefaultContext("/registry/secrets/default/a-secret-of-some-name"), make([]byte, 1024)
	var stored [2][]byte
	for i := range stored {
		if stored[i], err = transformer.TransformToStorage(ctx, plaintext, place); err != nil {
			return err
		}
	}
	held := make([]byte, 32<<20) // as in our benchmarks: the collector of a process that holds nothing runs all the time
	defer runtime.KeepAlive(held)
	report("Seal", func() error {
		_, err := transformer.TransformToStorage(ctx, plaintext, place)
		return err
	})
	report("OpenAgain", func() error {
		_, _, err := transformer.TransformFromStorage(ctx, stored[0], place)
		return err
	})
	turn := 0
	report("OpenFirst", func() error { // another value of the same place: it keeps one derived key a place
		turn++
		_, _, err := transformer.TransformFromStorage(ctx, stored[turn%2], place)
		return err
	})
	return nil
}

// report prints a result, with the time on a CPU: see measure in e2e/bench/kmsown, which does the same.
func report(name string, once func() error) {
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(1024)
		before := onCPU(b)
		for b.Loop() {
			if err := once(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(onCPU(b)-before)/float64(b.N), "cpu-ns/op")
	})
	fmt.Printf("BenchmarkKMS%s1KiB-%d %s %s\n", name, runtime.GOMAXPROCS(0), result, result.MemString())
}

func onCPU(b *testing.B) (nanoseconds int64) {
	var spent syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &spent); err != nil {
		b.Fatal(err)
	}
	return spent.Utime.Nano() + spent.Stime.Nano()
}
