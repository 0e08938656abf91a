package dial_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/shared/secret"
)

// Each connection is made with the newest password that is known. Why there is no newer one is told once, and as long as it is so.
func TestPasswordFromElsewhere(t *testing.T) {
	t.Parallel()
	value, stale := "canary-one", error(nil)
	var told []string
	options := dial.Options{
		Hosts: []dial.Host{{Name: "/run", Port: 1}}, Password: secret.Take([]byte("unused")),
		PasswordSource: func() (secret.Bytes, error) { return secret.Take([]byte(value)), stale },
		Warn:           func(text string) { told = append(told, text) },
	}
	dialer, err := dial.New(options)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		value    string
		stale    error
		warnings []string
		told     int
	}{
		{"canary-one", nil, nil, 0},
		{"canary-two", nil, nil, 0},
		{"canary-two", errors.New("pg_password: it is sealed"), []string{"going on with what was read before: pg_password: it is sealed"}, 1},
		{"canary-two", errors.New("pg_password: it is sealed"), []string{"going on with what was read before: pg_password: it is sealed"}, 1},
		{"canary-two", errors.New("pg_password: it is down"), []string{"going on with what was read before: pg_password: it is down"}, 2},
		{"canary-three", nil, nil, 2},
	} {
		value, stale = step.value, step.stale
		config, err := pgx.ParseConfig("host=/run")
		if err != nil {
			t.Fatal(err)
		}
		if err := dialer.Prepare(t.Context(), config); err != nil || config.Password != step.value {
			t.Errorf("%d: Prepare = %v, with the password %q", i, err, config.Password)
		}
		if diff := cmp.Diff(step.warnings, dialer.Warnings()); diff != "" || len(told) != step.told || strings.Contains(strings.Join(told, ""), "canary") {
			t.Errorf("%d: told %q; warnings (-want +got):\n%s", i, told, diff)
		}
	}
}

// A source that has a value and an error at the start is no reason not to start.
func TestAStaleStart(t *testing.T) {
	t.Parallel()
	dialer, err := dial.New(dial.Options{
		Hosts:          []dial.Host{{Name: "/run", Port: 1}},
		PasswordSource: func() (secret.Bytes, error) { return secret.Take([]byte("one")), errors.New("it is down") },
	})
	if err != nil || len(dialer.Warnings()) != 1 {
		t.Errorf("New = %v", err)
	}
}

func TestPasswordsChangeWhileConnectionsAreMade(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	n := 0
	dialer, err := dial.New(dial.Options{
		Hosts: []dial.Host{{Name: "/run", Port: 1}},
		PasswordSource: func() (secret.Bytes, error) {
			mu.Lock()
			defer mu.Unlock()
			n++
			return secret.Take([]byte{byte('a' + n%3)}), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var making sync.WaitGroup
	for range 8 {
		making.Go(func() {
			for range 50 {
				config, err := pgx.ParseConfig("host=/run")
				if err != nil {
					t.Error(err)
					return
				}
				if err := dialer.Prepare(t.Context(), config); err != nil || len(config.Password) != 1 {
					t.Errorf("Prepare = %v, %q", err, config.Password)
				}
				dialer.Warnings()
			}
		})
	}
	making.Wait()
}
