package spelling_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/spelling"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"port", "pg_port", "pg_host", "services", "id", strings.Repeat("a", 65)}
	for word, want := range map[string]string{
		"prt": "port", "servces": "services", "pg_hots": "pg_host", "pg_prot": "pg_port", "port": "port", "ia": "id", "i": "id",
		"xyz": "", "": "", "consumers": "", strings.Repeat("a", 64): strings.Repeat("a", 65), strings.Repeat("a", 65): "",
	} {
		if got := spelling.Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
