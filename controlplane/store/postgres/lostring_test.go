package postgres_test

import (
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/e2e/pgtest"
	"github.com/keepgate/keepgate/shared/fault"
)

// TestLostKeyringCommit breaks the connection at the COMMIT of a change of the ring: what the server has
// done counts, so that nobody makes a key twice.
func TestLostKeyringCommit(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, pgtest.Options{TCP: true})
	head, next := "1", "2"
	tests := map[string]struct {
		heard bool
		old   *string
	}{
		"the first head, committed": {heard: true},
		"the first head, not heard": {heard: false},
		"a later head, committed":   {heard: true, old: &head},
		"a later head, not heard":   {heard: false, old: &head},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			settings := config(t, server, server.Database(t))
			direct := open(t, settings)
			if err := direct.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if test.old != nil {
				if err := direct.ChangeKeyring(t.Context(), "", nil, head, nil); err != nil {
					t.Fatal(err)
				}
			}
			wire := newCutter(t, server.Port(), test.heard, true)
			settings.Server, settings.Timeout = at("127.0.0.1", wire.port()), 10*time.Second
			store := open(t, settings)
			wire.armed.Store(true)
			err := store.ChangeKeyring(t.Context(), "", test.old, next, []record.Key{{ID: "8zgITLQh"}})
			if test.heard && err != nil || !test.heard && fault.KindOf(err) != fault.Unavailable {
				t.Errorf("ChangeKeyring = %v", err)
			}
			if !wire.cut.Load() {
				t.Error("nothing was cut")
			}
			ring, err := direct.Keyring(t.Context(), "")
			if err != nil || (len(ring.Keys) == 1) != test.heard || test.heard != (ring.Head != nil && *ring.Head == next) {
				t.Errorf("%+v, %v", ring, err)
			}
		})
	}
}
