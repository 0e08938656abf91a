package kmsclient_test

import (
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

func TestTheVersionIsAskedOnceItWasAnswered(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	one := v1(t, p, patience)
	p.Break(func(f *control.Faults) { *f = refusing(control.V1Version, codes.Internal, "later") })
	_, err := one.Encrypt(t.Context(), newSeed())
	wantUnavailable(t, err, "later")
	p.Break(func(f *control.Faults) { *f = control.Faults{V1Version: "v1"} })
	_, err = one.Decrypt(t.Context(), []byte{1})
	wantUnavailable(t, err, `"v1" is not v1beta1`)
	if calls := p.State().Calls; calls[control.V1Encrypt]+calls[control.V1Decrypt] != 0 || calls[control.V1Version] != 2 {
		t.Fatalf("calls = %v", calls)
	}
	p.Mend()
	for range 3 {
		if _, err := one.Encrypt(t.Context(), newSeed()); err != nil {
			t.Fatal(err)
		}
	}
	if calls := p.State().Calls; calls[control.V1Version] != 3 || calls[control.V1Encrypt] != 3 {
		t.Errorf("calls = %v", calls)
	}
}

// Whoever goes by who is at the other end hears of each connection, and of no call.
func TestEachConnectionIsTold(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	var told atomic.Uint64
	one, err := kmsclient.NewV1(kmsclient.Options{Name: "prov", Endpoint: p.Endpoint(), Timeout: patience, Connected: func() { told.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.Close() })
	for link := range uint64(2) {
		if link > 0 {
			p.Restart()
		} else if told.Load() != 0 || one.Link() != 0 {
			t.Errorf("connection %d before the first call, %d told", one.Link(), told.Load())
		}
		before := one.Link()
		for range 3 {
			_, err = one.Encrypt(t.Context(), newSeed()) // the first may break with the connection before
		}
		if err != nil || one.Link() <= before || one.Link() != told.Load() {
			t.Errorf("%v; connection %d after %d, %d told", err, one.Link(), before, told.Load())
		}
	}
}

func TestBadAnswersOfVersion1(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	one := v1(t, p, patience)
	cipher, err := one.Encrypt(t.Context(), newSeed())
	if err != nil {
		t.Fatal(err)
	}
	overhead := 1 + len("key-1")
	for size, says := range map[int]string{-1: "0 bytes", kmsclient.MaxCipherV1 + 1 - overhead: "65536 bytes", kmsclient.MaxCipherV1 - overhead: ""} {
		p.Break(func(f *control.Faults) { *f = control.Faults{CipherSize: size} })
		_, err := one.Encrypt(t.Context(), newSeed())
		if says != "" {
			wantUnavailable(t, err, says)
		} else if err != nil {
			t.Error(err)
		}
	}
	p.Break(func(f *control.Faults) {
		*f = control.Faults{Refuse: map[control.Method]control.Refusal{control.V1Encrypt: {Code: 13, Echo: "hex"}}}
	})
	_, err = one.Encrypt(t.Context(), newSeed())
	wantUnavailable(t, err, "withheld")
	p.Break(func(f *control.Faults) { *f = control.Faults{Plaintext: "empty"} })
	_, err = one.Decrypt(t.Context(), cipher)
	wantUnavailable(t, err, "decrypts to nothing")
	p.Mend()
	p.Forget("key-1")
	_, err = one.Decrypt(t.Context(), cipher)
	wantUnavailable(t, err, "NotFound")
}
