package kms_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
)

func TestExamine(t *testing.T) {
	for name, c := range map[string]struct {
		breaks             func(p *plugin)
		status, encryption finding.Verdict
		says               string
	}{
		"well":              {func(*plugin) {}, finding.OK, finding.OK, "gives back"},
		"dead":              {func(p *plugin) { p.dead = true }, finding.Wrong, finding.Skipped, "nobody listens"},
		"ill":               {func(p *plugin) { p.ill = errRefused }, finding.Wrong, finding.Skipped, "permission denied"},
		"decrypts nothing":  {func(p *plugin) { p.deny = true }, finding.OK, finding.Wrong, "does not decrypt"},
		"another key_id":    {func(p *plugin) { p.encryptsAs = "X" }, finding.OK, finding.Wrong, "both must be the same"},
		"wrong, not denied": {func(p *plugin) { p.answers = func(data []byte) []byte { return data[1:] } }, finding.OK, finding.Wrong, "does not decrypt to"},
	} {
		t.Run(name, func(t *testing.T) {
			inTown(t, 1, func(t *testing.T, w *town) {
				keeper := newKeeper(w.nodes[0].plugin)
				c.breaks(w.nodes[0].plugin)
				found := keeper.Examine(t.Context(), "keyring_kms_endpoint")
				if len(found) != 2 || found[0].Verdict != c.status || found[1].Verdict != c.encryption {
					t.Fatalf("Examine = %+v", found)
				}
				if !strings.Contains(found[0].Fact+found[1].Fact, c.says) || found[0].Verdict == finding.Wrong && !strings.Contains(found[0].Mend, "keyring_kms_endpoint") {
					t.Errorf("Examine = %+v", found)
				}
			})
		})
	}
}

// TestProbe answers from memory for a while, and then asks again.
func TestProbe(t *testing.T) {
	inTown(t, 1, func(t *testing.T, w *town) {
		keeper, p := newKeeper(w.nodes[0].plugin), w.nodes[0].plugin
		probe := func(healthy bool, asked int) {
			t.Helper()
			if err := keeper.Probe(t.Context()); (err == nil) != healthy {
				t.Errorf("Probe = %v", err)
			}
			if got := p.called("Status"); got != asked {
				t.Errorf("asked %d times, want %d", got, asked)
			}
		}
		probe(true, 1)
		p.set(func(p *plugin) { p.ill = errRefused })
		time.Sleep(19 * time.Second)
		probe(true, 1)
		time.Sleep(2 * time.Second)
		probe(false, 2)
		p.set(func(p *plugin) { p.ill = nil })
		time.Sleep(2 * time.Second)
		probe(false, 2)
		time.Sleep(2 * time.Second)
		probe(true, 3)
		done := make(chan error)
		p.set(func(p *plugin) { p.dead = true })
		time.Sleep(time.Minute)
		for range 5 {
			go func() { done <- keeper.Probe(t.Context()) }()
		}
		for range 5 {
			if err := <-done; err == nil {
				t.Error("a dead plugin is well")
			}
		}
		if got := p.called("Status"); got != 4 {
			t.Errorf("five at once asked %d times", got-3)
		}
	})
}
