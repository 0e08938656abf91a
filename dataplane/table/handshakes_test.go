package table_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/table"
)

func TestHandshakes(t *testing.T) { // not beside others: it counts allocations
	long := strings.Repeat("a", 60) + ".example"
	h := table.NewHandshakes(map[string]*table.Handshake{
		"a.example": {Key: "exact"}, "*.example": {Key: "suffix"}, "*.deep.example": {Key: "deeper"}, "b.*": {Key: "prefix"},
		"*": {Key: "default"}, "UPPER.test.": {Key: "upper"}, "10.0.0.1": {Key: "never"}, "10.0.0.*": {Key: "never"},
	})
	for name, want := range map[string]string{
		"": "default", "a.example": "exact", "A.Example": "exact", "a.example.": "exact", "b.example": "suffix", long: "suffix",
		"x.b.example": "suffix", "x.deep.example": "deeper", "x.y.deep.example": "deeper", "b.x.test": "prefix", ".example": "default", "example": "default", "b.test": "prefix", "x.b.test": "default",
		"upper.test": "upper", "else": "default", "10.0.0.1": "default", "10.0.0.2": "default", "::1": "default", "[::1]": "default", "*": "default",
	} {
		if got := h.For(name).Key; got != want {
			t.Errorf("For(%q) = %q, want %q", name, got, want)
		}
	}
	for host, want := range map[string]string{
		"": "default", "a.example:443": "exact", "a.example.:443": "exact", "A.example": "exact", "[::1]:443": "default", "10.0.0.1:443": "default",
		"b.test:8443": "prefix", long + ":1": "suffix",
	} {
		if got := h.ForHost(host).Key; got != want {
			t.Errorf("ForHost(%q) = %q, want %q", host, got, want)
		}
		if n := testing.AllocsPerRun(100, func() { h.ForHost(host) }); n != 0 && host == strings.ToLower(host) {
			t.Errorf("ForHost(%q) allocates %v times", host, n)
		}
	}
}

func TestHandshakesThatAskNobody(t *testing.T) {
	t.Parallel()
	var none *table.Handshakes
	for name, h := range map[string]*table.Handshakes{"nil": none, "empty": table.NewHandshakes(nil)} {
		if h.Asks() || h.For("a").Key != "" || h.ForHost("a:1").Key != "" || h.For("a").Authorities != nil {
			t.Errorf("%s asks", name)
		}
	}
	some := table.NewHandshakes(map[string]*table.Handshake{"a": {Key: "x"}})
	if !some.Asks() || some.For("").Key != "" || some.For("b").Key != "" {
		t.Error("without a default policy the others ask nobody")
	}
}
