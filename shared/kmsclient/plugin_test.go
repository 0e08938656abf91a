package kmsclient_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// patience is how long a call may take on a busy machine; brief is for calls that are to run into their timeout.
const (
	patience = 30 * time.Second
	brief    = 200 * time.Millisecond
)

func newSeed() secret.Bytes { return secret.Take([]byte("0123456789abcdef0123456789abcdef")) }

func v2(t *testing.T, p *kmsplugin.Plugin, timeout time.Duration) *kmsclient.V2 {
	t.Helper()
	client, err := kmsclient.NewV2(kmsclient.Options{Name: "prov", Endpoint: p.Endpoint(), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func v1(t *testing.T, p *kmsplugin.Plugin, timeout time.Duration) *kmsclient.V1 {
	t.Helper()
	client, err := kmsclient.NewV1(kmsclient.Options{Name: "prov", Endpoint: p.Endpoint(), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// wantUnavailable checks that err names the provider and says each of the words.
func wantUnavailable(t *testing.T, err error, words ...string) {
	t.Helper()
	if fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "kms/prov" {
		t.Errorf("error = %v, want kind %v and the subject kms/prov", err, fault.Unavailable)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error = %q, which does not say %q", err, word)
		}
	}
}

func TestOverBothKindsOfSocket(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]kmsplugin.Options{"file": {}, "abstract": {Abstract: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := kmsplugin.StartWith(t, t.TempDir(), options)
			two, one, seed := v2(t, p, patience), v1(t, p, patience), newSeed()
			status, err := two.Status(t.Context())
			if err != nil || status != (kmsclient.Status{Version: "v2", KeyID: "key-1"}) {
				t.Fatalf("Status = %+v, %v", status, err)
			}
			wrapped, err := two.Encrypt(t.Context(), seed)
			if err != nil || wrapped.KeyID != "key-1" || len(wrapped.Annotations) == 0 {
				t.Fatalf("Encrypt = %+v, %v", wrapped, err)
			}
			if opened, err := two.Decrypt(t.Context(), wrapped); err != nil || !opened.Equal(seed) {
				t.Fatalf("Decrypt: %v", err)
			}
			runtime, err := one.Version(t.Context())
			if err != nil || runtime != (kmsclient.Runtime{Name: "kmsplugin", Version: "1.0.0"}) {
				t.Fatalf("Version = %+v, %v", runtime, err)
			}
			cipher, err := one.Encrypt(t.Context(), seed)
			if err != nil {
				t.Fatal(err)
			}
			if opened, err := one.Decrypt(t.Context(), cipher); err != nil || !opened.Equal(seed) {
				t.Fatalf("Decrypt of version 1: %v", err)
			}
			if seen := p.State().Authorities; len(seen) != 1 || seen[0] != "localhost" {
				t.Errorf("the plugin saw :authority %q, want localhost alone", seen)
			}
		})
	}
}

// An observer hears of good and bad calls, by the names that Kubernetes' metrics have.
func TestObserve(t *testing.T) {
	t.Parallel()
	p := kmsplugin.New(t, t.TempDir(), kmsplugin.Options{})
	var mu sync.Mutex
	var heard []string
	two, err := kmsclient.NewV2(kmsclient.Options{Name: "prov", Endpoint: p.Endpoint(), Timeout: brief, Observe: func(method, code string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, method+" "+code)
		if took <= 0 {
			t.Errorf("%s took %v", method, took)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	_, err = two.Status(t.Context())
	wantUnavailable(t, err, "start the plugin")
	p.Start()
	awaitGood(t, two)
	mu.Lock()
	defer mu.Unlock()
	first, last := heard[0], heard[len(heard)-1]
	if first != "/v2.KeyManagementService/Status DeadlineExceeded" || last != "/v2.KeyManagementService/Status OK" {
		t.Errorf("heard %q first and %q last", first, last)
	}
}

// awaitGood calls until a status is good.
func awaitGood(t *testing.T, client *kmsclient.V2) kmsclient.Status {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		status, err := client.Status(t.Context())
		if err == nil {
			return status
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not come back: %v", err)
		}
	}
}

func TestCloseEndsCallsAndLetsNoneBegin(t *testing.T) {
	t.Parallel()
	p := kmsplugin.New(t, t.TempDir(), kmsplugin.Options{})
	two := v2(t, p, patience)
	under := make(chan error)
	go func() {
		_, err := two.Status(t.Context())
		under <- err
	}()
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, <-under, "closed")
	_, err := two.Status(t.Context())
	wantUnavailable(t, err, "closed")
	if err := two.Close(); err != nil {
		t.Errorf("Close again = %v", err)
	}
}

func TestACallersEndIsNotThePluginsFault(t *testing.T) {
	t.Parallel()
	p := kmsplugin.New(t, t.TempDir(), kmsplugin.Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller went home")
	cancel(gone)
	if _, err := v2(t, p, patience).Status(ctx); !errors.Is(err, gone) {
		t.Errorf("Status = %v, want %v", err, gone)
	}
}
