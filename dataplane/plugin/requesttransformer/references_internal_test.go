package requesttransformer

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// FuzzReferences: whatever a reference leads to comes out as it is, and around it what the text without it makes.
func FuzzReferences(f *testing.F) {
	f.Add("a", "b", "$(headers.x_a)")
	f.Add("$(headers.x_a)", "$", "(headers.x_a)")
	f.Add("$", "", "$(")
	f.Add("$(headers.x_a or '", "')", "x")
	f.Add("{kvm", "}", "{kvm://m/k}")
	f.Fuzz(func(t *testing.T, before, after, value string) {
		m := &maker{&instance{}, func(string) (string, error) { return value, nil }}
		made, err := m.template(before+"{kvm://m/k}"+after, asItIs)
		if err != nil {
			return
		}
		first, err := m.template(before, asItIs)
		if err != nil {
			t.Fatalf("%q is taken in front of a reference, and not by itself: %v", before, err)
		}
		last, err := m.template(after, asItIs)
		if err != nil {
			t.Fatalf("%q is taken behind a reference, and not by itself: %v", after, err)
		}
		ex := new(exchange.Exchange)
		ex.Request.Header.Add("X-A", "one")
		fill := func(t *template) string { return render(t, ex, new(work), plain) }
		if got, want := fill(&made), fill(&first)+value+fill(&last); got != want && !strings.Contains(before, "{") {
			t.Fatalf("%q and %q around %q make %q, want %q", before, after, value, got, want)
		}
	})
}
