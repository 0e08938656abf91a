package plugin

import (
	"net/url"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// FuzzQuery: where net/url can read a query, we find the same keys in it, and after a removal net/url finds
// none and the other parameters unchanged.
func FuzzQuery(f *testing.F) {
	f.Add("apikey=a&b=c", "apikey")
	f.Add("%61pikey=a+b%2B&apikey", "apikey")
	f.Add("&&a=%zz&=x", "")
	f.Fuzz(func(t *testing.T, raw, name string) {
		want, err := url.ParseQuery(raw)
		if err != nil || strings.Contains(raw, ";") {
			return
		}
		ex := new(exchange.Exchange)
		ex.Request.RawQuery, ex.Request.HasQuery = raw, true
		value, count := "", 0
		Parameters(ex, name, func(v string) { value = v; count++ })
		if name == "" {
			return // net/url drops empty pairs
		}
		if count != len(want[name]) || count == 1 && value != want[name][0] {
			t.Fatalf("%q in %q: %q, %d; want %q", name, raw, value, count, want[name])
		}
		RemoveParameters(ex, name)
		left, err := url.ParseQuery(ex.Request.RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		want.Del(name)
		if left.Encode() != want.Encode() {
			t.Fatalf("after removing %q from %q: %q", name, raw, ex.Request.RawQuery)
		}
	})
}
