package lease

import (
	"io/fs"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/aead"
)

// While a machine sleeps its monotonic clock may stand still: what the other one shows counts then.
func TestASleepingMachineDoesNotProlong(t *testing.T) {
	t.Parallel()
	none := Record{Path: filepath.Join(t.TempDir(), "lease"), Key: func() (*aead.Key, error) { return nil, fs.ErrInvalid }}
	l := Open(time.Hour, func() bool { return false }, none, slog.New(slog.DiscardHandler))
	l.Heard()
	if l.Ended() {
		t.Fatal("a lease ends as it begins")
	}
	l.mu.Lock()
	l.contact, l.latest = l.contact.Add(-2*time.Hour), l.latest.Add(-2*time.Hour) // as if it had been asleep since
	l.mu.Unlock()
	if !l.Ended() {
		t.Errorf("%v is left after two hours of sleep", l.Left())
	}
}
