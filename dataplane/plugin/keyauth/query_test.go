package keyauth

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
		value, count := fromQuery(ex, name)
		if name == "" {
			return // net/url drops empty pairs
		}
		if count != len(want[name]) || count == 1 && value != want[name][0] {
			t.Fatalf("%q in %q: %q, %d; want %q", name, raw, value, count, want[name])
		}
		removeFromQuery(ex, name)
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

// A body of many tiny parts costs no more than a few, and is refused.
func TestPartsAreBounded(t *testing.T) {
	t.Parallel()
	part := "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n"
	if parts, err := readParts([]byte(strings.Repeat(part, maxParts)+"--b--\r\n"), "b"); err != nil || len(parts) != maxParts {
		t.Errorf("%d parts, %v", len(parts), err)
	}
	if _, err := readParts([]byte(strings.Repeat(part, maxParts+1)+"--b--\r\n"), "b"); err == nil {
		t.Error("one part more was taken")
	}
}
