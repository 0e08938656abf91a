package secretbackend

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// logging is a vault with a login of its own.
func logging(t *testing.T, address string, login func(ctx context.Context, c *vaultclient.Client) (*vaultclient.Session, error)) *hcv {
	t.Helper()
	client, err := vaultclient.New(vaultclient.Options{Address: address, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return Vault(client, "secret", true, func(ctx context.Context) (*vaultclient.Session, error) { return login(ctx, client) }).(*hcv)
}

const nowhere = "https://127.0.0.1:1"

// Whoever has waited for a server in vain is told so, and does not wait once more with what is left of the time.
func TestAServerThatIsNotReachedIsNotAskedOnceMore(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	go func() {
		for nc, err := l.Accept(); err == nil; nc, err = l.Accept() {
			asked.Add(1)
			_ = nc.Close() // which is no TLS
		}
	}()
	h := logging(t, "https://"+l.Addr().String(), func(_ context.Context, c *vaultclient.Client) (*vaultclient.Session, error) {
		return c.WithToken(secret.Take([]byte("token")))
	})
	t.Cleanup(h.Close)
	_, err = h.Read(t.Context(), "app", 0, []string{"k"})
	_ = l.Close()
	if vaultclient.StepOf(err) != vaultclient.StepTLS || Coarse(err) != "it cannot be reached" || asked.Load() != 1 {
		t.Errorf("Read = %v, asked %d times", err, asked.Load())
	}
}

// All that need a session wait for one login, and share its failure. Who comes later tries again.
func TestOneLoginForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logins, goOn := 0, make(chan struct{})
		h := logging(t, nowhere, func(context.Context, *vaultclient.Client) (*vaultclient.Session, error) {
			logins++
			<-goOn
			return nil, failed(fault.Denied, "not this time")
		})
		defer h.Close()
		var readers sync.WaitGroup
		for range 5 {
			readers.Go(func() {
				if _, err := h.Read(t.Context(), "app", 0, []string{"k"}); fault.KindOf(err) != fault.Denied {
					t.Errorf("Read = %v", err)
				}
			})
		}
		synctest.Wait()
		close(goOn)
		readers.Wait()
		if logins != 1 {
			t.Errorf("%d logins", logins)
		}
		if _, err := h.Read(t.Context(), "app", 0, []string{"k"}); fault.KindOf(err) != fault.Denied || logins != 2 {
			t.Errorf("Read = %v, after %d logins", err, logins)
		}
	})
}

// Nobody waits for a login for longer than their context allows, and who gives a login up leaves it to the others.
func TestALoginIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logins := 0
		h := logging(t, nowhere, func(ctx context.Context, _ *vaultclient.Client) (*vaultclient.Session, error) {
			logins++
			<-ctx.Done()
			return nil, failed(fault.Unavailable, "given up")
		})
		read := func() (over chan error, giveUp context.CancelFunc) {
			ctx, giveUp := context.WithCancel(t.Context())
			over = make(chan error, 1)
			go func() {
				_, err := h.Read(ctx, "app", 0, []string{"k"})
				over <- err
			}()
			synctest.Wait()
			return over, giveUp
		}
		first, giveUpFirst := read()
		second, giveUpSecond := read()
		third, giveUpThird := read()
		defer giveUpThird()
		giveUpSecond()
		if err := <-second; fault.KindOf(err) != fault.Unavailable || logins != 1 {
			t.Errorf("who waits: %v, after %d logins", err, logins)
		}
		giveUpFirst()
		if err := <-first; fault.KindOf(err) != fault.Unavailable {
			t.Errorf("who logs in: %v", err)
		}
		synctest.Wait()
		if logins != 2 {
			t.Errorf("%d logins once the first was given up", logins)
		}
		h.Close()
		if err := <-third; fault.KindOf(err) != fault.Unavailable {
			t.Errorf("who logs in at the end: %v", err)
		}
		if _, err := h.Read(t.Context(), "app", 0, []string{"k"}); err == nil || errors.Is(err, context.Canceled) || logins != 2 {
			t.Errorf("after the end: %v, after %d logins", err, logins)
		}
	})
}

// A session whose login was under way at the end is not left behind.
func TestTheEndMeetsALogin(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	h := logging(t, nowhere, func(ctx context.Context, c *vaultclient.Client) (*vaultclient.Session, error) {
		close(begun)
		<-ctx.Done()
		return c.WithToken(secret.Take([]byte("token")))
	})
	over := make(chan error, 1)
	go func() {
		_, err := h.Read(t.Context(), "app", 0, []string{"k"})
		over <- err
	}()
	<-begun
	h.Close()
	if err := <-over; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Read = %v", err)
	}
	if h.session != nil || h.attempt != nil {
		t.Error("something is left")
	}
}
