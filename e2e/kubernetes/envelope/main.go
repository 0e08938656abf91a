//go:build ignore

// Command envelope does what an API server does when it finds that a key was rotated, with Kubernetes' own code and without
// its pauses: it asks for the status, has a seed encrypted, compares the key_ids and decrypts the seed again. When its
// standard input ends it prints what it saw.
//
// Its modules are those of .tools/kubernetes.mod and not the project's, hence the build constraint: `make e2e-kubernetes`
// builds it by the name of its file.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	"k8s.io/kms/pkg/service"
)

// seen is what all workers saw.
type seen struct {
	mu         sync.Mutex
	Rounds     int      `json:"rounds"`
	Mismatches int      `json:"mismatches"` // an API server would throw these answers away
	Returned   int      `json:"returned"`   // a key_id that came back after another one
	Failures   []string `json:"failures"`
	Keys       int      `json:"keys"`
}

func main() {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	all, keys := &seen{Failures: []string{}}, map[string]bool{}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { work(ctx, os.Args[1], all, keys) })
	}
	group.Wait()
	all.Keys = len(keys)
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		fmt.Fprintln(os.Stderr, "envelope:", err)
		os.Exit(1)
	}
}

func work(ctx context.Context, endpoint string, all *seen, keys map[string]bool) {
	plugin, err := kmsv2.NewGRPCService(context.Background(), endpoint, "keepgate", 10*time.Second)
	if err != nil {
		all.note(func() { all.Failures = append(all.Failures, err.Error()) })
		return
	}
	own, last := map[string]bool{}, ""
	for ctx.Err() == nil {
		err := func() error {
			status, err := plugin.Status(context.Background())
			if err != nil {
				return err
			}
			if status.Healthz != "ok" || status.Version != "v2" {
				return fmt.Errorf("status %+v", status)
			}
			_, object, _, err := kmsv2.GenerateTransformer(context.Background(), "uid", plugin, true)
			if err != nil {
				return err
			}
			seed, err := plugin.Decrypt(context.Background(), "uid", &service.DecryptRequest{
				Ciphertext: object.EncryptedDEKSource, KeyID: object.KeyID, Annotations: object.Annotations,
			})
			if err != nil || len(seed) < 32 {
				return fmt.Errorf("a seed of %d bytes: %w", len(seed), err)
			}
			all.note(func() {
				all.Rounds++
				keys[status.KeyID] = true
				if object.KeyID != status.KeyID {
					all.Mismatches++
				}
				if status.KeyID != last && own[status.KeyID] {
					all.Returned++
				}
			})
			last, own[status.KeyID] = status.KeyID, true
			return nil
		}()
		if err != nil {
			all.note(func() { all.Failures = append(all.Failures, err.Error()) })
			return
		}
	}
}

func (s *seen) note(what func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what()
}
