package nodescmd

import (
	"encoding/json"
	"strings"
	"testing"
	"text/tabwriter"
	"unicode"
)

// What somebody wrote into a lease cannot command the terminal, nor look like another row.
func TestALeaseIsOnlyText(t *testing.T) {
	t.Parallel()
	var p page
	if err := json.Unmarshal([]byte(`{"data":[
		{"id":"1","name":"cp-0","hostname":"h","version":"1","self":true,"live":true,"lease_age":1.2,"keyring":{"strategy":"cluster","holds":["AAAAAAAA"]}},
		{"id":"2\u001b]0;x\u0007","name":"cp-1\nowned\tlive","hostname":"\u001b[2J","version":"\u009b","refused":"no\rproof","lease_age":99}
	],"nats":{"embedded":true,"connected":true,"routes":1,"refused":{"replayed":3}}}`), &p); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := p.print(tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("it prints %q:\n%q", r, b.String())
		}
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 6 || !strings.Contains(lines[1], "live, this one") || !strings.Contains(lines[2], "away") || !strings.Contains(lines[3], "not believed: no?proof") ||
		lines[4] != "NATS: embedded, 1 links to other nodes" || lines[5] != "refused messages, replayed: 3" {
		t.Errorf("it prints\n%s", b.String())
	}
}
