package listener

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want []Spec
	}{
		"off": {"off", nil},
		"Kong's default": {
			"0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384",
			[]Spec{{Addr: "0.0.0.0:8000", ReusePort: true, Backlog: 16384}, {Addr: "0.0.0.0:8443", TLS: true, HTTP2: true, ReusePort: true, Backlog: 16384}},
		},
		"every flag": {
			"[::]:0 ssl http2 deferred bind ipv6only=off so_keepalive=on",
			[]Spec{{Addr: "[::]:0", TLS: true, HTTP2: true, Deferred: true, IPv6Only: Off, KeepAlive: On}},
		},
		"a name": {"  localhost:80  ", []Spec{{Addr: "localhost:80"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                  "empty listener",
		"0.0.0.0:80,":                       "empty listener",
		"8000":                              "want host:port",
		":8000":                             "want host:port",
		"0.0.0.0:http":                      "no port",
		"0.0.0.0:70000":                     "no port",
		"0.0.0.0:08":                        "no port",
		"0.0.0.0:80 tls":                    `unknown flag "tls"; flags: ssl, http2`,
		"0.0.0.0:80 ssl=on":                 "unknown flag",
		"0.0.0.0:80 backlog=0":              "above 0",
		"0.0.0.0:80 backlog":                "unknown flag",
		"0.0.0.0:80 ipv6only=maybe":         "want on or off",
		"0.0.0.0:80 proxy_protocol":         "not served",
		"0.0.0.0:80 one two, 1.2.3.4:5 off": `flag "two"`,
	} {
		if specs, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, %v; want an error with %q", text, specs, err, want)
		}
	}
}
